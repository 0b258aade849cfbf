//! Logarithm of the softmax over channels or features.

use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::softmax::rows;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value, activation};

/// Logarithm of the softmax over the last dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogSoftmax {}

impl Operator for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        rows(x, site.output.channels(), |below, sum| below - sum.ln())
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.map(self)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Fixed
    }

    fn places(&self, _site: &Site<'_>) -> Places {
        Places::Alike
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        // Its order is that of what it is made of.
        if lowering.is_last() {
            return lowering.pass();
        }
        Err(lowering.unsupported("the model's output"))
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.over_channels("LogSoftmax", site)
    }
}

#[cfg(feature = "training")]
impl Elementwise for LogSoftmax {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::log_softmax(x, D - 1)
    }
}
