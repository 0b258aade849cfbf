//! A network as a graph of values: the one form that job layers, ONNX and TensorFlow Lite files come
//! in as, and that training, pruning, calibration, lowering and export work on.
//!
//! [`Graph<P>`] is parametrised by what its layers hold: [`Affine`] for a network of floats,
//! a posterior while it is trained with variational Bayes, nothing (`()`) where only the structure
//! matters. Everything is laid out as the device has it: images are height × width × channels, weights
//! are outputs × kernel height × kernel width × inputs. Nodes are in order: each stands behind those
//! that it reads from. [`Graph::check`] says whether shapes, weights and order fit together;
//! [`Executor`] computes.
//!
//! What is known of an operator is in its file in [`ops`], behind the traits [`Operator`], for networks
//! of floats, and [`IntegerOperator`], for those of integers: [`IntegerGraph`] is the same graph of
//! operators with multipliers and clamps, whose layers hold integers ([`Matrix`]). [`lower()`] makes one
//! of the other.

mod check;
mod computation;
mod execute;
pub(crate) mod exporter;
mod fold;
mod inside;
pub(crate) mod integer;
mod kernels;
pub(crate) mod known;
mod left_out;
mod limits;
pub(crate) mod lower;
pub(crate) mod operator;
pub mod ops;
pub(crate) mod panels;
mod places;
#[cfg(feature = "training")]
pub(crate) mod tensor;
mod window;

use std::collections::BTreeMap;

use bitsback_runtime::format;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::numbers::{Quantization, Range, Rows};
pub use computation::Computation;
pub use execute::{Executor, Operands, Tap};
pub use exporter::{Attribute, Attributes, Exported, Exporter};
pub use integer::{
    Emitter, IntegerGraph, IntegerNode, IntegerOperator, IntegerValue, Matrix, Origin, Parts,
    Relation, Storage, StoredLayer, Takes,
};
pub use known::{Kept, Known, Operand, Span, Ties};
pub use left_out::{LeftOut, LeftOutLayer, LeftOutUnit, Why};
pub use lower::{LowerError, Lowering, Plan, lower};
pub use operator::{Groups, Operator, Prepared, Site, Units, Weights};
pub(crate) use ops::{IntegerOp, Op};
pub use places::{Area, InputPart, Places, Reach};
pub use window::{Padding, Window};

/// Position of a value in [`Graph::values`].
pub type ValueId = usize;

/// Most values of one tensor: an arena's bytes.
pub const MAX_TENSOR_LEN: usize = format::MAX_ARENA_LEN as usize;

/// Weights and bias of a layer.
///
/// # Shapes
/// `weight`: outputs × kernel height × kernel width × inputs (dense: 1 × 1 kernel; depthwise: one
/// input), row-major; `bias`: outputs. Of a batch normalisation: γ and β, one per channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Weights.
    pub weight: Vec<f32>,
    /// Bias.
    pub bias: Vec<f32>,
}

/// One tensor: the input, the output of a node, or a constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Its name in the file that it comes from.
    pub name: String,
    /// Dimensions without the batch, slowest first, 1 to 4 of them; images are height, width,
    /// channels.
    pub dims: Vec<usize>,
    /// Its numbers, if they don't depend on the input.
    pub constant: Option<Vec<f32>>,
}

impl Value {
    /// Number of values, saturating.
    pub fn len(&self) -> usize {
        self.dims.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim))
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of an image, or features of a vector: the last dimension.
    pub fn channels(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }

    /// Height, width and channels; fewer dimensions are an image of height (and width) 1.
    pub fn image(&self) -> Option<[usize; 3]> {
        match *self.dims.as_slice() {
            [channels] => Some([1, 1, channels]),
            [width, channels] => Some([1, width, channels]),
            [height, width, channels] => Some([height, width, channels]),
            _ => None,
        }
    }
}

/// One operation, with what it holds if it is a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node<P, O = Op> {
    /// Its name, for people.
    pub name: String,
    /// What it computes.
    pub op: O,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub output: ValueId,
    /// What a layer with weights (or a batch normalisation) holds.
    pub parameters: Option<P>,
}

/// A network: one input, one output, any graph between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph<P, O = Op, V = Value> {
    /// All values.
    pub values: Vec<V>,
    /// All nodes, each behind those that it reads from.
    pub nodes: Vec<Node<P, O>>,
    /// The model's input.
    pub input: ValueId,
    /// The model's output.
    pub output: ValueId,
}

impl<P, O, V> Default for Graph<P, O, V> {
    fn default() -> Self {
        Self { values: Vec::new(), nodes: Vec::new(), input: 0, output: 0 }
    }
}

impl<P, O, V> Graph<P, O, V> {
    /// Position of the node that writes a value.
    pub fn writer(&self, value: ValueId) -> Option<usize> {
        self.nodes.iter().position(|node| node.output == value)
    }

    /// The one node that reads a value which isn't the output either.
    pub fn only_reader(&self, value: ValueId) -> Option<usize> {
        let reads = |(at, node): (usize, &Node<P, O>)| {
            let times = node.inputs.iter().filter(|&&input| input == value).count();
            std::iter::repeat_n(at, times)
        };
        let mut readers = self.nodes.iter().enumerate().flat_map(reads);
        let first = readers.next();
        first.filter(|_| readers.next().is_none() && value != self.output)
    }
}

