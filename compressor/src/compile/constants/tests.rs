//! Graphs of integers before and after: the same bytes, and what left them.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::requantize::Multiplier;
use proptest::prelude::*;

use super::super::tests::random::{Choice, KINDS, open_end};
use super::*;
use crate::compile::calibrate::{RangeMethod, calibrate, plan};
use crate::compile::{CompileOptions, InputQuantization, ModelInfo, RawInput, compile, serialize};
use crate::graph::ops::{
    IntegerAdd, IntegerArgmax, IntegerAvgPool2d, IntegerConcat, IntegerConv2d, IntegerDense,
    IntegerDepthwiseConv2d, IntegerLeakyRelu, IntegerLimit, IntegerMaxPool2d, IntegerMean,
    IntegerMul, IntegerOp, IntegerPad, IntegerRescale, IntegerResizeNearest, IntegerSelect,
    IntegerSlice,
};
use crate::graph::{IntegerNode, IntegerValue, Matrix, Origin, Storage, ValueId, Why, lower};
use crate::numbers::{Quantization, Range};
use crate::verify::run_batch;

/// A half.
const HALF: Multiplier = Multiplier { value: 1 << 30, shift: 0 };
const RELU: Clamp = Clamp { min: -10, max: 127 };
const INPUT: Quantization = Quantization { scale: 1.0, zero_point: 4 };
const ZERO: i8 = -10;

/// A graph in the making; what nodes write has the zero point [`ZERO`].
struct Draft(IntegerGraph);

impl Draft {
    fn new(dims: &[usize]) -> Self {
        let mut draft = Self(IntegerGraph::default());
        draft.value(dims, Origin::Computed);
        draft.0.values[0].quantization = INPUT;
        draft
    }

    fn value(&mut self, dims: &[usize], origin: Origin) -> ValueId {
        let quantization = Quantization { scale: 1.0, zero_point: ZERO };
        let (name, dims) = (format!("v{}", self.0.values.len()), dims.to_vec());
        self.0.values.push(IntegerValue { name, dims, quantization, origin, real: None });
        self.0.values.len() - 1
    }

    fn view(&mut self, of: ValueId, dims: &[usize]) -> ValueId {
        let id = self.value(dims, Origin::View(of, 0));
        self.0.values[id].quantization = self.0.values[of].quantization;
        id
    }

    fn node(&mut self, op: impl Into<IntegerOp>, inputs: &[ValueId], dims: &[usize]) -> ValueId {
        self.layer(op, inputs, dims, None)
    }

    fn layer(
        &mut self,
        op: impl Into<IntegerOp>,
        inputs: &[ValueId],
        dims: &[usize],
        parameters: Option<Matrix>,
    ) -> ValueId {
        let output = self.value(dims, Origin::Computed);
        let (name, inputs) = (format!("n{}", self.0.nodes.len()), inputs.to_vec());
        self.0.nodes.push(IntegerNode { name, op: op.into(), inputs, output, parameters });
        self.0.output = output;
        output
    }

    /// A convolution of `size` × `size` taps over 4 × 4 pixels, whose rows begin with `rows`' biases and
    /// weights' scale.
    fn conv(&mut self, from: ValueId, rows: &[Row], padded: bool, size: u16) -> ValueId {
        let channels = self.0.values[from].units();
        let padding = if padded { [size / 2; 2] } else { [0; 2] };
        let side = if padded { 4 } else { 5 - usize::from(size) };
        let window = Window { size: [size; 2], stride: [1; 2], padding };
        let matrix = matrix(rows, channels * usize::from(size * size));
        let op = IntegerConv2d { window, dilation: [1; 2] };
        self.layer(op, &[from], &[side, side, rows.len()], Some(matrix))
    }

    fn depthwise(&mut self, from: ValueId, rows: &[Row], padded: bool) -> ValueId {
        let padding = if padded { [1; 2] } else { [0; 2] };
        let side = if padded { 4 } else { 2 };
        let window = Window { size: [3; 2], stride: [1; 2], padding };
        let op = IntegerDepthwiseConv2d { window, dilation: [1; 2] };
        self.layer(op, &[from], &[side, side, rows.len()], Some(matrix(rows, 9)))
    }

