//! Slices: of channels, of rows and columns with and without gaps, of a crop, between weight layers.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2d, Dense, Slice};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

const KIND: Kind = Kind {
    bits: 8,
    bias: Some(BiasWidth::I16),
    bias_shift: 1,
    folded: true,
    per_channel: false,
    layout: Layout::RowMajor,
};

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[9, 11, 3], 4);
    // Whole rows; then a crop of every other column.
    slice(builder, &[7, 11, 3], 4, [&[1, 0, 0], &[1, 1, 1]]);
    slice(builder, &[7, 5, 3], 4, [&[0, 1, 0], &[1, 2, 1]]);
    let affine = builder.affine(6, 27, KIND)?;
    let output = builder.tensor(&[7, 5, 6], -9);
    let window = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let input = Source::Previous;
    builder.op(Op::Conv2d(Conv2d { input, output, window, dilation: [1, 1], affine }));
    // Every third row; then some channels, next to each other and apart; then every other value.
    slice(builder, &[2, 5, 6], -9, [&[2, 0, 0], &[3, 1, 1]]);
    slice(builder, &[2, 5, 4], -9, [&[0, 0, 1], &[1, 1, 1]]);
    slice(builder, &[2, 5, 2], -9, [&[0, 0, 1], &[1, 1, 2]]);
    let affine = builder.affine(30, 20, KIND)?;
    let output = builder.tensor(&[30], 2);
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    slice(builder, &[14], 2, [&[1], &[2]]);
    Ok(())
}

fn slice(builder: &mut ModelBuilder, dims: &[u16], zero_point: i8, [begin, stride]: [&[u16]; 2]) {
    let output = builder.tensor(dims, zero_point);
    let [begin, stride] = [begin, stride].map(|of| of.iter().copied().collect());
    builder.op(Op::Slice(Slice { input: Source::Previous, output, begin, stride }));
}
