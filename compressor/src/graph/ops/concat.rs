//! Joins.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
#[cfg(feature = "training")]
use crate::train::operator::{Inputs, Pass, Tensor, Value};

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

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        let first = operands.first().copied()?;
        operands.iter().all(|&operand| operand == first).then_some(first)
    }
}
