//! Models for other runtimes: a `.bbk` file as a graph of floats with its quantisation, and that as
//! ONNX.
//!
//! The file doesn't store the scales of inner values, only ratios of scales, which is all that its
//! integers need. [`recover`] finds scales that fit: those that operators fix stay, the others are
//! chosen, and the weights' scales follow. What is computed is the same whichever is chosen.

mod onnx;
mod parameters;
mod parts;
mod recover;
mod scales;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use onnx::onnx;
pub use recover::recover;

/// Why a model can't be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An operator that has no counterpart.
    #[error("operator {index} ({operator}): {problem}")]
    Operator {
        /// Position among the operators, from 0.
        index: usize,
        /// What it is.
        operator: &'static str,
        /// Why it can't be exported.
        problem: &'static str,
    },
    /// A node that ONNX has no form for.
    #[error("{node}: {problem}")]
    Node {
        /// Which node.
        node: String,
        /// Why it can't be exported.
        problem: &'static str,
    },
    /// The graph doesn't fit together.
    #[error(transparent)]
    Graph(#[from] crate::graph::GraphError),
}
