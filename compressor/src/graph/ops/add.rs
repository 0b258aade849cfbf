//! Sums of two values.

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
use super::Op;
use super::pair;
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

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
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
}
