use super::*;
use crate::bit_width::at_width;
use crate::calibrate::{
    Activations, InputQuantization, Quantization, Range, RangeMethod, calibrate,
};
use crate::data::Normalization;
use crate::network::{Layer, Padding, Topology};
use crate::serialize::{ModelInfo, serialize};
use crate::verify::verify;
use bitsback_runtime::Model;
use proptest::prelude::*;

fn wave(len: usize, phase: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.7123 + phase).sin() * 0.6).collect()
}

fn conv(channels: usize, filters: usize, padding: Padding) -> Layer {
    Layer::Conv2d { channels, filters, kernel: [3, 3], stride: [1, 1], padding }
}

fn max_pool() -> Layer {
    Layer::MaxPool2d { size: [2, 2], stride: [2, 2], padding: Padding::Valid }
}

/// A network with weights that follow from its shape alone.
fn network(layers: Vec<Layer>) -> FloatNetwork {
    let topology = Topology { input: Shape::Image { height: 8, width: 8, channels: 1 }, layers };
    let affine = topology
        .affine_layers()
        .enumerate()
        .map(|(i, layer)| {
            let (weights, outputs) = match layer {
                Layer::Conv2d { channels, filters, kernel, .. } => {
                    (channels * filters * kernel[0] * kernel[1], *filters)
                }
                Layer::Dense { inputs, outputs } => (inputs * outputs, *outputs),
                _ => (0, 0),
            };
            Affine { weight: wave(weights, i as f32), bias: wave(outputs, 5.0 + i as f32) }
        })
        .collect();
    FloatNetwork { topology, affine, norms: Vec::new() }
}

fn byte_input(offset: f32) -> (Normalization, InputQuantization) {
    let n = Normalization { offset: vec![offset], scale: vec![1.0 / 255.0] };
    let input = InputQuantization::bytes(&n);
    (n, input)
}

/// Normalised inputs that bytes could have given.
fn inputs(n: &Normalization, examples: usize) -> Vec<f32> {
    let byte = |i: usize| (i * 7919 + i / 64 * 31) % 256;
    (0..examples * 64).map(|i| (byte(i) as f32 - n.offset[0]) * n.scale[0]).collect()
}

fn lowered(net: &FloatNetwork, bits: u8, head: Head, offset: f32) -> (Graph, Vec<u8>, Vec<f32>) {
    let (n, input) = byte_input(offset);
    let x = inputs(&n, 40);
    let activations = calibrate(net, &x, input, RangeMethod::MinMax).unwrap();
    let weights: Vec<_> = net.affine.iter().map(|a| at_width(&a.weight, bits).0).collect();
    let options = LowerOptions { head, ..Default::default() };
    let graph = lower(net, &weights, &activations, &options).unwrap();
    let bytes = serialize(&graph, &ModelInfo::default()).unwrap();
    (graph, bytes, x)
}

/// Lowers, and demands that the integer model follows the network of the *rounded* weights.
fn assert_follows(net: &FloatNetwork, offset: f32, least_db: f64) {
    let (graph, bytes, x) = lowered(net, 8, Head::Logits, offset);
    let mut rounded = net.clone();
    for affine in &mut rounded.affine {
        affine.weight = at_width(&affine.weight, 8).0.dequantized();
    }
    let labels = vec![0; 40];
    let report = verify(&bytes, &graph, &rounded, &x, &labels).unwrap();
    for layer in &report.layers {
        assert!(layer.sqnr_db > least_db, "{layer:?} of {:?}", report.layers);
    }
    assert!(report.agreeing >= 36, "{report:?}");
}

fn lenet(padding: Padding, relu_first: bool) -> FloatNetwork {
    let mut layers = vec![conv(1, 3, padding)];
    let order = [max_pool(), Layer::Relu];
    layers.extend(if relu_first { [order[1].clone(), order[0].clone()] } else { order });
    let side = if padding == Padding::Same { 4 } else { 3 };
    layers.extend([
        Layer::Flatten,
        Layer::Dense { inputs: 3 * side * side, outputs: 8 },
        Layer::Relu,
        Layer::Dropout { rate: 0.5 },
        Layer::Dense { inputs: 8, outputs: 4 },
    ]);
    network(layers)
}

