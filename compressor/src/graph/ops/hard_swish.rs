//! The hard swish of MobileNetV3 (Howard et al. 2019, arXiv:1905.02244).

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::unary;
#[cfg(feature = "training")]
use crate::train::operator::{Elementwise, Inputs, Pass, Tensor, Value};

/// x · min(max(x + 3, 0), 6) / 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HardSwish {}

impl HardSwish {
    fn apply(self, x: f32) -> f32 {
        x * (x + 3.0).clamp(0.0, 6.0) / 6.0
    }
}

impl Operator for HardSwish {
    fn name(&self) -> &'static str {
        "hard_swish"
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
impl Elementwise for HardSwish {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.clone() * (x + 3.0).clamp(0.0, 6.0) / 6.0
    }
}
