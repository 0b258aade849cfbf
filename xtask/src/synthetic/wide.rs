//! Dense layers of one width that are wide enough for a kernel's loop to count: whole steps, steps and
//! a rest, an odd rest; the second layer's inputs have an offset. Budgets of instructions
//! (`crate::budget`) are for these.

use bitsback_runtime::format::{BiasWidth, Layout};
use bitsback_runtime::ops::Dense;
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError};

/// Values of the tensors in order.
const VALUES: [u16; 4] = [203, 64, 36, 10];

pub(super) fn build(builder: &mut ModelBuilder, bits: u8) -> Result<(), ModelBuilderError> {
    builder.input(&VALUES[..1], -9);
    for (index, pair) in VALUES.windows(2).enumerate() {
        let kind = Kind {
            bits,
            bias: Some(BiasWidth::I32),
            bias_shift: 0,
            folded: index != 1,
            per_channel: false,
            layout: Layout::RowMajor,
        };
        let output = builder.tensor(&pair[1..], (index as i8) * 11 - 30);
        let affine = builder.affine(usize::from(pair[1]), usize::from(pair[0]), kind)?;
        builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    }
    Ok(())
}
