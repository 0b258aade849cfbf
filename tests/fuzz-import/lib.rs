//! What the fuzz targets share: files of other tools, from bytes to a model that runs.

use std::collections::BTreeMap;

use bitsback::calibrate::{InputQuantization, Range, RangeMethod};
use bitsback::graph::{Affine, Graph};
use bitsback::import::onnx::FloatModel;
use bitsback::import::{ImportOptions, import, onnx, tflite};
use bitsback::quantize::{Plan, ranges, write};
use bitsback::network::{Layer, Padding, Shape, Topology};
use bitsback::serialize::ModelInfo;
use bitsback::verify::run_batch;
use bitsback::weights;

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
    let Ok(scales) = ranges::watch(graph, &inputs, &input, RangeMethod::LeastSquares) else {
        return;
    };
    let plan = Plan::calibrated(graph, scales, &input);
    if let Ok((bytes, _)) = write(graph, &plan, &input, &ModelInfo::default()) {
        let outputs = run_batch(&bytes, &input.quantize(&inputs));
        assert!(outputs.is_ok(), "what was written must run");
    }
}

/// A .pt or .safetensors file: refused with words, or its tensors put into a network that those in
/// tests/fixtures/weights were trained as.
pub fn weights(bytes: &[u8]) {
    let Ok(tensors) = weights::parse(bytes) else { return };
    for tensor in &tensors {
        let len: usize = tensor.shape.iter().product();
        assert_eq!(len, tensor.values.len(), "as many values as the shape says");
    }
    if let Ok(assigned) = weights::assign(&small(), &tensors, &BTreeMap::new()) {
        assert_eq!(assigned.network.affine.len(), 3, "every layer has its parameters");
    }
}

/// A network from 6 × 6 pixels to 4 scores.
fn small() -> Topology {
    let conv = |channels, filters, kernel| Layer::Conv2d {
        channels,
        filters,
        kernel,
        stride: [1, 1],
        padding: Padding::Valid,
    };
    Topology {
        input: Shape::Image { height: 6, width: 6, channels: 1 },
        layers: vec![
            conv(1, 2, [3, 3]),
            Layer::BatchNorm { channels: 2 },
            Layer::Relu,
            conv(2, 3, [2, 1]),
            Layer::Relu,
            Layer::Flatten,
            Layer::Dense { inputs: 36, outputs: 4 },
        ],
    }
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
