//! Convolutions.

use bitsback_runtime::Op;
use bitsback_runtime::format::Source;
use bitsback_runtime::ops::Conv2d;

use super::fuse::ConvStage;
use super::{LowerError, Lowering, affine, pool};

/// One operator.
pub(super) fn lower(lowering: &mut Lowering, stage: &ConvStage) -> Result<(), LowerError> {
    let layer = stage.affine.layer;
    let name = lowering.network.topology.affine_name(stage.affine.index);
    let weights = lowering.parameters(stage.affine.index).1;
    let window = pool::window(lowering, layer, &name, &stage.window)?;
    let lowered = affine::lower(lowering, &stage.affine, &name, weights)?;
    let output = lowering.tensor(layer + 1, &name, lowered.output)?;
    let op = Conv2d {
        input: Source::Previous,
        output,
        window,
        dilation: [1, 1],
        affine: lowered.affine,
    };
    lowering.push(Op::Conv2d(op), name, stage.affine.boundary, lowered.output);
    Ok(())
}
