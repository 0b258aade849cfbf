//! Convolutions.

use bitsback_runtime::Op;
use bitsback_runtime::coding::MEMORY;
use bitsback_runtime::ops::{CodedConv2d, Conv2d, FILTER_MAX};

use super::affine::{self, Longest, Parameters};
use super::fuse::ConvStage;
use super::{LowerError, Lowering, pool};

/// One operator.
pub(super) fn lower(lowering: &mut Lowering, stage: &ConvStage) -> Result<(), LowerError> {
    let layer = stage.affine.layer;
    let name = lowering.network.topology.affine_name(stage.affine.index);
    let weights = lowering.parameters(stage.affine.index).1;
    let window = pool::window(lowering, layer, &name, &stage.window)?;
    let [kernel_height, kernel_width] = window.size.map(usize::from);
    let filters = lowering.parameters(stage.affine.index).0.bias.len().max(1);
    let columns = weights.values.len() / filters;
    let channels = columns / (kernel_height * kernel_width).max(1);
    let longest = Longest { coded: MEMORY, paired: FILTER_MAX };
    let lowered = affine::lower(lowering, &stage.affine, &name, weights, channels, longest)?;
    let output = lowering.tensor(layer + 1, &name, lowered.output)?;
    let (input, dilation) = (lowering.source(layer, &name)?, [1, 1]);
    let op = match lowered.parameters {
        Parameters::Rows(affine) => Op::Conv2d(Conv2d { input, output, window, dilation, affine }),
        Parameters::Coded(affine) => {
            Op::CodedConv2d(CodedConv2d { input, output, window, dilation, affine })
        }
    };
    lowering.push_affine(op, name, stage.affine.boundary, lowered.output);
    Ok(())
}
