//! Joins.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Attribute, Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Tensor, Value};
use crate::numbers::Quantization;

/// Values side by side along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concat {
    /// The dimension that grows, from 0.
    pub axis: usize,
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn takes(&self, operands: usize) -> bool {
        operands >= 1
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let (axis, to) = (self.axis, &site.output.dims);
        let mut sum = 0usize;
        for value in &site.inputs {
            let mut pairs = value.dims.iter().zip(to).enumerate();
            if value.dims.len() != to.len() || !pairs.all(|(i, (a, b))| i == axis || a == b) {
                return Some("all dimensions but the joined one must be equal");
            }
            sum = sum.saturating_add(value.dims.get(axis).copied().unwrap_or(0));
        }
        (to.get(axis) != Some(&sum)).then_some("the operands don't fill the output")
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let outer: usize = site.output.dims.iter().take(self.axis).product();
        let mut y = Vec::with_capacity(x.count() * site.output.len());
        for example in 0..x.count() {
            let operands = x.of(example, site.inputs.iter().map(|value| value.len()));
            for block in 0..outer {
                for x in &operands {
                    let run = x.len() / outer;
                    y.extend_from_slice(&x[block * run..][..run]);
                }
            }
        }
        y
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        let outer: usize = site.output.dims.iter().take(self.axis).product();
        let rows = |x: Value| {
            let (batch, len) = (x.batch(), x.features());
            x.flat().reshape([batch * outer, len / outer.max(1)])
        };
        let batch = x.first.batch();
        let operands = [x.first].into_iter().chain(x.rest).map(rows).collect();
        let y = Tensor::cat(operands, 1).reshape([batch, site.output.len()]);
        Value::of_rows(y, &site.output.dims)
    }

    fn units(&self, site: &Site<'_>) -> Units {
        if self.axis + 1 != site.output.dims.len() {
            return Units::Alike;
        }
        let operands = site.inputs.iter().enumerate();
        let units = operands.flat_map(|(at, value)| (0..value.channels()).map(move |u| (at, u)));
        Units::Taken(units.collect())
    }

    fn places(&self, site: &Site<'_>) -> Places {
        if self.axis + 1 == site.output.dims.len() { Places::Alike } else { Places::Fixed }
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        let first = operands.first().copied()?;
        operands.iter().all(|&operand| operand == first).then_some(first)
    }

    fn joins(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let to = lowering.wanted()?;
        let mut inputs = Vec::with_capacity(lowering.node().inputs.len());
        for place in 0..lowering.node().inputs.len() {
            let operand = lowering.operand(place)?;
            inputs.push(lowering.rescaled(operand, to));
        }
        let (axis, dims) = (self.axis, lowering.output_dims().to_vec());
        lowering.write(IntegerConcat { axis }, inputs, dims, to, None);
        Ok(())
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let image = site.input().dims.len() == 3;
        let axis = if image { [2, 3, 1][self.axis] } else { self.axis as i64 + 1 };
        let operands: Vec<String> = (0..site.inputs.len()).map(|at| file.operand(at)).collect();
        let operands: Vec<&str> = operands.iter().map(String::as_str).collect();
        let output = file.output();
        file.emit("Concat", &operands, &output, vec![("axis", Attribute::Int(axis))]);
        Ok(())
    }
}

/// Values side by side: bytes are copied, of any number of operands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerConcat {
    /// The dimension that grows, from 0.
    pub axis: usize,
}

impl IntegerOperator for IntegerConcat {
    fn label(&self) -> &'static str {
        "concat"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Concat(op) = &step.op else { return None };
        Some(Self { axis: op.axis.into() })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let output = emitter.output()?;
        let inputs = (0..emitter.operands()).map(|at| emitter.bytes(at));
        let inputs = inputs.collect::<Result<_, LowerError>>()?;
        Ok(runtime::Op::Concat(ops::Concat { inputs, output, axis: self.axis as u8 }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        if self.axis + 1 == known.output.dims.len() {
            let all = known.inputs.iter();
            return all.flat_map(|x| (0..x.value.units()).map(|unit| x.at(unit))).collect();
        }
        let mut all = (0..known.inputs.len()).map(|operand| known.alike(operand, |span| span));
        let Some(first) = all.next() else { return known.nothing() };
        all.fold(first, |spans, more| spans.into_iter().zip(more).map(|(a, b)| a.or(b)).collect())
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Concat { axis: self.axis }.into(), Clamp::NONE))
    }
}
