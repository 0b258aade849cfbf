//! What training learned, as plain numbers: the last file that knows of burn's side, bar fine-tuning.

use serde::{Deserialize, Serialize};

use crate::graph::Graph;

/// Which prior the group scales had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prior {
    /// Group normal-Jeffreys; importance is read from log α.
    #[default]
    NormalJeffreys,
    /// Group horseshoe; importance is read from the negative log-mode v − m.
    Horseshoe,
}

/// The posterior of one layer with weights.
///
/// A *group* is what shares one scale z ([`crate::graph::Groups`]).
/// # Shapes
/// `weight_*` as [`crate::graph::Affine::weight`]; `bias_*`: outputs; the rest: groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerPosterior {
    /// Mean of w given z = 1.
    pub weight_mean: Vec<f32>,
    /// Variance of w given z = 1.
    pub weight_variance: Vec<f32>,
    /// Mean of the bias (a convolution's bias is multiplied by z, too).
    pub bias_mean: Vec<f32>,
    /// Variance of the bias.
    pub bias_variance: Vec<f32>,
    /// E\[z\] per group.
    pub scale_mean: Vec<f32>,
    /// V\[z\] per group.
    pub scale_variance: Vec<f32>,
    /// The prune score, log α (normal-Jeffreys) or v − m (horseshoe), per group: *higher means less
    /// needed*.
    #[serde(rename = "unimportance")]
    pub prune_score: Vec<f32>,
    /// KL divergence of the whole layer from its prior in nats, untempered, before any pruning of
    /// what training left.
    pub description_length_nats: f64,
}

/// The posterior of a whole network (without batch normalisation, which is folded before).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// Which prior.
    pub prior: Prior,
    /// What is computed, at the shapes that training ended with, with the posterior of each layer.
    pub graph: Graph<LayerPosterior>,
    /// KL divergence from the prior in nats, untempered: the bits-back description length.
    pub description_length_nats: f64,
}
