//! Depthwise convolutions of images that are wider than what is spread at once, then of a column of three
//! pixels, under windows that see more of what is outside than of it; between them a mean of more pixels
//! than sums of 16 bits take. Some channels have multipliers that kernels take behind small sums alone, or
//! never.

use bitsback_runtime::format::{BiasWidth, Clamp, Layout, Window};
use bitsback_runtime::ops::{AvgPool2d, DepthwiseConv2d};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// One depthwise layer: its output, window, what is before the image and between taps, its stride, and its weights'
/// width.
struct Layer {
    output: [u16; 2],
    size: [u16; 2],
    padding: [u16; 2],
    dilation: [u16; 2],
    stride: [u16; 2],
    bits: u8,
}

const fn layer(output: [u16; 2], size: [u16; 2], padding: [u16; 2], bits: u8) -> Layer {
    Layer { output, size, padding, dilation: [1, 1], stride: [1, 1], bits }
}

const CHANNELS: u16 = 5;
const WIDE: [Layer; 2] = [
    layer([8, 44], [3, 3], [1, 1], 8),
    Layer { dilation: [2, 1], ..layer([8, 44], [3, 3], [2, 1], 4) },
];
/// From a mean over six rows on.
const SMALL: [Layer; 5] = [
    layer([3, 1], [3, 3], [1, 1], 8),
    layer([3, 1], [5, 1], [2, 0], 8),
    layer([3, 1], [5, 3], [2, 1], 8),
    Layer { stride: [2, 1], ..layer([2, 1], [3, 3], [1, 1], 16) },
    layer([1, 1], [2, 1], [0, 0], 8),
];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[8, 44, CHANNELS], 4);
    for (index, layer) in WIDE.iter().enumerate() {
        depthwise(builder, layer, index)?;
    }
    let output = builder.tensor(&[3, 1, CHANNELS], zero_point(1));
    builder.op(Op::AvgPool2d(AvgPool2d {
        input: Source::Previous,
        output,
        window: Window { size: [6, 44], stride: [1, 1], padding: [0, 0] },
        clamp: Clamp::NONE,
    }));
    for (index, layer) in SMALL.iter().enumerate() {
        depthwise(builder, layer, index + WIDE.len())?;
    }
    Ok(())
}

/// That of a layer's output.
const fn zero_point(index: usize) -> i8 {
    11 - 6 * index as i8
}

fn depthwise(
    builder: &mut ModelBuilder,
    layer: &Layer,
    index: usize,
) -> Result<(), ModelBuilderError> {
    let kind = Kind {
        bits: layer.bits,
        bias: Some([BiasWidth::I32, BiasWidth::I16][index % 2]),
        bias_shift: (index % 3) as u8,
        folded: index.is_multiple_of(2),
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let [height, width] = layer.output;
    let output = builder.tensor(&[height, width, CHANNELS], zero_point(index));
    let columns = layer.size.iter().copied().map(usize::from).product();
    let affine = builder.affine(CHANNELS.into(), columns, kind)?;
    if index == WIDE.len() {
        builder.amplify(&affine, CHANNELS.into(), 4); // a mean of noise is small
    }
    if index == 0 || index == 3 {
        builder.vary_multipliers(&affine, CHANNELS.into());
    }
    builder.op(Op::DepthwiseConv2d(DepthwiseConv2d {
        input: Source::Previous,
        output,
        window: Window { size: layer.size, stride: layer.stride, padding: layer.padding },
        dilation: layer.dilation,
        affine,
    }));
    Ok(())
}
