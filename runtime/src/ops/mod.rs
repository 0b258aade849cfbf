//! The operators: one file each holds the record, its checks, its loop and its tests.
//!
//! A record is [`OpKind`]'s tag (one byte) followed by the postcard of the operator's struct,
//! which is exactly the postcard of [`Op`]. Adding an operator is its file and one line in
//! [`operators!`], at the end: tags are part of the format.

mod argmax;
mod avg_pool2d;
mod conv2d;
mod dense;
mod max_pool2d;
mod select;
mod softmax;

use core::slice;

use serde::{Deserialize, Serialize};

pub use argmax::Argmax;
pub use avg_pool2d::AvgPool2d;
pub use conv2d::Conv2d;
pub use dense::Dense;
pub use max_pool2d::MaxPool2d;
pub use select::Select;
pub use softmax::Softmax;

use crate::format::{Source, Tensor};

macro_rules! operators {
    ($($tag:literal $kind:ident $name:literal),* $(,)?) => {
        /// One operator with its operands and parameters.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Op {
            $(#[doc = concat!("See [`", stringify!($kind), "`](struct@", stringify!($kind), ").")]
            $kind($kind)),*
        }

        /// Which operator; the discriminant is its tag in the file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum OpKind {
            $(#[doc = concat!("See [`struct@", stringify!($kind), "`].")]
            $kind = $tag),*
        }

        impl OpKind {
            /// All kinds, in the order of their tags.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name shown to people.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// The kind of this tag.
            pub const fn from_tag(tag: u8) -> Option<Self> {
                match tag { $($tag => Some(Self::$kind),)* _ => None }
            }
        }

        impl Op {
            /// Which operator.
            pub fn kind(&self) -> OpKind {
                match self { $(Self::$kind(_) => OpKind::$kind),* }
            }

            /// What it reads.
            pub fn inputs(&self) -> &[Source] {
                match self { $(Self::$kind(op) => op.inputs()),* }
            }

            /// What it writes.
            pub fn output(&self) -> &Tensor {
                match self { $(Self::$kind(op) => &op.output),* }
            }
        }
    };
}

operators! {
    0 Dense "dense",
    1 Conv2d "conv2d",
    2 MaxPool2d "max_pool2d",
    3 AvgPool2d "avg_pool2d",
    4 Select "select",
    5 Softmax "softmax",
    6 Argmax "argmax",
}

macro_rules! unary {
    ($($kind:ident),* $(,)?) => {
        $(impl $kind {
            fn inputs(&self) -> &[Source] {
                slice::from_ref(&self.input)
            }
        })*
    };
}

unary!(Dense, Conv2d, MaxPool2d, AvgPool2d, Select, Softmax, Argmax);

impl OpKind {
    /// Its bit in a set of kinds.
    pub const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}
