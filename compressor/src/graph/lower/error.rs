//! What can go wrong on the way from floats to integers.

use bitsback_runtime::format::PackError;
use thiserror::Error;

use crate::graph::GraphError;

/// Why a network can't be lowered.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum LowerError {
    /// The graph isn't sound.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A value without a scale.
    #[error(
        "{node}: `{value}` is not quantised in the file; quantise every operator's output, or give \
         the model of floats to `bitsback quantize`"
    )]
    NoScale {
        /// Which node.
        node: String,
        /// Which value.
        value: String,
    },
    /// An operator that the runtime doesn't have, or not there.
    #[error("{node}: {kind} is supported only as {supported}")]
    Unsupported {
        /// Which node.
        node: String,
        /// Which operator.
        kind: &'static str,
        /// What is.
        supported: &'static str,
    },
    /// A dimension doesn't fit the format's 16 bits.
    #[error(
        "{layer}: {what} is {value}, but the format holds at most 65535; make the layer smaller"
    )]
    TooLarge {
        /// Name of the layer.
        layer: String,
        /// Which dimension.
        what: &'static str,
        /// Its value.
        value: usize,
    },
    /// A bias is too large to be added to the sum of products in 32 bits.
    #[error(
        "{layer}: the bias of output {output} is {bias} in units of the accumulator, beyond 32 \
         bits; the activations' scales before the layer are too small for it"
    )]
    Bias {
        /// Name of the layer.
        layer: String,
        /// Which output.
        output: usize,
        /// Its bias.
        bias: f64,
    },
    /// Integers for other weights.
    #[error("{layer}: {found} integers were given for {expected} weights")]
    Integers {
        /// Name of the layer.
        layer: String,
        /// Weights.
        expected: usize,
        /// Integers.
        found: usize,
    },
    /// A layer is coded whose operator takes no coded weights.
    #[error("a layer is coded whose operator takes no coded weights")]
    Coded,
    /// A weight doesn't fit its width.
    #[error("{layer}: {source}; choose the layer's bits anew")]
    Weights {
        /// Name of the layer.
        layer: String,
        /// What is wrong.
        source: PackError,
    },
    /// A scale is not a positive number.
    #[error("{layer}: the scale {scale} is not a positive finite number; calibrate anew")]
    Scale {
        /// Name of the layer.
        layer: String,
        /// The scale.
        scale: f32,
    },
    /// All parameters together don't fit a file.
    #[error("the parameters take more than the format's {limit} bytes; compress more")]
    TooManyParameters {
        /// Most bytes.
        limit: u32,
    },
}
