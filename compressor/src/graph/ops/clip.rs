//! Limits: rectifiers.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::lower::{self, LowerError, Lowering, ratio};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::places::Places;
use super::unary;
use super::{Op, Reshape};
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value, activation};
use crate::numbers::{Quantization, factor};

/// The limits of a rectifier: ReLU is 0 to infinity, ReLU6 is 0 to 6.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Least.
    pub low: f32,
    /// Greatest.
    pub high: f32,
}

impl Clip {
    /// max(x, 0).
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// min(max(x, 0), 6).
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };

    /// What it makes of a number; of what isn't one nothing, so that it shows.
    pub fn apply(self, x: f32) -> f32 {
        match x {
            x if x < self.low => self.low,
            x if x > self.high => self.high,
            x => x,
        }
    }
}

impl Operator for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site).or_else(|| unless(self.low <= self.high, "limits must be ordered"))
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

    fn limits(&self) -> Option<(f32, f32)> {
        Some((self.low, self.high))
    }

    fn keeps_range(&self) -> bool {
        true
    }

    fn takes_any_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let first = lowering.operand(0)?;
        let (from, to) = (lowering.quantization(first), lowering.wanted()?);
        let clamp = lower::clamp(Some((self.low, self.high)), to);
        lowering.unary(IntegerRescale { multiplier: ratio(from, to), clamp }, to)
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        if *self == Self::RELU {
            return file.unary("Relu", Vec::new());
        }
        let [low, high] = [self.low, self.high].map(|limit| match limit.is_finite() {
            true => file.floats(&[], &[limit]),
            false => String::new(),
        });
        let (x, output) = (file.operand(0), file.output());
        file.emit("Clip", &[&x, &low, &high], &output, Vec::new());
        Ok(())
    }
}

#[cfg(feature = "training")]
impl Elementwise for Clip {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match (self.low, self.high) {
            (0.0, f32::INFINITY) => activation::relu(x),
            (low, f32::INFINITY) => x.clamp_min(low),
            (f32::NEG_INFINITY, high) => x.clamp_max(high),
            (low, high) => x.clamp(low, high),
        }
    }
}

/// To another scale, limited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerRescale {
    /// Steps of the output per step of the input.
    pub multiplier: Multiplier,
    /// The limits.
    pub clamp: Clamp,
}

impl IntegerOperator for IntegerRescale {
    fn label(&self) -> &'static str {
        "rescale"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Rescale(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier, clamp: op.clamp })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { multiplier, clamp } = *self;
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        Ok(runtime::Op::Rescale(ops::Rescale { input, output, multiplier, clamp }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Ratio(0, factor(self.multiplier))]
    }

    /// The same numbers in other steps.
    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Reshape {}.into(), self.clamp))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}

/// The bytes, limited, whatever the quantisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerLimit {
    /// The limits.
    pub clamp: Clamp,
}

impl IntegerOperator for IntegerLimit {
    fn label(&self) -> &'static str {
        "rescale"
    }

    /// Its records are those of a rescaling by 1, and read as that.
    fn of(_: &Step, _: &[u8]) -> Option<Self> {
        None
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.bytes(0)?, emitter.output()?);
        let (multiplier, clamp) = (Multiplier::ONE, self.clamp);
        Ok(runtime::Op::Rescale(ops::Rescale { input, output, multiplier, clamp }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Reshape {}.into(), self.clamp))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}
