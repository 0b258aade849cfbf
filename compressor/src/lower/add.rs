//! Sums of two values.

use bitsback_runtime::Op;
use bitsback_runtime::format::Clamp;
use bitsback_runtime::ops::Add;
use bitsback_runtime::requantize::Multiplier;
#[cfg(feature = "training")]
use bitsback_runtime::requantize::requantize;

use super::affine::{clamp, not_finer_than};
use super::fuse::{Activation, AddStage};
use super::multiplier::multiplier;
use super::{LowerError, Lowering};
use crate::calibrate::Quantization;

/// Positions that operands are shifted left before they are scaled; the operator's definition.
const LEFT_SHIFT: u32 = 20;

/// A sum's integer arithmetic, as the device does it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    /// Factors of the operands.
    multipliers: [Multiplier; 2],
    /// Factor of the sum.
    output_multiplier: Multiplier,
    /// The output's quantisation.
    pub(crate) output: Quantization,
    /// The activation.
    pub(crate) clamp: Clamp,
    /// Steps of the output per step of each operand, for gradients.
    #[cfg(feature = "training")]
    pub(crate) factors: [f32; 2],
}

impl Sum {
    /// Of values with the quantisations `operands`.
    ///
    /// # Errors
    /// [`LowerError::Scale`].
    pub(crate) fn new(
        operands: [Quantization; 2],
        wanted: Quantization,
        activation: Activation,
        name: &str,
    ) -> Result<Self, LowerError> {
        for scale in [operands[0].scale, operands[1].scale, wanted.scale] {
            if !(scale.is_finite() && scale > 0.0) {
                return Err(LowerError::Scale { layer: name.to_owned(), scale });
            }
        }
        let scales = operands.map(|operand| f64::from(operand.scale));
        let twice = 2.0 * scales[0].max(scales[1]);
        let unit = twice / f64::from(1u32 << LEFT_SHIFT);
        let output = not_finer_than(wanted, unit);
        Ok(Self {
            multipliers: scales.map(|scale| multiplier(scale / twice)),
            output_multiplier: multiplier(unit / f64::from(output.scale)),
            output,
            clamp: clamp(activation, output),
            #[cfg(feature = "training")]
            factors: operands.map(|operand| operand.scale / output.scale),
        })
    }

    /// The sum of two operands less their zero points, before the clamp.
    #[cfg(feature = "training")]
    pub(crate) fn apply(&self, operands: [i32; 2]) -> i32 {
        let [a, b] = [0, 1].map(|i| self.multipliers[i].apply(operands[i] << LEFT_SHIFT));
        requantize(a.wrapping_add(b), self.output_multiplier, self.output.zero_point)
    }
}

/// One operator.
pub(super) fn lower(lowering: &mut Lowering, stage: &AddStage) -> Result<(), LowerError> {
    let name = lowering.numbered("add");
    let wanted = lowering.activations.sums[stage.index];
    let first = lowering.source(stage.layer, &name)?;
    let operand = lowering.current;
    let residual = lowering.residual;
    lowering.go_on_from(&stage.name);
    let second = lowering.source(stage.layer, &name)?;
    let sum = Sum::new([operand, lowering.current], wanted, stage.activation, &name)?;
    let residual = residual + lowering.residual;
    let output = lowering.tensor(stage.layer + 1, &name, sum.output)?;
    let op = Op::Add(Add {
        inputs: [first, second],
        output,
        multipliers: sum.multipliers,
        output_multiplier: sum.output_multiplier,
        clamp: sum.clamp,
    });
    lowering.push(op, name, stage.boundary, sum.output);
    lowering.residual = residual;
    Ok(())
}
