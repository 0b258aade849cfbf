use super::*;
use crate::compile::calibrate::{Activations, InputQuantization, Quantization, RawInput};
use crate::compile::serialize::{ModelInfo, serialize};
use crate::compile::widths::at_width;
use crate::lower::{LowerOptions, lower};
use crate::network::{Affine, Layer, Topology};
use crate::numbers::Shape;

/// Two bytes in; the class is the larger one.
fn larger() -> (FloatNetwork, Graph, Vec<u8>) {
    let net = FloatNetwork {
        topology: Topology {
            input: Shape::Flat(2),
            layers: vec![Layer::Dense { inputs: 2, outputs: 2 }],
        },
        affine: vec![Affine { weight: vec![1.0, 0.0, 0.0, 1.0], bias: vec![0.0; 2] }],
        norms: Vec::new(),
    };
    let q = Quantization { scale: 1.0 / 255.0, zero_point: -128 };
    let input = InputQuantization { quantization: q, residual: 0.0, raw: RawInput::Bytes };
    let activations = Activations { input, layers: vec![q], sums: Vec::new() };
    let weights = [at_width(&net.affine[0].weight, 8).0];
    let graph = lower(&net, &weights, &activations, &LowerOptions::default()).unwrap();
    let bytes = serialize(&graph, &ModelInfo::default()).unwrap();
    (net, graph, bytes)
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