#[test]
fn integer_models_follow_their_float_networks() {
    for padding in [Padding::Valid, Padding::Same] {
        for relu_first in [false, true] {
            assert_follows(&lenet(padding, relu_first), 0.0, 30.0);
        }
    }
}

#[test]
fn the_inputs_residual_goes_into_the_first_bias() {
    let dense = |inputs, outputs| Layer::Dense { inputs, outputs };
    let net = network(vec![Layer::Flatten, dense(64, 8), Layer::Relu, dense(8, 4)]);
    assert_follows(&net, 127.5, 33.0);
    assert_follows(&lenet(Padding::Valid, true), 127.5, 30.0);
}

#[test]
fn average_pooling_and_relu6_follow_too() {
    let avg = Layer::AvgPool2d { size: [3, 3], stride: [2, 2], padding: Padding::Same };
    let layers = vec![
        conv(1, 4, Padding::Same),
        Layer::Relu6,
        avg.clone(),
        conv(4, 2, Padding::Valid),
        max_pool(),
        Layer::Relu6,
        Layer::Flatten,
        Layer::Dense { inputs: 2, outputs: 4 },
    ];
    assert_follows(&network(layers), 0.0, 25.0);
    let behind = vec![
        conv(1, 4, Padding::Valid),
        avg,
        Layer::Relu,
        Layer::Flatten,
        Layer::Dense { inputs: 36, outputs: 4 },
    ];
    assert_follows(&network(behind), 0.0, 25.0);
}

fn selecting(keep: Vec<u32>, outputs: usize) -> FloatNetwork {
    let inputs = keep.len();
    network(vec![Layer::Flatten, Layer::Select { keep }, Layer::Dense { inputs, outputs }])
}

#[test]
fn selections_take_whichever_form_is_smaller() {
    // 60 of 64 in one row: four bytes of zeros against twenty of mask and record.
    let net = selecting((0..60).collect(), 1);
    let (graph, ..) = lowered(&net, 8, Head::Logits, 0.0);
    assert_eq!(graph.ops.len(), 1);
    // 20 of 64 in eight rows.
    let net = selecting((0..60).step_by(3).collect(), 8);
    let (graph, ..) = lowered(&net, 8, Head::Logits, 0.0);
    assert!(matches!(graph.ops[..], [Op::Select(_), Op::Dense(_)]));
    assert_follows(&selecting((0..60).collect(), 4), 0.0, 33.0);
    assert_follows(&selecting((0..60).step_by(3).collect(), 4), 0.0, 33.0);
}

#[test]
fn heads_end_as_they_should() {
    let net = lenet(Padding::Valid, true);
    let (_, logits, x) = lowered(&net, 8, Head::Logits, 0.0);
    let (_, softmax, _) = lowered(&net, 8, Head::Softmax, 0.0);
    let (_, argmax, _) = lowered(&net, 8, Head::Argmax, 0.0);
    let (_, input) = byte_input(0.0);
    let q = input.quantize(&x);
    let expected = crate::verify::predict(&logits, &q).unwrap();
    assert_eq!(crate::verify::predict(&argmax, &q).unwrap(), expected);
    let probable = crate::verify::predict(&softmax, &q).unwrap();
    let same = probable.iter().zip(&expected).filter(|(a, b)| a == b).count();
    // Equal probabilities after rounding may move a tie to an earlier class.
    assert!(same >= 38, "{same}");
}

#[test]
fn bytes_are_the_same_every_time() {
    let net = lenet(Padding::Valid, true);
    assert_eq!(lowered(&net, 5, Head::Logits, 0.0).1, lowered(&net, 5, Head::Logits, 0.0).1);
}

