//! Convolutions that pool what they compute: windows of four positions and of six, pairs of rows and
//! narrow weights, inside the image and over its border.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2dMaxPool2d, Dense};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[13, 12, 1], -7);
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I32),
        bias_shift: 1,
        folded: false,
        per_channel: true,
        layout: Layout::Pairs,
    };
    let square = |size, stride, padding| Window {
        size: [size; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    // 5 × 5 values a window, two blocks of pairs and a row beside them.
    let affine = builder.affine(9, 25, kind)?;
    let output = builder.tensor(&[5, 4, 9], 20);
    builder.op(Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
        input: Source::Previous,
        output,
        window: square(5, 1, 0),
        dilation: [1, 1],
        affine,
        positions: [9, 8],
        pool: Window { size: [2, 2], stride: [2, 2], padding: [1, 0] },
    }));
    let kind = Kind { bits: 3, bias: Some(BiasWidth::I8), layout: Layout::RowMajor, ..kind };
    let kind = Kind { folded: true, per_channel: false, ..kind };
    let affine = builder.affine(7, 81, kind)?;
    let output = builder.tensor(&[2, 2, 7], -3);
    builder.op(Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
        input: Source::Previous,
        output,
        window: square(3, 1, 1),
        dilation: [1, 1],
        affine,
        positions: [5, 4],
        pool: Window { size: [3, 2], stride: [2, 2], padding: [0, 0] },
    }));
    let affine = builder.affine(10, 28, Kind { bits: 5, ..kind })?;
    let output = builder.tensor(&[10], 0);
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    Ok(())
}
