//! The operators: one file each holds what the host knows of it.
//!
//! Adding one is its file and one line in `operators!` below.

mod add;
mod avg_pool2d;
mod batch_norm;
mod clip;
mod concat;
mod conv2d;
mod crop;
mod dense;
mod depthwise_conv2d;
mod dropout;
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
mod select;
mod softmax;
mod tanh;
mod unary;

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::operator::Operator;

macro_rules! operators {
    ($($kind:ident),* $(,)?) => {
        /// What a node computes.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Op {
            $(#[doc = concat!("See [`struct@", stringify!($kind), "`].")] $kind($kind)),*
        }

        impl Deref for Op {
            type Target = dyn Operator;

            fn deref(&self) -> &Self::Target {
                match self { $(Self::$kind(op) => op),* }
            }
        }

        $(impl From<$kind> for Op {
            fn from(op: $kind) -> Self {
                Self::$kind(op)
            }
        })*
    };
}

operators! {
    Add, AvgPool2d, BatchNorm, Clip, Concat, Conv2d, Crop, Dense, DepthwiseConv2d, Dropout, HardSwish,
    LeakyRelu, LogSoftmax, Logistic, MaxPool2d, Mean, Mul, Pad, Reshape, Select, Softmax, Tanh,
}

impl Op {
    /// Whether it is a layer whose weights the posterior is over: dense, convolution or depthwise
    /// convolution.
    pub fn is_affine(&self) -> bool {
        matches!(self, Self::Dense(_) | Self::Conv2d(_) | Self::DepthwiseConv2d(_))
    }
}

pub use add::Add;
pub use avg_pool2d::AvgPool2d;
pub use batch_norm::{BatchNorm, NORM_EPSILON};
pub use clip::Clip;
pub use concat::Concat;
pub use conv2d::Conv2d;
pub use crop::Crop;
pub use dense::Dense;
pub use depthwise_conv2d::DepthwiseConv2d;
pub use dropout::Dropout;
pub use hard_swish::HardSwish;
pub use leaky_relu::LeakyRelu;
pub use log_softmax::LogSoftmax;
pub use logistic::Logistic;
pub use max_pool2d::MaxPool2d;
pub use mean::Mean;
pub use mul::Mul;
pub use pad::Pad;
pub use reshape::Reshape;
pub use select::Select;
pub use softmax::Softmax;
pub use tanh::Tanh;
