//! Which range each value takes, seen on inputs.

use std::collections::BTreeMap;

use super::QuantizeError;
use crate::calibrate::{BINS, InputQuantization, Quantization, Range, RangeMethod, least_squares};
use crate::graph::{Affine, Executor, Graph, ValueId};

/// The quantisation of every value that is computed, from two passes over `inputs`. The model's
/// output covers all that was seen: cutting off a logit could change the decision.
///
/// # Errors
/// When there are no inputs, they don't fit, or a value isn't finite.
pub fn watch(
    graph: &Graph<Affine>,
    inputs: &[f32],
    input: &InputQuantization,
    method: RangeMethod,
) -> Result<BTreeMap<ValueId, Quantization>, QuantizeError> {
    if inputs.is_empty() {
        return Err(QuantizeError::NoExamples);
    }
    let executor = Executor::new(graph)?;
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
    if let Some(id) = broken {
        return Err(QuantizeError::NotFinite { value: graph.values[id].name.clone() });
    }
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
        written.map(|id| (id, Quantization::of_range(chosen[id]))).collect();
    all.insert(graph.input, input.quantization);
    Ok(all)
}