#[test]
fn errors_name_the_layer() {
    let net = lenet(Padding::Valid, true);
    let (n, input) = byte_input(0.0);
    let good = calibrate(&net, &inputs(&n, 4), input, RangeMethod::MinMax).unwrap();
    let weights: Vec<_> = net.affine.iter().map(|a| at_width(&a.weight, 8).0).collect();
    let try_lower = |net: &FloatNetwork, weights: &[IntegerWeights], activations: &Activations| {
        lower(net, weights, activations, &LowerOptions::default()).unwrap_err()
    };
    assert!(matches!(try_lower(&net, &weights[..1], &good), LowerError::Network(_)));
    let mut wide = weights.clone();
    wide[1].values[0] = 200;
    let error = try_lower(&net, &wide, &good);
    assert!(matches!(&error, LowerError::Weights { layer, .. } if layer == "dense_1"));
    let mut scale = good.clone();
    scale.layers[1] = Quantization { scale: f32::NAN, zero_point: 0 };
    let error = try_lower(&net, &weights, &scale);
    assert!(matches!(&error, LowerError::Scale { layer, .. } if layer == "dense_1"));
    let mut large = net.clone();
    large.affine[2].bias[3] = 1e9;
    let error = try_lower(&large, &weights, &good);
    assert!(matches!(&error, LowerError::Bias { layer, output: 3, .. } if layer == "dense_2"));
}

#[test]
fn dimensions_beyond_the_format_are_refused() {
    let inputs = 70_000;
    let net = FloatNetwork {
        topology: Topology {
            input: Shape::Flat(inputs),
            layers: vec![Layer::Dense { inputs, outputs: 1 }],
        },
        affine: vec![Affine { weight: wave(inputs, 0.0), bias: vec![0.0] }],
        norms: Vec::new(),
    };
    let activations = Activations {
        input: InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None),
        layers: vec![Quantization { scale: 1.0, zero_point: 0 }],
        sums: Vec::new(),
    };
    let weights = [at_width(&net.affine[0].weight, 4).0];
    let error = lower(&net, &weights, &activations, &LowerOptions::default()).unwrap_err();
    assert!(matches!(error, LowerError::TooLarge { value: 70_000, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_width_and_head_gives_a_model_that_parses(
        bits in 1u8..=8, offset in 0f32..255.0, head in 0usize..3, same: bool, first: bool,
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let head = [Head::Logits, Head::Softmax, Head::Argmax][head];
        let (graph, bytes, _) = lowered(&lenet(padding, first), bits, head, offset);
        let model = bitsback_runtime::Model::parse(&bytes).unwrap();
        prop_assert_eq!(model.op_count(), graph.ops.len());
    }
}

#[test]
fn layers_are_coded_where_that_is_shorter() {
    let net = lenet(Padding::Same, true);
    let (n, input) = byte_input(0.0);
    let x = inputs(&n, 40);
    let activations = calibrate(&net, &x, input, RangeMethod::MinMax).unwrap();
    let weights: Vec<_> = net.affine.iter().map(|a| at_width(&a.weight, 3).0).collect();
    let forms = [Storage::Packed, Storage::Shortest, Storage::Fastest];
    let [packed, coded, fast, mixed] = [0, 1, 2, 3].map(|form| {
        // The last has one of each.
        let form = |layer: usize| forms.get(form).copied().unwrap_or(forms[layer % 3]);
        let storage = (0..net.affine.len()).map(form).collect();
        let options = LowerOptions { storage, bias_tolerance: 0.0, ..Default::default() };
        let graph = lower(&net, &weights, &activations, &options).unwrap();
        let bytes = serialize(&graph, &ModelInfo::default()).unwrap();
        (graph, bytes)
    });
    assert!(coded.0.section.len() < packed.0.section.len());
    assert!(coded.0.ops.iter().any(|op| matches!(op, Op::CodedDense(_) | Op::CodedConv2d(_))));
    assert!(packed.0.section.len() < fast.0.section.len());
    let values = packed.0.input_quantization.quantize(&x);
    let labels = vec![0; 40];
    let scores = [&packed, &coded, &fast, &mixed].map(|(_, bytes)| {
        let evaluation = crate::verify::evaluate(bytes, &values, &labels).unwrap();
        evaluation.error_percent()
    });
    assert_eq!(scores, [scores[0]; 4]);
    let stored = |bytes: &[u8]| -> Vec<_> {
        let model = Model::parse(bytes).unwrap();
        let read = |step| crate::coding::StoredWeights::read(&step, model.section());
        model.ops().filter_map(read).collect()
    };
    assert_eq!(stored(&packed.1), stored(&coded.1));
    assert_eq!(stored(&packed.1), stored(&fast.1));
    assert_eq!(stored(&packed.1), stored(&mixed.1));
}
