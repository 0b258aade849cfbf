//! ONNX models as graphs of floats.
//!
//! [`read`] takes a model with one input and one output, folds what is constant, and gives a
//! [`Graph`] in the layout of the device: images channels last, whatever the file has.
//! Quantised models (pairs of `QuantizeLinear` and `DequantizeLinear`) bring their scales along.

mod arithmetic;
mod arrange;
mod broadcast;
mod constant;
mod constants;
mod convert;
mod elementwise;
mod external;
mod operators;
mod order;
mod passes;
mod quantized;
mod reduce;
mod reshape;
pub(crate) mod schema;
mod shape;
mod site;
mod slice;
#[cfg(test)]
mod tests;
mod weighted;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use operators::{SUPPORTED, SupportedOperator};

use super::layout::InputLayout;
use super::{At, ImportError};
use crate::data::Layout;
use crate::graph::{Affine, Graph, ValueId};
use crate::numbers::Quantization;

/// A model of floats, and what the file says about its quantisation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatModel {
    /// What is computed.
    pub graph: Graph<Affine>,
    /// Quantisation of values that the file quantises.
    pub activations: BTreeMap<ValueId, Quantization>,
    /// Scales of quantised weights by the value that their node writes: one, or one per output.
    pub weights: BTreeMap<ValueId, Vec<f32>>,
    /// For each number of the output as it is kept, its place in the file's order; empty where
    /// the orders are the same.
    pub output_order: Vec<usize>,
    /// The operator that writes the output, where its numbers are kept in an order that is neither the
    /// file's nor that of a map with its channels last: nobody could tell which is which.
    pub moved_output: Option<At>,
    /// In which order the file has the dimensions of an input that is an image or a sequence.
    pub input_layout: Option<InputLayout>,
}

impl FloatModel {
    /// Whether the file is a quantised model.
    pub fn is_quantized(&self) -> bool {
        !self.activations.is_empty()
    }

    /// The model, if its outputs come in an order that is told.
    ///
    /// # Errors
    /// The operator after which they would have to be moved.
    pub(super) fn with_outputs_in_order(self) -> Result<Self, ImportError> {
        match self.moved_output {
            Some(at) => Err(ImportError::MovedOutput { at }),
            None => Ok(self),
        }
    }
}

/// Whether the bytes look like an ONNX file.
pub fn is_onnx(bytes: &[u8]) -> bool {
    schema::is_onnx(bytes)
}

/// The graph of an ONNX file. Parameters that the file keeps in others are sought in `folder`; the
/// input's dimensions are in the order that the operators prove, or that is given.
///
/// # Errors
/// What isn't supported, with its place in the graph.
pub fn read(
    bytes: &[u8],
    folder: Option<&Path>,
    layout: Option<Layout>,
) -> Result<FloatModel, ImportError> {
    converted(&schema::Model::read(bytes)?, folder, layout)
}

/// Whether an ONNX file has no quantisation of values.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn computes_with_floats(bytes: &[u8]) -> Result<bool, ImportError> {
    let model = schema::Model::read(bytes)?;
    let parameters: BTreeSet<&str> =
        model.initializers.iter().map(|tensor| tensor.name.as_str()).collect();
    let quantizes = |node: &schema::Node| {
        let of_value = node.inputs.first().is_some_and(|name| !parameters.contains(name.as_str()));
        node.operator.ends_with("QuantizeLinear") && of_value
    };
    Ok(!model.nodes.iter().any(quantizes))
}

/// The graph of messages that were made of another format's file, which has channels last.
pub(super) fn channels_last(model: &schema::Model) -> Result<FloatModel, ImportError> {
    let rank = model.input.dims.len();
    let model = converted(model, None, matches!(rank, 3 | 4).then_some(Layout::ChannelsLast))?;
    Ok(FloatModel { input_layout: None, ..model })
}

/// The graph of a file's messages.
fn converted(
    model: &schema::Model,
    folder: Option<&Path>,
    layout: Option<Layout>,
) -> Result<FloatModel, ImportError> {
    let mut model = passes::convert(model, &external::Folder::new(folder), layout)?;
    let fixed: BTreeSet<ValueId> =
        model.activations.keys().chain(model.weights.keys()).copied().collect();
    model.graph.check()?;
    model.graph.fold(&fixed);
    Ok(model)
}
