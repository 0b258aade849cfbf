//! Group pruning: which groups go, and what is left of every tensor when they do.
//!
//! - [`shrinkage`]: dead groups → smaller graph and the slices of every tensor (used while training,
//!   too), with [`sliced`] for what layers hold;
//! - [`ties`](mod@ties): which layers' groups go together in a network with branches;
//! - [`edges`](mod@edges): the outer rows and columns of an image, which can leave, too;
//! - [`lineage`]: which groups of the original network the current ones are;
//! - [`batch_norm`], [`constants`], [`weights`]: float networks: normalisation folded into weights,
//!   constants into biases, the posterior into numbers;
//! - [`order`]: by what groups are ordered;
//! - [`threshold`]: where the histogram of prune scores has its valley, and what validation allows.

mod areas;
pub(crate) mod batch_norm;
pub(crate) mod constants;
pub(crate) mod edges;
pub(crate) mod lineage;
mod liveness;
pub(crate) mod order;
pub(crate) mod parameters;
mod rebuild;
pub(crate) mod shrinkage;
pub(crate) mod sliced;
mod spaces;
mod spares;
pub(crate) mod threshold;
pub(crate) mod ties;
pub(crate) mod weights;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod random_graphs;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use batch_norm::fold_batch_norm;
pub(crate) use constants::fold_constants;
pub(crate) use edges::{Edge, Side, edges};
pub(crate) use lineage::{Decision, Lineage};
pub use order::Order;
pub(crate) use parameters::check_parameters;
pub(crate) use shrinkage::Shrinkage;
pub(crate) use sliced::Sliced;
pub(crate) use threshold::{Histogram, Thresholds, choose_threshold};
pub(crate) use ties::{prune_score, ties};
pub(crate) use weights::{posterior_mean, posterior_variance};

use crate::graph::GraphError;

/// `[prune]`: which groups go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PruneConfig {
    /// Groups whose prune score reaches this value go; without it, the threshold is the most
    /// severe one that validation allows, tried at the valley of the histogram first.
    pub threshold: Option<f32>,
    /// How much the validation loss of the posterior's mean may rise through pruning, in nats.
    pub loss_rise: f64,
}

impl Default for PruneConfig {
    fn default() -> Self {
        Self { threshold: None, loss_rise: 0.01 }
    }
}

/// What is wrong with a request to prune.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PruneError {
    /// The graph is inconsistent.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Not one entry per layer with weights.
    #[error(
        "{what} for {found} layers were given, but the network has {expected} layers with weights"
    )]
    LayerCount {
        /// What was given.
        what: &'static str,
        /// Layers with weights of the graph.
        expected: usize,
        /// Entries given.
        found: usize,
    },
    /// A vector that belongs to a layer has another length than the layer needs.
    #[error("{layer}: {what} has {found} values, but the layer needs {expected}")]
    Length {
        /// Name of the layer.
        layer: String,
        /// Which vector.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A layer was asked for that does not exist.
    #[error("there is no layer {layer} with weights; the network has {count}, counted from 0")]
    NoSuchLayer {
        /// The one asked for.
        layer: usize,
        /// How many there are.
        count: usize,
    },
    /// Batch normalisation is still there where it must have been folded.
    #[error("{layer} is a batch normalisation; fold it (`fold_batch_norm`) before pruning")]
    BatchNormNotFolded {
        /// Name of the layer.
        layer: String,
    },
    /// A batch normalisation that can't be folded into the weights before it.
    #[error(
        "{layer} (batch_norm) follows {before}; it can only be folded when it directly follows a \
         dense or conv2d, whose output nothing else reads: move it there"
    )]
    BatchNormPlace {
        /// Name of the layer.
        layer: String,
        /// Kind of the layer before.
        before: &'static str,
    },
    /// A number is infinite or not a number.
    #[error("{layer}: {what} is not finite; training diverged, so lower the learning rate")]
    NotFinite {
        /// Name of the layer.
        layer: String,
        /// Which vector.
        what: &'static str,
    },
}
