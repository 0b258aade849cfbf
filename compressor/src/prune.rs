//! Group pruning.

use serde::{Deserialize, Serialize};

/// `[prune]`: which groups go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PruneConfig {
    /// Groups whose unimportance reaches this value go; without it, the threshold is the most
    /// severe one that validation allows, tried at the valley of the histogram first.
    pub threshold: Option<f32>,
}
