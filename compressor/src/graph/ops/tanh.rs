//! The hyperbolic tangent.

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
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value};
use crate::numbers::Quantization;

/// The hyperbolic tangent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tanh {}

impl Tanh {
    fn apply(self, x: f32) -> f32 {
        x.tanh()
    }
}

impl Operator for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
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
        lowering.unary(IntegerTanh { multiplier }, SYMMETRIC)
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.unary("Tanh", Vec::new())
    }
}

#[cfg(feature = "training")]
impl Elementwise for Tanh {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.tanh()
    }
}

/// Bits before the point of what it computes with.
const INTEGER_BITS: i32 = 4;
/// The output: −1 to 1 in 128ths.
const SYMMETRIC: Quantization = Quantization { scale: 1.0 / 128.0, zero_point: 0 };

/// The hyperbolic tangent of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerTanh {
    /// The input's scale in fixed point.
    pub multiplier: Multiplier,
}

impl IntegerOperator for IntegerTanh {
    fn label(&self) -> &'static str {
        "tanh"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Tanh(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        let multiplier = self.multiplier;
        Ok(runtime::Op::Tanh(ops::Tanh { input, output, multiplier }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        let input = unfixed(self.multiplier, INTEGER_BITS);
        vec![Relation::Operand(0, input), Relation::Output(f64::from(SYMMETRIC.scale))]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Tanh {}.into(), Clamp::NONE))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}
