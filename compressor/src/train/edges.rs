//! Cropping while training: the outer row or column of an image that can go now.
//!
//! Its evidence is the posterior's, the mean prune score of the dense layer's inputs from there; an ablation
//! says whether it is harmless, at the price of groups ([`Price`]). One goes at a time, as what the others
//! cost is another then.

use super::ShrinkConfig;
use super::ablation::{Ablation, Baseline};
use super::shrink::{Price, Removal};
use crate::graph::{Affine, Graph};
use crate::prune::{Edge, PruneError, edges};

/// What a try found.
pub(super) struct Cropping {
    /// What goes; nothing if no edge may.
    pub(super) removal: Removal,
    /// What that is of an image.
    pub(super) edge: Option<Edge>,
}

/// Finds an outer row or column that can go from a network whose groups have these prune scores, judged on the
/// sample of its baseline.
pub(super) fn cropping(
    mean: &Graph<Affine>,
    prune_score: Vec<Vec<f32>>,
    config: &ShrinkConfig,
    price: Price<'_>,
    baseline: &Baseline<'_>,
) -> Result<Cropping, PruneError> {
    let mut cropping = Cropping { removal: Removal::nothing(prune_score), edge: None };
    let Price { costs, cost, excess, .. } = price;
    let mut order = order(edges(mean)?, &cropping.removal.prune_score);
    // One that is more than a target asks for would cost what groups needn't.
    order.retain(|(edge, _)| costs.edge(edge).instructions as f64 <= excess);
    let Some((any, inputs)) = order.first().map(|(edge, _)| (edge.layer, edge.inputs.len())) else {
        return Ok(cropping);
    };
    let loss = |layer: usize, keep: Vec<f32>| {
        baseline.loss_without(mean, &Ablation { layers: &[layer], passed: false, keep })
    };
    let before = loss(any, vec![1.0; inputs]);
    for (edge, score) in order {
        let layer = edge.layer;
        let keep = edge.inputs.iter().map(|&gone| if gone { 0.0 } else { 1.0 });
        let tried = loss(layer, keep.collect());
        let share = cost.of(costs.edge(&edge)) / costs.total(cost).max(1.0);
        let removal = &mut cropping.removal;
        if tried < price.allowed(config, layer, before, share) {
            removal.dead[layer].clone_from(&edge.inputs);
            removal.thresholds[layer] = score;
            removal.effects[layer] = (tried - before) as f32;
            removal.saved = share;
            cropping.edge = Some(edge);
            return Ok(cropping);
        }
        removal.refused = true;
    }
    Ok(cropping)
}

