use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::coding::{CodedRow, encode};
use crate::format::{Clamp, Requantization, Window};
use crate::ops::testing::{file, run, tensor};
use crate::ops::{CodedAffine, CodedConv2d, CodedDense, Conv2d, Op};
use crate::requantize::Multiplier;
use crate::{Interpreter, Profiler, Running, weights_len};

/// A coded layer of such weights, at the end of the section.
fn coded(weights: &[i8], columns: usize, lag: usize, section: &mut Vec<u8>) -> CodedAffine {
    let rows = weights
        .chunks(columns)
        .map(|weights| CodedRow { bias: Some(weights.len() as i16), weights });
    let mut stream = vec![0; weights.len() * 4 + 200];
    let len = encode(rows, 4, lag, &mut stream).unwrap();
    let offset = section.len() as u32;
    section.extend(&stream[..len]);
    CodedAffine {
        offset,
        len: len as u32,
        bits: 4,
        bias: Some(1),
        requantization: Requantization::PerTensor(Multiplier { value: 1 << 30, shift: -5 }),
        clamp: Clamp { min: -100, max: 90 },
    }
}

fn numbers(count: usize) -> Vec<i8> {
    (0..count).map(|i| ((i * 2654435761) >> 7) as i8 % 7).collect()
}

/// 6 × 6 × 2 pixels, five filters of 3 × 3, pooled by 2 × 2, and seven outputs; what comes second in the
/// arena may lie anywhere.
fn network(pool_at: u32) -> (Tensor, Vec<Op>, Vec<u8>) {
    let mut section = Vec::new();
    let input = tensor(0, &[6, 6, 2], -3);
    let conv = tensor(72, &[6, 6, 5], 4);
    let pooled = tensor(pool_at, &[3, 3, 5], 4);
    let dense = tensor(72, &[7], 1);
    let window = |size, stride, padding| Window {
        size: [size; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    let ops = vec![
        Op::CodedConv2d(CodedConv2d {
            input: Source::Previous,
            output: conv,
            window: window(3, 1, 1),
            dilation: [1, 1],
            affine: coded(&numbers(5 * 18), 18, 2, &mut section),
        }),
        Op::MaxPool2d(MaxPool2d {
            input: Source::Previous,
            output: pooled,
            window: window(2, 2, 0),
            clamp: Clamp { min: -20, max: 127 },
        }),
        Op::CodedDense(CodedDense {
            input: Source::Previous,
            output: dense,
            affine: coded(&numbers(7 * 45), 45, 1, &mut section),
        }),
    ];
    (input, ops, section)
}

/// Operators whose weights were unpacked, and whether each does a pooling.
fn unpacked(bytes: &[u8], room: usize) -> Vec<(u16, bool)> {
    let model = Model::parse(bytes).unwrap();
    let mut weights = vec![0xEE; room];
    let mut unpacked = Unpacked::new(&model, &mut weights);
    let layers = unpacked.layers();
    let found: Vec<_> =
        (0..9).filter_map(|index| unpacked.next(index).map(|(pools, _)| (index, pools))).collect();
    assert_eq!(found.len(), layers);
    found
}

/// The outputs of all operators, one behind the other.
#[derive(Default)]
struct Outputs(Vec<i8>);

impl Profiler for Outputs {
    fn after(&mut self, _: &Running<'_>, output: &[i8]) {
        self.0.extend(output);
    }
}

#[test]
fn who_sees_outputs_sees_all_of_them() {
    let (input, ops, section) = network(300);
    let bytes = file(&input, &ops, &section);
    let model = Model::parse(&bytes).unwrap();
    let (mut arena, mut other) = (vec![0; model.arena_len()], vec![1; model.arena_len()]);
    let mut weights = vec![0; weights_len(&bytes)];
    let (mut stored, mut unpacked) = (Outputs::default(), Outputs::default());
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    interpreter.input_mut().fill(7);
    interpreter.invoke_with(&mut stored);
    let mut interpreter = Interpreter::with_weights(&model, &mut other, &mut weights).unwrap();
    interpreter.input_mut().fill(7);
    interpreter.invoke_with(&mut unpacked);
    assert_eq!(stored.0.len(), 180 + 45 + 7);
    assert_eq!(stored.0, unpacked.0);
}

#[test]
fn poolings_are_done_with_convolutions() {
    for pool_at in [0, 300] {
        let (input, ops, section) = network(pool_at);
        let bytes = file(&input, &ops, &section);
        assert_eq!(unpacked(&bytes, weights_len(&bytes)), [(0, true), (2, false)]);
        run(&input, &ops, &section, &numbers(72)).unwrap();
    }
}

#[test]
fn what_others_read_is_not_pooled_away() {
    let (input, mut ops, section) = network(300);
    let Op::CodedConv2d(conv) = &ops[0] else { unreachable!() };
    // The last values of the convolution's output and some behind it.
    let other = tensor(conv.output.offset + 170, &[45], 4);
    let Op::CodedDense(dense) = &mut ops[2] else { unreachable!() };
    dense.input = Source::At(other);
    dense.output.offset = 0;
    let bytes = file(&input, &ops, &section);
    assert_eq!(unpacked(&bytes, weights_len(&bytes)), [(0, false), (2, false)]);
    // Values that nobody wrote are those that the arena had.
    let model = Model::parse(&bytes).unwrap();
    let mut arenas = [vec![3; model.arena_len()], vec![3; model.arena_len()]];
    let [one, two] = &mut arenas;
    let mut weights = vec![0; weights_len(&bytes)];
    let mut plain = Interpreter::new(&model, one).unwrap();
    let mut other = Interpreter::with_weights(&model, two, &mut weights).unwrap();
    plain.invoke();
    other.invoke();
    assert_eq!(plain.output(), other.output());
}

#[test]
fn poolings_that_cannot_come_first_are_left() {
    let changes: [fn(&mut CodedConv2d, &mut MaxPool2d); 3] = [
        |_, pool| pool.window.stride = [1, 1],
        |_, pool| pool.clamp = Clamp { min: 95, max: 127 },
        |conv, _| {
            let multiplier = Multiplier { value: 1 << 30, shift: 1 };
            conv.affine.requantization = Requantization::PerTensor(multiplier);
        },
    ];
    for change in changes {
        let (input, mut ops, section) = network(300);
        let [Op::CodedConv2d(conv), Op::MaxPool2d(pool), _] = &mut ops[..] else { unreachable!() };
        change(conv, pool);
        let bytes = file(&input, &ops, &section);
        assert_eq!(unpacked(&bytes, weights_len(&bytes)), [(0, false), (2, false)]);
        run(&input, &ops, &section, &numbers(72)).unwrap();
    }
}

#[test]
fn short_buffers_take_the_layers_that_cost_most() {
    let (input, ops, section) = network(300);
    let bytes = file(&input, &ops, &section);
    // Heads of 8 bytes, biases of four each; rows of the dense layer in pairs take 4 · 48 + 3 · 45.
    let (conv, dense) = (8 + 20 + 92, 8 + 28 + 328);
    assert_eq!(weights_len(&bytes), 3 + conv + dense);
    let indices = |room: usize| -> Vec<u16> {
        unpacked(&bytes, room).into_iter().map(|(index, _)| index).collect()
    };
    // Of the convolution, weights are used 36 times.
    assert_eq!(indices(3 + conv + dense - 4), [0]);
    assert_eq!(indices(3 + dense), [0]);
    assert_eq!(indices(3 + conv), [0]);
    assert!(indices(conv - 1).is_empty() && indices(0).is_empty() && indices(2).is_empty());
}

#[test]
fn tools_know_what_a_buffer_has_room_for() {
    for pool_at in [0, 300] {
        let (input, ops, section) = network(pool_at);
        let bytes = file(&input, &ops, &section);
        let model = Model::parse(&bytes).unwrap();
        let whole = weights_len(&bytes);
        let mut memory = vec![0; whole + 8];
        // Three bytes are lost where it begins one behind a word: the worst of places.
        let start = memory.as_ptr().align_offset(4) + 1;
        for room in 0..=whole {
            let mut unpacked = Unpacked::new(&model, &mut memory[start..start + room]);
            let found: Vec<UnpackedOp> = (0..3)
                .filter_map(|index| {
                    unpacked.next(index).map(|(pools, _)| UnpackedOp { index, pools })
                })
                .collect();
            assert_eq!(model.unpacked_ops(room), found, "{room}");
        }
        assert_eq!(model.unpacked_ops(whole).len(), 2);
    }
}

#[test]
fn what_is_plain_takes_nothing() {
    assert_eq!(weights_len(b"no model"), 0);
    let (input, ops, section) = network(300);
    let mut bytes = file(&input, &ops, &section);
    let whole = weights_len(&bytes);
    bytes.truncate(90);
    assert!(whole > 0 && weights_len(&bytes) == 0);
    // Any bytes are an answer.
    for len in 36..90 {
        weights_len(&bytes[..len]);
    }
}

proptest! {
    #[test]
    fn any_bytes_have_a_length(mut graph in prop::collection::vec(any::<u8>(), 0..200)) {
        let (input, ops, section) = network(300);
        let mut bytes = file(&input, &ops, &section);
        bytes.truncate(crate::format::HEADER_LEN);
        let len = graph.len() as u32;
        bytes[16..20].copy_from_slice(&len.to_le_bytes());
        bytes.append(&mut graph);
        weights_len(&bytes);
    }
}

/// Convolutions with plain weights are as they were.
#[test]
fn bytes_are_left_where_they_are() {
    let (input, _, _) = network(300);
    let window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
    let op = Conv2d {
        input: Source::Previous,
        output: tensor(72, &[6, 6, 1], 0),
        window,
        dilation: [1, 1],
        affine: crate::format::Affine {
            weights: crate::format::Weights { offset: 0, bits: 8, layout: Default::default() },
            bias: crate::format::Bias::None,
            requantization: Requantization::PerTensor(Multiplier { value: 1 << 30, shift: 0 }),
            clamp: Clamp::NONE,
        },
    };
    let bytes = file(&input, &[Op::Conv2d(op)], &[1, 2]);
    assert_eq!(weights_len(&bytes), 0);
}
