//! Products of two values.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units};
use super::pair;

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
