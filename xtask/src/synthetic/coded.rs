//! Layers with coded weights: a convolution, a depthwise one, and dense layers of long and short
//! rows, with and without biases.

use bitsback_runtime::format::Window;
use bitsback_runtime::ops::{CodedConv2d, CodedDense, CodedDepthwiseConv2d};
use bitsback_runtime::{Op, Source};

use super::builder::{Coded, ModelBuilder, ModelBuilderError};

/// Outputs of the dense layers. The first row is 11 × 12 × 6 weights long, which is beyond what the
/// decoder remembers.
const ROWS: [u16; 5] = [24, 31, 3, 40, 17];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[11, 12, 2], -7);
    let window = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let (input, dilation) = (Source::Previous, [1, 1]);
    let kind = Coded { bits: 4, one_in: 2, lag: 2, bias: Some(2), per_channel: true };
    let affine = builder.coded(3, 18, kind)?;
    let output = builder.tensor(&[11, 12, 3], 5);
    builder.op(Op::CodedConv2d(CodedConv2d { input, output, window, dilation, affine }));
    let kind = Coded { bits: 6, one_in: 2, lag: 1, bias: Some(0), per_channel: false };
    let affine = builder.coded(6, 9, kind)?;
    let output = builder.tensor(&[11, 12, 6], -11);
    let (input, dilation) = (Source::Previous, [2, 2]);
    let window = Window { padding: [2, 2], ..window };
    let depthwise = CodedDepthwiseConv2d { input, output, window, dilation, affine };
    builder.op(Op::CodedDepthwiseConv2d(depthwise));
    let mut columns = 11 * 12 * 6;
    for (bits, rows) in [3, 2, 8, 5, 7].into_iter().zip(ROWS) {
        let bias = (bits % 2 == 1).then_some(bits);
        let kind = Coded { bits, one_in: 2, lag: 1, bias, per_channel: bits == 8 };
        let affine = builder.coded(rows.into(), columns, kind)?;
        let output = builder.tensor(&[rows], bits as i8 * 9 - 40);
        builder.op(Op::CodedDense(CodedDense { input: Source::Previous, output, affine }));
        columns = rows.into();
    }
    Ok(())
}
