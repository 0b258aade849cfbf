//! Depthwise convolutions.

use bitsback_runtime::Op;
use bitsback_runtime::coding::MEMORY;
use bitsback_runtime::ops::{CodedDepthwiseConv2d, DepthwiseConv2d};

use super::affine::{self, Longest, Parameters};
use super::fuse::ConvStage;
use super::{LowerError, Lowering, pool};

/// One operator.
pub(super) fn lower(lowering: &mut Lowering, stage: &ConvStage) -> Result<(), LowerError> {
    let layer = stage.affine.layer;
    let name = lowering.network.topology.affine_name(stage.affine.index);
    let weights = lowering.parameters(stage.affine.index).1;
    let window = pool::window(lowering, layer, &name, &stage.window)?;
    let longest = Longest { coded: MEMORY, paired: 0 };
    let lowered = affine::lower(lowering, &stage.affine, &name, weights, 1, longest)?;
    let output = lowering.tensor(layer + 1, &name, lowered.output)?;
    let (input, dilation) = (lowering.source(layer, &name)?, [1, 1]);
    let op = match lowered.parameters {
        Parameters::Rows(affine) => {
            Op::DepthwiseConv2d(DepthwiseConv2d { input, output, window, dilation, affine })
        }
        Parameters::Coded(affine) => Op::CodedDepthwiseConv2d(CodedDepthwiseConv2d {
            input,
            output,
            window,
            dilation,
            affine,
        }),
    };
    lowering.push_affine(op, name, stage.affine.boundary, lowered.output);
    Ok(())
}
