//! Softmax over channels or features.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::unary;
#[cfg(feature = "training")]
use crate::train::operator::{Elementwise, Inputs, Pass, Tensor, Value, activation};

/// Softmax over the last dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Softmax {}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        rows(x, site.output.channels(), |below, sum| below.exp() / sum)
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.map(self)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Fixed
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }
}

/// Every row of `len` values: `f` of how far a value is below the row's largest, and of the sum of the
/// exponentials of these.
pub(super) fn rows(x: &Operands<'_>, len: usize, f: impl Fn(f64, f64) -> f64) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.all().len());
    for row in x.all().chunks_exact(len.max(1)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - most).exp()).sum();
        y.extend(row.iter().map(|&x| f(f64::from(x - most), sum) as f32));
    }
    y
}

#[cfg(feature = "training")]
impl Elementwise for Softmax {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::softmax(x, D - 1)
    }
}
