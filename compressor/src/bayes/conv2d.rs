//! A Bayesian convolution by the local reparameterisation trick.

use burn::tensor::{Device, Tensor};

use super::Noise;
use super::leaves::{LayerLeaves, LayerValues};
use super::local::{AffineLeaves, sample_affine};
use crate::train::tensor::{Convolution, constant};

/// A convolution, depthwise or not, in one step's graph; weights are filters × height × width ×
/// channels that a filter sees.
#[derive(Debug)]
pub struct BayesConv2d {
    convolution: Convolution,
    /// Its parameters.
    pub leaves: LayerLeaves,
}

impl BayesConv2d {
    /// A layer with the parameters `values`.
    pub fn new(convolution: Convolution, values: &LayerValues, device: &Device) -> Self {
        Self { convolution, leaves: LayerLeaves::new(values, device) }
    }

    /// A sample of the pre-activations: M = x∗Wμ + b, V = x²∗Wσ² + σ_b²,
    /// h = z·(M + √V·ε), which given z is N(z·M, z²·V).
    ///
    /// # Shapes
    /// `x`: `[batch, height, width, channels]`, out: `[batch, height', width', filters]`
    pub fn sample(&self, x: Tensor<4>, noise: &mut Noise) -> Tensor<4> {
        let (windows, dims) = self.convolution.windows(x);
        let [batch, height, width, filters] = dims;
        let sample = noise.vector(batch * height * width * filters);
        let h = if self.convolution.depthwise {
            self.depthwise(windows, sample)
        } else {
            sample_affine(windows, &self.leaves.affine, sample)
        };
        self.leaves.scale(h.reshape([batch, height * width, filters]), noise).reshape(dims)
    }

    /// M + √V·ε where each filter sees its own channel.
    fn depthwise(&self, windows: Tensor<2>, sample: Vec<f32>) -> Tensor<2> {
        let AffineLeaves { weight, variance, bias, bias_variance } = &self.leaves.affine;
        let mean = self.convolution.product(windows.clone(), weight) + bias.clone().unsqueeze();
        let square = windows.clone() * windows;
        let variance =
            self.convolution.product(square, variance) + bias_variance.clone().unsqueeze();
        let sample = constant(sample, mean.dims(), &mean.device());
        mean + variance.sqrt() * sample
    }
}
