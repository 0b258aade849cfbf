//! What a layer's parameters become when groups go.

use super::{PruneError, Shrinkage};
use crate::graph::Affine;
use crate::posterior::LayerPosterior;

/// Parameters of a layer that a shrinking step can be applied to.
pub trait Sliced: Sized {
    /// What `step` leaves of them; they are those of the layer number `layer`, from 0.
    ///
    /// # Errors
    /// When there is no such layer, or a tensor has another length than the layer needs.
    fn sliced(&self, layer: usize, step: &Shrinkage) -> Result<Self, PruneError>;
}

impl Sliced for () {
    fn sliced(&self, _layer: usize, _step: &Shrinkage) -> Result<Self, PruneError> {
        Ok(())
    }
}

impl Sliced for Affine {
    fn sliced(&self, layer: usize, step: &Shrinkage) -> Result<Self, PruneError> {
        Ok(Self {
            weight: step.slice_weight(layer, &self.weight)?,
            bias: step.slice_bias(layer, &self.bias)?,
        })
    }
}

impl Sliced for LayerPosterior {
    fn sliced(&self, layer: usize, step: &Shrinkage) -> Result<Self, PruneError> {
        Ok(Self {
            weight_mean: step.slice_weight(layer, &self.weight_mean)?,
            weight_variance: step.slice_weight(layer, &self.weight_variance)?,
            bias_mean: step.slice_bias(layer, &self.bias_mean)?,
            bias_variance: step.slice_bias(layer, &self.bias_variance)?,
            scale_mean: step.slice_groups(layer, &self.scale_mean)?,
            scale_variance: step.slice_groups(layer, &self.scale_variance)?,
            prune_score: step.slice_groups(layer, &self.prune_score)?,
            description_length_nats: self.description_length_nats,
        })
    }
}
