//! Post-training quantisation: a trained graph of floats as integers, without training.
//!
//! 1. [`calibrate`] and [`means`] watch a few hundred inputs go through the graph: each value's scale, and
//!    what each layer reads on average; [`plan`] holds what follows;
//! 2. [`crate::graph::lower()`] makes integers: weights at a width, a scale per output;
//! 3. [`narrow`] measures how much each layer's narrowing costs, and narrows what costs least;
//! 4. [`write`](write()) lowers and writes the file; [`assess`](assess()) says how well it does.
//!
//! A model that brings its quantisation along takes steps 2 and 4 alone, with the scales of its file: see
//! [`crate::import`].

pub(crate) mod assess;
#[cfg(test)]
mod tests;
pub(crate) mod widths;

use thiserror::Error;

use crate::compile::serialize::ModelInfo;
use crate::compile::{self, CompileError, CompileOptions, Compiled, InputQuantization};
use crate::graph::{Affine, Graph, GraphError, LowerError, Plan, ValueId, lower};
use crate::numbers::Quantization;
use crate::verify::VerifyError;

pub use crate::compile::calibrate::{CalibrateError, RangeMethod, calibrate, means, plan};
pub use crate::task::{Deviation, Distance, Ending, Task};
pub use assess::{Assessment, Outputs, Truth, assess, float_outputs, outputs};
pub use widths::{Aim, Examples, LayerWidth, layers, narrow};

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
    /// What else calibration refuses.
    #[error(transparent)]
    Calibrate(CalibrateError),
    /// A value or operator has no integer counterpart.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The integers don't fit the runtime's operators, or can't be written.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The model can't be run.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl From<CalibrateError> for QuantizeError {
    fn from(error: CalibrateError) -> Self {
        match error {
            CalibrateError::Graph(source) => Self::Graph(source),
            CalibrateError::NoExamples => Self::NoExamples,
            CalibrateError::NotFinite { value } => Self::NotFinite { value },
            border @ CalibrateError::Border { .. } => Self::Calibrate(border),
        }
    }
}

/// The operators that quantising a graph gives: what each is called, and the value of the graph that
/// it writes. None where it can't be quantised.
pub fn expected(graph: &Graph<Affine>) -> Vec<(&'static str, ValueId)> {
    // Which operators there are doesn't depend on the scales.
    let any = Quantization { scale: 1.0, zero_point: 0 };
    let activations = (0..graph.values.len()).map(|id| (id, any)).collect();
    let Ok(integers) = lower(graph, &Plan { activations, ..Plan::default() }) else {
        return Vec::new();
    };
    let named = integers
        .nodes
        .iter()
        .filter_map(|node| Some((node.op.label(), integers.values.get(node.output)?.real?)));
    named.collect()
}

/// Lowers and writes a graph with a plan; `input` says how raw data become inputs.
///
/// # Errors
/// As [`lower()`] and [`compile::write`].
pub fn write(
    graph: &Graph<Affine>,
    plan: &Plan,
    input: &InputQuantization,
    options: &CompileOptions,
    info: &ModelInfo,
) -> Result<(Vec<u8>, Compiled), QuantizeError> {
    Ok(compile::write(&lower(graph, plan)?, input, options, info)?)
}
