//! Leaky rectifiers.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::unary;
#[cfg(feature = "training")]
use crate::train::operator::{Elementwise, Inputs, Pass, Tensor, Value, activation};

/// x for x ≥ 0, else the slope times x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeakyRelu {
    /// Slope below 0.
    pub alpha: f32,
}

impl LeakyRelu {
    fn apply(self, x: f32) -> f32 {
        if x < 0.0 { self.alpha * x } else { x }
    }
}

impl Operator for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky_relu"
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
impl Elementwise for LeakyRelu {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::relu(x.clone()) - activation::relu(x.neg()) * self.alpha
    }
}
