//! What one operator of the graph becomes where that isn't plain: views, factors per channel, joins in
//! one scale, what an input lacks.

use bitsback_runtime::Op;
use bitsback_runtime::format::Source;

use super::*;
use crate::graph::Executor;
use crate::graph::ops::{Add, BatchNorm, Concat, Pad, Slice};

/// Integers of a graph, and how well their outputs follow its floats, in decibels.
fn followed(net: &Graph<Affine>, offset: f32) -> (Compiled, f64, f64) {
    let (n, input) = byte_input(offset);
    let x = inputs(&n, 40);
    let scales = calibrate(net, &x, &input, RangeMethod::MinMax).unwrap();
    let integers = lower(net, &plan(net, scales, &input)).unwrap();
    let found = reals(&integers, &outputs(&integers, &input, &input.quantize(&x)));
    let exact = Executor::new(net).unwrap().run(&x).unwrap();
    let step = f64::from(integers.values[integers.output].quantization.scale);
    let errors = exact.iter().zip(&found).map(|(a, b)| f64::from(a - b) / step);
    let mean = errors.sum::<f64>() / exact.len() as f64;
    let options = CompileOptions::default();
    let (compiled, _) = stored(&integers, &input, &options, |_| Storage::Packed);
    (compiled, decibels(&exact, &found), mean)
}

#[test]
fn a_crop_is_a_view_of_the_input() {
    for before in [[0, 0], [0, 3], [2, 0], [1, 3], [1, 1]] {
        let net = Draft::new().then(Slice::crop(before), Some(&[6, 5, 1])).conv(3, Padding::Valid);
        let (compiled, db, _) = followed(&net.flatten().dense(4).done(), 0.0);
        let [Op::Conv2d(conv), Op::Dense(_)] = &compiled.ops[..] else { panic!("{compiled:?}") };
        let Source::At(tensor) = &conv.input else { panic!("{conv:?}") };
        assert_eq!(
            tensor.offset as usize,
            compiled.input.offset as usize + before[0] * 8 + before[1]
        );
        assert!(db > 30.0, "{before:?}: {db}");
    }
}

#[test]
fn a_crop_that_is_read_otherwise_is_copied() {
    let cropped = |before| Draft::new().then(Slice::crop(before), Some(&[6, 5, 1]));
    for net in [
        cropped([1, 1]).flatten().dense(2),
        cropped([1, 1]).conv(1, Padding::Same),
        cropped([1, 1]),
        // Its rows would end beyond the image.
        cropped([2, 3]).conv(3, Padding::Valid).flatten().dense(4),
    ] {
        let (compiled, db, _) = followed(&net.done(), 0.0);
        assert!(matches!(compiled.ops[0], Op::Slice(_)), "{compiled:?}");
        assert!(db > 30.0, "{db}");
    }
}

#[test]
fn a_border_of_any_number_is_there() {
    for (fill, relu) in [(-1.0, true), (7.0, true), (0.25, false), (-40.0, false)] {
        let draft = Draft::new().conv(3, Padding::Same);
        let draft = if relu { draft.relu() } else { draft };
        let pad = Pad { before: vec![1, 2, 0], fill };
        let (compiled, db, _) = followed(&draft.then(pad, Some(&[10, 10, 3])).done(), 0.0);
        assert!(db > 25.0, "{fill}: {db} {compiled:?}");
    }
    // Below all others it never is the largest, and costs no scale.
    let pad = Pad { before: vec![1, 1, 0], fill: f32::MIN };
    let draft = Draft::new().conv(3, Padding::Same).relu().then(pad, Some(&[10, 10, 3]));
    let (_, db, _) = followed(&draft.max_pool().done(), 0.0);
    assert!(db > 30.0, "{db}");
}

#[test]
fn a_batch_normalisation_that_is_left_is_a_factor_per_channel() {
    let mut draft = Draft::new().conv(3, Padding::Same).relu();
    let norm = BatchNorm { mean: vec![0.2, 0.5, 0.1], variance: vec![0.5, 2.0, 0.1] };
    let affine = Affine { weight: vec![1.5, -0.5, 0.2], bias: vec![0.1, 0.0, -0.4] };
    draft.0.push("norm", norm, vec![draft.0.output], vec![8, 8, 3], Some(affine));
    let (compiled, db, _) = followed(&draft.flatten().dense(4).done(), 0.0);
    assert!(matches!(compiled.ops[..], [Op::Conv2d(_), Op::DepthwiseConv2d(_), Op::Dense(_)]));
    assert!(db > 30.0, "{db}");
}

#[test]
fn operands_of_a_join_share_its_scale() {
    let mut draft = Draft::new().conv(2, Padding::Same).relu();
    let left = draft.0.output;
    draft.0.output = draft.0.input;
    let mut draft = draft.depthwise(Padding::Same);
    let right = draft.0.output;
    draft.0.push("join", Concat { axis: 2 }, vec![left, right], vec![8, 8, 3], None);
    let (compiled, db, _) = followed(&draft.flatten().dense(4).done(), 0.0);
    assert!(!compiled.ops.iter().any(|op| matches!(op, Op::Rescale(_))), "{:?}", compiled.ops);
    assert_eq!(compiled.notes[0].scale, compiled.notes[1].scale);
    assert!(db > 30.0, "{db}");
}

/// A dense layer of ones behind what a draft has.
fn summed(draft: Draft) -> Graph<Affine> {
    let mut net = draft.flatten().dense(1).done();
    net.parameters_mut().last().unwrap().weight.fill(1.0);
    net
}

#[test]
fn half_a_step_that_the_input_lacks_goes_through_poolings_and_sums() {
    let twice = || {
        let mut draft = Draft::new().max_pool();
        draft.0.push("sum", Add {}, vec![draft.0.output; 2], vec![4, 4, 1], None);
        draft
    };
    for draft in [Draft::new(), Draft::new().max_pool(), Draft::new().avg_pool(), twice()] {
        let net = summed(draft);
        let (_, db, mean) = followed(&net, 127.5);
        // Left out, it would be one step of the output at least.
        assert!(mean.abs() < 0.35, "{mean} steps, {:?}", net.nodes);
        assert!(db > 30.0, "{db}");
    }
}

#[test]
fn an_activation_needs_no_layer_before_it() {
    let on_input = Draft::new().relu().conv(3, Padding::Valid).flatten().dense(4).done();
    for offset in [0.0, 127.5] {
        let (compiled, db, _) = followed(&on_input, offset);
        assert!(matches!(compiled.ops[0], Op::Rescale(_)));
        assert!(db > 30.0, "{db}");
    }
}

#[test]
fn an_activation_may_stand_behind_a_value_that_others_read_too() {
    let mut draft = Draft::new().conv(3, Padding::Same);
    let sums = draft.0.output;
    let limited = draft.0.push("relu", Clip::RELU, vec![sums], vec![8, 8, 3], None);
    draft.0.push("add", Add {}, vec![sums, limited], vec![8, 8, 3], None);
    let (compiled, db, _) = followed(&draft.flatten().dense(4).done(), 0.0);
    assert!(matches!(compiled.ops[1], Op::Rescale(_)), "{:?}", compiled.ops);
    assert!(db > 30.0, "{db}");
}
