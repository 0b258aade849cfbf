//! A Bayesian dense layer by the local reparameterisation trick.

use burn::tensor::Tensor;

use super::Noise;
use super::layer::LayerParameters;
use super::local::sample_affine;

/// A sample of the pre-activations: with x' = x∘z, h ~ N(x'·Wμᵀ + b, x'²·Wσ²ᵀ + σ_b²).
///
/// # Shapes
/// `x`: `[batch, inputs]`, out: `[batch, outputs]`
pub(crate) fn sample(layer: &LayerParameters, x: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
    let [batch, inputs] = x.dims();
    let x = layer.scale(x.reshape([batch, 1, inputs]), noise);
    let [outputs] = layer.affine.bias.dims();
    let sample = noise.vector(batch * outputs);
    sample_affine(x.reshape([batch, inputs]), &layer.affine, sample)
}
