//! Convolutions and dense layers with their weights in pairs of rows: of inputs with offsets, of one that is 128,
//! and without. Taps of the second one would be apart, if it had more than one.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2d, Dense};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// Rows of the dense layers: blocks of four with every rest, and none at all.
const ROWS: [u16; 5] = [40, 37, 26, 15, 3];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[7, 6, 3], 11);
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I16),
        bias_shift: 1,
        folded: false,
        per_channel: true,
        layout: Layout::Pairs,
    };
    // 3 × 3 × 3 values a window: the last group of columns is not full.
    let affine = builder.affine(10, 27, kind)?;
    let output = builder.tensor(&[4, 3, 10], -20);
    let window = Window { size: [3, 3], stride: [2, 2], padding: [1, 1] };
    let input = Source::Previous;
    builder.op(Op::Conv2d(Conv2d { input, output, window, dilation: [1, 1], affine }));
    let affine = builder.affine(10, 10, kind)?;
    let output = builder.tensor(&[4, 3, 10], 6);
    let window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
    let input = Source::Previous;
    builder.op(Op::Conv2d(Conv2d { input, output, window, dilation: [2, 5], affine }));
    let mut columns = 120;
    for (index, rows) in ROWS.into_iter().enumerate() {
        let bias = [Some(BiasWidth::I32), None, Some(BiasWidth::I8)][index % 3];
        let kind = Kind { bias, folded: index % 2 == 0, per_channel: index % 2 == 1, ..kind };
        let zero_point = if index == 2 { -128 } else { index as i8 * 9 - 30 };
        let output = builder.tensor(&[rows], zero_point);
        let affine = builder.affine(usize::from(rows), usize::from(columns), kind)?;
        builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
        columns = rows;
    }
    Ok(())
}
