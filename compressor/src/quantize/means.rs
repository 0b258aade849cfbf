//! What layers read on average: what rounding their weights adds to that is known, and is taken off
//! their biases.
//!
//! Each weight is off by up to half a step. Where inputs are mostly of one sign, as pixels and what
//! comes out of a rectifier are, these errors add up to the same for every input, and no later mean
//! over positions makes them smaller.

use std::collections::BTreeMap;

use super::QuantizeError;
use super::weights::Rows;
use crate::graph::{Affine, Executor, Graph, ValueId};

/// The mean over `inputs` of every value that a layer with weights reads.
///
/// # Errors
/// When there are no inputs, or they don't fit.
pub fn means(
    graph: &Graph<Affine>,
    inputs: &[f32],
) -> Result<BTreeMap<ValueId, Vec<f32>>, QuantizeError> {
    if inputs.is_empty() {
        return Err(QuantizeError::NoExamples);
    }
    let executor = Executor::new(graph)?;
    let mut sums: BTreeMap<ValueId, Vec<f64>> = graph
        .layers()
        .filter_map(|node| node.inputs.first())
        .map(|&id| (id, vec![0.0; graph.values[id].len()]))
        .collect();
    executor.visit(inputs, &mut |id: ValueId, values: &[f32]| {
        if let Some(sums) = sums.get_mut(&id) {
            for example in values.chunks_exact(sums.len().max(1)) {
                sums.iter_mut().zip(example).for_each(|(sum, &x)| *sum += f64::from(x));
            }
        }
    })?;
    let count = (inputs.len() / executor.input_len()).max(1) as f64;
    let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| (sum / count) as f32).collect();
    Ok(sums.into_iter().map(|(id, sums)| (id, mean(sums))).collect())
}

/// What the rounding of weights adds to each output on average, where `mean` is what each column meets
/// on average, or of a depthwise convolution each tap and channel.
pub(super) fn added_by_rounding(affine: &Affine, rows: &Rows, mean: &[f32]) -> Vec<f64> {
    let outputs = affine.bias.len().max(1);
    let columns = (affine.weight.len() / outputs).max(1);
    // A depthwise convolution's row reads one channel alone.
    let channels = (mean.len() / columns).max(1);
    let integers = rows.values.chunks_exact(columns);
    let weights = affine.weight.chunks_exact(columns);
    let each = integers.zip(weights).zip(&rows.scales).enumerate();
    let added = each.map(|(row, ((integers, weights), &scale))| {
        let met = mean.iter().skip(row * channels / outputs).step_by(channels);
        let error = |(&q, &w): (&i16, &f32)| f64::from(q) * f64::from(scale) - f64::from(w);
        let errors = integers.iter().zip(weights).map(error);
        errors.zip(met).map(|(error, &mean)| error * f64::from(mean)).sum()
    });
    added.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::{InputQuantization, Range, RangeMethod};
    use crate::graph::ops::{Conv2d, DepthwiseConv2d, Mean};
    use crate::graph::{Op, Window};
    use crate::quantize::{Plan, ranges, write};
    use crate::serialize::ModelInfo;
    use crate::verify::run_batch;

    /// A convolution with borders, whose image is averaged: errors of one sign stay.
    fn graph(op: impl Fn(Window) -> Op, weights: usize) -> Graph<Affine> {
        let weight = (0..weights).map(|at| ((at * 37 % 29) as f32 - 11.0) / 40.0).collect();
        let affine = Affine { weight, bias: vec![0.1, -0.2, 0.3] };
        let window = Window { size: [3; 2], padding: [1; 2], ..Window::ONE };
        let mut graph = Graph::of_input(vec![6, 6, 3]);
        let image = graph.push("node", op(window), vec![0], vec![6, 6, 3], Some(affine));
        graph.push("node", Mean {}, vec![image], vec![3], None);
        graph
    }

    fn conv2d(window: Window) -> Op {
        Conv2d { window }.into()
    }

    fn depthwise(window: Window) -> Op {
        DepthwiseConv2d { window }.into()
    }

    /// Noise of a quantised graph on inputs of one sign, with weights of 4 bits.
    fn noise(graph: &Graph<Affine>, corrected: bool) -> f32 {
        let inputs: Vec<f32> =
            (0..30 * 108).map(|i| ((i * 7919 + 13) % 2003) as f32 / 2003.0).collect();
        let input = InputQuantization::floats(Range { low: 0.0, high: 1.0 }, None);
        let scales = ranges::watch(graph, &inputs, &input, RangeMethod::MinMax).unwrap();
        let mut plan = Plan::calibrated(graph, scales, &input);
        plan.bits.insert(1, 4);
        if corrected {
            plan.means = means(graph, &inputs).unwrap();
        }
        let (bytes, lowered) = write(graph, &plan, &input, &ModelInfo::default()).unwrap();
        let outputs = run_batch(&bytes, &input.quantize(&inputs)).unwrap();
        let zero = f32::from(lowered.ops.last().unwrap().output().zero_point);
        let exact = Executor::new(graph).unwrap().run(&inputs).unwrap();
        let real = outputs.iter().map(|&q| lowered.output_scale * (f32::from(q) - zero));
        exact.iter().zip(real).map(|(a, b)| (a - b).powi(2)).sum()
    }

    #[test]
    fn errors_that_are_the_same_for_all_inputs_go() {
        let graphs = [graph(conv2d, 81), graph(depthwise, 27)];
        for graph in graphs {
            let (with, without) = (noise(&graph, true), noise(&graph, false));
            assert!(with * 10.0 < without, "{with} of {without}");
        }
    }

    #[test]
    fn there_must_be_something_to_average() {
        let nothing = means(&graph(conv2d, 81), &[]);
        assert!(matches!(nothing, Err(QuantizeError::NoExamples)));
    }
}
