//! Images in other sizes: larger and smaller, by whole factors and by others, by corners and by centers.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2d, ResizeNearest};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&[6, 7, 2], 11);
    resize(builder, &[12, 14, 2], 11, false);
    resize(builder, &[9, 10, 2], 11, true);
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I16),
        bias_shift: 1,
        folded: true,
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let affine = builder.affine(5, 18, kind)?;
    let output = builder.tensor(&[9, 10, 5], -3);
    let window = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let input = Source::Previous;
    builder.op(Op::Conv2d(Conv2d { input, output, window, dilation: [1, 1], affine }));
    resize(builder, &[4, 5, 5], -3, false);
    resize(builder, &[8, 13, 5], -3, true);
    resize(builder, &[5, 5, 5], -3, true);
    Ok(())
}

fn resize(builder: &mut ModelBuilder, dims: &[u16], zero_point: i8, half_pixel_centers: bool) {
    let output = builder.tensor(dims, zero_point);
    let input = Source::Previous;
    builder.op(Op::ResizeNearest(ResizeNearest { input, output, half_pixel_centers }));
}
