//! Selections of features.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units, unless};
#[cfg(feature = "training")]
use crate::train::operator::{Inputs, Pass, Value};

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
}
