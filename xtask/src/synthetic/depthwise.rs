//! Depthwise convolutions with and without a kernel of their own: windows of several sizes, strides,
//! dilations and paddings, down to those that are larger than their image; all kinds of biases,
//! requantisation and widths; channels that make no whole groups.

use bitsback_runtime::format::{BiasWidth, Clamp, Layout, Window};
use bitsback_runtime::ops::DepthwiseConv2d;
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// One layer: its output, its window, and its weights' width.
struct Layer {
    output: [u16; 3],
    size: [u16; 2],
    stride: [u16; 2],
    padding: [u16; 2],
    dilation: [u16; 2],
    bits: u8,
}

const fn layer(output: [u16; 3], size: [u16; 2], padding: [u16; 2], bits: u8) -> Layer {
    Layer { output, size, stride: [1, 1], padding, dilation: [1, 1], bits }
}

/// The layers, from an input of 11 × 9 × 5 on.
const LAYERS: [Layer; 10] = [
    layer([11, 9, 5], [3, 3], [1, 1], 8),
    layer([11, 9, 15], [1, 1], [0, 0], 8), // three outputs a channel
    Layer { stride: [2, 1], ..layer([5, 8, 15], [3, 2], [0, 0], 8) },
    Layer { dilation: [2, 1], ..layer([5, 8, 15], [3, 3], [2, 1], 4) },
    layer([5, 8, 15], [5, 5], [2, 2], 8),
    layer([5, 8, 15], [1, 1], [0, 0], 1),
    Layer { stride: [1, 3], ..layer([5, 3, 15], [4, 3], [2, 1], 16) },
    layer([5, 3, 15], [7, 7], [3, 3], 8),
    layer([5, 3, 15], [1, 9], [0, 4], 3),
    Layer { stride: [4, 2], ..layer([2, 2, 15], [2, 1], [1, 0], 8) },
];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let mut zero_point = 9;
    builder.input(&[11, 9, 5], zero_point);
    for (index, layer) in LAYERS.iter().enumerate() {
        let bias = [Some(BiasWidth::I32), Some(BiasWidth::I16), Some(BiasWidth::I8), None];
        let kind = Kind {
            bits: layer.bits,
            bias: bias[index % 4],
            bias_shift: (index % 2) as u8,
            folded: index % 3 == 0,
            per_channel: index % 2 == 0,
            layout: Layout::RowMajor,
        };
        zero_point = -zero_point + index as i8;
        let output = builder.tensor(&layer.output, zero_point);
        let columns = layer.size.iter().copied().map(usize::from).product();
        let mut affine = builder.affine(output.shape.channels(), columns, kind)?;
        if index % 3 == 1 {
            affine.clamp = Clamp { min: zero_point, max: 110 };
        }
        builder.op(Op::DepthwiseConv2d(DepthwiseConv2d {
            input: Source::Previous,
            output,
            window: Window { size: layer.size, stride: layer.stride, padding: layer.padding },
            dilation: layer.dilation,
            affine,
        }));
    }
    Ok(())
}
