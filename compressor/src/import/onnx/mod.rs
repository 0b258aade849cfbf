//! ONNX models as graphs of floats.
//!
//! [`read`] takes a model with one input and one output, folds what is constant, and gives a
//! [`FloatGraph`] in the layout of the device: images channels last, whatever the file has.
//! Quantised models (pairs of `QuantizeLinear` and `DequantizeLinear`) bring their scales along.

mod arrange;
mod constant;
mod constants;
mod convert;
mod elementwise;
mod external;
mod operators;
mod order;
mod quantized;
mod schema;
mod weighted;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use operators::{SUPPORTED, SupportedOperator};

use super::ImportError;
use crate::calibrate::Quantization;
use crate::float_graph::{FloatGraph, ValueId};

/// A model of floats, and what the file says about its quantisation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatModel {
    /// What is computed.
    pub graph: FloatGraph,
    /// Quantisation of values that the file quantises.
    pub activations: BTreeMap<ValueId, Quantization>,
    /// Scales of quantised weights by the value that their node writes: one, or one per output.
    pub weights: BTreeMap<ValueId, Vec<f32>>,
    /// For each number of the output as it is kept, its place in the file's order; empty where
    /// the orders are the same.
    pub output_order: Vec<usize>,
}

impl FloatModel {
    /// Whether the file is a quantised model.
    pub fn is_quantized(&self) -> bool {
        !self.activations.is_empty()
    }
}

/// Whether the bytes look like an ONNX file.
pub fn is_onnx(bytes: &[u8]) -> bool {
    schema::is_onnx(bytes)
}

/// The graph of an ONNX file. Parameters that the file keeps in others are sought in `folder`.
///
/// # Errors
/// What isn't supported, with its place in the graph.
pub fn read(bytes: &[u8], folder: Option<&Path>) -> Result<FloatModel, ImportError> {
    let model = schema::Model::read(bytes)?;
    let mut model = convert::convert(&model, external::Folder::new(folder))?;
    let fixed: BTreeSet<ValueId> =
        model.activations.keys().chain(model.weights.keys()).copied().collect();
    model.graph.check()?;
    model.graph.fold(&fixed);
    Ok(model)
}
