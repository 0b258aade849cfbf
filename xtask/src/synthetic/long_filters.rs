//! Convolutions whose filters are longer than what is gathered at once: 3 × 3 × 65 of bytes, 3 × 3 × 80
//! dilated and of 4 bits. Between them a layer in pairs of more filters than sums are held of at once. Some
//! rows of all have multipliers that kernels take behind small sums alone, or never.

use bitsback_runtime::format::{BiasWidth, Layout, Window};
use bitsback_runtime::ops::{Conv2d, Dense};
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// A layer's filters, rows and columns of a window, what is between taps, width and layout of weights.
const LAYERS: [(u16, u16, u16, u8, Layout); 3] =
    [(9, 3, 1, 8, Layout::RowMajor), (80, 1, 1, 8, Layout::Pairs), (6, 3, 2, 4, Layout::RowMajor)];
const SIZE: [u16; 2] = [4, 5];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let [height, width] = SIZE;
    let mut channels = 65;
    builder.input(&[height, width, channels], -7);
    for (index, &(filters, size, dilation, bits, layout)) in LAYERS.iter().enumerate() {
        let widths = [BiasWidth::I32, BiasWidth::I16, BiasWidth::I8];
        let kind = Kind {
            bits,
            bias: widths.get(index).copied(),
            bias_shift: 2 * (index % 2) as u8,
            folded: index == 0,
            per_channel: true,
            layout,
        };
        let output = builder.tensor(&[height, width, filters], (index as i8) * 5);
        let columns = usize::from(size * size * channels);
        let affine = builder.affine(filters.into(), columns, kind)?;
        builder.vary_multipliers(&affine, filters.into());
        let padding = [(size - 1) / 2 * dilation; 2];
        builder.op(Op::Conv2d(Conv2d {
            input: Source::Previous,
            output,
            window: Window { size: [size; 2], stride: [1, 1], padding },
            dilation: [dilation; 2],
            affine,
        }));
        channels = filters;
    }
    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I16),
        bias_shift: 0,
        folded: false,
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let output = builder.tensor(&[70], 3);
    let affine = builder.affine(70, usize::from(height * width * channels), kind)?;
    builder.vary_multipliers(&affine, 70);
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    Ok(())
}
