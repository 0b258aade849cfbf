//! Products of two values.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Known, Span, requantized};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
use super::pair;
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pairwise, Pass, Tensor, Value};
use crate::numbers::{Quantization, factor, multiplier};

/// Product of two values of one shape; the second, which may be a constant, may also have one number per
/// channel, or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mul {}

impl Operator for Mul {
    fn name(&self) -> &'static str {
        "mul"
    }

    fn takes(&self, operands: usize) -> bool {
        operands == 2
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        pair::check(site)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        pair::forward(site, x, |a, b| a * b)
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.rest.into_iter().fold(x.first, |x, y| x.join(y, self))
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Product
    }

    fn places(&self, _site: &Site<'_>) -> Places {
        Places::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        match *operands {
            [a, b] => Some(a * b),
            _ => None,
        }
    }

    fn has_clamp(&self) -> bool {
        true
    }

    fn saturates(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let operands = [lowering.operand(0)?, lowering.operand(1)?];
        let to = lowering.wanted()?;
        let [a, b] = operands.map(|id| f64::from(lowering.quantization(id).scale));
        let multiplier = multiplier(a * b / f64::from(to.scale));
        let op = IntegerMul { multiplier, clamp: lowering.clamp(to) };
        lowering.write(op, operands.to_vec(), lowering.output_dims().to_vec(), to, None);
        Ok(())
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        pair::export(site, "Mul", file)
    }
}

#[cfg(feature = "training")]
impl Pairwise for Mul {
    fn on<const D: usize>(&self, x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
        x * y
    }
}

/// A product of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerMul {
    /// From products to the output.
    pub multiplier: Multiplier,
    /// Fused activation.
    pub clamp: Clamp,
}

impl IntegerOperator for IntegerMul {
    fn label(&self) -> &'static str {
        "mul"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Mul(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier, clamp: op.clamp })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { multiplier, clamp } = *self;
        let (inputs, output) = ([emitter.flat(0)?, emitter.flat(1)?], emitter.output()?);
        Ok(runtime::Op::Mul(ops::Mul { inputs, output, multiplier, clamp }))
    }

    /// A product of two spans has its ends among those of theirs.
    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        let zeros: Vec<i8> = known.inputs.iter().map(|x| x.value.quantization.zero_point).collect();
        let &[first, second] = zeros.as_slice() else { return known.nothing() };
        known.pairs(|a, b| {
            let ([a, c], [b, d]) = (a.about(first), b.about(second));
            let products = [a * b, a * d, c * b, c * d];
            let ends = products.iter().fold([products[0]; 2], |[low, high], &product| {
                [low.min(product), high.max(product)]
            });
            requantized(ends, self.multiplier, known.output.quantization.zero_point, self.clamp)
        })
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Product([0, 1], factor(self.multiplier))]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Mul {}.into(), self.clamp))
    }

    fn one_by_one(&self) -> bool {
        true
    }
}
