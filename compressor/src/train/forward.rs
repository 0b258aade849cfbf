//! The forward pass of any topology, sampled or deterministic.

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor};

use super::tensor::{
    Convolution, Relu, Relu6, Value, avg_pool, constant, gradient, leaf, max_pool, values,
};
use crate::bayes::conv2d::BayesConv2d;
use crate::bayes::dense::BayesDense;
use crate::bayes::leaves::LayerValues;
use crate::bayes::{AffinePosterior, Noise};
use crate::network::{Affine, FloatNetwork, Layer, Norm, Topology};

/// Keeps batch normalisation's division finite; the usual value.
pub const NORM_EPSILON: f32 = 1e-5;

/// The layers that have parameters or randomness, as a forward pass meets them.
pub trait Layers {
    /// Applies the `index`-th layer with weights.
    fn affine(&mut self, index: usize, x: Value) -> Value;
    /// Applies the `index`-th batch normalisation.
    fn norm(&mut self, index: usize, x: Value) -> Value;
    /// Applies dropout.
    fn dropout(&mut self, rate: f32, x: Value) -> Value;
}

/// Runs `topology` on `x` and returns the logits.
///
/// # Shapes
/// out: `[batch, outputs]`
pub fn forward(topology: &Topology, x: Value, layers: &mut impl Layers) -> Tensor<2> {
    Passage::new(x).finish(topology, layers)
}

/// A forward pass on its way.
#[derive(Clone, Debug)]
pub struct Passage<'a> {
    /// Position of the next layer.
    at: usize,
    /// What arrives there.
    x: Value,
    /// Values that marks gave a name.
    named: BTreeMap<&'a str, Value>,
    affine: usize,
    norm: usize,
}

impl<'a> Passage<'a> {
    /// Before the first layer.
    pub fn new(x: Value) -> Self {
        Self { at: 0, x, named: BTreeMap::new(), affine: 0, norm: 0 }
    }

    /// Changes what arrives at the next layer.
    pub fn map(self, change: impl FnOnce(Value) -> Value) -> Self {
        Self { x: change(self.x), ..self }
    }

    /// Passes all layers that are left.
    pub fn finish(mut self, topology: &'a Topology, layers: &mut impl Layers) -> Tensor<2> {
        while let Some(layer) = topology.layers.get(self.at) {
            self = self.step(layer, layers);
        }
        self.x.flat()
    }

    /// Passes `layer`, which is the next. Values are moved, not shared, so that burn may write where
    /// it reads.
    pub fn step(self, layer: &'a Layer, layers: &mut impl Layers) -> Self {
        let Self { at, x, mut named, mut affine, mut norm } = self;
        let x = match layer {
            Layer::Dense { .. } | Layer::Conv2d { .. } | Layer::DepthwiseConv2d { .. } => {
                affine += 1;
                layers.affine(affine - 1, x)
            }
            Layer::BatchNorm { .. } => {
                norm += 1;
                layers.norm(norm - 1, x)
            }
            Layer::Mark { name } => {
                named.insert(name, x.clone());
                x
            }
            // Shape inference has checked that names exist.
            Layer::From { name } => named.get(name.as_str()).cloned().unwrap_or(x),
            Layer::Add { name } => match named.get(name.as_str()) {
                Some(named) => x.plus(named.clone()),
                None => x,
            },
            Layer::MaxPool2d { size, stride, padding } => {
                Value::Image(max_pool(x.image(), *size, *stride, *padding))
            }
            Layer::AvgPool2d { size, stride, padding } => {
                Value::Image(avg_pool(x.image(), *size, *stride, *padding))
            }
            Layer::Crop { before, size } => x.crop(*before, *size),
            Layer::Relu => x.map(Relu),
            Layer::Relu6 => x.map(Relu6),
            Layer::Flatten => Value::Flat(x.flat()),
            Layer::Select { keep } => x.select(keep),
            Layer::Dropout { rate } => layers.dropout(*rate, x),
        };
        Self { at: at + 1, x, named, affine, norm }
    }
}

