//! What operators use of the forward pass that they are in.

use burn::tensor::Tensor;

use super::{Convolution, Value};
use crate::graph::ops::BatchNorm;

/// What has parameters or randomness in a forward pass. Layers are counted as
/// [`Graph::parameters`] has them.
pub trait Layers {
    /// x·Wᵀ + b of a dense layer, or a sample of it.
    fn dense(&mut self, layer: usize, x: Tensor<2>) -> Tensor<2>;
    /// The same of a convolution.
    fn convolution(&mut self, layer: usize, of: &Convolution, x: Tensor<4>) -> Tensor<4>;
    /// A batch normalisation.
    fn batch_norm(&mut self, layer: usize, norm: &BatchNorm, x: Value) -> Value;
    /// Random zeroing.
    fn dropout(&mut self, rate: f32, x: Value) -> Value;
}

/// What a node's operator may use of the pass that it is in.
pub struct Pass<'a> {
    layer: usize,
    layers: &'a mut dyn Layers,
}

impl<'a> Pass<'a> {
    /// At the layer number `layer` of `layers`.
    pub fn new(layer: usize, layers: &'a mut dyn Layers) -> Self {
        Self { layer, layers }
    }

    /// x·Wᵀ + b of this node's parameters, or a sample of it.
    pub fn dense(&mut self, x: Tensor<2>) -> Tensor<2> {
        self.layers.dense(self.layer, x)
    }

    /// The same of a convolution.
    pub fn convolution(&mut self, of: &Convolution, x: Tensor<4>) -> Tensor<4> {
        self.layers.convolution(self.layer, of, x)
    }

    /// The batch normalisation of this node.
    pub fn batch_norm(&mut self, norm: &BatchNorm, x: Value) -> Value {
        self.layers.batch_norm(self.layer, norm, x)
    }

    /// Random zeroing.
    pub fn dropout(&mut self, rate: f32, x: Value) -> Value {
        self.layers.dropout(rate, x)
    }
}

/// What a node reads: nodes of checked graphs read something.
#[derive(Debug)]
pub struct Inputs {
    /// Its first operand.
    pub first: Value,
    /// The others.
    pub rest: Vec<Value>,
}

/// The layers of an operator that has no parameters, and asks for none.
pub(crate) struct Parameterless;

impl Layers for Parameterless {
    fn dense(&mut self, _layer: usize, x: Tensor<2>) -> Tensor<2> {
        x
    }

    fn convolution(&mut self, _layer: usize, _of: &Convolution, x: Tensor<4>) -> Tensor<4> {
        x
    }

    fn batch_norm(&mut self, _layer: usize, _norm: &BatchNorm, x: Value) -> Value {
        x
    }

    fn dropout(&mut self, _rate: f32, x: Value) -> Value {
        x
    }
}
