//! Why a model can't be imported: always where, and what would be supported.

use std::fmt;

use thiserror::Error;

use super::flatbuffer::Damaged;
use crate::compile::CompileError;
use crate::graph::GraphError;
use crate::graph::LowerError;

/// An operator's place in its graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Position among the graph's operators, from 0.
    pub index: usize,
    /// What it is called in the file's format.
    pub operator: String,
    /// The tensor that it writes.
    pub output: String,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operator {} ({}", self.index, self.operator)?;
        if !self.output.is_empty() {
            write!(f, ", which writes `{}`", self.output)?;
        }
        f.write_str(")")
    }
}

/// Why a model can't be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes are no model of a known format.
    #[error(
        "this is neither a TensorFlow Lite model (`TFL3` at byte 4) nor an ONNX one (which begins \
         with its version); weights alone (.pt, .safetensors) have no layers: name these in a job, \
         with [network] weights, or export the model to ONNX"
    )]
    UnknownFormat,
    /// The file's messages end too early, or are none.
    #[error("the file is damaged: {0}; copy it again")]
    Protobuf(#[from] prost::DecodeError),
    /// Operators of a version that isn't known.
    #[error(
        "the file has version {found} of ONNX's operators, but {oldest} to {newest} are supported; \
         export it with an `opset_version` between them"
    )]
    Opset {
        /// The file's.
        found: i64,
        /// The oldest that is read.
        oldest: i64,
        /// The newest.
        newest: i64,
    },
    /// A tensor that makes no sense.
    #[error("`{tensor}` {problem}")]
    Tensor {
        /// Which one.
        tensor: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A type of numbers that isn't read.
    #[error("`{tensor}` has the type {found}, but {supported} is supported there")]
    Number {
        /// Which tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// What could be.
        supported: &'static str,
    },
    /// Parameters in another file that can't be read.
    #[error(
        "the numbers of `{tensor}` are in the file `{file}`, which isn't beside the model or can't \
         be read; copy it there, or export the model into one file"
    )]
    External {
        /// Which tensor.
        tensor: String,
        /// The file.
        file: String,
    },
    /// The output doesn't follow from the input.
    #[error("the output `{output}` is not computed from the input by any operator")]
    NotComputed {
        /// The output's name.
        output: String,
    },
    /// The file ends too early, or its offsets lead nowhere.
    #[error("the file is damaged: {0}; copy it again")]
    Damaged(#[from] Damaged),
    /// Another version of the file's format.
    #[error("the file has version {found} of its format, but version {supported} is supported")]
    SchemaVersion {
        /// The file's.
        found: u32,
        /// What is read here.
        supported: u32,
    },
    /// There is more of something than is read.
    #[error("the file has {found} {what}, but at most {limit} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        limit: usize,
    },
    /// The graph doesn't have one input and one output, or the file not one graph.
    #[error("the model has {found} {what}, but models with exactly one are supported")]
    NotOne {
        /// Inputs, outputs or graphs.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// An operator that the runtime doesn't have.
    #[error("{at} is not supported; supported are {supported} (`bitsback supported-ops` has more)")]
    Operator {
        /// Where.
        at: At,
        /// Names of what is supported.
        supported: String,
    },
    /// A newer version of an operator.
    #[error("{at} has version {found}, but versions up to {supported} are supported")]
    OperatorVersion {
        /// Where.
        at: At,
        /// The operator's.
        found: i32,
        /// Newest that is known.
        supported: i32,
    },
    /// A type that an operator isn't supported with.
    #[error("{at}: `{tensor}` has the type {found}, but {supported} is supported there")]
    Type {
        /// Where.
        at: At,
        /// Which tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// What could be.
        supported: &'static str,
    },
    /// An operator refers to a tensor or a buffer that there isn't, or lacks one that it needs.
    #[error("{at}: {what} is missing or doesn't exist; the file is damaged")]
    Missing {
        /// Where.
        at: At,
        /// What.
        what: &'static str,
    },
    /// Quantisation parameters that are missing, or that arithmetic isn't defined for.
    #[error("{at}: `{tensor}` {problem}; quantise the model to int8 fully and convert it again")]
    Quantization {
        /// Where.
        at: At,
        /// Which tensor.
        tensor: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Outputs in an order that is neither the file's nor that of a map.
    #[error(
        "{at}: the outputs would have to be transposed in memory, which the runtime doesn't do: maps \
         have their channels last there; put a Transpose to channels last before it (perm 0, 2, 3, 1, \
         or 0, 2, 1 of a sequence), so that the file has the same order, or end the network with the \
         map"
    )]
    MovedOutput {
        /// The operator that writes the outputs.
        at: At,
    },
    /// Shapes that an operator isn't supported with.
    #[error("{at}: {problem} (shapes: {shapes})")]
    Shape {
        /// Where.
        at: At,
        /// What is wrong.
        problem: &'static str,
        /// Of what it reads and writes.
        shapes: String,
    },
    /// An attribute that an operator isn't supported with.
    #[error("{at}: {what} is {found}, but {supported} is supported")]
    Attribute {
        /// Where.
        at: At,
        /// Which attribute.
        what: &'static str,
        /// Its value.
        found: String,
        /// What could be.
        supported: &'static str,
    },
    /// The caller's order of the input's dimensions is another than an operator's.
    #[error(
        "{at} reads the input's dimensions in another order than {given}; leave the order out, or \
         say the other"
    )]
    Layout {
        /// The operator that proves the other order.
        at: At,
        /// What the caller said.
        given: &'static str,
    },
    /// Operators that contradict one another.
    #[error(
        "{first} reads the input's channels as its first dimension, {last} as its last; say which is \
         meant: --input-layout channels-first or channels-last"
    )]
    Layouts {
        /// The operator that proves the one order.
        first: At,
        /// And the other.
        last: At,
    },
    /// Another order than the format's only one.
    #[error("a model of TensorFlow Lite has channels last; leave --input-layout out")]
    LastAlways,
    /// An order for an input that has none.
    #[error("an input with {rank} dimensions besides the batch has no channels first or last")]
    NoLayout {
        /// Its dimensions.
        rank: usize,
    },
    /// The graph of floats doesn't fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An operator on numbers that the rest of the model isn't computed with.
    #[error("{at} {problem}")]
    Numbers {
        /// Where.
        at: At,
        /// What it computes with, and what to do.
        problem: &'static str,
    },
    /// A model that has no scales yet.
    #[error(
        "the model computes with floats; `bitsback quantize MODEL --data DATA` finds its scales"
    )]
    Floats,
    /// A model of integers that computes something else than floats do.
    #[error("{node}: {problem}; nothing computes that with floats")]
    NoFloats {
        /// Which node.
        node: String,
        /// What it is.
        problem: &'static str,
    },
    /// A quantised model that has no integer counterpart.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The integers don't fit the runtime's operators, or can't be written.
    #[error(transparent)]
    Compile(#[from] CompileError),
}
