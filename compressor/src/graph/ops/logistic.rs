//! The logistic function.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::lower::{LowerError, Lowering, fixed, unfixed};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value, activation};
use crate::numbers::Quantization;

/// 1 / (1 + exp(−x)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logistic {}

impl Logistic {
    fn apply(self, x: f32) -> f32 {
        1.0 / (1.0 + (-x).exp())
    }
}

impl Operator for Logistic {
    fn name(&self) -> &'static str {
        "logistic"
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
        let multiplier = fixed(lowering.quantization(first), INTEGER_BITS);
        lowering.unary(IntegerLogistic { multiplier }, UNIT)
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.unary("Sigmoid", Vec::new())
    }
}

#[cfg(feature = "training")]
impl Elementwise for Logistic {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::sigmoid(x)
    }
}

/// Bits before the point of what it computes with.
const INTEGER_BITS: i32 = 4;
/// The output: 0 to 1 in 256ths.
pub(super) const UNIT: Quantization = Quantization { scale: 1.0 / 256.0, zero_point: i8::MIN };

/// The logistic function of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerLogistic {
    /// The input's scale in fixed point.
    pub multiplier: Multiplier,
}

impl IntegerOperator for IntegerLogistic {
    fn label(&self) -> &'static str {
        "logistic"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Logistic(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        let multiplier = self.multiplier;
        Ok(runtime::Op::Logistic(ops::Logistic { input, output, multiplier }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        let input = unfixed(self.multiplier, INTEGER_BITS);
        vec![Relation::Operand(0, input), Relation::Output(f64::from(UNIT.scale))]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Logistic {}.into(), Clamp::NONE))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}
