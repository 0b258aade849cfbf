//! Properties over random architectures: shrinking and folding change no output.

use proptest::prelude::*;

use crate::network::{Affine, FloatNetwork, Layer, Padding, Shape, Topology};
use crate::reference::Reference;
use crate::shapes;

use super::constants::fold_constants;
use super::liveness::affine_shapes;
use super::{Lineage, Shrinkage, Tie, ties};

/// A small deterministic source of numbers, so that a seed is all that proptest shrinks.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

fn topology(numbers: &mut Numbers) -> Topology {
    let image = numbers.chance(80);
    let input = if image {
        let (height, width) = (4 + numbers.below(5), 4 + numbers.below(5));
        Shape::Image { height, width, channels: 1 + numbers.below(2) }
    } else {
        Shape::Flat(1 + numbers.below(12))
    };
    let mut topology = Topology { input, layers: Vec::new() };
    if image {
        for _ in 0..numbers.below(3) {
            convolution(&mut topology, numbers);
            if numbers.chance(40) {
                block(&mut topology, numbers);
            }
        }
        topology.layers.push(Layer::Flatten);
    }
    for _ in 0..1 + numbers.below(3) {
        let mut inputs = last_shape(&topology).len();
        if numbers.chance(25) {
            let keep: Vec<u32> = (0..inputs as u32).filter(|_| numbers.chance(60)).collect();
            if !keep.is_empty() {
                inputs = keep.len();
                topology.layers.push(Layer::Select { keep });
            }
        }
        let outputs = 1 + numbers.below(6);
        topology.layers.push(Layer::Dense { inputs, outputs });
        if numbers.chance(80) {
            topology.layers.push(activation(numbers));
        }
    }
    topology
}

fn convolution(topology: &mut Topology, numbers: &mut Numbers) {
    let Shape::Image { height, width, channels } = last_shape(topology) else { return };
    let side = |n: usize, numbers: &mut Numbers| 1 + numbers.below(n.min(3));
    let padding = if numbers.chance(40) { Padding::Same } else { Padding::Valid };
    topology.layers.push(Layer::Conv2d {
        channels,
        filters: 1 + numbers.below(5),
        kernel: [side(height, numbers), side(width, numbers)],
        stride: [1 + numbers.below(2), 1],
        padding,
    });
    let activate_first = numbers.chance(50);
    if activate_first {
        topology.layers.push(activation(numbers));
    }
    if let (true, Shape::Image { height, width, .. }) = (numbers.chance(60), last_shape(topology)) {
        let size = [side(height, numbers), side(width, numbers)];
        let stride = [1 + numbers.below(2), 1 + numbers.below(2)];
        topology.layers.push(if numbers.chance(60) {
            Layer::MaxPool2d { size, stride, padding }
        } else {
            Layer::AvgPool2d { size, stride, padding }
        });
    }
    if !activate_first {
        topology.layers.push(Layer::Dropout { rate: 0.5 });
        topology.layers.push(activation(numbers));
    }
}

/// A residual block; its branches may have depthwise convolutions and poolings, and its shortcut a
/// convolution of its own.
fn block(topology: &mut Topology, numbers: &mut Numbers) {
    let name = |what: &str| format!("{what} {}", topology.layers.len());
    let (start, left) = (name("start"), name("left"));
    let Shape::Image { channels, .. } = last_shape(topology) else { return };
    let (stride, padding) = ([1 + numbers.below(2); 2], Padding::Same);
    let plain = stride == [1, 1] && numbers.chance(60);
    let filters = if plain { channels } else { 1 + numbers.below(4) };
    let conv = |channels, filters, stride| Layer::Conv2d {
        channels,
        filters,
        kernel: [3, 3],
        stride,
        padding,
    };
    let layers = &mut topology.layers;
    layers.push(Layer::Mark { name: start.clone() });
    if numbers.chance(50) {
        layers.push(Layer::DepthwiseConv2d { channels, kernel: [3, 2], stride, padding });
        layers.push(activation(numbers));
        layers.push(conv(channels, filters, [1, 1]));
    } else {
        let middle = 1 + numbers.below(3);
        layers.push(conv(channels, middle, stride));
        layers.push(activation(numbers));
        if numbers.chance(50) {
            let (channels, kernel, stride) = (middle, [2, 2], [1, 1]);
            layers.push(Layer::DepthwiseConv2d { channels, kernel, stride, padding });
            layers.push(activation(numbers));
        }
        layers.push(conv(middle, filters, [1, 1]));
    }
    if plain {
        layers.push(Layer::Add { name: start });
    } else {
        layers.push(Layer::Mark { name: left.clone() });
        layers.push(Layer::From { name: start });
        layers.push(conv(channels, filters, stride));
        layers.push(Layer::Add { name: left });
    }
    layers.push(activation(numbers));
}

