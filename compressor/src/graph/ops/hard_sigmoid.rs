//! The hard sigmoid: a line between 0 and 1, as in MobileNetV3 (Howard et al. 2019, arXiv:1905.02244).
//!
//! On integers it is a rescaling: with 256 steps from 0 to 1, whose zero is −128, the line's middle is the
//! byte 0. The runtime's record says that its bytes are about 0; what reads them says that they are about
//! −128, which adds the half.

use bitsback_runtime::format::{Clamp, Tensor as RuntimeTensor};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Attribute, Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::places::Places;
use super::logistic::UNIT;
use super::{Op, unary};
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value};
use crate::numbers::{Quantization, factor, multiplier};

/// The byte that the middle of the line is.
const MIDDLE: i8 = 0;

/// min(max(slope · x + ½, 0), 1).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HardSigmoid {
    /// Slope of the line: 1/6 in PyTorch and MobileNetV3, 1/5 by default in ONNX.
    pub slope: f32,
}

impl HardSigmoid {
    /// min(max(x + 3, 0), 6) / 6.
    pub const SIXTH: Self = Self { slope: 1.0 / 6.0 };

    fn apply(self, x: f32) -> f32 {
        (self.slope * x + 0.5).clamp(0.0, 1.0)
    }
}

impl Operator for HardSigmoid {
    fn name(&self) -> &'static str {
        "hard_sigmoid"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let sound = self.slope.is_finite() && self.slope > 0.0;
        unary::check(site).or_else(|| unless(sound, "its slope must be positive"))
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
        let steps = f64::from(lowering.quantization(first).scale) / f64::from(UNIT.scale);
        let multiplier = multiplier(steps * f64::from(self.slope));
        lowering.unary(IntegerHardSigmoid { multiplier, slope: self.slope }, UNIT)
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let alpha = ("alpha", Attribute::Float(self.slope));
        file.unary("HardSigmoid", vec![alpha, ("beta", Attribute::Float(0.5))])
    }
}

#[cfg(feature = "training")]
impl Elementwise for HardSigmoid {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        (x * self.slope + 0.5).clamp(0.0, 1.0)
    }
}

/// The hard sigmoid of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerHardSigmoid {
    /// Steps of the output per step of the input.
    pub multiplier: Multiplier,
    /// Slope of the line that it stands for.
    pub slope: f32,
}

impl IntegerHardSigmoid {
    /// What its readers take its bytes to be about.
    pub const ZERO_POINT: i8 = UNIT.zero_point;

    /// The same with the slope that it has for an input of the scale `from`.
    pub fn reading(self, from: f64) -> Self {
        let slope = factor(self.multiplier) * f64::from(UNIT.scale) / from;
        Self { slope: slope as f32, ..self }
    }

    /// The scale of an input for which its slope is a sixth, as in MobileNetV3.
    pub fn usual_scale(self) -> f64 {
        factor(self.multiplier) * f64::from(UNIT.scale) / f64::from(HardSigmoid::SIXTH.slope)
    }

    /// Whether a record's bytes are about the middle, and are read as about `zero_point`.
    pub fn is_read_as(written: &RuntimeTensor, zero_point: i8) -> bool {
        written.zero_point == MIDDLE && zero_point == UNIT.zero_point
    }
}

impl IntegerOperator for IntegerHardSigmoid {
    fn label(&self) -> &'static str {
        "rescale"
    }

    /// A record alone is a rescaling; what reads it makes the difference.
    fn of(_: &Step, _: &[u8]) -> Option<Self> {
        None
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let output = RuntimeTensor { zero_point: MIDDLE, ..emitter.output()? };
        let (input, multiplier, clamp) = (emitter.flat(0)?, self.multiplier, Clamp::NONE);
        Ok(runtime::Op::Rescale(ops::Rescale { input, output, multiplier, clamp }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Output(f64::from(UNIT.scale))]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((HardSigmoid { slope: self.slope }.into(), Clamp::NONE))
    }

    fn one_by_one(&self) -> bool {
        true
    }

    fn needs_reader(&self) -> bool {
        true
    }
}
