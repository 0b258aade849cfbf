//! The same numbers in another shape.

use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value};

/// The same numbers in the same order, in another shape; an image to features, above all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reshape {}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unless(site.input().len() == site.output.len(), "sizes must be equal")
    }

    fn forward(&self, _: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        x.all().to_vec()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        Value::of_rows(x.first.flat(), &site.output.dims)
    }

    fn units(&self, site: &Site<'_>) -> Units {
        let (from, to) = (site.input().channels(), site.output.channels());
        match site.output.dims.len() {
            // Features are on their own, as each may be left out.
            1 if site.input().dims.len() > 1 => {
                Units::Taken((0..to).map(|feature| (0, feature % from.max(1))).collect())
            }
            _ if from == to => Units::Alike,
            _ => Units::Fixed,
        }
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
        lowering.view(lowering.output_dims().to_vec(), 0)
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let (x, output) = (file.operand(0), file.output());
        file.reshape(&x, &site.input().dims, &site.output.dims, &output);
        Ok(())
    }
}