/// Groups that can go: jointly dead, and neither the network's input nor its output.
fn joint(topology: &Topology, dead: &mut [Vec<bool>]) {
    for Tie { layers, removable } in ties(topology).unwrap() {
        for group in 0..dead[layers[0]].len() {
            let all = removable && layers.iter().all(|&layer| dead[layer][group]);
            layers.iter().for_each(|&layer| dead[layer][group] = all);
        }
    }
}

fn activation(numbers: &mut Numbers) -> Layer {
    if numbers.chance(70) { Layer::Relu } else { Layer::Relu6 }
}

/// Shape behind the last layer so far.
fn last_shape(topology: &Topology) -> Shape {
    shapes::walk(topology).unwrap().last().copied().unwrap()
}

fn network(topology: Topology, numbers: &mut Numbers) -> FloatNetwork {
    let affine = affine_shapes(&topology)
        .iter()
        .map(|shape| Affine {
            weight: (0..shape.weights()).map(|_| numbers.float()).collect(),
            bias: (0..shape.outputs).map(|_| numbers.float()).collect(),
        })
        .collect();
    FloatNetwork { topology, affine, norms: Vec::new() }
}

/// Zeroes what the masks call dead, by the definition of a group.
fn mask(network: &mut FloatNetwork, dead: &[Vec<bool>]) {
    let shapes = affine_shapes(&network.topology);
    for ((shape, affine), dead) in shapes.iter().zip(&mut network.affine).zip(dead) {
        for (index, weight) in affine.weight.iter_mut().enumerate() {
            let filter = index / (shape.area * shape.inputs);
            let group = if shape.dense { index % shape.inputs } else { filter };
            if dead[group] {
                *weight = 0.0;
            }
        }
        if !shape.dense {
            let biases = affine.bias.iter_mut().zip(dead);
            biases.filter(|(_, dead)| **dead).for_each(|(bias, _)| *bias = 0.0);
        }
    }
}

fn assert_same(a: &FloatNetwork, b: &FloatNetwork, numbers: &mut Numbers) {
    let x: Vec<f32> = (0..3 * a.topology.input.len()).map(|_| numbers.float()).collect();
    let a = Reference::new(a).unwrap().logits(&x).unwrap();
    let b = Reference::new(b).unwrap().logits(&x).unwrap();
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(1.0f32, |scale, v| scale.max(v.abs()));
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() <= 1e-5 * scale, "{a} became {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_shrunk_network_equals_the_masked_one(seed: u64, percent in 0usize..=100) {
        let numbers = &mut Numbers(seed);
        let topology = topology(numbers);
        let net = network(topology.clone(), numbers);
        let mut dead: Vec<Vec<bool>> = affine_shapes(&topology)
            .iter()
            .map(|shape| (0..shape.groups()).map(|_| numbers.chance(percent)).collect())
            .collect();
        let step = Shrinkage::plan(&topology, &dead).unwrap();
        for spared in step.spared() {
            dead[spared.layer][spared.group] = false;
        }
        joint(&topology, &mut dead);
        let mut masked = net.clone();
        mask(&mut masked, &dead);
        let small = step.apply(&net).unwrap();
        shapes::infer(&small.topology).unwrap();
        assert_same(&masked, &small, numbers);

        let again = Shrinkage::plan(
            &small.topology,
            &affine_shapes(&small.topology).iter().map(|a| vec![false; a.groups()]).collect::<Vec<_>>(),
        ).unwrap();
        prop_assert!(again.is_identity(), "shrinking has reached its fixpoint");

        let mut lineage = Lineage::new(&topology);
        lineage.shrink(&step).unwrap();
        for layer in 0..step.layer_count() {
            prop_assert_eq!(lineage.groups(layer), step.kept_groups(layer));
        }
    }

    #[test]
    fn folding_constants_changes_nothing(seed: u64, rows in 0usize..=80, columns in 0usize..=60) {
        let numbers = &mut Numbers(seed);
        let topology = topology(numbers);
        let mut net = network(topology, numbers);
        let shapes = affine_shapes(&net.topology);
        for (shape, affine) in shapes.iter().zip(&mut net.affine) {
            for row in affine.weight.chunks_exact_mut(shape.area * shape.inputs) {
                if numbers.chance(rows) {
                    row.fill(0.0);
                }
            }
            for input in 0..shape.inputs {
                if numbers.chance(columns) {
                    affine.weight[input..].iter_mut().step_by(shape.inputs).for_each(|w| *w = 0.0);
                }
            }
        }
        let folded = fold_constants(net.clone()).unwrap();
        assert_same(&net, &folded.network, numbers);
    }
}
