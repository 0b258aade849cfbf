//! A trained network of floats as a graph of values: what an importer of float models makes, what
//! post-training quantisation starts from, and what training can start from.
//!
//! Everything is laid out as the device has it: images are height × width × channels, weights are
//! outputs × kernel height × kernel width × inputs. Nodes are in order: each stands behind those
//! that it reads from. [`FloatGraph::check`] says whether shapes, weights and order fit together;
//! [`Executor`] computes.

mod check;
mod execute;
mod fold;
mod kernels;

use bitsback_runtime::format;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use execute::{Executor, Tap};

use crate::network::Affine;

/// Position of a value in [`FloatGraph::values`].
pub type ValueId = usize;

/// Most values of one tensor: an arena's bytes.
pub const MAX_TENSOR_LEN: usize = format::MAX_ARENA_LEN as usize;

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

/// A sliding window, vertical before horizontal. What is padded below and to the right follows from
/// the size of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Taps.
    pub size: [usize; 2],
    /// Distance from one window to the next.
    pub stride: [usize; 2],
    /// Distance from one tap to the next.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the image that windows begin in.
    pub padding: [usize; 2],
}

impl Window {
    /// One tap, one step, no padding.
    pub const ONE: Self = Self { size: [1; 2], stride: [1; 2], dilation: [1; 2], padding: [0; 2] };

    /// The runtime's window.
    pub fn of(window: format::Window, dilation: [u16; 2]) -> Self {
        let pair = |pair: [u16; 2]| pair.map(usize::from);
        let (size, stride, padding) =
            (pair(window.size), pair(window.stride), pair(window.padding));
        Self { size, stride, padding, dilation: pair(dilation) }
    }

    /// From the first tap to behind the last, saturating.
    pub fn extent(&self) -> [usize; 2] {
        let along = |axis: usize| {
            self.size[axis].saturating_sub(1).saturating_mul(self.dilation[axis]).saturating_add(1)
        };
        [along(0), along(1)]
    }
}

/// What a node computes.
///
/// # Shapes
/// of weights, row-major; each bias has one number per output:
/// dense: outputs × inputs; convolution: filters × height × width × channels; depthwise
/// convolution: outputs × height × width, where output o reads channel o / (outputs / channels).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    /// y = W·x + b over all values of the input, in their order.
    Dense(Affine),
    /// Cross-correlation over all channels.
    Conv2d(Window, Affine),
    /// Cross-correlation within a channel. With [`Window::ONE`] it is a factor and a summand per
    /// channel, which is how a batch normalisation that couldn't be folded is kept.
    DepthwiseConv2d(Window, Affine),
    /// Largest value of each window; padding never wins.
    MaxPool2d(Window),
    /// Mean of each window; padding isn't counted.
    AvgPool2d(Window),
    /// Mean over all dimensions but the last.
    Mean,
    /// Sum of two values of one shape; the second, which may be a constant, may also have one
    /// number per channel, or one.
    Add,
    /// Product, of operands as for the sum.
    Mul,
    /// Values side by side along an axis.
    Concat(usize),
    /// A border before each dimension of the given size, filled with the given number; what is
    /// added behind follows from the output's size.
    Pad(Vec<usize>, f32),
    /// The same numbers in the same order, in another shape.
    Reshape,
    /// The limits of a rectifier: ReLU is 0 to infinity, ReLU6 is 0 to 6.
    Clip(f32, f32),
    /// x for x ≥ 0, else the given factor times x.
    LeakyRelu(f32),
    /// x · min(max(x + 3, 0), 6) / 6.
    HardSwish,
    /// 1 / (1 + exp(−x)).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Softmax over the last dimension.
    Softmax,
    /// Logarithm of the softmax over the last dimension.
    LogSoftmax,
}

impl Kind {
    /// What it is called, as the runtime's operators are.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Conv2d(..) => "conv2d",
            Self::DepthwiseConv2d(..) => "depthwise_conv2d",
            Self::MaxPool2d(_) => "max_pool2d",
            Self::AvgPool2d(_) => "avg_pool2d",
            Self::Mean => "mean",
            Self::Add => "add",
            Self::Mul => "mul",
            Self::Concat(_) => "concat",
            Self::Pad(..) => "pad",
            Self::Reshape => "reshape",
            Self::Clip(..) => "clip",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::HardSwish => "hard_swish",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
        }
    }

    /// Weights and bias, if it has any.
    pub fn affine(&self) -> Option<&Affine> {
        match self {
            Self::Dense(affine) | Self::Conv2d(_, affine) | Self::DepthwiseConv2d(_, affine) => {
                Some(affine)
            }
            _ => None,
        }
    }

    /// As [`Kind::affine`], to change them.
    pub fn affine_mut(&mut self) -> Option<&mut Affine> {
        match self {
            Self::Dense(affine) | Self::Conv2d(_, affine) | Self::DepthwiseConv2d(_, affine) => {
                Some(affine)
            }
            _ => None,
        }
    }
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// A trained network: one input, one output, any graph between.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FloatGraph {
    /// All values.
    pub values: Vec<Value>,
    /// All nodes, each behind those that it reads from.
    pub nodes: Vec<Node>,
    /// The model's input.
    pub input: ValueId,
    /// The model's output.
    pub output: ValueId,
}

/// Why a graph of floats can't be used.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FloatGraphError {
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
