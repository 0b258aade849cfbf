//! Dense layers of bytes, row by row: every rest of columns and rows that an unrolled kernel leaves,
//! with an offset of the inputs and without. It needs no feature of the runtime.

use bitsback_runtime::format::{BiasWidth, Layout};
use bitsback_runtime::ops::Dense;
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// Values of the tensors in order: 0 to 7 more than a multiple of eight, one alone, and more rows than
/// are finished at once.
const VALUES: [u16; 13] = [29, 18, 1, 3, 8, 22, 7, 71, 12, 5, 9, 4, 6];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    builder.input(&VALUES[..1], 23);
    for (index, pair) in VALUES.windows(2).enumerate() {
        let kind = Kind {
            bits: 8,
            bias: [Some(BiasWidth::I32), Some(BiasWidth::I16), None][index % 3],
            bias_shift: 0,
            folded: index % 2 == 1,
            per_channel: false,
            layout: Layout::RowMajor,
        };
        let output = builder.tensor(&pair[1..], (index as i8) * 7 - 40);
        let affine = builder.affine(usize::from(pair[1]), usize::from(pair[0]), kind)?;
        builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    }
    Ok(())
}