/// The convolution that a layer describes.
pub(super) fn convolution(layer: &Layer) -> Option<Convolution> {
    match layer {
        Layer::Conv2d { channels, filters, kernel, stride, padding } => Some(Convolution {
            channels: *channels,
            filters: *filters,
            depthwise: false,
            kernel: *kernel,
            stride: *stride,
            padding: *padding,
        }),
        Layer::DepthwiseConv2d { channels, kernel, stride, padding } => Some(Convolution {
            channels: *channels,
            filters: *channels,
            depthwise: true,
            kernel: *kernel,
            stride: *stride,
            padding: *padding,
        }),
        _ => None,
    }
}

/// Leaves of a deterministic network.
pub struct Deterministic {
    affine: Vec<AffineTensors>,
    norms: Vec<[Tensor<1>; 2]>,
    running: Vec<Norm>,
    /// Mean and variance that each batch normalisation saw, while training.
    pub statistics: Vec<(Vec<f32>, Vec<f32>)>,
    noise: Option<Noise>,
}

enum AffineTensors {
    Dense { weight: Tensor<2>, bias: Tensor<1> },
    Conv2d { convolution: Convolution, weight: Tensor<2>, bias: Tensor<1> },
}

impl Deterministic {
    /// Leaves of `network`. With `noise`, dropout drops and batch normalisation uses the batch's
    /// own statistics (training); without, neither (inference).
    pub fn new(network: &FloatNetwork, noise: Option<Noise>, device: &Device) -> Self {
        let layers = network.topology.affine_layers().zip(&network.affine);
        let affine = layers.map(|(l, a)| AffineTensors::new(l, a, device)).collect();
        let vector = |v: &Vec<f32>| leaf(v.clone(), [v.len()], device);
        let norms = network.norms.iter().map(|n| [vector(&n.gamma), vector(&n.beta)]).collect();
        Self { affine, norms, running: network.norms.clone(), statistics: Vec::new(), noise }
    }

    /// Adds the gradients of this step to `into`.
    pub fn add_gradient(&self, grads: &Gradients, into: &mut FloatNetwork) {
        let add = |into: &mut Vec<f32>, from: Vec<f32>| {
            into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        };
        for (tensors, into) in self.affine.iter().zip(&mut into.affine) {
            let (weight, bias) = match tensors {
                AffineTensors::Dense { weight, bias } => (gradient(weight, grads), bias),
                AffineTensors::Conv2d { weight, bias, .. } => (gradient(weight, grads), bias),
            };
            add(&mut into.weight, weight);
            add(&mut into.bias, gradient(bias, grads));
        }
        for ([gamma, beta], into) in self.norms.iter().zip(&mut into.norms) {
            add(&mut into.gamma, gradient(gamma, grads));
            add(&mut into.beta, gradient(beta, grads));
        }
    }
}

impl AffineTensors {
    fn new(layer: &Layer, affine: &Affine, device: &Device) -> Self {
        let outputs = affine.bias.len();
        let bias = leaf(affine.bias.clone(), [outputs], device);
        match convolution(layer) {
            Some(convolution) => {
                let weight = leaf(affine.weight.clone(), convolution.weight_shape(), device);
                Self::Conv2d { convolution, weight, bias }
            }
            None => {
                let inputs = affine.weight.len() / outputs.max(1);
                let weight = leaf(affine.weight.clone(), [outputs, inputs], device);
                Self::Dense { weight, bias }
            }
        }
    }
}

impl Layers for Deterministic {
    fn affine(&mut self, index: usize, x: Value) -> Value {
        match &self.affine[index] {
            AffineTensors::Dense { weight, bias } => {
                let h = x.flat().matmul(weight.clone().transpose());
                Value::Flat(h + bias.clone().unsqueeze())
            }
            AffineTensors::Conv2d { convolution, weight, bias } => {
                Value::Image(convolution.apply(x.image(), weight, bias))
            }
        }
    }

