//! A network of integers as a graph of values: what importers make, and what is lowered from there.
//!
//! Every operator of the runtime has its [`Kind`], with multipliers and integers as the device will
//! use them; what is still open is where values live and how parameters are stored. Values may be
//! views of others (reshapes), constants, and be read any number of times. [`IntegerGraph::lower`]
//! drops what the output doesn't need, turns constants into operators, places values in the arena
//! and gives a [`crate::lower::Graph`], which [`mod@crate::serialize`] writes.

mod emit;
mod fuse;
mod place;
mod prepare;
#[cfg(test)]
mod tests;

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::requantize::Multiplier;
use thiserror::Error;

use crate::calibrate::ByteMap;
use crate::lower::{Graph, LowerError};

/// Position of a value in [`IntegerGraph::values`].
pub type ValueId = usize;

/// Values that an operator reads or writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its name in the file that it comes from.
    pub name: String,
    /// Dimensions without the batch, slowest first, 1 to 4 of them; images are height, width,
    /// channels.
    pub dims: Vec<usize>,
    /// Real value of one step.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i8,
    /// What it is.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The model's input, or the output of a node.
    Computed,
    /// The same bytes as another value, in another arrangement.
    View(ValueId),
    /// Known beforehand.
    Constant(Vec<i8>),
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
}

/// Integer weights of a layer, one row per output.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Outputs.
    pub rows: usize,
    /// Weights of each.
    pub columns: usize,
    /// Width of a weight.
    pub bits: u8,
    /// Row after row.
    pub values: Vec<i16>,
    /// One per row, in units of the accumulator; empty: none.
    pub bias: Vec<i32>,
    /// From accumulators to outputs: one for all rows, or one for each.
    pub multipliers: Vec<Multiplier>,
    /// Fused activation.
    pub clamp: Clamp,
}

/// What a node computes; see [`bitsback_runtime::ops`] for the arithmetic.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Fully connected.
    Dense(Matrix),
    /// Convolution; rows are filters × kernel height × kernel width × channels.
    Conv2d(Window, [u16; 2], Matrix),
    /// A convolution and the largest value of each window of its outputs, whose height and width
    /// come third; then the pooling.
    Conv2dMaxPool2d(Window, [u16; 2], [u16; 2], Matrix, Window),
    /// Depthwise convolution; rows are channels × kernel height × kernel width.
    DepthwiseConv2d(Window, [u16; 2], Matrix),
    /// Largest value of each window. The bytes are compared, whatever the quantisation.
    MaxPool2d(Window, Clamp),
    /// Mean of each window, of the bytes.
    AvgPool2d(Window, Clamp),
    /// Sum of two values: factors of the operands, of the sum, and the activation.
    Add([Multiplier; 2], Multiplier, Clamp),
    /// Product of two values.
    Mul(Multiplier, Clamp),
    /// Any number of values side by side along an axis; bytes are copied.
    Concat(usize),
    /// A border of the given value before the input, per dimension; bytes are copied.
    Pad(Vec<u16>, i8),
    /// Mean over all dimensions but the last.
    Mean(Multiplier, Clamp),
    /// To another scale, limited.
    Rescale(Multiplier, Clamp),
    /// The bytes, limited, whatever the quantisation.
    Limit(Clamp),
    /// Leaky rectifier: factors of the positive and of the negative side.
    LeakyRelu(Multiplier, Multiplier),
    /// Hard swish: factor of the product, and the one that makes the gate.
    HardSwish(Multiplier, Multiplier),
    /// Logistic function.
    Logistic(Multiplier),
    /// Hyperbolic tangent.
    Tanh(Multiplier),
    /// Softmax over the last dimension.
    Softmax(Multiplier),
    /// Position of the largest value.
    Argmax,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name, for people.
    pub name: String,
    /// What it computes.
    pub kind: Kind,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it writes.
    pub output: ValueId,
}

/// For which cores 8-bit weights are arranged. Every core takes either, with the same results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrangement {
    /// In pairs of rows where that takes at most a sixteenth more bytes: for Cortex-M4, M7, M33.
    #[default]
    Pairs,
    /// Row after row: for Cortex-M55 and x86-64.
    Rows,
}

/// A network of integers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntegerGraph {
    /// All values.
    pub values: Vec<Value>,
    /// All nodes, each behind those that it reads from.
    pub nodes: Vec<Node>,
    /// The model's input.
    pub input: ValueId,
    /// The model's output.
    pub output: ValueId,
    /// How raw bytes become inputs: one map, one per channel, or none.
    pub bytes: Vec<ByteMap>,
    /// For which cores 8-bit weights are arranged.
    pub arrangement: Arrangement,
    /// Whether a convolution and the pooling behind it become one operator: fewer instructions, but
    /// their values can't be compared one by one, nor exported.
    pub fused: bool,
}

/// Why a graph of integers can't be lowered.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum IntegerGraphError {
    /// A node reads what nothing before it has written.
    #[error("{node}: reads `{value}`, which nothing before it writes; the graph is out of order")]
    Order {
        /// Which node.
        node: String,
        /// Which value.
        value: String,
    },
    /// A node writes what is written already, or is the input, a view or a constant.
    #[error("{node}: writes `{value}` a second time")]
    Twice {
        /// Which node.
        node: String,
        /// Which value.
        value: String,
    },
    /// Nothing is computed.
    #[error("the output `{value}` is not computed from the input by any operator")]
    NothingComputed {
        /// The output.
        value: String,
    },
    /// A value's size is beyond what the arena can hold.
    #[error("`{value}` has {len} values, but at most {limit} are supported")]
    Values {
        /// Which value.
        value: String,
        /// Its size.
        len: usize,
        /// Largest that is supported.
        limit: usize,
    },
    /// A number of dimensions that the format doesn't have.
    #[error("`{value}` has {rank} dimensions besides the batch; 1 to 4 are supported")]
    Rank {
        /// Which value.
        value: String,
        /// Its dimensions.
        rank: usize,
    },
    /// Something doesn't fit the format.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

impl IntegerGraph {
    /// The runtime's graph.
    ///
    /// # Errors
    /// What doesn't fit together, by name.
    pub fn lower(self) -> Result<Graph, IntegerGraphError> {
        let mut graph = prepare::prepare(self)?;
        if graph.fused {
            fuse::fuse(&mut graph);
        }
        let places = place::place(&graph);
        emit::emit(&graph, &places)
    }

    /// The value that holds the bytes of `id`: the end of a chain of views.
    pub(crate) fn storage(&self, id: ValueId) -> ValueId {
        let mut id = id;
        // More steps than values would be a circle, which `prepare` then refuses.
        for _ in 0..self.values.len() {
            match self.values.get(id) {
                Some(Value { origin: Origin::View(of), .. }) => id = *of,
                _ => break,
            }
        }
        id
    }
}