    fn dense(&mut self, from: ValueId, rows: &[Row]) -> ValueId {
        let columns = self.0.values[from].len();
        self.layer(IntegerDense {}, &[from], &[rows.len()], Some(matrix(rows, columns)))
    }
}

/// A row of weights by hand.
#[derive(Clone, Copy)]
enum Row {
    /// That vary, and may give anything.
    Live,
    /// Whose bias is far below what the clamp lets through.
    Dead,
    /// Far above.
    Full,
    /// Of zeros, with a bias.
    Zeros(i32),
    /// Of the greatest alone.
    Heavy,
    /// That vary, but have zeros for this of so many channels.
    Without(usize, usize),
}

use Row::{Dead, Full, Heavy, Live, Without, Zeros};

fn matrix(rows: &[Row], columns: usize) -> Matrix {
    // −8 to 8 without 0.
    let weight = |at: usize| {
        let size = ((at * 7919 + at / 5 * 31) % 8) as i16 + 1;
        if at % 3 == 1 { -size } else { size }
    };
    let mut values = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        values.extend((0..columns).map(|column| match *row {
            Zeros(_) => 0,
            Heavy => 8,
            Without(channel, of) if column % of == channel => 0,
            _ => weight(number * columns + column + 1),
        }));
    }
    let bias = rows.iter().map(|row| match *row {
        Dead => -1_000_000,
        Full => 1_000_000,
        Zeros(bias) => bias,
        Live | Heavy | Without(..) => 17,
    });
    let multipliers =
        (0..rows.len()).map(|row| Multiplier { value: (1 << 30) + row as i32 * 999, shift: -4 });
    Matrix {
        rows: rows.len(),
        columns,
        bits: 8,
        values,
        scales: Vec::new(),
        bias: bias.collect(),
        multipliers: multipliers.collect(),
        clamp: RELU,
        storage: Storage::Packed,
    }
}

fn add() -> IntegerAdd {
    let output_multiplier = Multiplier { value: 1 << 30, shift: -18 };
    IntegerAdd { multipliers: [HALF; 2], output_multiplier, clamp: Clamp::NONE }
}

fn file(graph: &IntegerGraph) -> Vec<u8> {
    let quantization = graph.values[graph.input].quantization;
    let input = InputQuantization { quantization, residual: 0.0, raw: RawInput::Nothing };
    let compiled = compile(graph.clone(), &input, &CompileOptions::default()).unwrap();
    serialize(&compiled, &ModelInfo::default()).unwrap()
}

/// Bytes for some inputs: the ends, and some that vary.
fn inputs(len: usize) -> Vec<i8> {
    let varied = (0..len * 6).map(|at| (at * 7919 % 256) as u8 as i8);
    let ends = [i8::MIN, i8::MAX, 0].into_iter().flat_map(|end| std::iter::repeat_n(end, len));
    varied.chain(ends).collect()
}

/// What leaves a graph, whose outputs are the same without.
fn checked(graph: &IntegerGraph) -> (IntegerGraph, LeftOut) {
    let (without, left_out) = leave_out(graph.clone()).unwrap();
    let x = inputs(graph.values[graph.input].len());
    let outputs = [graph, &without].map(|graph| run_batch(&file(graph), &x).unwrap());
    assert!(outputs[0] == outputs[1], "other bytes without {left_out:?}");
    (without, left_out)
}

/// Channels that left, and why, layer by layer.
fn gone(left_out: &LeftOut) -> Vec<(&str, Vec<(usize, Why)>)> {
    let units = |layer: &crate::graph::LeftOutLayer| {
        layer.left_out.iter().map(|unit| (unit.channel, unit.reason)).collect()
    };
    left_out.layers.iter().map(|layer| (layer.name.as_str(), units(layer))).collect()
}

const WHY_DEAD: Why = Why::Dead;
const FULL: Why = Why::Saturated(127);

