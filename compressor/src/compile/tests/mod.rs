//! Networks through calibration, lowering, compiling and the runtime's interpreter.

mod follow;
mod integers;
mod new_forms;
pub(crate) mod random;
mod storages;

use super::calibrate::{RangeMethod, calibrate, plan};
use super::serialize::serialize;
use super::widths::at_width;
use super::*;
use crate::data::Normalization;
use crate::graph::ops::{
    AvgPool2d, Clip, Conv2d, Dense, DepthwiseConv2d, MaxPool2d, Op as Operation, Reshape,
};
use crate::graph::{Affine, Graph, Padding, Plan, Window, lower};
use crate::verify::run_batch;

/// How far rounding biases moves an output, as jobs have it: a 64th of a step.
const TOLERANCE: f64 = 1.0 / 64.0;
/// All ways of storing weights.
const STORAGES: [Storage; 3] = [Storage::Packed, Storage::Shortest, Storage::Fastest];

fn wave(len: usize, phase: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.7123 + phase).sin() * 0.6).collect()
}

/// A graph in the making whose weights follow from its shape alone.
#[derive(Clone, Debug)]
struct Draft(Graph<Affine>);

impl Draft {
    /// 8 × 8 pixels.
    fn new() -> Self {
        Self::of(&[8, 8, 1])
    }

    fn of(dims: &[usize]) -> Self {
        Self(Graph::of_input(dims.to_vec()))
    }

    fn dims(&self) -> &[usize] {
        &self.0.values[self.0.output].dims
    }

    fn affine(&self, weights: usize, outputs: usize) -> Option<Affine> {
        let layer = self.0.parameters().count() as f32;
        Some(Affine { weight: wave(weights, layer), bias: wave(outputs, 5.0 + layer) })
    }

    /// An operator behind the last one, whose output has the same dimensions unless others are given.
    fn then(mut self, op: impl Into<Operation>, dims: Option<&[usize]>) -> Self {
        let dims = dims.map_or_else(|| self.dims().to_vec(), <[usize]>::to_vec);
        self.0.push("node", op, vec![self.0.output], dims, None);
        self
    }

    fn window(&self, size: usize, stride: usize, rule: Padding) -> (Window, [usize; 2], usize) {
        let &[height, width, channels] = self.dims() else { panic!("no image: {:?}", self.dims()) };
        let window = Window::with_rule([size; 2], [stride; 2], [1; 2], rule, [height, width]);
        let (window, to) = window.unwrap();
        (window, to, channels)
    }

    /// 3 × 3 taps.
    fn conv(mut self, filters: usize, rule: Padding) -> Self {
        let (window, [height, width], channels) = self.window(3, 1, rule);
        let affine = self.affine(filters * 9 * channels, filters);
        let (op, dims) = (Conv2d { window }, vec![height, width, filters]);
        self.0.push("conv", op, vec![self.0.output], dims, affine);
        self
    }

    fn depthwise(mut self, rule: Padding) -> Self {
        let (window, [height, width], channels) = self.window(3, 1, rule);
        let affine = self.affine(9 * channels, channels);
        let (op, dims) = (DepthwiseConv2d { window }, vec![height, width, channels]);
        self.0.push("depthwise", op, vec![self.0.output], dims, affine);
        self
    }

    fn dense(mut self, outputs: usize) -> Self {
        let inputs = self.0.values[self.0.output].len();
        let affine = self.affine(inputs * outputs, outputs);
        let name = format!("dense_{}", self.0.nodes.iter().filter(|n| is_dense(&n.op)).count() + 1);
        self.0.push(&name, Dense {}, vec![self.0.output], vec![outputs], affine);
        self
    }

    fn max_pool(self) -> Self {
        let (window, [height, width], channels) = self.window(2, 2, Padding::Valid);
        self.then(MaxPool2d { window }, Some(&[height, width, channels]))
    }

