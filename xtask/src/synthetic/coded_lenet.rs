//! A LeNet-5 with coded weights: 498,000 multiply-accumulates, 21,060 weights of 3 bits, of which
//! six in seven are 0.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::ops::{CodedConv2d, CodedDense, MaxPool2d};
use bitsback_runtime::{Op, Source};

use super::builder::{Coded, ModelBuilder, ModelBuilderError};

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[28, 28, 1], -128);
    for (channels, filters, side) in [(1, 12, 24), (12, 16, 8)] {
        convolution(builder, channels, filters, side)?;
    }
    for (columns, rows) in [(256, 60), (60, 10)] {
        let kind = Coded { bits: 3, one_in: 4, lag: 1, bias: Some(2), per_channel: false };
        let affine = builder.coded(rows.into(), columns, kind)?;
        let output = builder.tensor(&[rows], -3);
        builder.op(Op::CodedDense(CodedDense { input: Source::Previous, output, affine }));
    }
    Ok(())
}

/// Filters of 5 × 5 without padding, and the largest of every 2 × 2 outputs.
fn convolution(
    builder: &mut ModelBuilder,
    channels: u16,
    filters: u16,
    side: u16,
) -> Result<(), ModelBuilderError> {
    let lag = channels.into();
    let kind = Coded { bits: 3, one_in: 4, lag, bias: Some(3), per_channel: channels > 1 };
    let affine = builder.coded(filters.into(), 25 * lag, kind)?;
    let output = builder.tensor(&[side, side, filters], -9);
    let window = Window { size: [5, 5], stride: [1, 1], padding: [0, 0] };
    let (input, dilation) = (Source::Previous, [1, 1]);
    builder.op(Op::CodedConv2d(CodedConv2d { input, output, window, dilation, affine }));
    let output = builder.tensor(&[side / 2, side / 2, filters], -9);
    let window = Window { size: [2, 2], stride: [2, 2], padding: [0, 0] };
    let (input, clamp) = (Source::Previous, Clamp::NONE);
    builder.op(Op::MaxPool2d(MaxPool2d { input, output, window, clamp }));
    Ok(())
}