#[test]
fn dead_saturated_and_weightless_filters_leave_and_their_constants_are_folded() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead, Full, Zeros(500), Live], true, 3);
    let y = draft.conv(x, &[Live, Live, Live], false, 3);
    draft.dense(y, &[Live, Live]);
    let (graph, left_out) = checked(&draft.0);
    let first = vec![(1, WHY_DEAD), (2, FULL), (3, Why::NoWeight)];
    assert_eq!(gone(&left_out), [("n0", first), ("n1", vec![])]);
    assert_eq!((left_out.channels, left_out.of_channels), (3, 10));
    let products = [16 * 5 * 18, 4 * 3 * 45, 2 * 12];
    assert_eq!(left_out.of_products, products.iter().sum::<u64>());
    assert_eq!(left_out.products, 16 * 3 * 18 + 4 * 3 * 27);
    let shapes: Vec<_> = graph.layers().map(|node| node.parameters.as_ref().unwrap()).collect();
    assert_eq!((shapes[0].rows, shapes[0].multipliers.len()), (2, 2));
    assert_eq!((shapes[1].rows, shapes[1].columns), (3, 18));
    assert_ne!(shapes[1].bias, [17; 3], "constants are in the biases");
}

#[test]
fn padding_keeps_constants_that_are_not_zero() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead, Full], true, 3);
    draft.conv(x, &[Live, Live], true, 3);
    let (_, left_out) = checked(&draft.0);
    assert_eq!(gone(&left_out), [("n0", vec![(1, WHY_DEAD)]), ("n1", vec![])]);
}

#[test]
fn depthwise_channels_go_with_what_they_read() {
    for (padded, expected) in [(true, vec![1]), (false, vec![1, 2])] {
        let mut draft = Draft::new(&[4, 4, 2]);
        let x = draft.conv(0, &[Live, Dead, Full], true, 1);
        let y = draft.depthwise(x, &[Live; 3], padded);
        let flat = draft.view(y, &[draft.0.values[y].len()]);
        draft.dense(flat, &[Live, Live]);
        let (_, left_out) = checked(&draft.0);
        for layer in &left_out.layers[..2] {
            let channels: Vec<usize> = layer.left_out.iter().map(|unit| unit.channel).collect();
            assert_eq!(channels, expected, "{padded} {layer:?}");
        }
    }
}

#[test]
fn windows_at_the_border_are_looked_at_one_by_one() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Full], true, 1);
    // Four taps at a corner are enough to saturate.
    let y = draft.depthwise(x, &[Live, Heavy], true);
    draft.conv(y, &[Live], true, 1);
    let (_, left_out) = checked(&draft.0);
    let full = vec![(1, FULL)];
    assert_eq!(gone(&left_out), [("n0", full.clone()), ("n1", full), ("n2", vec![])]);
}

#[test]
fn several_depthwise_outputs_of_a_channel_leave_together_and_those_of_one_alone() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead], true, 1);
    let y = draft.depthwise(x, &[Live, Dead, Live, Live], true);
    draft.conv(y, &[Live], true, 1);
    let (graph, left_out) = checked(&draft.0);
    // The second output of the first channel is dead, but must stay with the first.
    assert_eq!(gone(&left_out)[1], ("n1", vec![(2, Why::Always(-9)), (3, Why::Always(-9))]));
    assert_eq!(graph.values[2].dims, [4, 4, 2]);
    let mut draft = Draft::new(&[4, 4, 1]);
    let y = draft.depthwise(0, &[Live, Dead, Live, Full], true);
    draft.conv(y, &[Live], true, 1);
    let (_, left_out) = checked(&draft.0);
    assert_eq!(gone(&left_out)[0], ("n0", vec![(1, WHY_DEAD), (3, FULL)]));
}

#[test]
fn what_nobody_has_a_weight_for_leaves_and_what_only_that_reads_too() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live; 3], true, 3);
    let y = draft.conv(x, &[Without(2, 3), Live], true, 3);
    draft.conv(y, &[Without(1, 2), Without(1, 2)], true, 1);
    let (_, left_out) = checked(&draft.0);
    let unread = |channel| vec![(channel, Why::Unread)];
    assert_eq!(gone(&left_out), [("n0", unread(2)), ("n1", unread(1)), ("n2", vec![])]);
}

