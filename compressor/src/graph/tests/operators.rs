//! Every operator's forward pass, against numbers found by hand or by its definition.

use crate::graph::ops::{
    Add, AvgPool2d, BatchNorm, Clip, Concat, Conv2d, Dense, DepthwiseConv2d, Dropout, HardSigmoid,
    HardSwish, LeakyRelu, LogSoftmax, Logistic, MaxPool2d, Mean, Mul, Op, Pad, Reshape,
    ResizeNearest, Select, Slice, Softmax, Tanh,
};
use crate::graph::{Affine, Executor, Graph, GraphError, Padding, Window};

/// What one operator makes of `x`, examples of the dimensions `from`.
fn run(
    op: impl Into<Op>,
    from: &[usize],
    to: &[usize],
    affine: Option<Affine>,
    x: &[f32],
) -> Vec<f32> {
    let mut graph = Graph::of_input(from.to_vec());
    graph.push("node", op, vec![0], to.to_vec(), affine);
    Executor::new(&graph).unwrap().run(x).unwrap()
}

/// What a function of single values makes of `x`.
fn each(op: impl Into<Op>, x: &[f32]) -> Vec<f32> {
    run(op, &[x.len()], &[x.len()], None, x)
}

fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
    }
}

#[test]
fn dense_by_hand() {
    let affine = Affine { weight: vec![1.0, 2.0, -3.0, 0.5], bias: vec![0.25, 1.0] };
    let mut graph = Graph::of_input(vec![2]);
    let sums = graph.push("dense", Dense {}, vec![0], vec![2], Some(affine));
    graph.push("relu", Clip::RELU, vec![sums], vec![2], None);
    // Seven examples reach both the block of four rows and the rest.
    let x: Vec<f32> = (0..14).map(|i| i as f32).collect();
    let y = Executor::new(&graph).unwrap().run(&x).unwrap();
    for (x, y) in x.chunks(2).zip(y.chunks(2)) {
        assert_eq!(y[0], (x[0] + 2.0 * x[1] + 0.25).max(0.0));
        assert_eq!(y[1], (-3.0 * x[0] + 0.5 * x[1] + 1.0).max(0.0));
    }
}

/// A convolution by its definition, one output at a time; of a depthwise one each filter reads its own
/// channel.
fn naive(
    x: &[f32],
    dims: [usize; 3],
    to: [usize; 3],
    w: &[f32],
    window: Window,
    own: bool,
) -> Vec<f32> {
    let [height, width, channels] = dims;
    let Window { size, stride, dilation, padding } = window;
    let mut y = Vec::new();
    for at in 0..to[0] * to[1] * to[2] {
        let (row, column, filter) = (at / to[2] / to[1], at / to[2] % to[1], at % to[2]);
        let mut sum = 0.0;
        for tap in 0..size[0] * size[1] {
            let place = |axis: usize, start: usize, tap: usize| {
                (start * stride[axis] + tap * dilation[axis]).checked_sub(padding[axis])
            };
            let (Some(r), Some(c)) =
                (place(0, row, tap / size[1]), place(1, column, tap % size[1]))
            else {
                continue;
            };
            if r >= height || c >= width {
                continue;
            }
            let pixel = &x[(r * width + c) * channels..][..channels];
            let taps = size[0] * size[1];
            sum += if own {
                pixel[filter * channels / to[2]] * w[filter * taps + tap]
            } else {
                let weights = &w[(filter * taps + tap) * channels..][..channels];
                pixel.iter().zip(weights).map(|(x, w)| x * w).sum::<f32>()
            };
        }
        y.push(sum);
    }
    y
}

