//! Values that are read in place: parts of images, and constants.

use super::gates::{convolution, exported, layer};
use super::*;
use crate::graph::ops::{Add, Conv2d, MaxPool2d, Mul, Op, Slice};
use crate::graph::{Padding, Window};
use crate::import::onnx::FloatModel;

/// A part of an image in front of windows of 2 × 2, one every `stride` pixels.
fn cropped(
    begin: [usize; 2],
    [height, width]: [usize; 2],
    stride: usize,
    pool: bool,
) -> FloatModel {
    let mut graph = Graph::of_input(vec![6, 7, 2]);
    if pool {
        layer(&mut graph, 0, Conv2d { window: Window::ONE }, vec![6, 7, 2], 4);
    }
    let from = graph.output;
    let part = graph.push("crop", Slice::crop(begin), vec![from], vec![height, width, 2], None);
    let window =
        Window::with_rule([2; 2], [stride; 2], [1; 2], Padding::Valid, [height, width]).unwrap();
    let (window, [rows, columns]) = window;
    if pool {
        graph.push("pool", MaxPool2d { window }, vec![part], vec![rows, columns, 2], None);
    } else {
        let sums = layer(&mut graph, part, Conv2d { window }, vec![rows, columns, 3], 24);
        let window = Window { size: [2, 1], stride: [2, 1], ..Window::ONE };
        graph.push("pool", MaxPool2d { window }, vec![sums], vec![rows / 2, columns, 3], None);
    }
    exported(&graph)
}

#[test]
fn windows_over_a_part_of_an_image_are_over_a_slice() {
    for begin in [[0, 0], [0, 2], [1, 0], [1, 2]] {
        for (size, stride) in [([4, 3], 1), ([5, 5], 2), ([3, 4], 1)] {
            for pool in [false, true] {
                let recovered = cropped(begin, size, stride, pool);
                let is_crop = |op: &Op| *op == Slice::crop(begin).into();
                assert!(recovered.graph.nodes.iter().any(|node| is_crop(&node.op)), "{begin:?}");
            }
        }
    }
}

#[test]
fn constants_are_theirs_who_read_them() {
    for (dims, product) in [([4, 4, 3], false), ([4, 4, 3], true), ([1, 1, 3], false)] {
        let mut graph = convolution();
        let constant = graph.value("constant", dims.to_vec());
        graph.values[constant].constant = Some(noise(dims.iter().product()));
        let inputs = vec![graph.output, constant];
        let op: Op = if product { Mul {}.into() } else { Add {}.into() };
        graph.push("both", op, inputs, vec![4, 4, 3], None);
        let recovered = exported(&graph);
        let constants = recovered.graph.values.iter().filter(|value| value.constant.is_some());
        assert_eq!(constants.count(), 1);
    }
}