#[test]
fn a_sum_keeps_channels_that_one_of_its_operands_is_needed_for() {
    for needed in [false, true] {
        let mut draft = Draft::new(&[4, 4, 2]);
        let a = draft.conv(0, &[Live, Dead, Dead], true, 3);
        let b = draft.conv(0, &[Live, Dead, Live], true, 1);
        let sum = draft.node(
            IntegerAdd { clamp: Clamp { min: -10, max: -10 }, ..add() },
            &[a, b],
            &[4, 4, 3],
        );
        let first = draft.conv(sum, &[Live], false, 1);
        if needed {
            let second = draft.conv(b, &[Live], false, 1);
            draft.node(add(), &[first, second], &[4, 4, 1]);
        }
        let (graph, left_out) = checked(&draft.0);
        let kept = if needed { 2 } else { 1 };
        assert_eq!(graph.values[sum].dims, [4, 4, kept], "{left_out:?}");
    }
}

#[test]
fn a_gate_that_multiplies_zero_leaves_with_it() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead, Live], true, 3);
    let multiplier = HALF.over(16);
    let mean = draft.node(IntegerMean { multiplier, clamp: Clamp::NONE }, &[x], &[3]);
    let gate = draft.dense(mean, &[Live; 3]);
    let gate = draft.node(IntegerLeakyRelu { positive: HALF, negative: HALF }, &[gate], &[3]);
    let clamp = Clamp::NONE;
    let product = draft.node(IntegerMul { multiplier: HALF, clamp }, &[x, gate], &[4, 4, 3]);
    draft.conv(product, &[Live, Live], true, 3);
    let (graph, left_out) = checked(&draft.0);
    let later = vec![(1, Why::Later)];
    assert_eq!(gone(&left_out), [("n0", vec![(1, WHY_DEAD)]), ("n2", later), ("n5", vec![])]);
    assert_eq!(graph.values[mean].dims, [2]);
}

#[test]
fn poolings_limits_and_resizes_pass_constants_on() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead, Full], true, 3);
    let window = Window { size: [2; 2], stride: [2; 2], padding: [0; 2] };
    let clamp = Clamp { min: -10, max: 90 };
    let x = draft.node(IntegerMaxPool2d { window, clamp }, &[x], &[2, 2, 3]);
    let x = draft.node(IntegerResizeNearest { half_pixel_centers: true }, &[x], &[4, 4, 3]);
    let x = draft.node(IntegerLimit { clamp: Clamp { min: -10, max: 80 } }, &[x], &[4, 4, 3]);
    let x = draft.node(IntegerRescale { multiplier: HALF, clamp: Clamp::NONE }, &[x], &[4, 4, 3]);
    let clamp = Clamp::NONE;
    let x = draft.node(IntegerAvgPool2d { window, clamp }, &[x], &[2, 2, 3]);
    let flat = draft.view(x, &[12]);
    draft.dense(flat, &[Live, Live]);
    let (graph, left_out) = checked(&draft.0);
    assert_eq!(gone(&left_out)[0], ("n0", vec![(1, WHY_DEAD), (2, FULL)]));
    assert_eq!(graph.values[flat].dims, [4]);
    assert_eq!(left_out.layers[1].inputs_left_out.len(), 8);
}

#[test]
fn joins_slices_pads_and_selections_name_what_is_left() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let a = draft.conv(0, &[Dead, Live, Live, Full], true, 3);
    let b = draft.conv(0, &[Live, Dead], true, 1);
    let x = draft.node(IntegerConcat { axis: 2 }, &[a, b, a], &[4, 4, 10]);
    let op = IntegerSlice { begin: vec![1, 0, 2], stride: vec![1; 3] };
    let x = draft.node(op, &[x], &[3, 4, 8]);
    let op = IntegerPad { before: vec![0, 0, 2], value: 55 };
    let x = draft.node(op, &[x], &[3, 4, 12]);
    let flat = draft.view(x, &[144]);
    let keep: Vec<u32> = (0..144).filter(|at| at % 7 != 3).collect();
    let len = keep.len();
    let x = draft.node(IntegerSelect { keep }, &[flat], &[len]);
    draft.dense(x, &[Live, Live]);
    let (graph, left_out) = checked(&draft.0);
    assert_eq!(graph.values[a].dims, [4, 4, 2], "{left_out:?}");
    assert_eq!(graph.values[b].dims, [4, 4, 1]);
}