#[test]
fn convolutions_equal_their_definition() {
    for rule in [Padding::Valid, Padding::Same, Padding::Around] {
        for (stride, dilation) in [([1, 1], [1, 1]), ([2, 1], [1, 1]), ([1, 2], [2, 1])] {
            let rule = Window::with_rule([3, 2], stride, dilation, rule, [6, 5]);
            let (window, [rows, columns]) = rule.unwrap();
            let x: Vec<f32> = (0..6 * 5 * 2).map(|i| (i as f32 * 0.7).cos()).collect();
            let weight = |len: usize| (0..len).map(|i| (i as f32 * 0.3).sin()).collect::<Vec<_>>();
            let bias = vec![0.0; 4];
            let to = [rows, columns, 4];
            let affine = Affine { weight: weight(4 * 6 * 2), bias: bias.clone() };
            let expected = naive(&x, [6, 5, 2], to, &affine.weight, window, false);
            near(&run(Conv2d { window }, &[6, 5, 2], &to, Some(affine), &x), &expected);
            let affine = Affine { weight: weight(4 * 6), bias };
            let expected = naive(&x, [6, 5, 2], to, &affine.weight, window, true);
            near(&run(DepthwiseConv2d { window }, &[6, 5, 2], &to, Some(affine), &x), &expected);
        }
    }
}

#[test]
fn pooling_ignores_padding() {
    let x = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0];
    let rule = Window::with_rule([2; 2], [2; 2], [1; 2], Padding::Same, [3; 2]);
    let (window, to) = rule.unwrap();
    assert_eq!(to, [2, 2]);
    let pool = |op: Op| run(op, &[3, 3, 1], &[2, 2, 1], None, &x);
    assert_eq!(pool(MaxPool2d { window }.into()), [-1.0, -3.0, -7.0, -9.0]);
    assert_eq!(pool(AvgPool2d { window }.into()), [-3.0, -4.5, -7.5, -9.0]);
}

