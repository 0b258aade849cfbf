//! What training computes is what the graph computes, and its gradients are slopes.

use super::super::evaluate::logits;
use super::*;
use crate::graph::ops::{
    Add, AvgPool2d, BatchNorm, Clip, Concat, Conv2d, Dense, DepthwiseConv2d, Dropout, HardSigmoid,
    HardSwish, LeakyRelu, LogSoftmax, Logistic, MaxPool2d, Mean, Mul, Op, Pad, Reshape,
    ResizeNearest, Select, Slice, Softmax, Tanh, missing,
};
use crate::graph::tensor::{leaf, values};
use crate::graph::{Executor, Window};
use crate::numbers::Shape;
use crate::train::batch::Examples;

/// A graph of one operator that reads an image of 5 × 4 × 2 and, if it takes more, itself halved, its
/// channels' means, and numbers per channel.
fn alone(op: impl Into<Op>, dims: &[usize]) -> Graph<Affine> {
    let op = op.into();
    let mut graph = Graph::of_input(vec![5, 4, 2]);
    let mut inputs = vec![0];
    if op.takes(2) {
        let half = graph.value("half", vec![1]);
        graph.values[half].constant = Some(vec![0.5]);
        inputs.push(graph.push("halved", Mul {}, vec![0, half], vec![5, 4, 2], None));
    }
    let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7 + 0.3).sin()).collect();
    let output = graph.push("it", op, inputs, dims.to_vec(), None);
    let node = &graph.nodes[graph.nodes.len() - 1];
    let lens = node.op.parameters(&graph.site(node));
    let parameters = lens.map(|[weight, bias]| Affine { weight: wave(weight), bias: wave(bias) });
    let last = graph.nodes.len() - 1;
    graph.nodes[last].parameters = parameters;
    graph.output = output;
    graph.check().unwrap();
    graph
}

fn inputs(examples: usize) -> Vec<f32> {
    (0..examples * 40).map(|i| (i as f32 * 0.61).sin() * 2.0 + 0.01).collect()
}

/// Every operator, with the dimensions of its output.
fn all() -> Vec<Graph<Affine>> {
    let window = |size, stride, dilation, padding| Window { size, stride, dilation, padding };
    let same = window([3, 3], [1, 1], [1, 1], [1, 1]);
    let apart = window([2, 2], [2, 1], [2, 3], [1, 1]);
    let whole = [5, 4, 2];
    let mut gate = alone(Mean {}, &[1, 1, 2]);
    gate.push("gate", Mul {}, vec![0, gate.output], vec![5, 4, 2], None);
    let mut shifted = alone(Clip::RELU, &whole);
    let shift = shifted.value("shift", vec![2]);
    shifted.values[shift].constant = Some(vec![0.25, -1.0]);
    shifted.push("shifted", Add {}, vec![shifted.output, shift], vec![5, 4, 2], None);
    let mut selected = alone(Reshape {}, &[40]);
    let keep = vec![0, 3, 4, 39];
    selected.push("selected", Select { keep }, vec![selected.output], vec![4], None);
    let norm = BatchNorm { mean: vec![0.5, -0.25], variance: vec![2.0, 0.5] };
    vec![
        alone(Add {}, &whole),
        alone(AvgPool2d { window: same }, &whole),
        alone(AvgPool2d { window: apart }, &[2, 3, 2]),
        alone(norm, &whole),
        alone(Clip::RELU, &whole),
        alone(Clip::RELU6, &whole),
        alone(Clip { low: -1.0, high: f32::INFINITY }, &whole),
        alone(Clip { low: f32::NEG_INFINITY, high: 1.0 }, &whole),
        alone(Concat { axis: 2 }, &[5, 4, 4]),
        alone(Concat { axis: 1 }, &[5, 8, 2]),
        alone(Concat { axis: 0 }, &[10, 4, 2]),
        alone(Conv2d { window: same }, &[5, 4, 3]),
        alone(Conv2d { window: apart }, &[2, 3, 3]),
        alone(ResizeNearest { half_pixel_centers: false }, &[10, 7, 2]),
        alone(ResizeNearest { half_pixel_centers: true }, &[2, 6, 2]),
        alone(Slice::crop([1, 2]), &[3, 2, 2]),
        alone(Slice { begin: vec![1, 0, 1], stride: vec![2, 3, 1] }, &[2, 2, 1]),
        alone(Dense {}, &[3]),
        alone(Dense {}, &[1, 2, 3]),
        alone(DepthwiseConv2d { window: same }, &whole),
        alone(DepthwiseConv2d { window: apart }, &[2, 3, 6]),
        alone(Dropout { rate: 0.5 }, &whole),
        alone(HardSigmoid { slope: 0.2 }, &whole),
        alone(HardSwish {}, &whole),
        alone(LeakyRelu { alpha: 0.2 }, &whole),
        alone(LogSoftmax {}, &whole),
        alone(Logistic {}, &whole),
        alone(MaxPool2d { window: same }, &whole),
        alone(MaxPool2d { window: apart }, &[2, 3, 2]),
        alone(Mean {}, &[2]),
        alone(Mul {}, &whole),
        alone(Pad { before: vec![1, 0, 0], fill: 0.5 }, &[7, 5, 3]),
        alone(Reshape {}, &[4, 10]),
        alone(Softmax {}, &whole),
        alone(Tanh {}, &whole),
        gate,
        shifted,
        selected,
    ]
}

