//! Pooling by the largest value.

use serde::{Deserialize, Serialize};

use super::super::Window;
use super::super::execute::Operands;
use super::super::kernels::{self, Ends};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
#[cfg(feature = "training")]
use crate::train::operator::{Inputs, Pass, Value, max_pool, rows_and_columns};

/// Largest value of each window; padding never wins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool2d {
    /// Size, stride and padding.
    pub window: Window,
}

impl Operator for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let same = site.input().channels() == site.output.channels();
        kernels::check_window(self.window, site).or_else(|| unless(same, "channels must be equal"))
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let ends = Ends::new(self.window, site);
        let pool = |x: &[f32]| kernels::pool(x, &ends, f32::NEG_INFINITY, f32::max, |most, _| most);
        x.examples().flat_map(pool).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        Value::Image(max_pool(x.first.image(), self.window, rows_and_columns(site)))
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }
}