#[test]
fn values_are_picked_and_arranged() {
    let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
    assert_eq!(run(Select { keep: vec![0, 2] }, &[3], &[2], None, &x[..6]), [0.0, 2.0, 3.0, 5.0]);
    assert_eq!(run(Reshape {}, &[2, 3, 2], &[12], None, &x), x);
    assert_eq!(run(Dropout { rate: 0.5 }, &[12], &[12], None, &x), x);
    let pad = Pad { before: vec![1, 0, 0], fill: 7.0 };
    let padded = run(pad, &[1, 2, 1], &[2, 3, 1], None, &x[..2]);
    assert_eq!(padded, [7.0, 7.0, 7.0, 0.0, 1.0, 7.0]);
    assert_eq!(run(Mean {}, &[2, 3, 2], &[1, 1, 2], None, &x), [5.0, 6.0]);
    let mut graph: Graph<Affine> = Graph::of_input(vec![2, 1, 2]);
    let other =
        graph.push("pad", Pad { before: vec![0; 3], fill: 9.0 }, vec![0], vec![2, 1, 3], None);
    graph.push("join", Concat { axis: 2 }, vec![0, other], vec![2, 1, 5], None);
    let joined = Executor::new(&graph).unwrap().run(&x[..4]).unwrap();
    assert_eq!(joined, [0.0, 1.0, 0.0, 1.0, 9.0, 2.0, 3.0, 2.0, 3.0, 9.0]);
    let mut rows: Graph<Affine> = Graph::of_input(vec![1, 2]);
    rows.push("join", Concat { axis: 0 }, vec![0, 0], vec![2, 2], None);
    assert_eq!(Executor::new(&rows).unwrap().run(&x[..2]).unwrap(), [0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn a_crop_keeps_the_part_that_begins_there() {
    let x: Vec<f32> = (0..80).map(|i| i as f32).collect();
    let y = run(Slice::crop([1, 2]), &[4, 5, 2], &[2, 3, 2], None, &x);
    let pixels = [7, 8, 9, 12, 13, 14];
    let all = pixels.iter().copied().chain(pixels.map(|pixel| pixel + 20));
    let expected: Vec<f32> =
        all.flat_map(|pixel| [2 * pixel, 2 * pixel + 1]).map(|x| x as f32).collect();
    assert_eq!(y, expected);
}

#[test]
fn slices_take_values_at_equal_distances() {
    let x: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let part = Slice { begin: vec![1, 0, 1], stride: vec![1, 2, 1] };
    assert_eq!(run(part, &[2, 3, 4], &[1, 2, 2], None, &x), [13.0, 14.0, 21.0, 22.0]);
    let every = Slice { begin: vec![1], stride: vec![3] };
    assert_eq!(run(every, &[6], &[2], None, &x[..12]), [1.0, 4.0, 7.0, 10.0]);
}

#[test]
fn resized_images_repeat_pixels_or_leave_them_out() {
    let x: Vec<f32> = (0..6).map(|i| i as f32).collect();
    let resize = |half_pixel_centers, to: [usize; 2]| {
        run(ResizeNearest { half_pixel_centers }, &[2, 3, 1], &[to[0], to[1], 1], None, &x)
    };
    for half in [false, true] {
        assert_eq!(
            resize(half, [2, 6]),
            [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0, 5.0, 5.0]
        );
    }
    assert_eq!(resize(false, [1, 2]), [0.0, 1.0]);
    assert_eq!(resize(true, [1, 2]), [3.0, 5.0]);
}

#[test]
fn functions_of_single_values() {
    let x = [-4.0, -1.0, 0.0, 1.0, 8.0];
    assert_eq!(each(Clip::RELU, &x), [0.0, 0.0, 0.0, 1.0, 8.0]);
    assert_eq!(each(Clip::RELU6, &x), [0.0, 0.0, 0.0, 1.0, 6.0]);
    assert_eq!(each(LeakyRelu { alpha: 0.25 }, &x), [-1.0, -0.25, 0.0, 1.0, 8.0]);
    near(&each(HardSwish {}, &x), &[0.0, -1.0 / 3.0, 0.0, 2.0 / 3.0, 8.0]);
    near(&each(HardSigmoid::SIXTH, &x), &[0.0, 1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0]);
    near(&each(HardSigmoid { slope: 0.25 }, &x), &[0.0, 0.25, 0.5, 0.75, 1.0]);
    near(&each(Logistic {}, &x), &[0.017_986_2, 0.268_941_4, 0.5, 0.731_058_6, 0.999_664_6]);
    near(&each(Tanh {}, &x), &[-0.999_329_3, -0.761_594_2, 0.0, 0.761_594_2, 0.999_999_8]);
    // What isn't a number stays so, to be seen.
    assert!(each(Clip::RELU6, &[f32::NAN])[0].is_nan());
}

#[test]
fn softmax_is_over_the_last_dimension() {
    let x = [0.0, 2f32.ln(), 100.0, 100.0];
    near(&run(Softmax {}, &[2, 2], &[2, 2], None, &x), &[1.0 / 3.0, 2.0 / 3.0, 0.5, 0.5]);
    let logs = [(1f32 / 3.0).ln(), (2f32 / 3.0).ln(), 0.5f32.ln(), 0.5f32.ln()];
    near(&run(LogSoftmax {}, &[2, 2], &[2, 2], None, &x), &logs);
}

#[test]
fn batch_normalisation_is_per_channel() {
    let norm = BatchNorm { mean: vec![1.0, -2.0], variance: vec![4.0, 0.25] };
    let affine = Affine { weight: vec![3.0, 1.0], bias: vec![0.5, -1.0] };
    let y = run(norm, &[2, 1, 2], &[2, 1, 2], Some(affine), &[1.0, -2.0, 3.0, -1.0]);
    for (found, expected) in y.iter().zip([0.5, -1.0, 3.5, 1.0]) {
        assert!((found - expected).abs() < 1e-4, "{y:?}");
    }
}

#[test]
fn sums_and_products_of_two_values() {
    let mut graph: Graph<Affine> = Graph::of_input(vec![3]);
    let twice = graph.push("add", Add {}, vec![0, 0], vec![3], None);
    graph.push("mul", Mul {}, vec![twice, 0], vec![3], None);
    assert_eq!(Executor::new(&graph).unwrap().run(&[1.0, -2.0, 3.0]).unwrap(), [2.0, 8.0, 18.0]);
}

#[test]
fn visits_see_every_value_in_order() {
    let mut graph = Graph::of_input(vec![3]);
    let kept = graph.push("select", Select { keep: vec![0, 2] }, vec![0], vec![2], None);
    let affine = Affine { weight: vec![1.0, 1.0], bias: vec![0.5] };
    graph.push("dense", Dense {}, vec![kept], vec![1], Some(affine));
    let mut seen = Vec::new();
    let executor = Executor::new(&graph).unwrap();
    let mut tap = |id: usize, values: &[f32]| seen.push((id, values.to_vec()));
    executor.visit(&[1.0, 2.0, 3.0], &mut tap).unwrap();
    assert_eq!(seen, [(0, vec![1.0, 2.0, 3.0]), (1, vec![1.0, 3.0]), (2, vec![4.5])]);
    let error = executor.run(&[1.0; 4]).unwrap_err();
    assert_eq!(error, GraphError::InputLength { expected: 3, found: 4 });
}

#[test]
fn wrong_shapes_are_named() {
    let window = Window::ONE;
    let refused = |op: Op, from: &[usize], to: &[usize]| {
        let mut graph: Graph<Affine> = Graph::of_input(from.to_vec());
        graph.push("node", op, vec![0], to.to_vec(), None);
        match graph.check_structure().unwrap_err() {
            GraphError::Shape { node, problem, .. } => {
                assert_eq!((node, problem.is_empty()), ("node".into(), false))
            }
            other => panic!("{other}"),
        }
    };
    refused(Reshape {}.into(), &[4], &[5]);
    refused(Select { keep: vec![1, 0] }.into(), &[4], &[2]);
    refused(Select { keep: vec![4] }.into(), &[4], &[1]);
    refused(Slice::crop([1, 1]).into(), &[4, 4, 1], &[4, 3, 1]);
    refused(Slice::crop([0, 0]).into(), &[4, 4, 1], &[16]);
    refused(Slice { begin: vec![1], stride: vec![3] }.into(), &[4], &[2]);
    refused(Slice { begin: vec![0], stride: vec![0] }.into(), &[4], &[4]);
    refused(Slice { begin: vec![usize::MAX], stride: vec![usize::MAX] }.into(), &[4], &[2]);
    let half_pixel_centers = false;
    refused(ResizeNearest { half_pixel_centers }.into(), &[4, 4, 1], &[8, 8, 2]);
    refused(MaxPool2d { window }.into(), &[4, 4, 1], &[4, 4, 2]);
    refused(MaxPool2d { window }.into(), &[4, 4, 1], &[5, 4, 1]);
    refused(Clip { low: 1.0, high: 0.0 }.into(), &[4], &[4]);
    refused(Clip::RELU.into(), &[4], &[2, 2]);
    refused(HardSigmoid { slope: 0.0 }.into(), &[4], &[4]);
    refused(Dropout { rate: 1.0 }.into(), &[4], &[4]);
    refused(Pad { before: vec![3], fill: 0.0 }.into(), &[4], &[6]);
    refused(Concat { axis: 1 }.into(), &[4], &[4]);
    refused(Add {}.into(), &[4], &[4]);
    refused(Mean {}.into(), &[4, 4, 2], &[3]);
    refused(BatchNorm::new(3).into(), &[4, 4, 2], &[4, 4, 2]);
    refused(Softmax {}.into(), &[4], &[5]);
    // Weights are missing.
    refused(Dense {}.into(), &[4], &[4]);
}