#[test]
fn inputs_outputs_and_one_unit_of_each_value_stay() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Dead, Dead], false, 3);
    let (x, len) = (draft.view(x, &[8]), 3);
    let y = draft.dense(x, &[Dead, Zeros(3), Full]);
    let (graph, left_out) = checked(&draft.0);
    assert_eq!(gone(&left_out), [("n0", vec![(0, WHY_DEAD)]), ("n1", vec![])]);
    assert_eq!(graph.values[y].dims, [len]);
    draft.node(IntegerArgmax {}, &[y], &[2]);
    assert_eq!(checked(&draft.0).0.values[y].dims, [len]);
}

#[test]
fn constants_lose_their_values_with_their_channels() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead, Live], true, 3);
    let constant = draft.value(&[3], Origin::Constant(vec![5, -3, 8]));
    let x = draft.node(add(), &[x, constant], &[4, 4, 3]);
    draft.conv(x, &[Live], false, 3);
    let (graph, _) = checked(&draft.0);
    assert_eq!(graph.values[constant].origin, Origin::Constant(vec![5, 8]));
}

#[test]
fn a_layer_whose_sums_may_leave_32_bits_takes_no_constants() {
    let mut draft = Draft::new(&[2]);
    let x = draft.dense(0, &[Live, Full]);
    draft.dense(x, &[Live]);
    draft.0.nodes[1].parameters.as_mut().unwrap().bias = vec![i32::MAX - 100];
    let (_, left_out) = leave_out(draft.0).unwrap();
    assert_eq!(left_out.channels, 0);
}

#[test]
fn units_that_views_do_not_keep_in_rows_stay() {
    let mut draft = Draft::new(&[4, 4, 2]);
    let x = draft.conv(0, &[Live, Dead, Dead], true, 1);
    let turned = draft.view(x, &[3, 16]);
    draft.dense(turned, &[Live, Live]);
    assert_eq!(
        checked(&draft.0).1,
        LeftOut { of_channels: 5, of_products: 96 + 96, ..LeftOut::default() }
    );
}

/// A graph of drawn operators on integers, some of whose filters are dead, full or without weights.
fn drawn(choices: &[Choice], fates: &[u8]) -> IntegerGraph {
    let net = open_end(choices);
    let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
    let x: Vec<f32> = (0..4 * 128).map(|at| (at as f32 * 1.7).sin()).collect();
    let scales = calibrate(&net, &x, &input, RangeMethod::MinMax).unwrap();
    let mut graph = lower(&net, &plan(&net, scales, &input)).unwrap();
    let mut fates = fates.iter().copied().cycle();
    for matrix in graph.layers_mut().filter(|matrix| matrix.is_whole()) {
        let (rows, columns) = (matrix.rows, matrix.columns);
        matrix.bias.resize(rows, 0);
        matrix.multipliers = (0..rows).map(|row| matrix.multiplier(row)).collect();
        for row in 0..rows {
            let weights = &mut matrix.values[row * columns..(row + 1) * columns];
            match fates.next() {
                Some(0) => matrix.bias[row] = -(1 << 24),
                Some(1) => matrix.bias[row] = 1 << 24,
                Some(2) => weights.fill(0),
                Some(3) => {
                    weights.fill(0);
                    matrix.bias[row] = 0;
                }
                Some(4) => weights.iter_mut().step_by(2).for_each(|w| *w = 0),
                Some(5) => matrix.multipliers[row].value -= matrix.multipliers[row].value / 3,
                _ => {}
            }
        }
    }
    graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_byte_changes_in_any_graph(
        choices in proptest::collection::vec((0..KINDS + 1, any::<u8>(), any::<u8>()), 1..10),
        fates in proptest::collection::vec(0u8..9, 1..40),
        seed: u64,
    ) {
        let graph = drawn(&choices, &fates);
        let (without, left_out) = leave_out(graph.clone()).unwrap();
        let mut state = seed | 1;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8 as i8
        };
        let len = graph.values[graph.input].len();
        let mut x = inputs(len);
        x.extend((0..4 * len).map(|_| byte()));
        let [before, after] = [&graph, &without].map(|graph| run_batch(&file(graph), &x).unwrap());
        prop_assert_eq!(before, after, "{:?}", left_out);
        let (again, nothing) = leave_out(without.clone()).unwrap();
        prop_assert_eq!(nothing.channels, 0, "something is left after {:?}: {:?}", left_out, nothing);
        prop_assert_eq!(again, without);
    }
}
