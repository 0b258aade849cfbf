use super::*;
use crate::network::{Affine, Padding, Topology};

fn network(input: Shape, layers: Vec<Layer>, affine: Vec<Affine>) -> FloatNetwork {
    FloatNetwork { topology: Topology { input, layers }, affine, norms: Vec::new() }
}

#[test]
fn dense_by_hand() {
    let affine = Affine { weight: vec![1.0, 2.0, -3.0, 0.5], bias: vec![0.25, 1.0] };
    let net = network(
        Shape::Flat(2),
        vec![Layer::Dense { inputs: 2, outputs: 2 }, Layer::Relu],
        vec![affine],
    );
    // Seven examples reach both the block of four rows and the rest.
    let x: Vec<f32> = (0..14).map(|i| i as f32).collect();
    let y = Reference::new(&net).unwrap().logits(&x).unwrap();
    for (x, y) in x.chunks(2).zip(y.chunks(2)) {
        assert_eq!(y[0], (x[0] + 2.0 * x[1] + 0.25).max(0.0));
        assert_eq!(y[1], (-3.0 * x[0] + 0.5 * x[1] + 1.0).max(0.0));
    }
}

/// Convolution and pooling by their definition, one output at a time.
fn naive_conv(
    x: &[f32],
    (height, width, channels): (usize, usize, usize),
    w: &[f32],
    kernel: usize,
    padding: Padding,
) -> Vec<f32> {
    let filters = w.len() / (kernel * kernel * channels);
    let (pad, (rows, columns)) = match padding {
        Padding::Same => ((kernel - 1) / 2, (height, width)),
        Padding::Around => {
            let pad = kernel / 2;
            (pad, (height + 2 * pad - kernel + 1, width + 2 * pad - kernel + 1))
        }
        Padding::Valid => (0, (height - kernel + 1, width - kernel + 1)),
    };
    let pad = pad as isize;
    let mut y = Vec::new();
    for r in 0..rows {
        for c in 0..columns {
            for f in 0..filters {
                let mut sum = 0.0;
                for kr in 0..kernel {
                    for kc in 0..kernel {
                        let (row, column) = ((r + kr) as isize - pad, (c + kc) as isize - pad);
                        let inside = (0..height as isize).contains(&row)
                            && (0..width as isize).contains(&column);
                        if inside {
                            for ch in 0..channels {
                                let at = (row as usize * width + column as usize) * channels + ch;
                                sum += x[at] * w[((f * kernel + kr) * kernel + kc) * channels + ch];
                            }
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

#[test]
fn convolution_equals_its_definition() {
    for padding in [Padding::Valid, Padding::Same] {
        let w: Vec<f32> = (0..2 * 9 * 2).map(|i| (i as f32 * 0.3).sin()).collect();
        let x: Vec<f32> = (0..6 * 5 * 2).map(|i| (i as f32 * 0.7).cos()).collect();
        let conv =
            Layer::Conv2d { channels: 2, filters: 2, kernel: [3, 3], stride: [1, 1], padding };
        let net = network(
            Shape::Image { height: 6, width: 5, channels: 2 },
            vec![conv],
            vec![Affine { weight: w.clone(), bias: vec![0.0; 2] }],
        );
        let y = Reference::new(&net).unwrap().logits(&x).unwrap();
        let naive = naive_conv(&x, (6, 5, 2), &w, 3, padding);
        assert_eq!(y.len(), naive.len());
        assert!(y.iter().zip(&naive).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn pooling_ignores_padding() {
    let identity = Layer::Conv2d {
        channels: 1,
        filters: 1,
        kernel: [1, 1],
        stride: [1, 1],
        padding: Padding::Valid,
    };
    let x = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
    let (size, stride, padding) = ([2, 2], [2, 2], Padding::Same);
    let run = |pool| {
        let net = network(
            Shape::Image { height: 3, width: 3, channels: 1 },
            vec![identity.clone(), pool],
            vec![Affine { weight: vec![1.0], bias: vec![0.0] }],
        );
        Reference::new(&net).unwrap().logits(&x).unwrap()
    };
    assert_eq!(run(Layer::MaxPool2d { size, stride, padding }), [-1.0, -3.0, -7.0, -9.0]);
    assert_eq!(run(Layer::AvgPool2d { size, stride, padding }), [-3.0, -4.5, -7.5, -9.0]);
}

#[test]
fn visit_sees_every_boundary_in_order() {
    let net = network(
        Shape::Flat(3),
        vec![Layer::Select { keep: vec![0, 2] }, Layer::Dense { inputs: 2, outputs: 1 }],
        vec![Affine { weight: vec![1.0, 1.0], bias: vec![0.5] }],
    );
    let mut seen = Vec::new();
    let reference = Reference::new(&net).unwrap();
    reference.visit(&[1.0, 2.0, 3.0], |at, values| seen.push((at, values.to_vec()))).unwrap();
    assert_eq!(seen, [(0, vec![1.0, 2.0, 3.0]), (1, vec![1.0, 3.0]), (2, vec![4.5])]);
}

#[test]
fn errors_are_named() {
    let dense = vec![Layer::Dense { inputs: 2, outputs: 1 }];
    let short = Affine { weight: vec![1.0], bias: vec![0.0] };
    let net = network(Shape::Flat(2), dense.clone(), vec![short]);
    assert!(matches!(Reference::new(&net), Err(ReferenceError::Network(_))));
    let whole = Affine { weight: vec![1.0, 1.0], bias: vec![0.0] };
    let mut net = network(Shape::Flat(2), dense, vec![whole]);
    let reference = Reference::new(&net).unwrap();
    let error = reference.logits(&[1.0; 3]).unwrap_err();
    assert_eq!(error, ReferenceError::InputLength { expected: 2, found: 3 });
    net.topology.layers.push(Layer::BatchNorm { channels: 1 });
    assert!(matches!(Reference::new(&net), Err(ReferenceError::Norm { layer: 1, channels: 1 })));
}

#[test]
fn a_crop_keeps_the_part_that_begins_there() {
    let input = Shape::Image { height: 4, width: 5, channels: 2 };
    // 1 × 1, one filter: the sum of both channels.
    let affine = Affine { weight: vec![1.0, 1.0], bias: vec![0.0] };
    let conv = Layer::Conv2d {
        channels: 2,
        filters: 1,
        kernel: [1, 1],
        stride: [1, 1],
        padding: Padding::Valid,
    };
    let net =
        network(input, vec![Layer::Crop { before: [1, 2], size: [2, 3] }, conv], vec![affine]);
    let x: Vec<f32> = (0..80).map(|i| i as f32).collect();
    let y = Reference::new(&net).unwrap().logits(&x).unwrap();
    let sum = |pixel: usize| (4 * pixel + 1) as f32;
    let pixels = [7, 8, 9, 12, 13, 14];
    let expected: Vec<f32> =
        pixels.iter().chain(&pixels.map(|pixel| pixel + 20)).map(|&pixel| sum(pixel)).collect();
    assert_eq!(y, expected);
}
