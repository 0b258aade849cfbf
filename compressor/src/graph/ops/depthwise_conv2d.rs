//! Convolutions within a channel.

use serde::{Deserialize, Serialize};

use super::super::Window;
use super::super::execute::Operands;
use super::super::kernels::{self, Ends};
use super::super::operator::{Groups, Operator, Prepared, Site, Units, Weights, unless};

/// Cross-correlation within a channel: output o reads channel o / (outputs / channels). With
/// [`Window::ONE`] it is a factor and a summand per channel, which is how a batch normalisation that
/// couldn't be folded is kept.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DepthwiseConv2d {
    /// Kernel, stride, dilation and padding.
    pub window: Window,
}

impl Operator for DepthwiseConv2d {
    fn name(&self) -> &'static str {
        "depthwise_conv2d"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        kernels::check_window(self.window, site).or_else(|| {
            let whole = site.output.channels().is_multiple_of(site.input().channels().max(1));
            unless(whole, "there must be as many outputs for each channel")
        })
    }

    fn weights(&self, site: &Site<'_>) -> Option<Weights> {
        let (outputs, taps) = (site.output.channels(), self.window.taps());
        Some(Weights { outputs, taps, inputs: 1, groups: Groups::Channels })
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32> {
        let Some(layer) = layer else { return Vec::new() };
        let ends = Ends::new(self.window, site);
        x.examples().flat_map(|x| kernels::depthwise(x, &ends, layer.affine)).collect()
    }

    fn units(&self, site: &Site<'_>) -> Units {
        match (site.input().channels(), site.output.channels()) {
            (from, to) if from == to => Units::Alike,
            // Any number of outputs of the one channel is a whole number of them.
            (1, _) => Units::Mixed,
            _ => Units::Fixed,
        }
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
