//! TensorFlow Lite's models: int8 ones computed bit for bit as TensorFlow Lite Micro does, and ones of
//! floats as graphs of floats.
//!
//! Multipliers are derived as its kernels derive them, operator by operator: in double precision
//! for convolutions, additions and rescalings, in single precision where its code multiplies
//! single-precision scales (fully connected layers with one scale, leaky rectifiers).

mod arrange;
#[cfg(test)]
mod builder;
mod convert;
mod dilated;
mod elementwise;
#[cfg(test)]
pub(crate) mod excite;
mod floats;
mod numbers;
mod operands;
mod operators;
mod reduce;
mod schema;
mod sizes;
mod slice;
#[cfg(test)]
mod tests;
mod weighted;
mod window;

pub use operators::{SUPPORTED, SupportedOperator};

use super::ImportError;
use super::onnx::FloatModel;
use crate::compile::ByteMap;
use crate::graph::IntegerGraph;
use numbers::Arithmetic;

/// Whether the bytes claim to be a `.tflite` file.
pub fn is_tflite(bytes: &[u8]) -> bool {
    schema::is_tflite(bytes)
}

/// The graph of a `.tflite` file of integers, and how raw bytes become inputs, if it takes some.
///
/// # Errors
/// What isn't supported, with its place in the graph; a model of floats.
pub fn read(bytes: &[u8]) -> Result<(IntegerGraph, Option<ByteMap>), ImportError> {
    let model = schema::Model::read(bytes)?;
    match numbers::arithmetic(&model)? {
        Arithmetic::Integers => convert::convert(&model),
        Arithmetic::Floats => Err(ImportError::Floats),
    }
}

/// Whether a `.tflite` file computes with floats.
///
/// # Errors
/// What is wrong with the file.
pub fn computes_with_floats(bytes: &[u8]) -> Result<bool, ImportError> {
    Ok(numbers::arithmetic(&schema::Model::read(bytes)?)? == Arithmetic::Floats)
}

/// The graph of a `.tflite` file of floats; none of one of integers.
///
/// # Errors
/// What isn't supported, with its place in the graph.
pub fn floats(bytes: &[u8]) -> Result<Option<FloatModel>, ImportError> {
    let model = schema::Model::read(bytes)?;
    match numbers::arithmetic(&model)? {
        Arithmetic::Integers => Ok(None),
        Arithmetic::Floats => floats::convert(&model).map(Some),
    }
}
