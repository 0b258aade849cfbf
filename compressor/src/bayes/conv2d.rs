//! A Bayesian convolution, depthwise or not, by the local reparameterisation trick.

use burn::tensor::Tensor;

use super::Noise;
use super::layer::LayerParameters;
use super::local::{AffineParameters, sample_affine};
use crate::graph::tensor::{Convolution, constant};

/// A sample of the pre-activations: M = x∗Wμ + b, V = x²∗Wσ² + σ_b²,
/// h = z·(M + √V·ε), which given z is N(z·M, z²·V).
///
/// # Shapes
/// `x`: `[batch, height, width, channels]`, out: `[batch, height', width', filters]`
pub(crate) fn sample(
    convolution: &Convolution,
    layer: &LayerParameters,
    x: Tensor<4>,
    noise: &mut Noise,
) -> Tensor<4> {
    let (windows, dims) = convolution.windows(x);
    let [batch, height, width, filters] = dims;
    let sample = noise.vector(batch * height * width * filters);
    let h = if convolution.depthwise {
        depthwise(convolution, &layer.affine, windows, sample)
    } else {
        sample_affine(windows, &layer.affine, sample)
    };
    layer.scale(h.reshape([batch, height * width, filters]), noise).reshape(dims)
}

/// M + √V·ε where each filter sees its own channel.
fn depthwise(
    convolution: &Convolution,
    affine: &AffineParameters,
    windows: Tensor<2>,
    sample: Vec<f32>,
) -> Tensor<2> {
    let AffineParameters { weight, variance, bias, bias_variance } = affine;
    let mean = convolution.product(windows.clone(), weight) + bias.clone().unsqueeze();
    let square = windows.clone() * windows;
    let variance = convolution.product(square, variance) + bias_variance.clone().unsqueeze();
    let sample = constant(sample, mean.dims(), &mean.device());
    mean + variance.sqrt() * sample
}