impl<P> Graph<P> {
    /// A graph of an input alone, which is its output, too.
    pub fn of_input(dims: Vec<usize>) -> Self {
        let input = Value { name: "input".to_owned(), dims, constant: None };
        Self { values: vec![input], ..Self::default() }
    }

    /// Appends a value and tells which it is.
    pub fn value(&mut self, name: &str, dims: Vec<usize>) -> ValueId {
        self.values.push(Value { name: name.to_owned(), dims, constant: None });
        self.values.len() - 1
    }

    /// Appends a node that writes a new value of the dimensions `dims`, which becomes the output.
    pub fn push(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: Vec<ValueId>,
        dims: Vec<usize>,
        parameters: Option<P>,
    ) -> ValueId {
        let output = self.value(name, dims);
        self.nodes.push(Node { name: name.to_owned(), op: op.into(), inputs, output, parameters });
        self.output = output;
        output
    }

    /// Names nodes, and what they write, by what they compute, counted from 1 within each kind:
    /// `conv2d_1`, `depthwise_1`, `dense_1`, … as job files and reports call layers.
    pub fn number_nodes(&mut self) {
        let mut counts = BTreeMap::new();
        for node in &mut self.nodes {
            let kind = node.op.name();
            let kind = kind.strip_suffix("_conv2d").unwrap_or(kind);
            let count = counts.entry(kind).or_insert(0);
            *count += 1;
            node.name = format!("{kind}_{count}");
            self.values[node.output].name.clone_from(&node.name);
        }
    }

    /// A node with the values around it.
    pub fn site(&self, node: &Node<P>) -> Site<'_> {
        Site {
            inputs: node.inputs.iter().map(|&id| &self.values[id]).collect(),
            output: &self.values[node.output],
        }
    }

    /// The nodes with weights that are a matrix (dense layers, convolutions, depthwise ones), in order:
    /// what "layer `i`" means everywhere, counted from 0.
    pub fn layers(&self) -> impl Iterator<Item = &Node<P>> {
        self.nodes.iter().filter(|node| node.op.is_affine())
    }

    /// Sizes of the layers' weights, in order.
    pub fn weights(&self) -> Vec<Weights> {
        self.layers().filter_map(|node| node.op.weights(&self.site(node))).collect()
    }

    /// Multiply-accumulates of one inference, per layer.
    pub fn macs(&self) -> Vec<u64> {
        let macs = |node: &Node<P>| {
            let site = self.site(node);
            node.op.weights(&site).map(|weights| weights.macs(site.output))
        };
        self.layers().filter_map(macs).collect()
    }

    /// The same structure with other parameters: `make` gets the number of a layer with parameters,
    /// batch normalisations included, and what it holds.
    pub fn map<Q>(&self, mut make: impl FnMut(usize, &P) -> Q) -> Graph<Q> {
        let mut count = 0;
        let mut nodes = Vec::with_capacity(self.nodes.len());
        for Node { name, op, inputs, output, parameters } in &self.nodes {
            let parameters = parameters.as_ref().map(|parameters| {
                count += 1;
                make(count - 1, parameters)
            });
            let (name, op, inputs, output) = (name.clone(), op.clone(), inputs.clone(), *output);
            nodes.push(Node { name, op, inputs, output, parameters });
        }
        Graph { values: self.values.clone(), nodes, input: self.input, output: self.output }
    }

    /// The structure alone.
    pub fn structure(&self) -> Graph<()> {
        self.map(|_, _| ())
    }

    /// What the layers hold, in order, batch normalisations included.
    pub fn parameters(&self) -> impl Iterator<Item = &P> {
        self.nodes.iter().filter_map(|node| node.parameters.as_ref())
    }

    /// As [`Graph::parameters`], to change them.
    pub fn parameters_mut(&mut self) -> impl Iterator<Item = &mut P> {
        self.nodes.iter_mut().filter_map(|node| node.parameters.as_mut())
    }
}

/// Why a graph can't be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum GraphError {
    /// A node refers to a value that there isn't, or reads what nothing before it has written.
    #[error("{node}: value {value} does not exist, or nothing before writes it")]
    Order {
        /// Which node.
        node: String,
        /// Which value.
        value: ValueId,
    },
    /// A node writes the input, a constant, or what another node writes.
    #[error("{node}: writes `{value}`, which is the input, a constant, or written already")]
    Twice {
        /// Which node.
        node: String,
        /// Which value.
        value: String,
    },
    /// Shapes of a node's operands, weights and output don't fit together.
    #[error("{node}: {problem} (shapes: {shapes})")]
    Shape {
        /// Which node.
        node: String,
        /// What is wrong.
        problem: &'static str,
        /// Of what it reads and writes.
        shapes: String,
    },
    /// A size that is zero or beyond what an arena holds, or a constant of another length.
    #[error("`{value}` has {len} values; 1 to {MAX_TENSOR_LEN} are supported")]
    Size {
        /// Which value.
        value: String,
        /// Its values.
        len: usize,
    },
    /// A parameter is infinite or not a number.
    #[error("{node}: a parameter is infinite or not a number; train again, or export again")]
    NotFinite {
        /// Which node.
        node: String,
    },
    /// The output is not computed.
    #[error("the output is not computed from the input by any operator")]
    NothingComputed,
    /// Inputs that are no whole number of examples.
    #[error("{found} input values are not a multiple of the model's {expected}")]
    InputLength {
        /// Values of one example.
        expected: usize,
        /// Values given.
        found: usize,
    },
}

#[cfg(test)]
mod tests;
