//! Depthwise convolutions of one to three channels, with one output a channel and with several: windows that
//! see nothing but the image, and others; filters that fill what is taken at once; several widths.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2d, DepthwiseConv2d};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// Channels, outputs of each, rows and columns of a window, what is around the image, bits.
type Layer = (u16, u16, [u16; 2], u16, u8);

/// The layers, each on an image of its own, from the arena's beginning on.
const LAYERS: [Layer; 7] = [
    (1, 1, [3, 3], 1, 8),
    (1, 8, [5, 4], 0, 8),
    (2, 1, [3, 3], 1, 4),
    (2, 9, [7, 7], 3, 8),
    (3, 1, [5, 5], 2, 8),
    (3, 2, [1, 1], 0, 2),
    (3, 1, [3, 3], 0, 16),
];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let mut size = [19u16, 18];
    builder.input(&[size[0], size[1], 1], 9);
    let mut last = 1;
    for (index, (channels, outputs, window, around, bits)) in LAYERS.into_iter().enumerate() {
        if last != channels {
            // As many channels as the next layer wants, out of those that there are.
            let kind = kind(8, index);
            let affine = builder.affine(channels.into(), last.into(), kind)?;
            let output = builder.tensor(&[size[0], size[1], channels], -3);
            let window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
            let (input, dilation) = (Source::Previous, [1, 1]);
            builder.op(Op::Conv2d(Conv2d { input, output, window, dilation, affine }));
        }
        let columns = usize::from(window[0] * window[1]);
        let affine = builder.affine(usize::from(channels * outputs), columns, kind(bits, index))?;
        size = [size[0] + 2 * around + 1 - window[0], size[1] + 2 * around + 1 - window[1]];
        last = channels * outputs;
        let output = builder.tensor(&[size[0], size[1], last], index as i8 * 9 - 30);
        let window = Window { size: window, stride: [1, 1], padding: [around; 2] };
        let (input, dilation) = (Source::Previous, [1, 1]);
        builder.op(Op::DepthwiseConv2d(DepthwiseConv2d {
            input,
            output,
            window,
            dilation,
            affine,
        }));
    }
    Ok(())
}

/// All kinds of biases and requantisation, in turn.
fn kind(bits: u8, index: usize) -> Kind {
    Kind {
        bits,
        bias: [Some(BiasWidth::I32), Some(BiasWidth::I16), None][index % 3],
        bias_shift: (index % 2) as u8,
        folded: index.is_multiple_of(2),
        per_channel: index % 3 != 1,
        layout: Layout::RowMajor,
    }
}
