//! Leaky rectifiers.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::unary;

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

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().map(|&x| self.apply(x))
    }
}
