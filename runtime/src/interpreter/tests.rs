use super::*;
use crate::format::{ByteAffine, Meta, Source};
use crate::ops::testing::tensor;
use crate::ops::{Argmax, Op, Select, Softmax};
use crate::requantize::Multiplier;
use crate::writer::{model_len, write_model};
use std::vec;
use std::vec::Vec;

fn write(meta: &Meta<'_>, ops: &[Op], section: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; model_len(meta, ops, section).unwrap()];
    write_model(meta, ops, section, &mut bytes).unwrap();
    bytes
}

fn meta(preprocess: Preprocess) -> Meta<'static> {
    Meta {
        input: tensor(0, &[2, 1, 2], 3),
        input_scale: 0.5,
        output_scale: 0.25,
        preprocess,
        ..Meta::default()
    }
}

/// Keeps everything; the section starts with its mask.
fn identity() -> Op {
    let output = tensor(4, &[4], 3);
    Op::Select(Select { input: Source::Previous, output, mask: 0 })
}

#[test]
fn arenas_must_be_long_enough() {
    let bytes = write(&meta(Preprocess::None), &[identity()], &[15]);
    let model = Model::parse(&bytes).unwrap();
    let error = Interpreter::new(&model, &mut [0; 7]).unwrap_err();
    assert_eq!(error, ArenaTooSmall { needed: 8, given: 7 });
    assert!(Interpreter::new(&model, &mut [0; 9]).is_ok());
}

#[test]
fn bytes_go_through_their_channel() {
    let affine = |mul, add| ByteAffine { mul, add, shift: 1 };
    let channels = [affine(2, -10), affine(-1, 0)];
    let preprocess = Preprocess::Bytes(channels.into_iter().collect());
    let bytes = write(&meta(preprocess), &[identity()], &[15]);
    let model = Model::parse(&bytes).unwrap();
    let mut arena = [0; 8];
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    interpreter.set_input_bytes(&[100, 100, 0, 255]).unwrap();
    interpreter.invoke();
    assert_eq!(interpreter.output(), [95, -50, -5, -127]);
    let error = interpreter.set_input_bytes(&[0; 3]).unwrap_err();
    assert_eq!(error, InputError::Length { needed: 4, given: 3 });
    assert_eq!(interpreter.class(), 0);
    assert_eq!(interpreter.probability(0), None);
    let real: Vec<f32> = interpreter.dequantized_output().collect();
    assert_eq!(real, [23.0, -13.25, -2.0, -32.5]);
}

#[test]
fn a_look_on_the_way_changes_no_input() {
    let affine = |mul, add| ByteAffine { mul, add, shift: 1 };
    let raw = [100, 100, 0, 255];
    for channels in [vec![affine(2, -10), affine(-1, 0)], vec![affine(3, -400)]] {
        let preprocess = Preprocess::Bytes(channels.into_iter().collect());
        let bytes = write(&meta(preprocess), &[identity()], &[15]);
        let model = Model::parse(&bytes).unwrap();
        let mut arena = [0; 8];
        let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
        interpreter.set_input_bytes(&raw).unwrap();
        let plain = interpreter.input_mut().to_vec();
        interpreter.input_mut().fill(1);
        let look = interpreter.set_input_bytes_looking(&raw).unwrap();
        assert_eq!((interpreter.input_mut().to_vec(), look), (plain.clone(), Look::of(&plain)));
        let error = interpreter.set_input_bytes_looking(&[0; 3]).unwrap_err();
        assert_eq!(error, InputError::Length { needed: 4, given: 3 });
    }
    let bytes = write(&meta(Preprocess::None), &[identity()], &[15]);
    let model = Model::parse(&bytes).unwrap();
    let mut arena = [0; 8];
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    assert_eq!(interpreter.set_input_bytes_looking(&raw), Err(InputError::NotBytes));
}

