use super::*;
use crate::compile::serialize::ModelInfo;
use crate::compile::widths::at_width;
use crate::compile::{CompileOptions, InputQuantization, RawInput, write};
use crate::graph::ops::Dense;
use crate::graph::{Plan, lower};
use crate::numbers::{Quantization, Shape};

/// Two bytes in; the class is the larger one.
fn larger() -> (Graph<Affine>, Compiled, Vec<u8>) {
    let affine = Affine { weight: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0; 2] };
    let rows = at_width(&affine.weight, 8).0;
    let mut net = Graph::of_input(vec![2]);
    let output = net.push("dense_1", Dense {}, vec![0], vec![2], Some(affine));
    let q = Quantization { scale: 1.0 / 255.0, zero_point: -128 };
    let input = InputQuantization { quantization: q, residual: 0.0, raw: RawInput::Bytes };
    let plan = Plan {
        activations: [(0, q), (output, q)].into(),
        rows: [(output, rows)].into(),
        ..Plan::default()
    };
    let integers = lower(&net, &plan).unwrap();
    let (options, info) = (CompileOptions::default(), ModelInfo::default());
    let (bytes, compiled) = write(&integers, &input, &options, &info).unwrap();
    (net, compiled, bytes)
}

fn dataset() -> Dataset {
    Dataset {
        shape: Shape::Flat(2),
        inputs: Values::Bytes(vec![10, 20, 250, 3, 0, 0, 255, 254]),
        labels: vec![1, 0, 1, 0],
        classes: vec!["left".into(), "right".into()],
        test_start: None,
    }
}

#[test]
fn evaluation_counts_errors_and_confusion() {
    let (_, _, model) = larger();
    let inputs = quantized_inputs(&model, &dataset(), &[0, 1, 2, 3]).unwrap();
    assert_eq!(inputs, [-118, -108, 122, -125, -128, -128, 127, 126]);
    assert_eq!(run_batch(&model, &inputs).unwrap(), inputs);
    let e = evaluate(&model, &inputs, &dataset().labels).unwrap();
    // Equals go to the first class, which is wrong once.
    assert_eq!((e.count, e.errors), (4, 1));
    assert_eq!(e.confusion, [[2, 0], [1, 1]]);
    assert_eq!(e.error_percent(), 25.0);
}

#[test]
fn verification_compares_with_the_float_network() {
    let (net, graph, model) = larger();
    let x: Vec<f32> = [10, 20, 250, 3].iter().map(|&b| b as f32 / 255.0).collect();
    let v = verify(&model, &graph, &net, &x, &[1, 1]).unwrap();
    assert_eq!((v.count, v.agreeing), (2, 2));
    assert_eq!((v.float_error_percent, v.integer_error_percent), (50.0, 50.0));
    assert!(v.largest_difference < 1e-6, "{v:?}");
    assert_eq!(v.layers.len(), 1);
    assert!(v.layers[0].sqnr_db > 90.0, "{v:?}");
}

#[test]
fn errors_say_what_is_missing() {
    let (_, _, model) = larger();
    assert!(matches!(predict(b"no model", &[]), Err(VerifyError::Parse(_))));
    let odd = predict(&model, &[1, 2, 3]);
    assert!(matches!(odd, Err(VerifyError::Length { what: "inputs", expected: 4, found: 3 })));
    let unlabelled = evaluate(&model, &[1, 2], &[]);
    assert!(matches!(unlabelled, Err(VerifyError::Length { what: "labels", .. })));
    let strange = evaluate(&model, &[1, 2], &[7]);
    assert!(matches!(strange, Err(VerifyError::Label { example: 0, class: 7, classes: 2 })));
    let wide = Dataset { shape: Shape::Flat(4), ..dataset() };
    assert!(matches!(quantized_inputs(&model, &wide, &[0]), Err(VerifyError::Input(_))));
}
