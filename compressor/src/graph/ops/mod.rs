//! The operators: one file each holds what the host knows of it.
//!
//! Adding one is its file and one line in `operators!` and, of its form on integers, in
//! `integer_operators!` below.

mod add;
mod argmax;
mod avg_pool2d;
mod batch_norm;
mod clip;
mod concat;
mod conv2d;
mod conv2d_max_pool2d;
mod dense;
mod depthwise_conv2d;
mod dropout;
mod hard_sigmoid;
mod hard_swish;
mod leaky_relu;
mod log_softmax;
mod logistic;
mod max_pool2d;
mod mean;
mod mul;
mod pad;
mod pair;
mod reshape;
mod resize_nearest;
mod select;
mod slice;
mod softmax;
mod tanh;
mod unary;

use std::ops::Deref;

use bitsback_runtime::Step;
use serde::{Deserialize, Serialize};

use super::integer::{IntegerOperator, StoredLayer};
use super::operator::Operator;

macro_rules! operators {
    ($(#[$docs:meta])* $all:ident: $operator:ident { $($kind:ident = $record:ident),* $(,)? }) => {
        $(#[$docs])*
        pub enum $all {
            $(#[doc = concat!("See [`", stringify!($record), "`].")] $kind($record)),*
        }

        impl Deref for $all {
            type Target = dyn $operator;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$kind(op) => op),* }
            }
        }

        $(impl From<$record> for $all {
            fn from(op: $record) -> Self {
                Self::$kind(op)
            }
        })*
    };
}

operators! {
    /// What a node of a graph of floats computes.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    Op: Operator {
        Add = Add, AvgPool2d = AvgPool2d, BatchNorm = BatchNorm, Clip = Clip, Concat = Concat,
        Conv2d = Conv2d, Dense = Dense, DepthwiseConv2d = DepthwiseConv2d,
        Dropout = Dropout, HardSigmoid = HardSigmoid, HardSwish = HardSwish, LeakyRelu = LeakyRelu, LogSoftmax = LogSoftmax,
        Logistic = Logistic, MaxPool2d = MaxPool2d, Mean = Mean, Mul = Mul, Pad = Pad,
        Reshape = Reshape, ResizeNearest = ResizeNearest, Select = Select, Slice = Slice, Softmax = Softmax, Tanh = Tanh,
    }
}

macro_rules! integer_operators {
    ($($kind:ident = $record:ident),* $(,)?) => {
        operators! {
            /// What a node of a graph of integers computes; see [`bitsback_runtime::ops`] for the
            /// arithmetic.
            #[derive(Clone, Debug, PartialEq)]
            IntegerOp: IntegerOperator { $($kind = $record),* }
        }

        impl IntegerOp {
            /// The operator that a record of a model is; `section` is the model's weight section.
            pub fn of(step: &Step, section: &[u8]) -> Option<Self> {
                None$(.or_else(|| <$record as IntegerOperator>::of(step, section).map(Self::$kind)))*
            }

            /// A record's parameters, if it holds some, and the distance in a row to the weight before.
            pub fn layer(step: &Step) -> Option<(StoredLayer, usize)> {
                None$(.or_else(|| <$record as IntegerOperator>::layer(step)))*
            }
        }
    };
}

integer_operators! {
    Add = IntegerAdd, Argmax = IntegerArgmax, AvgPool2d = IntegerAvgPool2d,
    Concat = IntegerConcat, Conv2d = IntegerConv2d, Conv2dMaxPool2d = IntegerConv2dMaxPool2d,
    Dense = IntegerDense, DepthwiseConv2d = IntegerDepthwiseConv2d,
    HardSigmoid = IntegerHardSigmoid, HardSwish = IntegerHardSwish, LeakyRelu = IntegerLeakyRelu, Limit = IntegerLimit,
    Logistic = IntegerLogistic, MaxPool2d = IntegerMaxPool2d, Mean = IntegerMean,
    Mul = IntegerMul, Pad = IntegerPad, Rescale = IntegerRescale, ResizeNearest = IntegerResizeNearest, Select = IntegerSelect, Slice = IntegerSlice,
    Softmax = IntegerSoftmax, Tanh = IntegerTanh,
}

/// Operators that none of these graphs has, but those of `left_out`: nothing, if a test's are complete.
#[cfg(test)]
pub(crate) fn missing<'g, P: 'g>(
    graphs: impl IntoIterator<Item = &'g super::Graph<P>>,
    left_out: &[&str],
) -> Vec<String> {
    let nodes = graphs.into_iter().flat_map(|graph| &graph.nodes);
    let kinds = nodes.map(|node| format!("{:?}", node.op));
    let kinds = kinds.filter_map(|text| text.split('(').next().map(str::to_owned));
    let used: std::collections::BTreeSet<String> = kinds.collect();
    // serde lists all variants to whoever asks for another one.
    let known = serde_json::from_str::<Op>("\"?\"");
    let known = known.map_or_else(|error| error.to_string(), |op| format!("{op:?}"));
    let known: Vec<&str> = known.split('`').skip(3).step_by(2).collect();
    assert!(used.iter().all(|kind| known.contains(&kind.as_str())), "{used:?} {known:?}");
    let is_missing = |kind: &&str| !used.contains(*kind) && !left_out.contains(kind);
    known.into_iter().filter(is_missing).map(str::to_owned).collect()
}

impl Op {
    /// Whether it is a layer whose weights the posterior is over: dense, convolution or depthwise
    /// convolution.
    pub fn is_affine(&self) -> bool {
        matches!(self, Self::Dense(_) | Self::Conv2d(_) | Self::DepthwiseConv2d(_))
    }
}

pub use add::{Add, IntegerAdd};
pub use argmax::IntegerArgmax;
pub use avg_pool2d::{AvgPool2d, IntegerAvgPool2d};
pub use batch_norm::{BatchNorm, NORM_EPSILON};
pub use clip::{Clip, IntegerLimit, IntegerRescale};
pub use concat::{Concat, IntegerConcat};
pub use conv2d::{Conv2d, IntegerConv2d};
pub use conv2d_max_pool2d::IntegerConv2dMaxPool2d;
pub use dense::{Dense, IntegerDense};
pub use depthwise_conv2d::{DepthwiseConv2d, IntegerDepthwiseConv2d};
pub use dropout::Dropout;
pub use hard_sigmoid::{HardSigmoid, IntegerHardSigmoid};
pub use hard_swish::{HardSwish, IntegerHardSwish};
pub use leaky_relu::{IntegerLeakyRelu, LeakyRelu};
pub use log_softmax::LogSoftmax;
pub use logistic::{IntegerLogistic, Logistic};
pub use max_pool2d::{IntegerMaxPool2d, MaxPool2d};
pub use mean::{IntegerMean, Mean};
pub use mul::{IntegerMul, Mul};
pub use pad::{IntegerPad, Pad};
pub use reshape::Reshape;
pub use resize_nearest::{IntegerResizeNearest, ResizeNearest};
pub use select::{IntegerSelect, Select};
pub use slice::{IntegerSlice, Slice};
pub use softmax::{IntegerSoftmax, Softmax};
pub use tanh::{IntegerTanh, Tanh};
