//! The hyperbolic tangent.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::unary;
#[cfg(feature = "training")]
use crate::train::operator::{Elementwise, Inputs, Pass, Tensor, Value};

/// The hyperbolic tangent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tanh {}

impl Tanh {
    fn apply(self, x: f32) -> f32 {
        x.tanh()
    }
}

impl Operator for Tanh {
    fn name(&self) -> &'static str {
        "tanh"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site)
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        unary::forward(x, |x| self.apply(x))
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.map(self)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().map(|&x| self.apply(x))
    }
}

#[cfg(feature = "training")]
impl Elementwise for Tanh {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.tanh()
    }
}
