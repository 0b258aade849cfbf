//! Means over everything but channels.

use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::operator::{Operator, Prepared, Site, Units, unless};
#[cfg(feature = "training")]
use super::super::Window;
#[cfg(feature = "training")]
use crate::train::operator::{Inputs, Pass, Value, avg_pool};

/// Mean over all dimensions but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {}

impl Operator for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let same = site.input().channels() == site.output.len();
        unless(same, "the output must have one value per channel")
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let channels = site.output.len().max(1);
        let mean = |x: &[f32], channel: usize| {
            let sum: f64 = x.iter().skip(channel).step_by(channels).map(|&x| f64::from(x)).sum();
            (sum / (x.len() / channels).max(1) as f64) as f32
        };
        let all = |x| (0..channels).map(move |channel| mean(x, channel));
        x.examples().flat_map(all).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        let (pixels, channels) = (site.input().len() / site.output.len().max(1), site.output.len());
        let x = Value::of_rows(x.first.flat(), &[pixels, 1, channels]);
        let window = Window { size: [pixels, 1], ..Window::ONE };
        let mean = Value::Image(avg_pool(x.image(), window, [1; 2]));
        Value::of_rows(mean.flat(), &site.output.dims)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }
}
