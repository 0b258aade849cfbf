//! Graphs through calibration, lowering and the runtime, against their own floats.

use super::*;
use crate::compile::calibrate::{RangeMethod, calibrate, plan};
use crate::graph::ops::{
    Add, Clip, Concat, Conv2d, Dense, DepthwiseConv2d, LeakyRelu, LogSoftmax, Logistic, Mean, Mul,
};
use crate::graph::{Computation, Executor, Node, Value, Window};
use crate::numbers::Range;
use crate::verify::run_batch;

fn value(name: &str, dims: &[usize]) -> Value {
    Value { name: name.into(), dims: dims.to_vec(), constant: None }
}

fn node(computes: impl Into<Computation>, inputs: &[usize], output: usize) -> Node<Affine> {
    let computes = computes.into();
    Node::new(computes.op.name(), computes, inputs.to_vec(), output)
}

/// Numbers between −1 and 1 that look like noise.
fn noise(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + 13) % 2003) as f32 / 1001.5 - 1.0).collect()
}

fn layer(outputs: usize, columns: usize) -> Affine {
    Affine { weight: noise(outputs * columns), bias: noise(outputs) }
}

/// A residual block on images of 6 × 6 × 2, with every operator that has a scale of its own.
fn block() -> Graph<Affine> {
    let same = Window { size: [3; 2], padding: [1; 2], ..Window::ONE };
    let image: &[usize] = &[6, 6, 2];
    Graph {
        values: vec![
            value("input", image),
            value("conv", image),
            value("relu", image),
            value("depthwise", image),
            value("sum", image),
            value("leaky", image),
            value("joined", &[6, 6, 4]),
            value("gate", &[6, 6, 4]),
            value("product", &[6, 6, 4]),
            value("pooled", &[1, 1, 4]),
            value("scores", &[3]),
            value("output", &[3]),
        ],
        nodes: vec![
            node(Computation::new(Conv2d { window: same }, layer(2, 18)), &[0], 1),
            node(Clip::RELU, &[1], 2),
            node(Computation::new(DepthwiseConv2d { window: same }, layer(2, 9)), &[2], 3),
            node(Add {}, &[3, 0], 4),
            node(LeakyRelu { alpha: 0.1 }, &[4], 5),
            node(Concat { axis: 2 }, &[5, 2], 6),
            node(Logistic {}, &[6], 7),
            node(Mul {}, &[6, 7], 8),
            node(Mean {}, &[8], 9),
            node(Computation::new(Dense {}, layer(3, 4)), &[9], 10),
            node(LogSoftmax {}, &[10], 11),
        ],
        input: 0,
        output: 11,
    }
}

fn calibrated(graph: &Graph<Affine>, inputs: &[f32]) -> (Plan, InputQuantization) {
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let scales = calibrate(graph, inputs, &input, RangeMethod::LeastSquares).unwrap();
    (plan(graph, scales, &input), input)
}

#[test]
fn a_residual_graph_follows_its_floats() {
    let graph = block();
    let inputs = noise(40 * 72);
    let (plan, input) = calibrated(&graph, &inputs);
    let (options, info) = (CompileOptions::default(), ModelInfo::default());
    let (bytes, lowered) = write(&graph, &plan, &input, &options, &info).unwrap();
    let outputs = run_batch(&bytes, &input.quantize(&inputs)).unwrap();
    let zero = f32::from(lowered.ops.last().unwrap().output().zero_point);
    let real: Vec<f32> =
        outputs.iter().map(|&q| lowered.output_scale * (f32::from(q) - zero)).collect();
    // The logarithm of the softmax is left to others: the model gives what it is taken of.
    let mut scores = graph.clone();
    scores.nodes.pop();
    scores.output = 10;
    let floats = Executor::new(&scores).unwrap().run(&inputs).unwrap();
    let most = floats.iter().fold(0f32, |most, x| most.max(x.abs()));
    for (a, b) in real.iter().zip(&floats) {
        assert!((a - b).abs() < 0.05 * most, "{a} {b} of {most}");
    }
}

#[test]
fn a_limit_is_fused_unless_others_read_what_it_limits() {
    let graph = block();
    let steps = graph.steps(|_| false);
    assert_eq!(steps[0].limits, Some((0.0, f32::INFINITY)));
    assert_eq!((steps[0].output, steps.len()), (2, graph.nodes.len() - 1));
    let apart = graph.steps(|id| id == 1);
    assert_eq!(apart.len(), graph.nodes.len());
    let mut shared = graph;
    shared.nodes[3].inputs[1] = 1;
    assert_eq!(shared.steps(|_| false).len(), shared.nodes.len());
}

#[test]
fn operands_of_a_join_take_its_scale() {
    let graph = block();
    let (plan, _) = calibrated(&graph, &noise(720));
    assert_eq!(plan.activations[&5], plan.activations[&6]);
    // This one is read elsewhere, too, and converted for the join.
    assert_ne!(plan.activations[&2], plan.activations[&6]);
}

#[test]
fn what_cannot_be_quantised_is_named() {
    let graph = block();
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let watch = |inputs: &[f32]| {
        let watched = calibrate(&graph, inputs, &input, RangeMethod::MinMax);
        watched.map_err(QuantizeError::from)
    };
    assert!(matches!(watch(&[]), Err(QuantizeError::NoExamples)));
    assert!(matches!(watch(&[0.0; 5]), Err(QuantizeError::Graph(_))));
    let infinite = watch(&[f32::INFINITY; 72]);
    assert!(matches!(infinite, Err(QuantizeError::NotFinite { value }) if value == "input"));
    let (plan, _) = calibrated(&graph, &noise(720));
    let mut open = Plan { prescribed: true, ..plan.clone() };
    open.activations.remove(&4);
    assert!(matches!(lower(&graph, &open), Err(LowerError::NoScale { node, .. }) if node == "add"));
    let mut inner = graph.clone();
    inner.nodes.push(node(Clip { low: -1.0, high: 1.0 }, &[11], 12));
    inner.values.push(value("limited", &[3]));
    inner.output = 12;
    let (plan, _) = calibrated(&inner, &noise(720));
    let refused = lower(&inner, &plan);
    assert!(matches!(refused, Err(LowerError::Unsupported { kind: "log_softmax", .. })));
    let far = Window { size: [3; 2], padding: [1; 2], stride: [70_000; 2], ..Window::ONE };
    let wide = Graph {
        values: vec![value("input", &[6, 6, 2]), value("output", &[1, 1, 2])],
        nodes: vec![node(Computation::new(Conv2d { window: far }, layer(2, 18)), &[0], 1)],
        input: 0,
        output: 1,
    };
    let refused = lower(&wide, &plan);
    assert!(matches!(refused, Err(LowerError::TooLarge { value: 70_000, .. })), "{refused:?}");
}
