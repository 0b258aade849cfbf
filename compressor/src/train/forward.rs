//! The forward pass of any graph as burn computes it, sampled or deterministic. What a node computes
//! is in its operator's file ([`crate::graph::Operator::train`]); here is what lies between nodes, and
//! the parameters.

use burn::tensor::{Device, Gradients, Tensor};

use crate::bayes::layer::{LayerParameters, LayerValues};
use crate::bayes::{AffinePosterior, Noise, conv2d, dense};
use crate::graph::ops::{BatchNorm, NORM_EPSILON, Op};
use crate::graph::tensor::{
    Convolution, Inputs, Layers, Pass, Value, constant, gradient, leaf, values,
};
use crate::graph::{Affine, Graph, ValueId};

/// Runs `graph` on `x` and returns the logits.
///
/// # Shapes
/// out: `[batch, outputs]`
pub(crate) fn forward<P>(graph: &Graph<P>, x: Value, layers: &mut impl Layers) -> Tensor<2> {
    ForwardState::new(graph, x).finish(layers)
}

/// A forward pass on its way.
#[derive(Debug)]
pub(crate) struct ForwardState<'g, P> {
    graph: &'g Graph<P>,
    /// Position of the next node.
    node: usize,
    /// Nodes with parameters before it.
    layer: usize,
    /// What is known and still needed.
    values: Vec<Option<Value>>,
    /// The last node that reads each value; of the output, one behind the last.
    last: Vec<usize>,
    batch: usize,
    device: Device,
}

impl<P> Clone for ForwardState<'_, P> {
    fn clone(&self) -> Self {
        let (values, last, device) = (self.values.clone(), self.last.clone(), self.device.clone());
        Self { values, last, device, ..*self }
    }
}

impl<'g, P> ForwardState<'g, P> {
    /// Before the first node.
    pub(crate) fn new(graph: &'g Graph<P>, x: Value) -> Self {
        let mut last = vec![0; graph.values.len()];
        for (at, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&id| last[id] = at);
        }
        last[graph.output] = graph.nodes.len();
        let (batch, device) = (x.batch(), x.device());
        let mut values = vec![None; graph.values.len()];
        values[graph.input] = Some(x);
        Self { graph, node: 0, layer: 0, values, last, batch, device }
    }

    /// Changes what the node before the next has written.
    pub(crate) fn change_last(&mut self, change: impl FnOnce(Value) -> Value) {
        let last = self.node.checked_sub(1).and_then(|last| self.graph.nodes.get(last));
        if let Some(node) = last {
            self.values[node.output] = self.values[node.output].take().map(change);
        }
    }

    /// Passes the next node.
    pub(crate) fn step(&mut self, layers: &mut dyn Layers) {
        let Some(node) = self.graph.nodes.get(self.node) else { return };
        let mut operands: Vec<Value> = (0..node.inputs.len())
            .filter_map(|operand| self.operand(&node.inputs, operand))
            .collect();
        if !operands.is_empty() {
            let inputs = Inputs { first: operands.remove(0), rest: operands };
            let mut pass = Pass::new(self.layer, layers);
            let output = node.op.train(&self.graph.site(node), inputs, &mut pass);
            self.values[node.output] = Some(output);
        }
        self.layer += usize::from(node.parameters.is_some());
        self.node += 1;
    }

    /// An operand of the next node. Values are moved where they are read the last time, not shared, so
    /// that burn may write where it reads.
    fn operand(&mut self, inputs: &[ValueId], operand: usize) -> Option<Value> {
        let id = inputs[operand];
        let value = &self.graph.values[id];
        if let Some(numbers) = &value.constant {
            return Some(Value::repeated(numbers, &value.dims, self.batch, &self.device));
        }
        if self.last[id] == self.node && !inputs[operand + 1..].contains(&id) {
            return self.values[id].take();
        }
        self.values[id].clone()
    }

    /// Passes all nodes that are left.
    pub(crate) fn finish(mut self, layers: &mut impl Layers) -> Tensor<2> {
        while self.node < self.graph.nodes.len() {
            self.step(layers);
        }
        match self.values[self.graph.output].take() {
            Some(logits) => logits.flat(),
            // No checked graph gets here.
            None => constant(Vec::new(), [self.batch, 0], &self.device),
        }
    }
}

/// Parameters of a deterministic network on the device.
pub(crate) struct Deterministic {
    layers: Vec<Tensors>,
    /// Mean and variance that each batch normalisation saw, by layer, while training.
    statistics: Vec<Option<[Vec<f32>; 2]>>,
    noise: Option<Noise>,
}

/// Weights and bias of a layer, or γ and β of a batch normalisation.
struct Tensors {
    /// `[outputs, columns]`
    weight: Tensor<2>,
    /// `[outputs]`
    bias: Tensor<1>,
}

