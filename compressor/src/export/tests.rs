//! Models out and in again.

mod gates;
mod views;

use bitsback_runtime::Model;

use super::*;
use crate::compile::calibrate::{RangeMethod, calibrate, plan};
use crate::compile::serialize::ModelInfo;
use crate::compile::{CompileOptions, InputQuantization};
use crate::graph::ops::{Clip, Dense};
use crate::graph::{Affine, Executor, Graph, Plan};
use crate::import::{self, ImportOptions};
use crate::numbers::{Quantization, Range};
use crate::quantize;
use crate::verify::run_batch;

/// Numbers between −1 and 1 that look like noise.
fn noise(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + 13) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// The file of a graph, whose operators may become one where that pays.
fn written(graph: &Graph<Affine>, plan: &Plan, input: &InputQuantization, fused: bool) -> Vec<u8> {
    let options = CompileOptions { fused, ..CompileOptions::default() };
    quantize::write(graph, plan, input, &options, &ModelInfo::default()).unwrap().0
}

/// A committed ONNX model, quantised: bytes, and how its inputs are.
fn quantised(name: &str, bits: u8) -> (Vec<u8>, InputQuantization, usize) {
    let path = format!("{}/../tests/onnx/models/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    let model = import::onnx::read(&std::fs::read(path).unwrap(), None, None).unwrap();
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let len = model.graph.values[model.graph.input].len();
    let method = RangeMethod::LeastSquares;
    let scales = calibrate(&model.graph, &noise(8 * len), &input, method).unwrap();
    let mut plan = plan(&model.graph, scales, &input);
    let layers = quantize::widths::layers(&model.graph, &plan);
    plan.bits = layers.iter().map(|layer| (layer.value, bits)).collect();
    let bytes = written(&model.graph, &plan, &input, false);
    (bytes, input, len)
}

/// A dense layer of two outputs, and limits, quantised for inputs from −1 to 1.
fn limited(low: f32, high: f32) -> (Graph<Affine>, Vec<u8>) {
    let affine = Affine { weight: vec![9.0, 1.0, -2.0, 7.0], bias: vec![0.5, -0.25] };
    let mut graph = Graph::of_input(vec![2]);
    let sums = graph.push("dense", Dense {}, vec![0], vec![2], Some(affine));
    graph.push("limits", Clip { low, high }, vec![sums], vec![2], None);
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let scales = calibrate(&graph, &noise(64), &input, RangeMethod::LeastSquares).unwrap();
    let plan = plan(&graph, scales, &input);
    let bytes = written(&graph, &plan, &input, false);
    (graph, bytes)
}

fn real(bytes: &[u8], outputs: &[i8]) -> Vec<f32> {
    let model = Model::parse(bytes).unwrap();
    let (scale, zero_point) = (model.meta().output_scale, model.output().zero_point);
    outputs.iter().map(|&q| Quantization { scale, zero_point }.dequantize(q)).collect()
}

/// Models with every operator that can be exported.
const NAMES: [&str; 10] = [
    "mlp",
    "lenet",
    "residual",
    "mobile",
    "branches",
    "dynamic",
    "channels_last",
    "image_output",
    "hard",
    "slices",
];

#[test]
fn floats_follow_the_integers_that_they_come_from() {
    for name in NAMES {
        let (bytes, input, len) = quantised(name, 8);
        let recovered = recover(&Model::parse(&bytes).unwrap()).unwrap();
        let file = onnx(&recovered, false).unwrap();
        let read = import::onnx::read(&file, None, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!read.is_quantized());
        let inputs = noise(6 * len);
        let floats = Executor::new(&read.graph).unwrap().run(&inputs).unwrap();
        let direct = Executor::new(&recovered.graph).unwrap().run(&inputs).unwrap();
        for (a, b) in floats.iter().zip(&direct) {
            assert!((a - b).abs() < 1e-4, "{name}: {a} {b}");
        }
        let integers = real(&bytes, &run_batch(&bytes, &input.quantize(&inputs)).unwrap());
        let signal: f32 = floats.iter().map(|x| x.powi(2)).sum();
        let noise: f32 = floats.iter().zip(&integers).map(|(a, b)| (a - b).powi(2)).sum();
        assert!(noise * 100.0 < signal, "{name}: {noise} of {signal}");
    }
}

#[test]
fn an_activation_at_the_end_is_kept() {
    let none = f32::INFINITY;
    // On what was calibrated on, nothing else is cut off.
    for (low, high) in [(0.0, none), (0.0, 6.0), (0.0, 1.0), (-1.0, 1.0), (-none, 0.0)] {
        let (graph, bytes) = limited(low, high);
        let recovered = recover(&Model::parse(&bytes).unwrap()).unwrap();
        for quantized in [false, true] {
            let file = onnx(&recovered, quantized).unwrap();
            let read = import::onnx::read(&file, None, None).unwrap();
            let inputs = noise(64);
            let floats = Executor::new(&graph).unwrap().run(&inputs).unwrap();
            let back = Executor::new(&read.graph).unwrap().run(&inputs).unwrap();
            for (a, b) in floats.iter().zip(&back) {
                assert!((a - b).abs() < 0.25, "{low} to {high}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_quantised_export_comes_back_with_the_same_integers() {
    for name in NAMES {
        for bits in [8, 3] {
            let (bytes, input, len) = quantised(name, bits);
            let recovered = recover(&Model::parse(&bytes).unwrap()).unwrap();
            let file = onnx(&recovered, true).unwrap();
            let back = import::import(&file, &ImportOptions::default());
            let back = back.unwrap_or_else(|error| panic!("{name}: {error}")).bytes;
            let inputs = input.quantize(&noise(6 * len));
            let (a, b) = (run_batch(&bytes, &inputs).unwrap(), run_batch(&back, &inputs).unwrap());
            let apart = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b));
            // Factors are rounded to single precision on the way, which may move a tie.
            assert!(apart.clone().all(|d| d <= 1), "{name} at {bits} bits");
            assert!(apart.filter(|&d| d > 0).count() * 20 <= a.len(), "{name} at {bits} bits");
        }
    }
}
