//! Limits: rectifiers.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::unary;
#[cfg(feature = "training")]
use crate::train::operator::{Elementwise, Inputs, Pass, Tensor, Value, activation};

/// The limits of a rectifier: ReLU is 0 to infinity, ReLU6 is 0 to 6.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Least.
    pub low: f32,
    /// Greatest.
    pub high: f32,
}

impl Clip {
    /// max(x, 0).
    pub const RELU: Self = Self { low: 0.0, high: f32::INFINITY };
    /// min(max(x, 0), 6).
    pub const RELU6: Self = Self { low: 0.0, high: 6.0 };

    /// What it makes of a number; of what isn't one nothing, so that it shows.
    pub fn apply(self, x: f32) -> f32 {
        match x {
            x if x < self.low => self.low,
            x if x > self.high => self.high,
            x => x,
        }
    }
}

impl Operator for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site).or_else(|| unless(self.low <= self.high, "limits must be ordered"))
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

    fn limits(&self) -> Option<(f32, f32)> {
        Some((self.low, self.high))
    }
}

#[cfg(feature = "training")]
impl Elementwise for Clip {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match (self.low, self.high) {
            (0.0, f32::INFINITY) => activation::relu(x),
            (low, f32::INFINITY) => x.clamp_min(low),
            (f32::NEG_INFINITY, high) => x.clamp_max(high),
            (low, high) => x.clamp(low, high),
        }
    }
}