    fn norm(&mut self, index: usize, x: Value) -> Value {
        let [gamma, beta] = &self.norms[index];
        // One layout for both ranks: every feature of a flat value is a channel of one pixel.
        let flat = matches!(x, Value::Flat(_));
        let x = x.image();
        let channels = x.dims()[3];
        let wide = |t: Tensor<1>| t.reshape([1, 1, 1, channels]);
        let (mean, variance) = if self.noise.is_some() {
            let mean = x.clone().mean_dims(&[0, 1, 2]);
            let centred = x.clone() - mean.clone();
            let variance = (centred.clone() * centred).mean_dims(&[0, 1, 2]);
            let seen = (values(mean.clone().inner()), values(variance.clone().inner()));
            self.statistics.push(seen);
            (mean, variance)
        } else {
            let of = |v: &Vec<f32>| constant(v.clone(), [1, 1, 1, channels], &x.device());
            (of(&self.running[index].mean), of(&self.running[index].variance))
        };
        let y = (x - mean) / (variance + NORM_EPSILON).sqrt();
        let y = y * wide(gamma.clone()) + wide(beta.clone());
        if flat { Value::Flat(Value::Image(y).flat()) } else { Value::Image(y) }
    }

    fn dropout(&mut self, rate: f32, x: Value) -> Value {
        let Some(noise) = &mut self.noise else { return x };
        match x {
            Value::Flat(x) => Value::Flat(drop(x, rate, noise)),
            Value::Image(x) => Value::Image(drop(x, rate, noise)),
        }
    }
}

/// Zeroes elements with probability `rate` and rescales the rest.
fn drop<const D: usize>(x: Tensor<D>, rate: f32, noise: &mut Noise) -> Tensor<D> {
    use rand::Rng;
    let shape = x.dims();
    let keep = 1.0 / (1.0 - rate);
    let n = shape.iter().product();
    let rng = noise.rng();
    let mask = (0..n).map(|_| if rng.random::<f32>() < rate { 0.0 } else { keep }).collect();
    let mask = constant(mask, shape, &x.device());
    x * mask
}

/// Leaves of a Bayesian network and the noise of one step.
pub struct Sampled {
    layers: Vec<BayesTensors>,
    noise: Noise,
}

enum BayesTensors {
    Dense(BayesDense),
    Conv2d(BayesConv2d),
}

impl Sampled {
    /// Leaves of a network of `topology` with the parameters `values`, sampled with `noise`.
    pub fn new(topology: &Topology, values: &[LayerValues], noise: Noise, device: &Device) -> Self {
        let layers = topology.affine_layers().zip(values);
        let layers = layers.map(|(layer, values)| match convolution(layer) {
            Some(c) => BayesTensors::Conv2d(BayesConv2d::new(c, values, device)),
            None => BayesTensors::Dense(BayesDense::new(values, device)),
        });
        Self { layers: layers.collect(), noise }
    }

    /// The gradient of this step, taken out of `grads`; `of` and `values` are what the leaves were
    /// made from.
    pub fn take_gradient(
        &self,
        of: &[AffinePosterior],
        values: &[LayerValues],
        grads: &mut Gradients,
    ) -> Vec<AffinePosterior> {
        let layers = self.layers.iter().zip(of).zip(values);
        let layers = layers.map(|((layer, of), values)| match layer {
            BayesTensors::Dense(layer) => layer.leaves.take_gradient(of, values, grads),
            BayesTensors::Conv2d(layer) => layer.leaves.take_gradient(of, values, grads),
        });
        layers.collect()
    }
}

impl Layers for Sampled {
    fn affine(&mut self, index: usize, x: Value) -> Value {
        match &self.layers[index] {
            BayesTensors::Dense(t) => Value::Flat(t.sample(x.flat(), &mut self.noise)),
            BayesTensors::Conv2d(t) => Value::Image(t.sample(x.image(), &mut self.noise)),
        }
    }

    /// Batch normalisation is folded into the weights before variational training.
    fn norm(&mut self, _index: usize, x: Value) -> Value {
        x
    }

    /// The group scales are the dropout.
    fn dropout(&mut self, _rate: f32, x: Value) -> Value {
        x
    }
}
