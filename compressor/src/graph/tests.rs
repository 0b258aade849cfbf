//! The forward pass and the shape rules, on graphs made by hand.

mod operators;

use super::ops::{Add, Clip, Conv2d, Dense, MaxPool2d, Mean, Mul, Reshape};
use super::{Affine, Executor, Graph, GraphError, Padding, Window};

fn affine(weight: Vec<f32>, outputs: usize) -> Option<Affine> {
    Some(Affine { weight, bias: vec![0.5; outputs] })
}

fn window(size: usize, stride: usize, rule: Padding, from: usize) -> (Window, usize) {
    let window = Window::with_rule([size; 2], [stride; 2], [1; 2], rule, [from; 2]);
    let (window, [rows, _]) = window.unwrap();
    (window, rows)
}

fn network() -> Graph<Affine> {
    let mut graph = Graph::of_input(vec![4, 4, 1]);
    let (conv, side) = window(3, 1, Padding::Same, 4);
    let weights = (0..18).map(|i| (i as f32 * 0.37).sin()).collect();
    let x = graph.push("conv2d_1", Conv2d { window: conv }, vec![0], vec![side, side, 2], {
        affine(weights, 2)
    });
    let x = graph.push("relu_1", Clip::RELU, vec![x], vec![side, side, 2], None);
    let (pool, side) = window(2, 2, Padding::Valid, side);
    let x = graph.push("max_pool2d_1", MaxPool2d { window: pool }, vec![x], vec![side; 2], None);
    graph.values[x].dims.push(2);
    let x = graph.push("flatten_1", Reshape {}, vec![x], vec![8], None);
    let weights = (0..24).map(|i| (i as f32 * 0.71).cos()).collect();
    graph.push("dense_1", Dense {}, vec![x], vec![3], affine(weights, 3));
    graph
}

#[test]
fn an_example_s_result_depends_on_nothing_else() {
    let graph = network();
    let executor = Executor::new(&graph).unwrap();
    let inputs: Vec<f32> = (0..16 * 70).map(|i| (i as f32 * 0.13).sin()).collect();
    let all = executor.run(&inputs).unwrap();
    let alone: Vec<f32> = inputs.chunks(16).flat_map(|x| executor.run(x).unwrap()).collect();
    assert_eq!(all, alone);
    let mut seen = Vec::new();
    executor
        .visit(&inputs, &mut |id: usize, values: &[f32]| {
            if id == graph.output {
                seen.extend_from_slice(values);
            }
        })
        .unwrap();
    assert_eq!(all, seen);
    assert!(matches!(
        executor.run(&inputs[1..]),
        Err(GraphError::InputLength { expected: 16, found: 1119 })
    ));
}

#[test]
fn weights_and_products_are_counted() {
    let graph = network();
    assert_eq!(graph.macs(), [9 * 2 * 16, 24]);
    assert_eq!(
        graph.weights().iter().map(|w| (w.len(), w.group_count())).collect::<Vec<_>>(),
        [(18, 2), (24, 8)]
    );
}

#[test]
fn operands_of_products_and_sums_may_be_one_number_a_channel() {
    let mut graph: Graph<Affine> = Graph::of_input(vec![2, 2, 3]);
    let gate = graph.push("mean", Mean {}, vec![0], vec![1, 1, 3], None);
    let scaled = graph.push("mul", Mul {}, vec![0, gate], vec![2, 2, 3], None);
    let one = graph.value("one", vec![1]);
    graph.values[one].constant = Some(vec![1.0]);
    graph.push("add", Add {}, vec![scaled, one], vec![2, 2, 3], None);
    let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let y = Executor::new(&graph).unwrap().run(&x).unwrap();
    assert_eq!(y[..3], [1.0, 1.0 * 5.5 + 1.0, 2.0 * 6.5 + 1.0]);
    assert_eq!(y[12], 12.0 * 16.5 + 1.0);
}

#[test]
fn what_does_not_fit_is_named() {
    let mut graph = network();
    graph.nodes[0].parameters = None;
    let error = graph.check().unwrap_err().to_string();
    assert!(error.starts_with("conv2d_1: weights are missing"), "{error}");
    let mut graph = network();
    graph.nodes[4].parameters = affine(vec![1.0; 23], 3);
    let error = graph.check().unwrap_err().to_string();
    assert!(error.starts_with("dense_1: weights or biases"), "{error}");
    let mut graph = network();
    graph.nodes.swap(0, 1);
    assert!(matches!(graph.check(), Err(GraphError::Order { .. })));
    let mut graph = network();
    graph.values[0].dims = vec![0];
    assert!(matches!(graph.check(), Err(GraphError::Size { len: 0, .. })));
    let mut graph = network();
    graph.nodes[4].parameters = affine(vec![f32::NAN; 24], 3);
    assert!(matches!(graph.check(), Err(GraphError::NotFinite { .. })));
    let mut graph = network();
    graph.nodes[3].output = graph.nodes[2].output;
    assert!(matches!(graph.check(), Err(GraphError::Twice { .. })));
    graph.output = graph.input;
    assert!(graph.check().is_err());
}
