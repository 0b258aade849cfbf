//! Scales that only products tell: gates and squares without a layer behind them.

use bitsback_runtime::Model;
use proptest::prelude::*;

use super::*;
use crate::compile::tests::random::{Choice, open_end};
use crate::compile::{compile, serialize::serialize};
use crate::graph::ops::{Conv2d, HardSigmoid, HardSwish, Logistic, Mean, Mul, Op};
use crate::graph::{ValueId, Window, lower};
use crate::import::onnx::FloatModel;

/// An image of 4 × 4 pixels, and a convolution.
pub(super) fn convolution() -> Graph<Affine> {
    let mut graph = Graph::of_input(vec![4, 4, 2]);
    layer(&mut graph, 0, Conv2d { window: Window::ONE }, vec![4, 4, 3], 6);
    graph
}

/// A layer with weights that look like noise.
pub(super) fn layer(
    graph: &mut Graph<Affine>,
    from: ValueId,
    op: impl Into<Op>,
    dims: Vec<usize>,
    weights: usize,
) -> ValueId {
    let outputs = dims.last().copied().unwrap_or(1);
    let affine = Affine { weight: noise(weights + 3).split_off(3), bias: noise(outputs) };
    graph.push("layer", op, vec![from], dims, Some(affine))
}

/// An operator on the last value, of the same shape.
fn then(graph: &mut Graph<Affine>, op: impl Into<Op>) -> ValueId {
    let dims = graph.values[graph.output].dims.clone();
    graph.push("node", op, vec![graph.output], dims, None)
}

/// The last value, as a gate of `from`.
fn gated(mut graph: Graph<Affine>, from: ValueId) -> Graph<Affine> {
    let dims = graph.values[from].dims.clone();
    graph.push("gate", Mul {}, vec![from, graph.output], dims, None);
    graph
}

/// The means of the convolution's channels, through `op`, as their gate.
fn pooled(op: impl Into<Op>) -> Graph<Affine> {
    let mut graph = convolution();
    graph.push("mean", Mean {}, vec![1], vec![3], None);
    then(&mut graph, op);
    gated(graph, 1)
}

fn hard(slope: f32) -> Graph<Affine> {
    let mut graph = convolution();
    then(&mut graph, HardSigmoid { slope });
    gated(graph, 1)
}

fn squeeze_and_excite() -> Graph<Affine> {
    let mut graph = convolution();
    graph.push("mean", Mean {}, vec![1], vec![3], None);
    layer(&mut graph, 2, Dense {}, vec![2], 6);
    then(&mut graph, Clip::RELU);
    let squeezed = graph.output;
    layer(&mut graph, squeezed, Dense {}, vec![3], 6);
    then(&mut graph, HardSigmoid::SIXTH);
    gated(graph, 1)
}

fn rectified() -> Graph<Affine> {
    let mut graph = convolution();
    let from = then(&mut graph, Clip::RELU);
    graph.push("mean", Mean {}, vec![from], vec![3], None);
    then(&mut graph, Logistic {});
    gated(graph, from)
}

/// x · x, and x · x · x.
fn powers() -> [Graph<Affine>; 2] {
    let mut square = convolution();
    square.output = 1;
    let square = gated(square, 1);
    [square.clone(), gated(square, 1)]
}

/// The model of a graph, its inputs, and their integers.
fn model(graph: &Graph<Affine>, fused: bool) -> (Vec<u8>, Vec<f32>, Vec<i8>) {
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let integers = input.quantize(&noise(6 * graph.values[graph.input].len()));
    let inputs: Vec<f32> = integers.iter().map(|&q| input.quantization.dequantize(q)).collect();
    let scales = calibrate(graph, &inputs, &input, RangeMethod::MinMax).unwrap();
    (written(graph, &plan(graph, scales, &input), &input, fused), inputs, integers)
}

/// Root mean squares of what the integers of a model give, and of how far the floats of its export are from
/// that, in steps of the output.
fn apart(bytes: &[u8], recovered: &FloatModel, inputs: &[f32], integers: &[i8]) -> [f32; 2] {
    let floats = Executor::new(&recovered.graph).unwrap().run(inputs).unwrap();
    let found = real(bytes, &run_batch(bytes, integers).unwrap());
    assert_eq!(floats.len(), found.len());
    let scale = Model::parse(bytes).unwrap().meta().output_scale;
    let mean = |sum: f32| (sum / found.len() as f32).sqrt() / scale;
    let noise: f32 = floats.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum();
    [mean(found.iter().map(|x| x.powi(2)).sum()), mean(noise)]
}

