//! What the fuzz targets share: files of other tools, from bytes to a model that runs.

use std::collections::BTreeMap;

use bitsback::compile::{CompileOptions, InputQuantization, ModelInfo};
use bitsback::graph::ops::{BatchNorm, Clip, Conv2d, Dense, Op, Reshape};
use bitsback::graph::{Affine, Graph, Range, Window};
use bitsback::import::onnx::FloatModel;
use bitsback::import::{ImportOptions, import, onnx, tflite};
use bitsback::internals::{assign_weights, parse_weights};
use bitsback::quantize::{RangeMethod, calibrate, plan, write};
use bitsback::verify::run_batch;

/// Most numbers of a graph that is executed: larger ones only take time.
const MAX_EXECUTED: usize = 1 << 14;

/// A `.tflite` file: refused with words, or imported and parsed back; one of floats is quantised.
pub fn tflite(bytes: &[u8]) {
    if tflite::is_tflite(bytes) {
        let _ = import(bytes, &ImportOptions::default());
        if let Ok(Some(model)) = tflite::floats(bytes) {
            quantised(&model, bytes);
        }
    }
}

/// An ONNX file: refused with words, or read; then run as floats, quantised, and run as integers.
pub fn onnx(bytes: &[u8]) {
    let Ok(model) = onnx::read(bytes, None, None) else { return };
    quantised(&model, bytes);
}

fn quantised(model: &FloatModel, bytes: &[u8]) {
    let graph = &model.graph;
    if size(graph) > MAX_EXECUTED {
        return;
    }
    if model.is_quantized() {
        let _ = import(bytes, &ImportOptions::default());
        return;
    }
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let len = graph.values[graph.input].len();
    let inputs: Vec<f32> = (0..2 * len).map(|i| (i % 7) as f32 / 3.0 - 1.0).collect();
    let Ok(scales) = calibrate(graph, &inputs, &input, RangeMethod::LeastSquares) else {
        return;
    };
    let plan = plan(graph, scales, &input);
    let (options, info) = (CompileOptions::default(), ModelInfo::default());
    if let Ok((bytes, _)) = write(graph, &plan, &input, &options, &info) {
        let outputs = run_batch(&bytes, &input.quantize(&inputs));
        assert!(outputs.is_ok(), "what was written must run");
    }
}

/// A .pt or .safetensors file: refused with words, or its tensors put into a network that those in
/// tests/fixtures/weights were trained as.
pub fn weights(bytes: &[u8]) {
    let Ok(tensors) = parse_weights(bytes) else { return };
    for tensor in &tensors {
        let len: usize = tensor.shape.iter().product();
        assert_eq!(len, tensor.values.len(), "as many values as the shape says");
    }
    if let Ok(assigned) = assign_weights(&small(), &tensors, &BTreeMap::new()) {
        let mut held = assigned.network.parameters();
        assert!(held.all(|affine| !affine.weight.is_empty()), "every layer has its parameters");
    }
}

/// A network from 6 × 6 pixels to 4 scores.
fn small() -> Graph<()> {
    let mut graph = Graph::of_input(vec![6, 6, 1]);
    let mut push = |op: Op, dims: &[usize], layer: Option<()>| {
        graph.push("node", op, vec![graph.output], dims.to_vec(), layer);
    };
    let conv = |size| Conv2d { window: Window { size, ..Window::ONE } }.into();
    push(conv([3, 3]), &[4, 4, 2], Some(()));
    push(BatchNorm::new(2).into(), &[4, 4, 2], Some(()));
    push(Clip::RELU.into(), &[4, 4, 2], None);
    push(conv([2, 1]), &[3, 4, 3], Some(()));
    push(Clip::RELU.into(), &[3, 4, 3], None);
    push(Reshape {}.into(), &[36], None);
    push(Dense {}.into(), &[4], Some(()));
    graph.number_nodes();
    graph
}

/// The number of values, weights and products of a graph.
fn size(graph: &Graph<Affine>) -> usize {
    let values = graph.values.iter().map(|value| value.len());
    let work = graph.nodes.iter().map(|node| {
        let weights = node.parameters.as_ref().map_or(0, |affine| affine.weight.len());
        weights.saturating_mul(graph.values[node.output].len())
    });
    values.chain(work).fold(0, usize::saturating_add)
}
