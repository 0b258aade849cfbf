//! A Bayesian dense layer by the local reparameterisation trick.

use burn::tensor::{Device, Gradients, Tensor};

use super::{AffinePosterior, Link, Noise};
use crate::train::tensor::{gradient, leaf};

/// Leaves of one step's graph for a dense layer.
#[derive(Debug)]
pub struct BayesDense {
    weight: Tensor<2>,
    weight_variance: Tensor<2>,
    bias: Tensor<1>,
    bias_variance: Tensor<1>,
    scale: ScaleTensors,
}

/// Leaves for the group scales of a layer: z = link(location + spread·ε).
#[derive(Debug)]
pub struct ScaleTensors {
    location: Tensor<1>,
    spread: Tensor<1>,
    link: Link,
}

impl ScaleTensors {
    /// Leaves of `posterior`'s scale.
    pub fn new(posterior: &AffinePosterior, device: &Device) -> Self {
        let (location, spread) = posterior.scale.location_and_spread();
        let groups = location.len();
        Self {
            location: leaf(location, [groups], device),
            spread: leaf(spread, [groups], device),
            link: posterior.scale.link(),
        }
    }

    /// One sample of z per example and group.
    ///
    /// # Shapes
    /// out: `[batch, groups]`
    pub fn sample(&self, batch: usize, noise: &mut Noise) -> Tensor<2> {
        let [groups] = self.location.dims();
        let e = noise.tensor([batch, groups], &self.location.device());
        let y = e * self.spread.clone().unsqueeze() + self.location.clone().unsqueeze();
        match self.link {
            Link::Identity => y,
            Link::Exp => y.exp(),
        }
    }

    /// Adds the gradients of this step to `into`.
    pub fn add_gradient(
        &self,
        of: &AffinePosterior,
        grads: &Gradients,
        into: &mut AffinePosterior,
    ) {
        let location = gradient(&self.location, grads);
        let spread = gradient(&self.spread, grads);
        of.scale.add_gradient(&location, &spread, &mut into.scale);
    }
}

impl BayesDense {
    /// Leaves of `posterior`, with `inputs` groups and as many outputs as it has biases.
    pub fn new(posterior: &AffinePosterior, device: &Device) -> Self {
        let outputs = posterior.bias.mean.len();
        let inputs = posterior.weight.mean.len() / outputs.max(1);
        Self {
            weight: leaf(posterior.weight.mean.clone(), [outputs, inputs], device),
            weight_variance: leaf(posterior.weight.variance(), [outputs, inputs], device),
            bias: leaf(posterior.bias.mean.clone(), [outputs], device),
            bias_variance: leaf(posterior.bias.variance(), [outputs], device),
            scale: ScaleTensors::new(posterior, device),
        }
    }

    /// A sample of the pre-activations: with x' = x∘z, h ~ N(x'·Wμᵀ + b, x'²·Wσ²ᵀ + σ_b²).
    ///
    /// # Shapes
    /// `x`: `[batch, inputs]`, out: `[batch, outputs]`
    pub fn sample(&self, x: Tensor<2>, noise: &mut Noise) -> Tensor<2> {
        let [batch, _] = x.dims();
        let x = x * self.scale.sample(batch, noise);
        let mean = x.clone().matmul(self.weight.clone().transpose());
        let mean = mean + self.bias.clone().unsqueeze();
        let variance = (x.clone() * x).matmul(self.weight_variance.clone().transpose());
        let variance = variance + self.bias_variance.clone().unsqueeze();
        let e = noise.tensor(mean.dims(), &mean.device());
        mean + variance.sqrt() * e
    }

    /// Adds the gradients of this step to `into`.
    pub fn add_gradient(
        &self,
        of: &AffinePosterior,
        grads: &Gradients,
        into: &mut AffinePosterior,
    ) {
        add(&mut into.weight.mean, gradient(&self.weight, grads));
        add(&mut into.bias.mean, gradient(&self.bias, grads));
        of.weight.add_variance_gradient(&gradient(&self.weight_variance, grads), &mut into.weight);
        of.bias.add_variance_gradient(&gradient(&self.bias_variance, grads), &mut into.bias);
        self.scale.add_gradient(of, grads, into);
    }
}

fn add(into: &mut [f32], from: Vec<f32>) {
    into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
}
