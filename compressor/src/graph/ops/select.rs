//! Selections of features.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Attribute, Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Kept, Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::{IntegerOp, Op};
#[cfg(feature = "training")]
use crate::graph::tensor::integer::{IntegerLayer, IntegerSite};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value};
use crate::numbers::Quantization;

/// Keeps the listed features of a vector, in ascending order: what pruning leaves of the inputs of a
/// dense layer when what is before it can't shrink to match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Select {
    /// Ascending indices into the incoming features.
    pub keep: Vec<u32>,
}

impl Operator for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let (from, keep) = (site.input(), &self.keep);
        let ascending = keep.windows(2).all(|pair| pair[0] < pair[1]);
        let inside = keep.last().is_some_and(|&last| (last as usize) < from.len());
        let flat = from.dims.len() == 1 && site.output.dims == [keep.len()];
        unless(ascending && inside && flat, "indices must ascend and lie within a vector")
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let select = |x: &[f32]| -> Vec<f32> { self.keep.iter().map(|&k| x[k as usize]).collect() };
        x.examples().flat_map(select).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.select(&self.keep)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Taken(self.keep.iter().map(|&k| (0, k as usize)).collect())
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn commutes_with_limits(&self) -> bool {
        true
    }

    fn keeps_range(&self) -> bool {
        true
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        if self.keep.len() == lowering.operand_len(0) {
            return lowering.pass();
        }
        let (first, residual) = (lowering.operand(0)?, lowering.residual(0)?);
        let op = IntegerSelect { keep: self.keep.clone() };
        lowering.unary(op, lowering.quantization(first))?;
        lowering.lacks(residual);
        Ok(())
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let keep: Vec<i64> = self.keep.iter().map(|&feature| i64::from(feature)).collect();
        let (keep, x, output) = (file.longs(&keep), file.operand(0), file.output());
        file.emit("Gather", &[&x, &keep], &output, vec![("axis", Attribute::Int(1))]);
        Ok(())
    }
}

/// Bytes of a vector that are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerSelect {
    /// Ascending indices.
    pub keep: Vec<u32>,
}

impl IntegerOperator for IntegerSelect {
    fn label(&self) -> &'static str {
        "select"
    }

    fn of(step: &Step, section: &[u8]) -> Option<Self> {
        let runtime::Op::Select(op) = &step.op else { return None };
        let mask = section.get(op.mask as usize..)?;
        let len = step.inputs().next()?.len();
        let kept = |at: &usize| mask.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        Some(Self { keep: (0..len).filter(kept).map(|at| at as u32).collect() })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let mut mask = vec![0u8; emitter.dims(0).iter().product::<usize>().div_ceil(8)];
        for &feature in &self.keep {
            if let Some(byte) = mask.get_mut(feature as usize / 8) {
                *byte |= 1 << (feature % 8);
            }
        }
        let mask = emitter.store(&mask)?;
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        Ok(runtime::Op::Select(ops::Select { input, output, mask }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        let Some(x) = known.inputs.first() else { return known.nothing() };
        self.keep.iter().map(|&at| x.at(at as usize)).collect()
    }

    fn on_kept(&self, kept: Kept<'_>) -> Option<IntegerOp> {
        let left = self.keep.iter().enumerate().filter(|(output, _)| kept.output(*output));
        let (mut before, mut seen) = (0, 0);
        let keep = left.map(|(_, &at)| {
            let at = at as usize;
            before += kept.inputs_within(seen..at);
            seen = at;
            before as u32
        });
        Some(Self { keep: keep.collect() }.into())
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Select { keep: self.keep.clone() }.into(), Clamp::NONE))
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &IntegerSite<'_>, x: Inputs, _: Option<&IntegerLayer<'_>>) -> Option<Value> {
        Some(x.first.select(&self.keep))
    }

    #[cfg(feature = "training")]
    fn trains(&self) -> bool {
        true
    }
}
