//! Fully connected layers.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Groups, Operator, Prepared, Site, Units, Weights};
#[cfg(feature = "training")]
use crate::train::operator::{Inputs, Pass, Value};

/// y = W·x + b over all values of the input, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dense {}

impl Operator for Dense {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn check(&self, _site: &Site<'_>) -> Option<&'static str> {
        None
    }

    fn weights(&self, site: &Site<'_>) -> Option<Weights> {
        let (outputs, inputs) = (site.output.len(), site.input().len());
        Some(Weights { outputs, taps: 1, inputs, groups: Groups::Inputs })
    }

    fn is_matrix(&self) -> bool {
        true
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32> {
        layer.map_or_else(Vec::new, |layer| layer.multiply(x.all()))
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, pass: &mut Pass<'_>) -> Value {
        Value::of_rows(pass.dense(x.first.flat()), &site.output.dims)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Mixed
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn mean_columns(&self, _site: &Site<'_>, mean: &[f32]) -> Option<Vec<f32>> {
        Some(mean.to_vec())
    }
}
