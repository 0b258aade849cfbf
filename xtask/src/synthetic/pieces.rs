//! Convolutions whose filters are gathered in pieces, of whole rows of taps and of parts of one, with
//! weights in rows and in pairs; pairs of many filters and few columns; more filters than are taken at
//! once; a pooling of more channels than a group.

use bitsback_runtime::format::{BiasWidth, Clamp, Layout, Window};
use bitsback_runtime::ops::{AvgPool2d, Conv2d, Dense};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// One convolution: its output, its window, the input's channels, and how its weights lie.
struct Layer {
    output: [u16; 3],
    size: [u16; 2],
    stride: u16,
    padding: [u16; 2],
    dilation: [u16; 2],
    channels: usize,
    layout: Layout,
}

/// The layers, from an input of 5 × 4 × 50 on. Filters have 450, 405, 42, 156, 8 and 1,200 weights.
const LAYERS: [Layer; 6] = [
    layer([5, 4, 45], [3, 3], [1, 1], 50, Layout::RowMajor),
    Layer { stride: 2, ..layer([3, 2, 42], [3, 3], [1, 1], 45, Layout::Pairs) },
    layer([3, 2, 52], [1, 1], [0, 0], 42, Layout::Pairs),
    Layer { dilation: [1, 2], ..layer([3, 2, 8], [1, 3], [0, 2], 52, Layout::RowMajor) },
    layer([3, 2, 400], [1, 1], [0, 0], 8, Layout::Pairs),
    layer([3, 2, 9], [3, 1], [1, 0], 400, Layout::RowMajor),
];

const fn layer(
    output: [u16; 3],
    size: [u16; 2],
    padding: [u16; 2],
    channels: usize,
    layout: Layout,
) -> Layer {
    Layer { output, size, stride: 1, padding, dilation: [1, 1], channels, layout }
}

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let mut zero_point = 7;
    builder.input(&[5, 4, 50], zero_point);
    for (index, layer) in LAYERS.iter().enumerate() {
        let kind = Kind {
            bits: 8,
            bias: [Some(BiasWidth::I16), Some(BiasWidth::I8), Some(BiasWidth::I32)][index % 3],
            bias_shift: (index % 2) as u8,
            folded: index % 4 == 3,
            per_channel: index % 2 == 0,
            layout: layer.layout,
        };
        zero_point = -zero_point + index as i8;
        let [height, width] = layer.size.map(usize::from);
        let filters = usize::from(layer.output[2]);
        let affine = builder.affine(filters, height * width * layer.channels, kind)?;
        let output = builder.tensor(&layer.output, zero_point);
        let window = Window { size: layer.size, stride: [layer.stride; 2], padding: layer.padding };
        let (input, dilation) = (Source::Previous, layer.dilation);
        builder.op(Op::Conv2d(Conv2d { input, output, window, dilation, affine }));
    }
    let output = builder.tensor(&[2, 2, 9], zero_point);
    let window = Window { size: [2, 2], stride: [2, 1], padding: [1, 1] };
    let clamp = Clamp::NONE;
    builder.op(Op::AvgPool2d(AvgPool2d { input: Source::Previous, output, window, clamp }));
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I16),
        bias_shift: 0,
        folded: false,
        per_channel: true,
        layout: Layout::Pairs,
    };
    let affine = builder.affine(43, 36, kind)?;
    let output = builder.tensor(&[43], -11);
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    Ok(())
}
