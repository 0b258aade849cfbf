//! TensorFlow Lite's int8 models, computed bit for bit as TensorFlow Lite Micro does.
//!
//! Multipliers are derived as its kernels derive them, operator by operator: in double precision
//! for convolutions, additions and rescalings, in single precision where its code multiplies
//! single-precision scales (fully connected layers with one scale, leaky rectifiers).

mod arrange;
mod convert;
mod dilated;
mod elementwise;
mod operands;
mod operators;
mod reduce;
mod schema;
#[cfg(test)]
mod sketch;
#[cfg(test)]
mod tests;
mod weighted;
mod window;

pub use operators::{SUPPORTED, SupportedOperator};

use super::ImportError;
use crate::integer_graph::IntegerGraph;

/// Whether the bytes claim to be a `.tflite` file.
pub fn is_tflite(bytes: &[u8]) -> bool {
    schema::is_tflite(bytes)
}

/// The graph of a `.tflite` file.
///
/// # Errors
/// What isn't supported, with its place in the graph.
pub fn read(bytes: &[u8]) -> Result<IntegerGraph, ImportError> {
    convert::convert(&schema::Model::read(bytes)?)
}
