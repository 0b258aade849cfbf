//! How activations become int8: ranges watched on *training* inputs.
//!
//! A tensor is quantised asymmetrically: real = scale·(q − zero point), with zero exactly
//! representable (it is what padding and ReLU mean). The range behind a ReLU starts at 0, so its
//! zero point is −128 and int8's own limit does the ReLU's work. What only limits, pools or picks
//! values keeps their quantisation, so the range is taken behind it: what it leaves out changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::InputQuantization;
use crate::graph::{Affine, Executor, Graph, GraphError, Plan, ValueId};
use crate::numbers::{BINS, Quantization, Range, least_squares};

/// How a range follows from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeMethod {
    /// The range with the least expected squared error: outliers may be cut off.
    #[default]
    LeastSquares,
    /// From the least to the greatest.
    MinMax,
}

/// `[calibration]`: how activations' ranges are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrateConfig {
    /// Training examples that are watched.
    pub examples: usize,
    /// `least-squares` or `min-max`. The network's output always takes `min-max`: cutting off a
    /// logit could change the decision.
    pub method: RangeMethod,
}

impl Default for CalibrateConfig {
    fn default() -> Self {
        Self { examples: 1000, method: RangeMethod::LeastSquares }
    }
}

/// Why calibration failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CalibrateError {
    /// The forward pass failed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// There were no examples.
    #[error("calibration needs at least one example; raise `calibration.examples`")]
    NoExamples,
    /// An activation was infinite or not a number.
    #[error(
        "the values of `{value}` are not finite; training diverged, so lower the learning rate"
    )]
    NotFinite {
        /// Which value.
        value: String,
    },
}

/// The quantisation of every value that is computed, from two passes over `inputs`, normalised
/// examples one after the other. The network's output covers all that was seen.
///
/// # Errors
/// When there are no inputs, they don't fit, or a value isn't finite.
pub fn calibrate(
    graph: &Graph<Affine>,
    inputs: &[f32],
    input: &InputQuantization,
    method: RangeMethod,
) -> Result<BTreeMap<ValueId, Quantization>, CalibrateError> {
    if inputs.is_empty() {
        return Err(CalibrateError::NoExamples);
    }
    let executor = Executor::new(graph)?;
    let seen = seen(graph, &executor, inputs)?;
    let mut chosen = seen.clone();
    if method == RangeMethod::LeastSquares {
        let mut counts: Vec<Vec<u32>> = vec![Vec::new(); graph.values.len()];
        executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
            let Range { low, high } = seen[id];
            let bins = BINS as f32 / (high - low).max(f32::MIN_POSITIVE);
            let counts = &mut counts[id];
            counts.resize(BINS, 0);
            for x in values {
                counts[(((x - low) * bins) as usize).min(BINS - 1)] += 1;
            }
        })?;
        for (id, counts) in counts.iter().enumerate().filter(|(_, counts)| !counts.is_empty()) {
            if id != graph.output {
                chosen[id] = least_squares(seen[id], counts);
            }
        }
    }
    let written = graph.nodes.iter().map(|node| node.output);
    let mut all: BTreeMap<ValueId, Quantization> =
        written.map(|id| (id, Quantization::of_range(chosen[ranged(graph, id)]))).collect();
    all.insert(graph.input, input.quantization);
    Ok(all)
}

/// The least and the greatest of every value.
fn seen(
    graph: &Graph<Affine>,
    executor: &Executor<'_>,
    inputs: &[f32],
) -> Result<Vec<Range>, CalibrateError> {
    let nothing = Range { low: f32::INFINITY, high: f32::NEG_INFINITY };
    let mut seen = vec![nothing; graph.values.len()];
    let mut broken = None;
    executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
        let range = &mut seen[id];
        for &x in values {
            range.low = range.low.min(x);
            range.high = range.high.max(x);
        }
        if broken.is_none() && values.iter().any(|x| !x.is_finite()) {
            broken = Some(id);
        }
    })?;
    match broken {
        Some(id) => Err(CalibrateError::NotFinite { value: graph.values[id].name.clone() }),
        None => Ok(seen),
    }
}

/// The value whose range is that of `id`: the last one that only operators lie before that keep it, as
/// long as nothing else reads what lies between.
fn ranged(graph: &Graph<Affine>, id: ValueId) -> ValueId {
    let mut id = id;
    while let Some(reader) = graph.only_reader(id).map(|at| &graph.nodes[at])
        && reader.op.keeps_range()
    {
        id = reader.output;
    }
    id
}

/// What quantisation decides by calibration, for inputs that are quantised as stated: operands of a join
/// take the join's scale where nothing else reads them and their operator can give any, so that bytes
/// are copied as they are.
pub fn plan(
    graph: &Graph<Affine>,
    mut activations: BTreeMap<ValueId, Quantization>,
    input: &InputQuantization,
) -> Plan {
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op.joins()) {
        let Some(&joined) = activations.get(&node.output) else { continue };
        for &operand in &node.inputs {
            let writer = graph.writer(operand).map(|writer| &graph.nodes[writer]);
            let free = writer.is_some_and(|node| {
                let own = node.op.has_clamp() && !node.op.copies_scale();
                own || node.op.takes_any_scale()
            });
            if free && graph.only_reader(operand) == Some(at) {
                activations.insert(operand, joined);
            }
        }
    }
    Plan { activations, residual: input.residual, ..Plan::default() }
}

/// The mean over `inputs` of every value that a layer with weights reads.
///
/// # Errors
/// When there are no inputs, or they don't fit.
pub fn means(
    graph: &Graph<Affine>,
    inputs: &[f32],
) -> Result<BTreeMap<ValueId, Vec<f32>>, CalibrateError> {
    if inputs.is_empty() {
        return Err(CalibrateError::NoExamples);
    }
    let executor = Executor::new(graph)?;
    let mut sums: BTreeMap<ValueId, Vec<f64>> = graph
        .layers()
        .filter_map(|node| node.inputs.first())
        .map(|&id| (id, vec![0.0; graph.values[id].len()]))
        .collect();
    executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
        if let Some(sums) = sums.get_mut(&id) {
            for values in values.chunks_exact(sums.len().max(1)) {
                sums.iter_mut().zip(values).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
    })?;
    let count = (inputs.len() / executor.input_len()).max(1) as f64;
    let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| (sum / count) as f32).collect();
    Ok(sums.into_iter().map(|(id, sums)| (id, mean(sums))).collect())
}