#[test]
fn every_operator_is_among_them() {
    assert_eq!(missing(&all(), &[]), [""; 0], "`all` lacks these");
}

#[test]
fn every_operator_trains_as_it_is_executed() {
    let device = Device::flex();
    for graph in all() {
        let inputs = inputs(3);
        let expected = Executor::new(&graph).unwrap().run(&inputs).unwrap();
        let classes = graph.values[graph.output].len();
        let shape = Shape::of(&graph.values[graph.input].dims);
        let examples = Examples { shape, inputs, labels: vec![0; 3], classes };
        let found = logits(&graph, &examples, &device);
        assert_eq!(expected.len(), found.len(), "{:?}", graph.nodes);
        for (a, b) in expected.iter().zip(&found) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} {b} {:?}", graph.nodes);
        }
    }
}

/// By the input, of a weighted sum of all outputs.
#[test]
fn gradients_of_every_operator_agree_with_finite_differences() {
    let device = Device::flex().autodiff();
    for graph in all() {
        let x = inputs(1);
        let pull = |n: usize| (0..n).map(|i| (i as f32 * 1.3).cos()).collect::<Vec<f32>>();
        let sum = |x: &[f32]| -> f64 {
            let y = Executor::new(&graph).unwrap().run(x).unwrap();
            let pull = pull(y.len());
            y.iter().zip(pull).map(|(y, p)| f64::from(*y) * f64::from(p)).sum()
        };
        let tensor = leaf(x.clone(), [1, 5, 4, 2], &device);
        let mut layers = Deterministic::new(&graph, None, &device);
        let y = forward(&graph, Value::Image(tensor.clone()), &mut layers);
        let [_, outputs] = y.dims();
        let grads = (y * constant(pull(outputs), [1, outputs], &device)).sum().backward();
        let found = gradient(&tensor, &grads);
        let mut off = 0;
        for (at, found) in found.iter().enumerate() {
            let moved = |by: f32| {
                let mut x = x.clone();
                x[at] += by;
                sum(&x)
            };
            let step = 1e-3;
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            // A limit or a window may change its mind within the step: rare, not wrong.
            off += usize::from((slope - f64::from(*found)).abs() > 2e-2 * (1.0 + slope.abs()));
        }
        assert!(off <= 1, "{off} differ: {:?}", graph.nodes);
    }
}

#[test]
fn batches_are_normalised_by_their_own_statistics_while_training() {
    let device = Device::flex().autodiff();
    let graph = alone(BatchNorm::new(2), &[5, 4, 2]);
    let mut layers = Deterministic::new(&graph, Some(Noise::new(1, 1)), &device);
    let x = Value::Image(constant(inputs(3), [3, 5, 4, 2], &device));
    let y = values(forward(&graph, x, &mut layers).inner());
    let affine = graph.parameters().next().unwrap();
    let mean = |channel: usize| y.iter().skip(channel).step_by(2).sum::<f32>() / 60.0;
    assert!((mean(0) - affine.bias[0]).abs() < 1e-5 && (mean(1) - affine.bias[1]).abs() < 1e-5);
    let seen = layers.statistics[0].as_ref().unwrap();
    let first = inputs(3).iter().step_by(2).sum::<f32>() / 60.0;
    assert!((seen[0][0] - first).abs() < 1e-5);
}
