//! Convolutions of one channel by 5 × 5, pooled by 2 × 2: some windows of the pooling see padding,
//! most do not; few filters and many, and multipliers that kernels leave to the portable function.

use bitsback_runtime::format::{BiasWidth, Layout, Requantization, Shape, Window};
use bitsback_runtime::ops::{Concat, Conv2dMaxPool2d};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Op, Source, Tensor};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

const WEIGHTS: usize = 25;
const HALVES: Window = Window { size: [2, 2], stride: [2, 2], padding: [0, 0] };

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let pixels = builder.tensor(&[14, 15, 1], -7);
    builder.input_at(pixels.clone());
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I32),
        bias_shift: 1,
        folded: false,
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let folded = Kind { bias: Some(BiasWidth::I8), folded: true, per_channel: false, ..kind };
    let shifted = Window { padding: [0, 1], ..HALVES };
    let first = convolution(builder, &pixels, (5, kind), (1, [12, 13]), (shifted, [6, 7]), false)?;
    let many = convolution(builder, &pixels, (40, folded), (0, [10, 11]), (HALVES, [5, 5]), false)?;
    let rare = convolution(builder, &pixels, (3, folded), (2, [14, 15]), (HALVES, [7, 7]), true)?;
    let output = builder.tensor(&[210 + 1000 + 147], 11);
    let inputs = [first, many, rare].into_iter().collect();
    builder.op(Op::Concat(Concat { inputs, output, axis: 0 }));
    Ok(())
}

/// A pooled convolution of the input, its output in a row; `quartered`: with a multiplier of a quarter of the
/// usual fraction, and four times the power of two.
fn convolution(
    builder: &mut ModelBuilder,
    pixels: &Tensor,
    (filters, kind): (u16, Kind),
    (padding, positions): (u16, [u16; 2]),
    (pool, [height, width]): (Window, [u16; 2]),
    quartered: bool,
) -> Result<Source, ModelBuilderError> {
    let mut affine = builder.affine(filters.into(), WEIGHTS, kind)?;
    if let (true, Requantization::PerTensor(multiplier)) = (quartered, affine.requantization) {
        let Multiplier { value, shift } = multiplier;
        affine.requantization =
            Requantization::PerTensor(Multiplier { value: value >> 2, shift: shift + 2 });
    }
    let output = builder.tensor(&[height, width, filters], 11);
    let row = Tensor { shape: Shape::new(&[height * width * filters]), ..output.clone() };
    builder.op(Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
        input: Source::At(pixels.clone()),
        output,
        window: Window { size: [5; 2], stride: [1; 2], padding: [padding; 2] },
        dilation: [1, 1],
        affine,
        positions,
        pool,
    }));
    Ok(Source::At(row))
}