    fn avg_pool(self) -> Self {
        let (window, [height, width], channels) = self.window(3, 2, Padding::Same);
        self.then(AvgPool2d { window }, Some(&[height, width, channels]))
    }

    fn relu(self) -> Self {
        self.then(Clip::RELU, None)
    }

    fn relu6(self) -> Self {
        self.then(Clip::RELU6, None)
    }

    fn flatten(self) -> Self {
        let len = self.0.values[self.0.output].len();
        self.then(Reshape {}, Some(&[len]))
    }

    /// As the compiler takes it: limits where they are fused.
    fn done(mut self) -> Graph<Affine> {
        self.0.hoist_limits(&Default::default());
        self.0
    }
}

fn is_dense(op: &Operation) -> bool {
    matches!(op, Operation::Dense(_))
}

fn byte_input(offset: f32) -> (Normalization, InputQuantization) {
    let n = Normalization { offset: vec![offset], scale: vec![1.0 / 255.0] };
    let input = InputQuantization::bytes(&n);
    (n, input)
}

/// Normalised inputs of 64 values that bytes could have given.
fn inputs(n: &Normalization, examples: usize) -> Vec<f32> {
    let byte = |i: usize| (i * 7919 + i / 64 * 31) % 256;
    (0..examples * 64).map(|i| (byte(i) as f32 - n.offset[0]) * n.scale[0]).collect()
}

/// A plan from `x`, with weights of `bits` bits, as jobs make it.
fn planned(net: &Graph<Affine>, x: &[f32], input: &InputQuantization, bits: u8) -> Plan {
    let scales = calibrate(net, x, input, RangeMethod::MinMax).unwrap();
    let mut plan = plan(net, scales, input);
    for node in net.layers() {
        let affine = node.parameters.as_ref().unwrap();
        plan.rows.insert(node.output, at_width(&affine.weight, bits).0);
    }
    plan.bias_tolerance = TOLERANCE;
    plan
}

/// A model of each layer's `storage`, by its number.
fn stored(
    integers: &IntegerGraph,
    input: &InputQuantization,
    options: &CompileOptions,
    storage: impl Fn(usize) -> Storage,
) -> (Compiled, Vec<u8>) {
    let mut integers = integers.clone();
    for (layer, matrix) in integers.layers_mut().enumerate() {
        matrix.storage = storage(layer);
    }
    let compiled = compile(integers, input, options).unwrap();
    let bytes = serialize(&compiled, &ModelInfo::default()).unwrap();
    (compiled, bytes)
}

/// The outputs of a graph, which are the same however weights are stored and arranged, and whether
/// operators are fused.
fn outputs(integers: &IntegerGraph, input: &InputQuantization, values: &[i8]) -> Vec<i8> {
    let mut same: Option<Vec<i8>> = None;
    for core in [Core::CortexM4, Core::CortexM55] {
        for fused in [false, true] {
            let options = CompileOptions { core, fused, ..CompileOptions::default() };
            for storage in STORAGES {
                let (_, bytes) = stored(integers, input, &options, |_| storage);
                let found = run_batch(&bytes, values).unwrap();
                match &same {
                    None => same = Some(found),
                    Some(same) => assert_eq!(same, &found, "{storage:?} {options:?}"),
                }
            }
        }
    }
    same.unwrap()
}

/// Real numbers that a graph's outputs stand for.
fn reals(integers: &IntegerGraph, outputs: &[i8]) -> Vec<f32> {
    let quantization = integers.values[integers.output].quantization;
    outputs.iter().map(|&q| quantization.dequantize(q)).collect()
}

/// Signal by noise, in decibels.
fn decibels(right: &[f32], found: &[f32]) -> f64 {
    assert_eq!(right.len(), found.len());
    let power = |x: f32| f64::from(x).powi(2);
    let signal: f64 = right.iter().map(|&x| power(x)).sum();
    let noise: f64 = right.iter().zip(found).map(|(a, b)| power(a - b)).sum();
    10.0 * (signal / noise.max(f64::MIN_POSITIVE)).log10()
}
