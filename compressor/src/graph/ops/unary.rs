//! What functions of single values share: shapes stay, and so does where units are.

use super::super::execute::Operands;
use super::super::operator::{Site, unless};

/// The shape rule of a function of single values.
pub(super) fn check(site: &Site<'_>) -> Option<&'static str> {
    unless(site.input().dims == site.output.dims, "shapes must be equal")
}

/// Every value through `f`.
pub(super) fn forward(x: &Operands<'_>, f: impl Fn(f32) -> f32) -> Vec<f32> {
    x.all().iter().map(|&x| f(x)).collect()
}
