//! How well a quantised model does, beside the floats that it was made from.

use serde::Serialize;

use super::QuantizeError;
use crate::data::{Dataset, Normalization};
use crate::float_graph::{Executor, FloatGraph};
use crate::verify::{classes_of, predict, quantized_inputs};

/// Examples whose inputs are held as floats at a time.
const CHUNK: usize = 1024;

/// Errors of both, and how often they agree.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// Examples.
    pub count: usize,
    /// Error of the floats in percent.
    pub float_error_percent: f64,
    /// Error of the integers, as the device computes them, in percent.
    pub integer_error_percent: f64,
    /// Examples with the same class in both, in percent.
    pub agreement_percent: f64,
}

/// Classes that the floats give to the listed examples.
///
/// # Errors
/// When the graph doesn't fit together, or the data not to it.
pub fn float_classes(
    graph: &FloatGraph,
    dataset: &Dataset,
    normalization: &Normalization,
    examples: &[u32],
) -> Result<Vec<u32>, QuantizeError> {
    let executor = Executor::new(graph)?;
    let mut classes = Vec::with_capacity(examples.len());
    for some in examples.chunks(CHUNK) {
        let outputs = executor.run(&dataset.batch(normalization, some))?;
        classes.extend(classes_of(&outputs, executor.output_len()));
    }
    Ok(classes)
}

/// Runs both on the listed examples.
///
/// # Errors
/// When either can't be run on the data.
pub fn assess(
    graph: &FloatGraph,
    model_bytes: &[u8],
    dataset: &Dataset,
    normalization: &Normalization,
    examples: &[u32],
) -> Result<Assessment, QuantizeError> {
    let floats = float_classes(graph, dataset, normalization, examples)?;
    let inputs = quantized_inputs(model_bytes, dataset, examples)?;
    let integers = predict(model_bytes, &inputs)?;
    let label = |&example: &u32| dataset.labels.get(example as usize).copied();
    let labels: Vec<u32> = examples.iter().filter_map(label).collect();
    let percent = |part: usize| 100.0 * part as f64 / examples.len().max(1) as f64;
    let different = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a != b).count();
    Ok(Assessment {
        count: examples.len(),
        float_error_percent: percent(different(&floats, &labels)),
        integer_error_percent: percent(different(&integers, &labels)),
        agreement_percent: 100.0 - percent(different(&floats, &integers)),
    })
}
