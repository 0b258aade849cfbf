//! Dense layers with every weight width, kind of bias and kind of requantisation.

use bitsback_runtime::format::{BiasWidth, Layout};
use bitsback_runtime::ops::Dense;
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// Every width that a file can hold, each with an odd or even number of outputs, so that rows end
/// within and at bytes, and pairs and quadruples of rows leave a rest.
const LAYERS: [(u8, u16); 9] =
    [(1, 37), (2, 34), (3, 31), (4, 33), (5, 30), (6, 35), (7, 29), (8, 43), (16, 24)];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let mut columns = 45;
    builder.input(&[columns], -7);
    let widths = [Some(BiasWidth::I8), Some(BiasWidth::I16), Some(BiasWidth::I32), None];
    for (index, ((bits, rows), bias)) in
        LAYERS.into_iter().zip(widths.into_iter().cycle()).enumerate()
    {
        let (folded, per_channel) = (index % 3 == 1, index % 2 == 0);
        let kind =
            Kind { bits, bias, bias_shift: 1, folded, per_channel, layout: Layout::RowMajor };
        let output = builder.tensor(&[rows], (index as i8) * 9 - 40);
        let affine = builder.affine(usize::from(rows), usize::from(columns), kind)?;
        builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
        columns = rows;
    }
    Ok(())
}
