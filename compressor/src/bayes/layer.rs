//! A layer's parameters on the device in one step, and their gradients.
//!
//! What a step's shards have in common, σ² above all, is computed once a step ([`LayerValues`]);
//! each shard then has parameters of its own ([`LayerParameters`]) on the same memory.

use burn::tensor::{Device, Gradients, Tensor};

use super::local::{AffineParameters, sample_scale};
use super::{AffinePosterior, Gaussian, Link, Noise, Scale};
use crate::graph::tensor::{constant, leaf_of, taken_gradient};

/// The values of one layer's parameters in one step, shared by its shards.
#[derive(Clone, Debug)]
pub(crate) struct LayerValues {
    weight: Tensor<2>,
    variance: Tensor<2>,
    bias: Tensor<1>,
    bias_variance: Tensor<1>,
    location: Tensor<1>,
    spread: Tensor<1>,
    link: Link,
    /// σ² of weights and biases, which their gradients are chained with.
    variances: [Vec<f32>; 2],
}

impl LayerValues {
    /// Values of `posterior` on `device`.
    pub(crate) fn new(posterior: &AffinePosterior, device: &Device) -> Self {
        let device = &device.clone().without_autodiff();
        let outputs = posterior.bias.mean.len();
        let shape = [outputs, posterior.weight.mean.len() / outputs.max(1)];
        let variances = [posterior.weight.variance(), posterior.bias.variance()];
        let [weight_variance, bias_variance] = &variances;
        let (location, spread) = posterior.scale.location_and_spread();
        let groups = location.len();
        Self {
            weight: constant(posterior.weight.mean.clone(), shape, device),
            variance: constant(weight_variance.clone(), shape, device),
            bias: constant(posterior.bias.mean.clone(), [outputs], device),
            bias_variance: constant(bias_variance.clone(), [outputs], device),
            location: constant(location, [groups], device),
            spread: constant(spread, [groups], device),
            link: posterior.scale.link(),
            variances,
        }
    }
}

/// The parameters of one layer in one shard, which gather gradients.
#[derive(Debug)]
pub(crate) struct LayerParameters {
    /// Weights and biases.
    pub affine: AffineParameters,
    location: Tensor<1>,
    spread: Tensor<1>,
    link: Link,
}

impl LayerParameters {
    /// Parameters with `values` on `device`.
    pub(crate) fn new(values: &LayerValues, device: &Device) -> Self {
        Self {
            affine: AffineParameters {
                weight: leaf_of(&values.weight, device),
                variance: leaf_of(&values.variance, device),
                bias: leaf_of(&values.bias, device),
                bias_variance: leaf_of(&values.bias_variance, device),
            },
            location: leaf_of(&values.location, device),
            spread: leaf_of(&values.spread, device),
            link: values.link,
        }
    }

    /// `x` times a sample of z: one per example and group.
    ///
    /// # Shapes
    /// `x` and out: `[examples, repeats, groups]`
    pub(crate) fn scale(&self, x: Tensor<3>, noise: &mut Noise) -> Tensor<3> {
        let [examples, _, groups] = x.dims();
        let sample = noise.vector(examples * groups);
        sample_scale(x, self.location.clone(), self.spread.clone(), sample, self.link)
    }

    /// The gradient of this step, taken out of `grads`; `of` and `values` are what the parameters
    /// were made from.
    pub(crate) fn take_gradient(
        &self,
        of: &AffinePosterior,
        values: &LayerValues,
        grads: &mut Gradients,
    ) -> AffinePosterior {
        let location = taken_gradient(&self.location, grads);
        let spread = taken_gradient(&self.spread, grads);
        let mut scale = zero(&of.scale);
        of.scale.add_gradient(&location, &spread, &mut scale);
        let affine = &self.affine;
        let [variance, bias_variance] = &values.variances;
        AffinePosterior {
            weight: Gaussian {
                mean: taken_gradient(&affine.weight, grads),
                log_variance: chained(taken_gradient(&affine.variance, grads), variance),
            },
            bias: Gaussian {
                mean: taken_gradient(&affine.bias, grads),
                log_variance: chained(taken_gradient(&affine.bias_variance, grads), bias_variance),
            },
            scale,
        }
    }
}

/// ∂/∂ log σ² = σ²·∂/∂σ².
fn chained(mut by_variance: Vec<f32>, variance: &[f32]) -> Vec<f32> {
    by_variance.iter_mut().zip(variance).for_each(|(by, v)| *by *= v);
    by_variance
}

fn zero(scale: &Scale) -> Scale {
    let mut zero = scale.clone();
    zero.tensors_mut().into_iter().for_each(|t| t.fill(0.0));
    zero
}
