//! A Bayesian convolution by the local reparameterisation trick.

use burn::tensor::{Device, Gradients, Tensor};

use super::dense::ScaleTensors;
use super::{AffinePosterior, Noise};
use crate::train::tensor::{Convolution, gradient, leaf};

/// Leaves of one step's graph for a convolution.
#[derive(Debug)]
pub struct BayesConv2d {
    convolution: Convolution,
    weight: Tensor<2>,
    weight_variance: Tensor<2>,
    bias: Tensor<1>,
    bias_variance: Tensor<1>,
    scale: ScaleTensors,
}

impl BayesConv2d {
    /// Leaves of `posterior`; weights are filters × height × width × channels.
    pub fn new(convolution: Convolution, posterior: &AffinePosterior, device: &Device) -> Self {
        let shape = convolution.weight_shape();
        let [filters, _] = shape;
        Self {
            convolution,
            weight: leaf(posterior.weight.mean.clone(), shape, device),
            weight_variance: leaf(posterior.weight.variance(), shape, device),
            bias: leaf(posterior.bias.mean.clone(), [filters], device),
            bias_variance: leaf(posterior.bias.variance(), [filters], device),
            scale: ScaleTensors::new(posterior, device),
        }
    }

    /// A sample of the pre-activations: M = x∗Wμ + b, V = x²∗Wσ² + σ_b²,
    /// h = z·(M + √V·ε), which given z is N(z·M, z²·V).
    ///
    /// # Shapes
    /// `x`: `[batch, height, width, channels]`, out: `[batch, height', width', filters]`
    pub fn sample(&self, x: Tensor<4>, noise: &mut Noise) -> Tensor<4> {
        let mean = self.convolution.apply(x.clone(), &self.weight, &self.bias);
        let variance =
            self.convolution.apply(x.clone() * x, &self.weight_variance, &self.bias_variance);
        let [batch, _, _, filters] = mean.dims();
        let e = noise.tensor(mean.dims(), &mean.device());
        let z = self.scale.sample(batch, noise).reshape([batch, 1, 1, filters]);
        (mean + variance.sqrt() * e) * z
    }

    /// Adds the gradients of this step to `into`.
    pub fn add_gradient(
        &self,
        of: &AffinePosterior,
        grads: &Gradients,
        into: &mut AffinePosterior,
    ) {
        let mean = gradient(&self.weight, grads);
        into.weight.mean.iter_mut().zip(mean).for_each(|(a, b)| *a += b);
        let bias = gradient(&self.bias, grads);
        into.bias.mean.iter_mut().zip(bias).for_each(|(a, b)| *a += b);
        of.weight.add_variance_gradient(&gradient(&self.weight_variance, grads), &mut into.weight);
        of.bias.add_variance_gradient(&gradient(&self.bias_variance, grads), &mut into.bias);
        self.scale.add_gradient(of, grads, into);
    }
}
