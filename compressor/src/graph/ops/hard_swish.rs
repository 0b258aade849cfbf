//! The hard swish of MobileNetV3 (Howard et al. 2019, arXiv:1905.02244).

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value};
use crate::numbers::{HARD_SWISH_STEPS, Quantization, hard_swish, hard_swish_scales};

/// x · min(max(x + 3, 0), 6) / 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HardSwish {}

impl HardSwish {
    fn apply(self, x: f32) -> f32 {
        x * (x + 3.0).clamp(0.0, 6.0) / 6.0
    }
}

impl Operator for HardSwish {
    fn name(&self) -> &'static str {
        "hard_swish"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site)
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        unary::forward(x, |x| self.apply(x))
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.map(self)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn places(&self, _site: &Site<'_>) -> Places {
        Places::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().map(|&x| self.apply(x))
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let first = lowering.operand(0)?;
        let from = lowering.quantization(first);
        // The product's factor takes no left shift.
        let finest = f64::from(from.scale) / f64::from(HARD_SWISH_STEPS);
        let to = lowering.wanted_at_least(finest)?;
        let [multiplier, gate] = hard_swish(from.scale, to.scale);
        lowering.unary(IntegerHardSwish { multiplier, gate }, to)
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.unary("HardSwish", Vec::new())
    }
}

#[cfg(feature = "training")]
impl Elementwise for HardSwish {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.clone() * (x + 3.0).clamp(0.0, 6.0) / 6.0
    }
}

/// A hard swish of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerHardSwish {
    /// Factor of the product.
    pub multiplier: Multiplier,
    /// Factor that makes the gate.
    pub gate: Multiplier,
}

impl IntegerOperator for IntegerHardSwish {
    fn label(&self) -> &'static str {
        "hard_swish"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::HardSwish(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier, gate: op.gate })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { multiplier, gate } = *self;
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        Ok(runtime::Op::HardSwish(ops::HardSwish { input, output, multiplier, gate }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        let [input, ratio] = hard_swish_scales([self.multiplier, self.gate]);
        vec![Relation::Operand(0, input), Relation::Ratio(0, ratio)]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((HardSwish {}.into(), Clamp::NONE))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}