/// Edges and their mean prune scores, the least needed first. They have no floor: there are only four, and
/// most of the inputs that are left are needed, wherever they come from.
fn order(edges: Vec<Edge>, prune_score: &[Vec<f32>]) -> Vec<(Edge, f32)> {
    let mean = |edge: &Edge| {
        let scores = edge.inputs.iter().zip(&prune_score[edge.layer]);
        let sum: f32 = scores.filter(|(gone, _)| **gone).map(|(_, score)| score).sum();
        sum / edge.count().max(1) as f32
    };
    let scored = edges.into_iter().map(|edge| (mean(&edge), edge));
    let mut order: Vec<(Edge, f32)> = scored.map(|(score, edge)| (edge, score)).collect();
    // Sorting is stable, so that the order is the same everywhere.
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bitsback_runtime::{Interpreter, Model};
    use proptest::prelude::*;

    use super::*;
    use crate::compile::calibrate::plan;
    use crate::compile::{
        CompileOptions, InputQuantization, ModelInfo, RawInput, compile, serialize,
    };
    use crate::graph::ops::{AvgPool2d, Clip, Conv2d, Dense, MaxPool2d, Op, Reshape};
    use crate::graph::{Affine, Padding, Quantization, Rows, ValueId, Window, lower};
    use crate::prune::{Shrinkage, Side};

    fn wave(len: usize, seed: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * 1.37 + seed).sin()).collect()
    }

    /// Appends a layer or pooling with such windows.
    fn windows(
        graph: &mut Graph<Affine>,
        filters: Option<usize>,
        (size, stride, rule): (usize, usize, Padding),
    ) -> Option<ValueId> {
        let [height, width, channels] = *graph.values[graph.output].dims.as_slice() else {
            return None;
        };
        let (window, [rows, columns]) =
            Window::with_rule([size; 2], [stride; 2], [1; 2], rule, [height, width])?;
        let (name, input) = (format!("layer_{}", graph.nodes.len()), vec![graph.output]);
        let op: Op = match filters {
            Some(_) => Conv2d { window }.into(),
            None if rule == Padding::Same => AvgPool2d { window }.into(),
            None => MaxPool2d { window }.into(),
        };
        let layer = filters.map(|filters| {
            let (len, seed) = (filters * window.taps() * channels, graph.nodes.len() as f32);
            Affine { weight: wave(len, seed), bias: wave(filters, seed) }
        });
        let dims = vec![rows, columns, filters.unwrap_or(channels)];
        Some(graph.push(&name, op, input, dims, layer))
    }

    /// Two convolutions, each with a ReLU and a pooling, and a dense layer on features of what is left.
    fn network(shape: [usize; 2], rules: [(usize, usize, Padding); 4]) -> Option<Graph<Affine>> {
        let [conv_1, pool_1, conv_2, pool_2] = rules;
        let mut graph = Graph::of_input(vec![shape[0], shape[1], 2]);
        for (filters, conv, pool) in [(3, conv_1, pool_1), (4, conv_2, pool_2)] {
            let x = windows(&mut graph, Some(filters), conv)?;
            let dims = graph.values[x].dims.clone();
            graph.push("relu", Clip::RELU, vec![x], dims, None);
            windows(&mut graph, None, pool)?;
        }
        let (input, len) = (graph.output, graph.values[graph.output].len());
        let x = graph.push("flatten", Reshape {}, vec![input], vec![len], None);
        let affine = Affine { weight: wave(5 * len, 0.5), bias: wave(5, 0.5) };
        graph.push("dense", Dense {}, vec![x], vec![5], Some(affine));
        Some(graph)
    }

    /// What the runtime makes of an input, with one scale for all values and one for all weights.
    fn outputs(network: &Graph<Affine>, input: &[i8]) -> Vec<i8> {
        let any = Quantization { scale: 1.0 / 16.0, zero_point: -7 };
        let raw = RawInput::Nothing;
        let quantization = InputQuantization { quantization: any, residual: 0.0, raw };
        let all: BTreeMap<_, _> = (0..network.values.len()).map(|id| (id, any)).collect();
        let mut plan = plan(network, all, &quantization);
        for (node, affine) in network.layers().zip(network.parameters()) {
            let values = affine.weight.iter().map(|weight| (weight * 127.0).round() as i16);
            let rows = Rows { values: values.collect(), bits: 8, scales: vec![1.0 / 127.0] };
            plan.rows.insert(node.output, rows);
        }
        let graph = lower(network, &plan).unwrap();
        let compiled = compile(graph, &quantization, &CompileOptions::default()).unwrap();
        let file = serialize(&compiled, &ModelInfo::default()).unwrap();
        let model = Model::parse(&file).unwrap();
        let mut arena = vec![0; model.arena_len()];
        let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
        interpreter.input_mut().copy_from_slice(input);
        interpreter.invoke();
        interpreter.output().to_vec()
    }

    fn rule() -> impl Strategy<Value = (usize, usize, Padding)> {
        let padding = prop::sample::select(vec![Padding::Valid, Padding::Same, Padding::Around]);
        (1usize..=3, 1usize..=2, padding)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// Bit for bit: what edges take along wasn't needed for any other output.
        #[test]
        fn a_cropped_network_computes_the_same_bytes(
            shape in [5usize..=11, 5usize..=11],
            rules in [rule(), rule(), rule(), rule()],
            sides in prop::collection::vec(0usize..4, 1..=3),
            seed: u8,
        ) {
            let Some(mut masked) = network(shape, rules) else { return Ok(()) };
            let mut cropped = masked.clone();
            // Inputs of the dense layer that are left.
            let mut left: Vec<usize> = (0..masked.weights()[2].inputs).collect();
            for side in sides {
                let edges = edges(&cropped).unwrap();
                let Some(edge) = edges.get(side) else { continue };
                let groups: Vec<usize> = cropped.weights().iter().map(|w| w.group_count()).collect();
                let step = Shrinkage::plan(&cropped, &edge.dead(&groups)).unwrap();
                cropped = step.apply(&cropped).unwrap();
                left = step.kept_inputs(2).iter().map(|&input| left[input]).collect();
            }
            cropped.check().unwrap();
            let inputs = masked.weights()[2].inputs;
            if let Some(dense) = masked.parameters_mut().nth(2) {
                for (at, weight) in dense.weight.iter_mut().enumerate() {
                    *weight *= f32::from(left.contains(&(at % inputs)));
                }
            }
            let len = masked.values[masked.input].len();
            let byte = |at: usize| (at * 37 + usize::from(seed) * 11) as u8 as i8;
            let input: Vec<i8> = (0..len).map(byte).collect();
            prop_assert_eq!(outputs(&masked, &input), outputs(&cropped, &input));
        }
    }

    #[test]
    fn the_least_needed_edge_comes_first() {
        let edge = |side, inputs: &[bool]| Edge { layer: 1, side, inputs: inputs.to_vec() };
        let edges = vec![
            edge(Side::Top, &[true, true, false, false]),
            edge(Side::Bottom, &[false, false, true, true]),
            edge(Side::Left, &[true, false, true, false]),
            edge(Side::Right, &[false, true, false, true]),
        ];
        let scores = [vec![9.0], vec![1.0, -1.0, 3.0, 0.0]];
        let order = order(edges, &scores);
        let sides: Vec<_> = order.into_iter().map(|(edge, score)| (edge.side, score)).collect();
        let all = [(Side::Left, 2.0), (Side::Bottom, 1.5), (Side::Top, 0.0), (Side::Right, -0.5)];
        assert_eq!(sides, all);
    }
}
