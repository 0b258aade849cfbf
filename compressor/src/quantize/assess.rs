//! How well a quantised model does, beside the floats that it was made from.

use serde::Serialize;

use super::QuantizeError;
use crate::data::{Dataset, Normalization};
use crate::graph::{Affine, Executor, Graph};
use crate::task::{Deviation, Distance, Ending, Task};
use crate::verify::{quantized_inputs, reals};

/// Examples whose inputs are held as floats at a time.
const CHUNK: usize = 1024;

/// Errors of both, and how often they agree. What the task doesn't have, or data without labels don't
/// tell, is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// What the outputs mean.
    pub task: Task,
    /// Examples.
    pub count: usize,
    /// Error of the floats in percent.
    pub float_error_percent: Option<f64>,
    /// Error of the integers, as the device computes them, in percent.
    pub integer_error_percent: Option<f64>,
    /// Examples with the same class in both, in percent.
    pub agreement_percent: Option<f64>,
    /// How far the floats are from the numbers that they should give.
    pub float_deviation: Option<Deviation>,
    /// How far the integers are from these.
    pub integer_deviation: Option<Deviation>,
    /// How far the outputs of both are apart.
    pub distance: Distance,
}

/// Outputs of both, in real units.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// Of the floats.
    pub floats: Vec<f32>,
    /// Of the integers.
    pub integers: Vec<f32>,
}

/// What examples should give.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// Nobody says.
    Unknown,
    /// Classes.
    Classes(Vec<u32>),
    /// So many numbers an example.
    Numbers(usize, Vec<f32>),
}

/// What the floats give for the listed examples.
///
/// # Errors
/// When the graph doesn't fit together, or the data not to it.
pub fn float_outputs(
    graph: &Graph<Affine>,
    dataset: &Dataset,
    normalization: &Normalization,
    examples: &[u32],
) -> Result<Vec<f32>, QuantizeError> {
    let executor = Executor::new(graph)?;
    let mut outputs = Vec::with_capacity(examples.len() * executor.output_len());
    for some in examples.chunks(CHUNK) {
        outputs.extend(executor.run(&dataset.batch(normalization, some))?);
    }
    Ok(outputs)
}

/// Runs both on the listed examples.
///
/// # Errors
/// When either can't be run on the data.
pub fn outputs(
    graph: &Graph<Affine>,
    model_bytes: &[u8],
    dataset: &Dataset,
    normalization: &Normalization,
    examples: &[u32],
) -> Result<Outputs, QuantizeError> {
    let floats = float_outputs(graph, dataset, normalization, examples)?;
    let inputs = quantized_inputs(model_bytes, dataset, examples)?;
    Ok(Outputs { floats, integers: reals(model_bytes, &inputs)? })
}

/// Holds the outputs of both against what they should be.
pub fn assess(outputs: &Outputs, task: Task, ending: Ending, truth: &Truth) -> Assessment {
    let Outputs { floats, integers } = outputs;
    let count = floats.len() / ending.outputs.unwrap_or(1).max(1);
    let percent = |part: usize| 100.0 * part as f64 / count.max(1) as f64;
    let different = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    let [a, b] = [floats, integers].map(|outputs| ending.classes(task, outputs));
    let error = |classes: &[u32]| match truth {
        Truth::Classes(labels) => Some(percent(different(classes, labels))),
        _ => None,
    };
    let deviation = |outputs: &[f32]| match truth {
        Truth::Numbers(width, targets) => Some(Deviation::of(outputs, targets, *width)),
        _ => None,
    };
    Assessment {
        task,
        count,
        float_error_percent: error(&a),
        integer_error_percent: error(&b),
        agreement_percent: (task != Task::Regression).then(|| 100.0 - percent(different(&a, &b))),
        float_deviation: deviation(floats),
        integer_deviation: deviation(integers),
        distance: Distance::between(floats, integers),
    }
}
