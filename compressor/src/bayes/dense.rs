//! A Bayesian dense layer by the local reparameterisation trick.

use burn::tensor::{Device, Tensor};

use super::Noise;
use super::leaves::{LayerLeaves, LayerValues};
use super::local::sample_affine;

/// A dense layer in one step's graph.
#[derive(Debug)]
pub struct BayesDense {
    /// Its parameters.
    pub leaves: LayerLeaves,
}

impl BayesDense {
    /// A layer with the parameters `values`.
    pub fn new(values: &LayerValues, device: &Device) -> Self {
        Self { leaves: LayerLeaves::new(values, device) }
    }

    /// A sample of the pre-activations: with x' = x∘z, h ~ N(x'·Wμᵀ + b, x'²·Wσ²ᵀ + σ_b²).
    ///
    /// # Shapes
    /// `x`: `[batch, inputs]`, out: `[batch, outputs]`
    pub fn sample(&self, x: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let [batch, inputs] = x.dims();
        let x = self.leaves.scale(x.reshape([batch, 1, inputs]), noise);
        let [outputs] = self.leaves.affine.bias.dims();
        let sample = noise.vector(batch * outputs);
        sample_affine(x.reshape([batch, inputs]), &self.leaves.affine, sample)
    }
}
