//! Networks as jobs have them: integer models follow their floats, whatever the layers.

use bitsback_runtime::{Model, Op};
use proptest::prelude::*;

use super::*;
use crate::compile::coding::StoredWeights;
use crate::graph::ops::{Dropout, Select};
use crate::numbers::Range;
use crate::verify::{evaluate, predict, verify};

fn lowered(
    net: &Graph<Affine>,
    bits: u8,
    head: Head,
    offset: f32,
) -> (Compiled, Vec<u8>, Vec<f32>) {
    let (n, input) = byte_input(offset);
    let x = inputs(&n, 40);
    let mut integers = lower(net, &planned(net, &x, &input, bits)).unwrap();
    append_head(&mut integers, head);
    let options = CompileOptions::default();
    let (compiled, bytes) = stored(&integers, &input, &options, |_| Storage::Packed);
    (compiled, bytes, x)
}

/// Lowers, and demands that the integer model follows the network of the *rounded* weights.
fn assert_follows(net: &Graph<Affine>, offset: f32, least_db: f64) {
    let (compiled, bytes, x) = lowered(net, 8, Head::Logits, offset);
    let mut rounded = net.clone();
    for affine in rounded.parameters_mut() {
        affine.weight = at_width(&affine.weight, 8).0.dequantized();
    }
    let labels = vec![0; 40];
    let report = verify(&bytes, &compiled, &rounded, &x, &labels).unwrap();
    assert!(!report.layers.is_empty());
    for layer in &report.layers {
        assert!(layer.sqnr_db > least_db, "{layer:?} of {:?}", report.layers);
    }
    assert!(report.agreeing >= 36, "{report:?}");
}

fn lenet(padding: Padding, relu_first: bool) -> Graph<Affine> {
    let conv = Draft::new().conv(3, padding);
    let pooled = if relu_first { conv.relu().max_pool() } else { conv.max_pool().relu() };
    let hidden = pooled.flatten().dense(8).relu().then(Dropout { rate: 0.5 }, None);
    hidden.dense(4).done()
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
    let net = Draft::new().flatten().dense(8).relu().dense(4).done();
    assert_follows(&net, 127.5, 33.0);
    assert_follows(&lenet(Padding::Valid, true), 127.5, 30.0);
}

#[test]
fn average_pooling_and_relu6_follow_too() {
    let first = Draft::new().conv(4, Padding::Same).relu6().avg_pool();
    let net = first.conv(2, Padding::Valid).max_pool().relu6().flatten().dense(4);
    assert_follows(&net.done(), 0.0, 25.0);
    let behind = Draft::new().conv(4, Padding::Valid).avg_pool().relu().flatten().dense(4);
    assert_follows(&behind.done(), 0.0, 25.0);
}

fn selecting(keep: Vec<u32>, outputs: usize) -> Graph<Affine> {
    let dims = [keep.len()];
    Draft::new().flatten().then(Select { keep }, Some(&dims)).dense(outputs).done()
}

