//! Selections: an operator with a bit mask, or columns of zeros in the next dense layer, whichever
//! takes fewer bytes.

use bitsback_runtime::Op;
use bitsback_runtime::format::row_len;
use bitsback_runtime::ops::Select;

use super::fuse::{SelectStage, Stage};
use super::{Columns, LowerError, Lowering};

/// Bytes of a select record in the graph: tag, source, a tensor of one dimension, a mask offset.
const RECORD_BYTES: usize = 12;

/// One operator, or none.
pub(super) fn lower(
    lowering: &mut Lowering,
    stage: &SelectStage,
    rest: &[Stage],
) -> Result<(), LowerError> {
    let width = lowering.shapes[stage.layer].len();
    if stage.keep.len() == width {
        return Ok(());
    }
    let mask_len = width.div_ceil(8);
    if let Some(Stage::Dense(dense)) = rest.first() {
        let weights = lowering.parameters(dense.index).1;
        let rows = weights.values.len() / stage.keep.len().max(1);
        let bytes = |columns| rows * row_len(weights.bits, columns);
        if bytes(width) - bytes(stage.keep.len()) <= mask_len + RECORD_BYTES {
            lowering.columns = Some(Columns { keep: stage.keep.clone(), width });
            return Ok(());
        }
    }
    let name = lowering.numbered("select");
    let mut mask = vec![0u8; mask_len];
    for &feature in &stage.keep {
        mask[feature as usize / 8] |= 1 << (feature % 8);
    }
    let mask = lowering.section.push(&mask)?;
    let output = lowering.tensor(stage.layer + 1, &name, lowering.current)?;
    let input = lowering.source(stage.layer, &name)?;
    let op = Op::Select(Select { input, output, mask });
    lowering.push(op, name, stage.boundary, lowering.current);
    Ok(())
}