impl Deterministic {
    /// Parameters of `network`. With `noise`, dropout drops and batch normalisation uses the batch's
    /// own statistics (training); without, neither (inference).
    pub(crate) fn new(network: &Graph<Affine>, noise: Option<Noise>, device: &Device) -> Self {
        let layers = network.parameters().map(|Affine { weight, bias }| {
            let outputs = bias.len();
            let columns = weight.len() / outputs.max(1);
            Tensors {
                weight: leaf(weight.clone(), [outputs, columns], device),
                bias: leaf(bias.clone(), [outputs], device),
            }
        });
        let layers: Vec<Tensors> = layers.collect();
        Self { statistics: vec![None; layers.len()], layers, noise }
    }

    /// The gradient of this step. Batch normalisations hold the statistics that they saw instead of
    /// running ones.
    pub(crate) fn gradient(self, network: &Graph<Affine>, grads: &Gradients) -> Graph<Affine> {
        let mut into = network.map(|layer, _| {
            let Tensors { weight, bias } = &self.layers[layer];
            Affine { weight: gradient(weight, grads), bias: gradient(bias, grads) }
        });
        let layers = into.nodes.iter_mut().filter(|node| node.parameters.is_some());
        for (node, seen) in layers.zip(self.statistics) {
            if let (Op::BatchNorm(norm), Some(seen)) = (&mut node.op, seen) {
                [norm.mean, norm.variance] = seen;
            }
        }
        into
    }
}

impl Layers for Deterministic {
    fn dense(&mut self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        let Tensors { weight, bias } = &self.layers[layer];
        x.matmul(weight.clone().transpose()) + bias.clone().unsqueeze()
    }

    fn convolution(&mut self, layer: usize, of: &Convolution, x: Tensor<4>) -> Tensor<4> {
        let Tensors { weight, bias } = &self.layers[layer];
        of.apply(x, weight, bias)
    }

    fn batch_norm(&mut self, layer: usize, norm: &BatchNorm, x: Value) -> Value {
        let Tensors { weight: gamma, bias: beta } = &self.layers[layer];
        // One layout for both ranks: every feature of a flat value is a channel of one pixel.
        let flat = matches!(x, Value::Flat(_));
        let x = x.image();
        let channels = x.dims()[3];
        let (mean, variance) = if self.noise.is_some() {
            let mean = x.clone().mean_dims(&[0, 1, 2]);
            let centred = x.clone() - mean.clone();
            let variance = (centred.clone() * centred).mean_dims(&[0, 1, 2]);
            self.statistics[layer] =
                Some([values(mean.clone().inner()), values(variance.clone().inner())]);
            (mean, variance)
        } else {
            let of = |v: &Vec<f32>| constant(v.clone(), [1, 1, 1, channels], &x.device());
            (of(&norm.mean), of(&norm.variance))
        };
        let y = (x - mean) / (variance + NORM_EPSILON).sqrt();
        let (gamma, beta) = (gamma.clone(), beta.clone());
        let y = y * gamma.reshape([1, 1, 1, channels]) + beta.reshape([1, 1, 1, channels]);
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

/// Parameters of a Bayesian network on the device, and the noise of one step.
pub(crate) struct Sampled {
    layers: Vec<LayerParameters>,
    noise: Noise,
}

impl Sampled {
    /// Parameters with the values `values`, sampled with `noise`.
    pub(crate) fn new(values: &[LayerValues], noise: Noise, device: &Device) -> Self {
        let layers = values.iter().map(|values| LayerParameters::new(values, device));
        Self { layers: layers.collect(), noise }
    }

    /// The gradient of this step, taken out of `grads`; `of` and `values` are what the parameters were
    /// made from.
    pub(crate) fn take_gradient(
        &self,
        of: &Graph<AffinePosterior>,
        values: &[LayerValues],
        grads: &mut Gradients,
    ) -> Graph<AffinePosterior> {
        of.map(|layer, of| self.layers[layer].take_gradient(of, &values[layer], grads))
    }
}

impl Layers for Sampled {
    fn dense(&mut self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        dense::sample(&self.layers[layer], x, &mut self.noise)
    }

    fn convolution(&mut self, layer: usize, of: &Convolution, x: Tensor<4>) -> Tensor<4> {
        conv2d::sample(of, &self.layers[layer], x, &mut self.noise)
    }

    /// Batch normalisation is folded into the weights before variational training.
    fn batch_norm(&mut self, _layer: usize, _norm: &BatchNorm, x: Value) -> Value {
        x
    }

    /// The group scales are the dropout.
    fn dropout(&mut self, _rate: f32, x: Value) -> Value {
        x
    }
}

#[cfg(test)]
mod tests;
