//! Hard swishes with large, middling and small scales of their inputs, between weight layers.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2d, Dense, HardSwish};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError, multiplier};

/// Scales of a hard swish's input and output, and the output's zero point: gates that shift to the
/// left by many positions and by few, that don't shift, and that shift to the right.
const SCALES: [(f64, f64, i8); 4] =
    [(0.3, 0.15, -90), (0.05, 0.03, -100), (0.009, 0.007, -6), (0.003, 0.0025, 5)];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[6, 5, 3], -9);
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I16),
        bias_shift: 1,
        folded: true,
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let affine = builder.affine(4, 27, kind)?;
    let output = builder.tensor(&[6, 5, 4], -20);
    let window = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let input = Source::Previous;
    builder.op(Op::Conv2d(Conv2d { input, output, window, dilation: [1, 1], affine }));
    let mut columns = 120;
    for (index, (input, output, zero_point)) in SCALES.into_iter().enumerate() {
        let shape: &[u16] = if index == 0 { &[6, 5, 4] } else { &[columns] };
        let swished = builder.tensor(shape, zero_point);
        builder.op(Op::HardSwish(HardSwish {
            input: Source::Previous,
            output: swished,
            multiplier: narrow(input / output / 128.0),
            gate: narrow(input * 256.0 / 3.0),
        }));
        let rows = 48 - 8 * index as u16;
        let affine = builder.affine(usize::from(rows), usize::from(columns), kind)?;
        let output = builder.tensor(&[rows], 7 * index as i8 - 12);
        builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
        columns = rows;
    }
    Ok(())
}

fn narrow(factor: f64) -> Multiplier {
    multiplier(factor).narrowed()
}