#[test]
fn features_have_offsets_and_scales() {
    let mut section = vec![15];
    for (offset, scale) in [(1.0f32, 2.0f32), (0.0, -1.0), (0.0, 1e30), (0.5, 1.0)] {
        section.extend_from_slice(&offset.to_le_bytes());
        section.extend_from_slice(&scale.to_le_bytes());
    }
    let preprocess = Preprocess::Features { offset: 1 };
    for (preprocess, expected) in [(preprocess, [5, 2, 127, 0]), (Preprocess::None, [7, 5, 5, -1])]
    {
        let bytes = write(&meta(preprocess), &[identity()], &section);
        let model = Model::parse(&bytes).unwrap();
        let mut arena = [0; 8];
        let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
        assert_eq!(interpreter.set_input_bytes(&[0; 4]), Err(InputError::NotBytes));
        interpreter.set_input_features(&[2.0, 1.0, 1.0, -2.0]).unwrap();
        assert_eq!(interpreter.input_mut(), expected);
        assert!(interpreter.set_input_features(&[]).is_err());
    }
}

#[test]
fn quantising_rounds_half_away_from_zero() {
    for (x, expected) in [(0.5, 1), (-0.5, -1), (1.49, 1), (1e9, 127), (-1e9, -128)] {
        assert_eq!(quantize(x, 0.0, 1.0, 0.0), expected);
    }
    assert_eq!(quantize(f32::NAN, 0.0, 1.0, 7.0), 7);
    assert_eq!(quantize(f32::INFINITY, 0.0, 1.0, -128.0), 127);
}

#[test]
fn probabilities_and_classes() {
    let softmax = Op::Softmax(Softmax {
        input: Source::Previous,
        output: tensor(0, &[2, 1, 2], -128),
        multiplier: Multiplier { value: 1 << 30, shift: 26 },
    });
    let argmax = Op::Argmax(Argmax { input: Source::Previous, output: tensor(4, &[2], 0) });
    let mut arena = [0; 8];
    let bytes = write(&meta(Preprocess::None), core::slice::from_ref(&softmax), &[]);
    let model = Model::parse(&bytes).unwrap();
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    interpreter.input_mut().copy_from_slice(&[0, 0, 0, 100]);
    interpreter.invoke();
    assert_eq!(interpreter.probability(0), Some(U0F8::from_num(0.5)));
    assert_eq!(interpreter.probability(9), None);
    assert_eq!(interpreter.class(), 3);
    let bytes = write(&meta(Preprocess::None), &[softmax, argmax], &[]);
    let model = Model::parse(&bytes).unwrap();
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    interpreter.input_mut().copy_from_slice(&[0, 0, 0, 100]);
    interpreter.invoke();
    assert_eq!(interpreter.class(), 3);
}

#[test]
fn profilers_see_each_operator() {
    #[derive(Default)]
    struct Seen(Vec<(u16, OpKind, Vec<i8>)>, usize);
    impl Profiler for Seen {
        fn before(&mut self, _: &Running<'_>) {
            self.1 += 1;
        }
        fn after(&mut self, running: &Running<'_>, output: &[i8]) {
            self.0.push((running.index, running.kind(), output.to_vec()));
        }
    }
    let bytes = write(&meta(Preprocess::None), &[identity(), identity_back()], &[15]);
    let model = Model::parse(&bytes).unwrap();
    let mut arena = [0; 8];
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    interpreter.input_mut().copy_from_slice(&[1, 2, 3, 4]);
    let mut seen = Seen::default();
    interpreter.invoke_with(&mut seen);
    let values = vec![1, 2, 3, 4];
    let expected = [(0, OpKind::Select, values.clone()), (1, OpKind::Select, values)];
    assert_eq!((seen.0, seen.1), (expected.to_vec(), 2));
}

fn identity_back() -> Op {
    let output = tensor(0, &[4], 3);
    Op::Select(Select { input: Source::Previous, output, mask: 0 })
}
