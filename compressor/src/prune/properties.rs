//! Properties over random graphs: shrinking and folding change no output.

use proptest::prelude::*;

use super::random_graphs::{Numbers, graph};
use super::ties::Tie;
use super::{Lineage, Shrinkage, fold_constants, ties};
use crate::graph::ops::missing;
use crate::graph::{Affine, Executor, Graph, Groups, Op};

/// All but three: two are gone before groups leave, and one is the logarithm of another.
#[test]
fn every_operator_is_drawn() {
    let graphs: Vec<_> = (0..2000).map(|seed| graph(&mut Numbers(seed))).collect();
    let left_out = ["BatchNorm", "Dropout", "LogSoftmax"];
    assert_eq!(missing(&graphs, &left_out), [""; 0], "`random_graphs` makes none of these");
}

/// Marks groups, those that go together mostly together.
fn dead(graph: &Graph<Affine>, numbers: &mut Numbers, percent: usize) -> Vec<Vec<bool>> {
    let weights = graph.weights();
    let noise = |n: usize, numbers: &mut Numbers| (0..n).map(|_| numbers.chance(percent)).collect();
    let mut dead: Vec<Vec<bool>> =
        weights.iter().map(|weights| noise(weights.group_count(), numbers)).collect();
    for Tie { layers, .. } in ties(graph).unwrap() {
        let together: Vec<bool> = noise(dead[layers[0]].len(), numbers);
        if numbers.chance(70) {
            layers.iter().for_each(|&layer| dead[layer].clone_from(&together));
        }
    }
    if numbers.chance(60) {
        kill_edges(graph, numbers, &mut dead);
    }
    dead
}

/// Marks what dense layers read of the outer rows and columns of an image, and mostly nothing else of it.
fn kill_edges(graph: &Graph<Affine>, numbers: &mut Numbers, dead: &mut [Vec<bool>]) {
    for (node, dead) in graph.layers().zip(dead) {
        let flatten = graph.writer(node.inputs[0]).map(|writer| &graph.nodes[writer]);
        let flatten = flatten.filter(|node| matches!(node.op, Op::Reshape(_)));
        let read = &graph.values[flatten.map_or(node.inputs[0], |node| node.inputs[0])];
        let (Op::Dense(_), [height, width, channels]) = (&node.op, read.dims.as_slice()) else {
            continue;
        };
        let edges = [*height, *width].map(|n| [numbers.below(n), numbers.below(n + 1)]);
        let others = numbers.chance(30);
        for (feature, dead) in dead.iter_mut().enumerate() {
            let place = [feature / channels / width, feature / channels % width];
            let inside = (0..2).all(|axis| (edges[axis][0]..edges[axis][1]).contains(&place[axis]));
            *dead = !inside || others && *dead;
        }
    }
}

/// Rows and columns that leave an image, beyond what crops take of it.
fn places(graph: &Graph<Affine>) -> usize {
    graph
        .nodes
        .iter()
        .map(|node| graph.values[node.output].len() / graph.values[node.output].channels())
        .sum()
}

/// Crops leave less of every image behind, and they are drawn often enough to be tested.
#[test]
fn rows_and_columns_leave_random_graphs() {
    let mut smaller = 0;
    for seed in 0..400 {
        let numbers = &mut Numbers(seed);
        let net = graph(numbers);
        let step = Shrinkage::plan(&net, &dead(&net, numbers, 20)).unwrap();
        smaller += usize::from(places(&step.apply(&net).unwrap()) < places(&net));
    }
    assert!(smaller > 60, "{smaller} of 400");
}

/// Groups that can go: jointly dead.
fn joint(graph: &Graph<Affine>, dead: &mut [Vec<bool>]) {
    for Tie { layers, removable } in ties(graph).unwrap() {
        for group in 0..dead[layers[0]].len() {
            let all = removable && layers.iter().all(|&layer| dead[layer][group]);
            layers.iter().for_each(|&layer| dead[layer][group] = all);
        }
    }
}

/// Zeroes what the masks call dead, by the definition of a group.
fn mask(graph: &mut Graph<Affine>, dead: &[Vec<bool>]) {
    let weights = graph.weights();
    for ((weights, affine), dead) in weights.iter().zip(graph.parameters_mut()).zip(dead) {
        let inputs = weights.groups == Groups::Inputs;
        for (index, weight) in affine.weight.iter_mut().enumerate() {
            let group = if inputs { index % weights.inputs } else { index / weights.columns() };
            if dead[group] {
                *weight = 0.0;
            }
        }
        if !inputs {
            let biases = affine.bias.iter_mut().zip(dead);
            biases.filter(|(_, dead)| **dead).for_each(|(bias, _)| *bias = 0.0);
        }
    }
}

fn assert_same(a: &Graph<Affine>, b: &Graph<Affine>, numbers: &mut Numbers) {
    let x = numbers.floats(3 * a.values[a.input].len());
    let a = Executor::new(a).unwrap().run(&x).unwrap();
    let b = Executor::new(b).unwrap().run(&x).unwrap();
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(1.0f32, |scale, v| scale.max(v.abs()));
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() <= 1e-4 * scale, "{a} became {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_shrunk_graph_equals_the_masked_one(seed: u64, percent in 0usize..=100) {
        let numbers = &mut Numbers(seed);
        let net = graph(numbers);
        let mut dead = dead(&net, numbers, percent);
        let step = Shrinkage::plan(&net, &dead).unwrap();
        for spared in step.spared() {
            dead[spared.layer][spared.group] = false;
        }
        joint(&net, &mut dead);
        let mut masked = net.clone();
        mask(&mut masked, &dead);
        let small = step.apply(&net).unwrap();
        small.check().unwrap();
        assert_same(&masked, &small, numbers);

        for (layer, dead) in dead.iter().enumerate() {
            let kept = step.kept_groups(layer);
            let left = kept.iter().find(|&&group| dead[group]);
            prop_assert!(left.is_none(), "{} keeps {left:?}", step.layer_name(layer));
        }
        let none: Vec<Vec<bool>> =
            small.weights().iter().map(|weights| vec![false; weights.group_count()]).collect();
        let again = Shrinkage::plan(&small, &none).unwrap();
        prop_assert!(again.is_identity(), "shrinking has reached its fixpoint");

        let mut lineage = Lineage::new(&net);
        lineage.shrink(&step).unwrap();
        for layer in 0..step.layer_count() {
            prop_assert_eq!(lineage.groups(layer), step.kept_groups(layer));
        }
    }

    #[test]
    fn folding_constants_changes_nothing(seed: u64, rows in 0usize..=80, columns in 0usize..=60) {
        let numbers = &mut Numbers(seed);
        let mut net = graph(numbers);
        let weights = net.weights();
        for (weights, affine) in weights.iter().zip(net.parameters_mut()) {
            for (row, bias) in affine.weight.chunks_exact_mut(weights.columns()).zip(&mut affine.bias) {
                if numbers.chance(rows) {
                    row.fill(0.0);
                    *bias *= if numbers.chance(50) { 0.0 } else { 1.0 };
                }
            }
            for input in 0..weights.inputs {
                if numbers.chance(columns) {
                    let column = affine.weight[input..].iter_mut().step_by(weights.inputs);
                    column.for_each(|weight| *weight = 0.0);
                }
            }
        }
        let folded = fold_constants(net.clone()).unwrap();
        folded.graph.check().unwrap();
        assert_same(&net, &folded.graph, numbers);
        let again = fold_constants(folded.graph).unwrap();
        prop_assert!(again.steps.is_empty());
    }
}
