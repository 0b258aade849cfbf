//! Leaky rectifiers.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Attribute, Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value, activation};
use crate::numbers::{Quantization, factor, multiplier};

/// x for x ≥ 0, else the slope times x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeakyRelu {
    /// Slope below 0.
    pub alpha: f32,
}

impl LeakyRelu {
    fn apply(self, x: f32) -> f32 {
        if x < 0.0 { self.alpha * x } else { x }
    }
}

impl Operator for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky_relu"
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

    fn takes_any_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let first = lowering.operand(0)?;
        let to = lowering.wanted()?;
        let steps = f64::from(lowering.quantization(first).scale) / f64::from(to.scale);
        let negative = multiplier(steps * f64::from(self.alpha.abs()));
        let value = if self.alpha < 0.0 { -negative.value } else { negative.value };
        let negative = Multiplier { value, ..negative };
        lowering.unary(IntegerLeakyRelu { positive: multiplier(steps), negative }, to)
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.unary("LeakyRelu", vec![("alpha", Attribute::Float(self.alpha))])
    }
}

#[cfg(feature = "training")]
impl Elementwise for LeakyRelu {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::relu(x.clone()) - activation::relu(x.neg()) * self.alpha
    }
}

/// A leaky rectifier of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerLeakyRelu {
    /// Factor of the positive side.
    pub positive: Multiplier,
    /// Factor of the negative side.
    pub negative: Multiplier,
}

impl IntegerOperator for IntegerLeakyRelu {
    fn label(&self) -> &'static str {
        "leaky_relu"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::LeakyRelu(op) = &step.op else { return None };
        Some(Self { positive: op.positive, negative: op.negative })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { positive, negative } = *self;
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        Ok(runtime::Op::LeakyRelu(ops::LeakyRelu { input, output, positive, negative }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Ratio(0, factor(self.positive))]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        let alpha = factor(self.negative) / factor(self.positive).max(f64::MIN_POSITIVE);
        Some((LeakyRelu { alpha: alpha as f32 }.into(), Clamp::NONE))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}
