//! Post-training quantisation: a trained graph of floats as integers, without training.
//!
//! 1. [`ranges`] watches a few hundred inputs go through the graph and chooses each value's scale,
//!    [`means`] what each layer reads on average;
//! 2. [`mod@weights`] makes integers of each layer's weights, at a width, a scale per output;
//! 3. [`mod@lower`] derives multipliers and gives an [`IntegerGraph`];
//! 4. [`widths`] measures how much each layer's narrowing costs, and narrows what costs least.
//!
//! A model that brings its quantisation along ([`FloatModel::is_quantized`]) takes step 3 alone,
//! with the scales of its file.

mod arithmetic;
pub mod assess;
mod fuse;
pub mod lower;
mod means;
pub mod ranges;
#[cfg(test)]
mod tests;
pub mod weights;
pub mod widths;

use thiserror::Error;

pub use lower::{Plan, lower};
pub use means::means;

use crate::calibrate::{InputQuantization, RawInput};
use crate::graph::{Affine, Graph, GraphError, Op, ValueId};
use crate::import::onnx::FloatModel;
use crate::integer_graph::{IntegerGraph, IntegerGraphError};
use crate::serialize::{ModelInfo, SerializeError, serialize};
use crate::verify::VerifyError;

/// Why a graph can't be quantised.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The graph of floats doesn't fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// There was nothing to watch.
    #[error("calibration needs at least one example; give it more data")]
    NoExamples,
    /// A value was infinite or not a number.
    #[error(
        "`{value}` becomes infinite or not a number on the data; check that the data are scaled as \
         in training (--pixels, --mean, --std)"
    )]
    NotFinite {
        /// Which value.
        value: String,
    },
    /// A value whose scale is not known: a quantised file says nothing about it.
    #[error(
        "{node}: `{value}` is not quantised in the file; quantise every operator's output, or give \
         the model of floats to `bitsback quantize`"
    )]
    NoScale {
        /// The node that writes it.
        node: String,
        /// Which value.
        value: String,
    },
    /// An operator that has no integer counterpart there.
    #[error("{node}: {kind} is supported only as {supported}")]
    Unsupported {
        /// Which node.
        node: String,
        /// What it computes.
        kind: &'static str,
        /// Where it would be.
        supported: &'static str,
    },
    /// A size beyond the runtime's 16 bits.
    #[error("{node}: {what} is {found}, but at most 65535 is supported")]
    TooLarge {
        /// Which node.
        node: String,
        /// What.
        what: &'static str,
        /// How large it is.
        found: usize,
    },
    /// The integers don't fit the runtime's operators.
    #[error(transparent)]
    IntegerGraph(#[from] IntegerGraphError),
    /// The model can't be written.
    #[error(transparent)]
    Serialize(#[from] SerializeError),
    /// The model can't be run.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// The `.bbk` file of a model that brings its quantisation along.
///
/// # Errors
/// Where the file leaves a scale open, and what doesn't fit the runtime.
pub fn prescribed(model: &FloatModel) -> Result<IntegerGraph, QuantizeError> {
    let mut plan = Plan { scales: model.weights.clone(), ..Plan::of(&model.activations) };
    // What is only arranged or chosen from later has the scale that it is given then.
    for node in model.graph.nodes.iter().rev() {
        let keeps = matches!(node.op, Op::Reshape(_) | Op::MaxPool2d(_));
        if let (true, Some(&scale)) = (keeps, plan.activations.get(&node.output)) {
            plan.activations.entry(node.inputs[0]).or_insert(scale);
        }
    }
    lower(&model.graph, &plan)
}

/// The operators that quantising a graph gives, as far as they follow from it alone: what each is
/// called (a coded layer's name ends alike), and the value that it writes.
pub fn operators<P>(graph: &Graph<P>) -> Vec<(&'static str, ValueId)> {
    let steps = fuse::steps(graph, |_| false);
    let named = steps.iter().filter_map(|step| {
        let name = match graph.nodes[step.node].op.name() {
            "reshape" | "log_softmax" => return None,
            "clip" => "rescale",
            name => name,
        };
        Some((name, step.output))
    });
    named.collect()
}

/// Lowers and serialises a graph with a plan; `input` says how raw data become inputs.
///
/// # Errors
/// As [`lower()`], and what the runtime refuses.
pub fn write(
    graph: &Graph<Affine>,
    plan: &Plan,
    input: &InputQuantization,
    info: &ModelInfo,
) -> Result<(Vec<u8>, crate::lower::Graph), QuantizeError> {
    let mut lowered = lower(graph, plan)?.lower()?;
    if input.raw != RawInput::Nothing {
        lowered.input_quantization = input.clone();
    }
    let bytes = serialize(&lowered, info)?;
    Ok((bytes, lowered))
}
