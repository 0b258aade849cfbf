//! Two-dimensional convolutions.

use serde::{Deserialize, Serialize};

use super::super::Window;
use super::super::execute::Operands;
use super::super::kernels::{self, Ends};
use super::super::operator::{Groups, Operator, Prepared, Site, Units, Weights};

/// Cross-correlation over all channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Kernel, stride, dilation and padding.
    pub window: Window,
}

impl Operator for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        kernels::check_window(self.window, site)
    }

    fn weights(&self, site: &Site<'_>) -> Option<Weights> {
        let (outputs, inputs) = (site.output.channels(), site.input().channels());
        Some(Weights { outputs, taps: self.window.taps(), inputs, groups: Groups::Filters })
    }

    fn is_matrix(&self) -> bool {
        true
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32> {
        let Some(layer) = layer else { return Vec::new() };
        let ends = Ends::new(self.window, site);
        x.examples().flat_map(|x| layer.multiply(&kernels::patches(x, &ends))).collect()
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Mixed
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn reads_padding(&self, site: &Site<'_>) -> bool {
        kernels::reads_padding(self.window, site)
    }

    fn mean_columns(&self, site: &Site<'_>, mean: &[f32]) -> Option<Vec<f32>> {
        Some(kernels::mean_patch(mean, &Ends::new(self.window, site)))
    }
}