/// Exports a graph, and demands that the floats follow the integers, and that the quantised export comes back
/// with the same, whether or not operators become one.
pub(super) fn exported(graph: &Graph<Affine>) -> FloatModel {
    exported_of(graph, true);
    exported_of(graph, false)
}

fn exported_of(graph: &Graph<Affine>, fused: bool) -> FloatModel {
    let (bytes, inputs, integers) = model(graph, fused);
    let recovered = recover(&Model::parse(&bytes).unwrap()).unwrap();
    let [signal, noise] = apart(&bytes, &recovered, &inputs, &integers);
    assert!(noise < 2.0 && signal > 20.0, "{noise} of {signal} steps");
    let floats = import::onnx::read(&onnx(&recovered, false).unwrap(), None, None).unwrap();
    let [direct, back] = [&recovered, &floats]
        .map(|model| Executor::new(&model.graph).unwrap().run(&inputs).unwrap());
    assert_eq!(direct.len(), back.len());
    for (a, b) in direct.iter().zip(&back) {
        assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{a} {b}");
    }
    let back = import::import(&onnx(&recovered, true).unwrap(), &ImportOptions::default()).unwrap();
    let [a, b] = [&bytes, &back.bytes].map(|bytes| run_batch(bytes, &integers).unwrap());
    assert!(a.iter().zip(&b).all(|(a, b)| a.abs_diff(*b) <= 1), "{a:?} {b:?}");
    recovered
}

fn slope(model: &FloatModel) -> f32 {
    let slope = |op: &Op| if let Op::HardSigmoid(op) = op { Some(op.slope) } else { None };
    model.graph.nodes.iter().find_map(|node| slope(&node.op)).unwrap()
}

#[test]
fn gates_and_squares_at_the_end_follow_their_integers() {
    let mut swish = convolution();
    then(&mut swish, HardSwish {});
    let gates = [pooled(HardSigmoid::SIXTH), pooled(Logistic {}), rectified()];
    for graph in gates.into_iter().chain(powers()).chain([swish, squeeze_and_excite()]) {
        exported(&graph);
    }
}

#[test]
fn a_hard_sigmoid_is_as_steep_as_its_product_proves() {
    for steep in [1.0 / 6.0, 0.2] {
        let found = slope(&exported(&hard(steep)));
        assert!((found / steep - 1.0).abs() < 1e-4, "{found} {steep}");
    }
}

/// The layer in front of it has any scale, and its weights make up for that.
#[test]
fn a_hard_sigmoid_is_the_usual_one_where_nothing_proves_another() {
    let mut graph = convolution();
    let gate = then(&mut graph, HardSigmoid { slope: 0.2 });
    layer(&mut graph, gate, Conv2d { window: Window::ONE }, vec![4, 4, 2], 6);
    let found = slope(&exported(&graph));
    assert!((found * 6.0 - 1.0).abs() < 1e-6, "{found}");
}

#[test]
fn a_product_that_contradicts_the_scales_around_it_is_refused() {
    let mut graph = Graph::of_input(vec![4]);
    graph.push("square", Mul {}, vec![0, 0], vec![4], None);
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let scales = calibrate(&graph, &noise(64), &input, RangeMethod::MinMax).unwrap();
    let mut integers = lower(&graph, &plan(&graph, scales, &input)).unwrap();
    let output = integers.output;
    integers.values[output].quantization.scale *= 1.1;
    let compiled = compile(integers, &input, &CompileOptions::default()).unwrap();
    let bytes = serialize(&compiled, &ModelInfo::default()).unwrap();
    let error = recover(&Model::parse(&bytes).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("operator 0 (mul): its factors contradict"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn floats_of_any_graph_follow_its_integers(
        choices in proptest::collection::vec((0u8..19, any::<u8>(), any::<u8>()), 1..9),
        fused in any::<bool>(),
    ) {
        let choices: Vec<Choice> = choices;
        let graph = open_end(&choices);
        let names: Vec<&str> = graph.nodes.iter().map(|node| node.op.name()).collect();
        // A model can't end with what only its readers say what it is.
        prop_assume!(names.last().is_some_and(|&name| name != "hard_sigmoid"));
        let (bytes, inputs, integers) = model(&graph, fused);
        let recovered = recover(&Model::parse(&bytes).unwrap());
        prop_assert!(recovered.is_ok(), "{recovered:?} {names:?}");
        let [signal, noise] = apart(&bytes, &recovered.unwrap(), &inputs, &integers);
        prop_assert!(noise < 3.0 + 0.25 * signal, "{noise} of {signal} steps, {names:?}");
    }
}
