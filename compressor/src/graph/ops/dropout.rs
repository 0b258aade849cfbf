//! Random zeroing while pre-training.

use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::places::Places;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value};

/// Zeroes values at random in pre-training; nothing at inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// Probability of zeroing, 0 < rate < 1.
    pub rate: f32,
}

impl Operator for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let sound = self.rate > 0.0 && self.rate < 1.0;
        unary::check(site).or_else(|| unless(sound, "its rate must be between 0 and 1"))
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        x.all().to_vec()
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, pass: &mut Pass<'_>) -> Value {
        pass.dropout(self.rate, x.first)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn places(&self, _site: &Site<'_>) -> Places {
        Places::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn commutes_with_limits(&self) -> bool {
        true
    }

    fn keeps_range(&self) -> bool {
        true
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        lowering.pass()
    }

    fn export(&self, _: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        // At inference it changes nothing.
        file.unary("Identity", Vec::new())
    }
}
