//! Sums of two values.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::{Multiplier, requantize};
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
use super::pair;
#[cfg(feature = "training")]
use crate::graph::tensor::integer::{
    IntegerLayer, IntegerSite, holds, numbers, widened, with_gradient_of,
};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pairwise, Pass, Tensor, Value, constant};
use crate::numbers::{Quantization, factor, multiplier};

/// Sum of two values of one shape; the second, which may be a constant, may also have one number per
/// channel, or one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Add {}

impl Operator for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn takes(&self, operands: usize) -> bool {
        operands == 2
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        pair::check(site)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        pair::forward(site, x, |a, b| a + b)
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.rest.into_iter().fold(x.first, |x, y| x.join(y, self))
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn places(&self, _site: &Site<'_>) -> Places {
        Places::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        match *operands {
            [a, b] => Some(a + b),
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
        let [a, b] = operands.map(|id| f64::from(lowering.quantization(id).scale));
        let twice = 2.0 * a.max(b);
        let unit = twice / f64::from(1u32 << LEFT_SHIFT);
        let to = lowering.wanted_at_least(unit)?;
        let residual = lowering.residual(0)? + lowering.residual(1)?;
        let op = IntegerAdd {
            multipliers: [multiplier(a / twice), multiplier(b / twice)],
            output_multiplier: multiplier(unit / f64::from(to.scale)),
            clamp: lowering.clamp(to),
        };
        lowering.write(op, operands.to_vec(), lowering.output_dims().to_vec(), to, None);
        lowering.lacks(residual);
        Ok(())
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        pair::export(site, "Add", file)
    }
}

#[cfg(feature = "training")]
impl Pairwise for Add {
    fn on<const D: usize>(&self, x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
        x + y
    }
}

/// Positions that operands are shifted left before they are scaled; the operator's definition.
const LEFT_SHIFT: u32 = 20;

/// A sum of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerAdd {
    /// Factors of the operands.
    pub multipliers: [Multiplier; 2],
    /// Factor of the sum.
    pub output_multiplier: Multiplier,
    /// Fused activation.
    pub clamp: Clamp,
}

impl IntegerAdd {
    /// The sum of two operands less their zero points, before the clamp.
    fn sum(&self, (a, b): (i32, i32), to: Quantization) -> i32 {
        let [a, b] = [(0, a), (1, b)].map(|(i, x)| self.multipliers[i].apply(x << LEFT_SHIFT));
        requantize(a.wrapping_add(b), self.output_multiplier, to.zero_point)
    }
}

impl IntegerOperator for IntegerAdd {
    fn label(&self) -> &'static str {
        "add"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Add(op) = &step.op else { return None };
        let ops::Add { multipliers, output_multiplier, clamp, .. } = *op;
        Some(Self { multipliers, output_multiplier, clamp })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { multipliers, output_multiplier, clamp } = *self;
        let (inputs, output) = ([emitter.flat(0)?, emitter.flat(1)?], emitter.output()?);
        Ok(runtime::Op::Add(ops::Add { inputs, output, multipliers, output_multiplier, clamp }))
    }

    /// The sum grows with each operand, whose factors are at most 1.
    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        let [a, b] = self.multipliers;
        let sound = |multiplier: Multiplier| multiplier.is_sound() && multiplier.shift <= 0;
        let zeros: Vec<i8> = known.inputs.iter().map(|x| x.value.quantization.zero_point).collect();
        let &[first, second] = zeros.as_slice() else { return known.nothing() };
        if ![a, b, self.output_multiplier].into_iter().all(sound) {
            return known.nothing();
        }
        let to = known.output.quantization;
        known.pairs(|a, b| {
            let ends = a.about(first).into_iter().zip(b.about(second));
            let mut ends = ends.map(|(a, b)| self.sum((a as i32, b as i32), to));
            let ends =
                [ends.next(), ends.next()].map(|sum| Clamp::NONE.apply(sum.unwrap_or_default()));
            Span { low: ends[0], high: ends[1] }.clamped(self.clamp)
        })
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        let sum = factor(self.output_multiplier) * f64::from(1u32 << LEFT_SHIFT);
        let [a, b] = self.multipliers.map(|multiplier| factor(multiplier) * sum);
        vec![Relation::Ratio(0, a), Relation::Ratio(1, b)]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Add {}.into(), self.clamp))
    }

    fn one_by_one(&self) -> bool {
        true
    }

    #[cfg(feature = "training")]
    fn train(
        &self,
        site: &IntegerSite<'_>,
        x: Inputs,
        _: Option<&IntegerLayer<'_>>,
    ) -> Option<Value> {
        let Inputs { first: x, mut rest } = x;
        let y = rest.pop()?;
        let (shape, device) = ([x.batch(), x.features()], x.device());
        let (x, y, to) = (x.flat(), widened(y.flat(), shape[1]), site.to());
        let zero_point = f32::from(to.zero_point);
        let integers = |t: &Tensor<2>| numbers(t).into_iter().map(|v| v.round() as i32);
        let sums: Vec<i32> =
            integers(&x).zip(integers(&y)).map(|pair| self.sum(pair, to)).collect();
        let exact = sums.iter().map(|&q| f32::from(self.clamp.apply(q)) - zero_point).collect();
        let [by_x, by_y] = [0, 1].map(|operand| {
            let factor = site.from(operand).scale / to.scale;
            let slope = |&q: &i32| if holds(self.clamp, q) { 0.0 } else { factor };
            constant(sums.iter().map(slope).collect(), shape, &device)
        });
        let sum = with_gradient_of(x * by_x + y * by_y, constant(exact, shape, &device));
        Some(Value::of_rows(sum, &site.output.dims))
    }

    #[cfg(feature = "training")]
    fn trains(&self) -> bool {
        true
    }
}
