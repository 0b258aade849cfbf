//! Dense layers.

use bitsback_runtime::Op;
use bitsback_runtime::ops::{CodedDense, Dense};

use crate::bit_width::IntegerWeights;

use super::affine::{self, Longest, Parameters};
use super::fuse::AffineStage;
use super::{Columns, LowerError, Lowering};

/// One operator; a selection taken over before becomes columns of zeros.
pub(super) fn lower(lowering: &mut Lowering, stage: &AffineStage) -> Result<(), LowerError> {
    let name = lowering.network.topology.affine_name(stage.index);
    let weights = lowering.parameters(stage.index).1;
    let widened;
    let weights = match lowering.columns.take() {
        Some(columns) => {
            widened = with_zero_columns(weights, &columns);
            &widened
        }
        None => weights,
    };
    let longest = Longest { coded: usize::MAX, paired: usize::MAX };
    let lowered = affine::lower(lowering, stage, &name, weights, 1, longest)?;
    let output = lowering.tensor(stage.layer + 1, &name, lowered.output)?;
    let input = lowering.source(stage.layer, &name)?;
    let op = match lowered.parameters {
        Parameters::Rows(affine) => Op::Dense(Dense { input, output, affine }),
        Parameters::Coded(affine) => Op::CodedDense(CodedDense { input, output, affine }),
    };
    lowering.push_affine(op, name, stage.boundary, lowered.output);
    Ok(())
}

fn with_zero_columns(weights: &IntegerWeights, columns: &Columns) -> IntegerWeights {
    let rows = weights.values.chunks_exact(columns.keep.len().max(1));
    let mut values = Vec::with_capacity(rows.len() * columns.width);
    for row in rows {
        let start = values.len();
        values.resize(start + columns.width, 0);
        for (&column, &value) in columns.keep.iter().zip(row) {
            values[start + column as usize] = value;
        }
    }
    IntegerWeights { values, bits: weights.bits, scale: weights.scale }
}
