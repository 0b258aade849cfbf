//! Products of two values.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::pair;
#[cfg(feature = "training")]
use crate::train::operator::{Inputs, Pairwise, Pass, Tensor, Value};

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

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        match *operands {
            [a, b] => Some(a * b),
            _ => None,
        }
    }
}

#[cfg(feature = "training")]
impl Pairwise for Mul {
    fn on<const D: usize>(&self, x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
        x * y
    }
}