#[test]
fn selections_take_whichever_form_is_smaller() {
    // 60 of 64 in one row: four bytes of zeros against twenty of mask and record.
    let net = selecting((0..60).collect(), 1);
    let (compiled, ..) = lowered(&net, 8, Head::Logits, 0.0);
    assert_eq!(compiled.ops.len(), 1);
    // 20 of 64 in eight rows.
    let net = selecting((0..60).step_by(3).collect(), 8);
    let (compiled, ..) = lowered(&net, 8, Head::Logits, 0.0);
    assert!(matches!(compiled.ops[..], [Op::Select(_), Op::Dense(_)]));
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
    let expected = predict(&logits, &q).unwrap();
    assert_eq!(predict(&argmax, &q).unwrap(), expected);
    let probable = predict(&softmax, &q).unwrap();
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
    let good = planned(&net, &inputs(&n, 4), &input, 8);
    let outputs: Vec<ValueId> = net.layers().map(|node| node.output).collect();
    let mut short = good.clone();
    short.rows.get_mut(&outputs[1]).unwrap().values.pop();
    let error = lower(&net, &short).unwrap_err();
    assert!(matches!(&error, LowerError::Integers { layer, .. } if layer == "dense_1"), "{error}");
    let mut wide = good.clone();
    wide.rows.get_mut(&outputs[1]).unwrap().values[0] = 200;
    let integers = lower(&net, &wide).unwrap();
    let error = compile(integers, &input, &CompileOptions::default()).unwrap_err();
    let CompileError::Lower(LowerError::Weights { layer, .. }) = &error else { panic!("{error}") };
    assert_eq!(layer, "dense_1");
    let mut scale = good.clone();
    for (id, to) in &mut scale.activations {
        if *id >= outputs[1] {
            *to = Quantization { scale: f32::NAN, zero_point: 0 };
        }
    }
    let error = lower(&net, &scale).unwrap_err();
    assert!(matches!(&error, LowerError::Scale { layer, .. } if layer == "dense_1"), "{error}");
    let mut large = net.clone();
    large.parameters_mut().nth(2).unwrap().bias[3] = 1e9;
    let error = lower(&large, &good).unwrap_err();
    assert!(matches!(&error, LowerError::Bias { layer, output: 3, .. } if layer == "dense_2"));
}

#[test]
fn dimensions_beyond_the_format_are_refused() {
    let net = Draft::of(&[70_000]).dense(1).done();
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let to = Quantization { scale: 1.0, zero_point: 0 };
    let activations = [(0, input.quantization), (1, to)].into();
    let integers = lower(&net, &Plan { activations, ..Plan::default() }).unwrap();
    let error = compile(integers, &input, &CompileOptions::default()).unwrap_err();
    assert!(matches!(error, CompileError::Lower(LowerError::TooLarge { value: 70_000, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_width_and_head_gives_a_model_that_parses(
        bits in 1u8..=8, offset in 0f32..255.0, head in 0usize..3, same: bool, first: bool,
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let head = [Head::Logits, Head::Softmax, Head::Argmax][head];
        let (compiled, bytes, _) = lowered(&lenet(padding, first), bits, head, offset);
        let model = Model::parse(&bytes).unwrap();
        prop_assert_eq!(model.op_count(), compiled.ops.len());
    }
}

#[test]
fn layers_are_coded_where_that_is_shorter() {
    let net = lenet(Padding::Same, true);
    let (n, input) = byte_input(0.0);
    let x = inputs(&n, 40);
    let plan = Plan { bias_tolerance: 0.0, ..planned(&net, &x, &input, 3) };
    let integers = lower(&net, &plan).unwrap();
    let [packed, coded, fast, mixed] = [0, 1, 2, 3].map(|form| {
        // The last has one of each.
        let form = |layer: usize| STORAGES.get(form).copied().unwrap_or(STORAGES[layer % 3]);
        stored(&integers, &input, &CompileOptions::default(), form)
    });
    assert!(coded.0.section.len() < packed.0.section.len());
    assert!(coded.0.ops.iter().any(|op| matches!(op, Op::CodedDense(_) | Op::CodedConv2d(_))));
    assert!(packed.0.section.len() < fast.0.section.len());
    let values = packed.0.input_quantization.quantize(&x);
    let labels = vec![0; 40];
    let scores = [&packed, &coded, &fast, &mixed].map(|(_, bytes)| {
        let evaluation = evaluate(bytes, &values, &labels).unwrap();
        evaluation.error_percent()
    });
    assert_eq!(scores, [scores[0]; 4]);
    let weights = |bytes: &[u8]| -> Vec<_> {
        let model = Model::parse(bytes).unwrap();
        let read = |step| StoredWeights::read(&step, model.section());
        model.ops().filter_map(read).collect()
    };
    assert_eq!(weights(&packed.1), weights(&coded.1));
    assert_eq!(weights(&packed.1), weights(&fast.1));
    assert_eq!(weights(&packed.1), weights(&mixed.1));
}
