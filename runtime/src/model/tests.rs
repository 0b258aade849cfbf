//! A test for every way in which a file can be refused.

use super::*;
use crate::format::{
    Affine, Bias, ByteAffine, Clamp, Layout, MAX_PREPROCESS_SHIFT, OpFault, Requantization, Shape,
    Weights,
};
use crate::ops::testing::tensor;
use crate::ops::{Argmax, Dense};
use crate::requantize::Multiplier;
use crate::writer::{model_len, seal, write_model};
use std::vec;
use std::vec::Vec;

fn dense() -> Dense {
    Dense {
        input: Source::Previous,
        output: tensor(4, &[3], 0),
        affine: Affine {
            weights: Weights { offset: 0, bits: 8, layout: Layout::RowMajor },
            bias: Bias::None,
            requantization: Requantization::PerTensor(Multiplier::ONE),
            clamp: Clamp::NONE,
        },
    }
}

fn argmax(inputs: Source) -> Op {
    Op::Argmax(Argmax { input: inputs, output: tensor(7, &[2], 0) })
}

fn meta() -> Meta<'static> {
    Meta {
        name: "tiny",
        classes: "one\ntwo\nthree",
        input: tensor(0, &[4], 0),
        input_scale: 0.5,
        output_scale: 1.0,
        ..Meta::default()
    }
}

fn write(meta: &Meta<'_>, ops: &[Op]) -> Vec<u8> {
    let section = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0];
    let mut bytes = vec![0; model_len(meta, ops, &section).unwrap()];
    write_model(meta, ops, &section, &mut bytes).unwrap();
    bytes
}

fn sample() -> Vec<u8> {
    write(&meta(), &[Op::Dense(dense()), argmax(Source::Previous)])
}

#[test]
fn a_sound_model_tells_about_itself() {
    let bytes = sample();
    let model = Model::parse(&bytes).unwrap();
    assert_eq!(model.meta(), meta());
    assert_eq!(model.class_name(2), Some("three"));
    assert_eq!((model.class_name(3), model.op_name(0)), (None, None));
    assert_eq!((model.op_count(), model.arena_len(), model.macs()), (2, 9, 12));
    let kinds: Vec<OpKind> = model.ops().map(|step| step.kind()).collect();
    assert_eq!(kinds, [OpKind::Dense, OpKind::Argmax]);
    let steps: Vec<Step> = model.ops().collect();
    assert_eq!(steps[1].previous, *steps[0].output());
    assert_eq!(steps[0].parameters().weight_bytes, 12);
    assert_eq!((model.last_kind(), model.output().len()), (OpKind::Argmax, 2));
}

#[test]
fn records_are_the_postcard_of_the_enum() {
    for op in [Op::Dense(dense()), argmax(Source::At(tensor(4, &[3], 0)))] {
        let mut buffer = [0; 64];
        let mut bytes: &[u8] = postcard::to_slice(&op, &mut buffer).unwrap();
        let taken = Op::take::<ALL_KINDS>(&mut bytes).unwrap();
        assert_eq!((taken, bytes), (op, &[][..]));
    }
}

#[test]
fn kinds_left_out_are_refused() {
    let bytes = sample();
    const DENSE: u32 = OpKind::Dense.bit();
    const BOTH: u32 = DENSE | OpKind::Argmax.bit();
    assert!(Model::<BOTH>::parse_only(&bytes).is_ok());
    let missing = OpKind::Argmax.bit();
    assert_eq!(
        Model::<DENSE>::parse_only(&bytes).unwrap_err(),
        ParseError::KindsLeftOut { missing }
    );
}

/// The error after `change`, with the checksum made right again.
fn sealed(change: impl Fn(&mut Vec<u8>)) -> ParseError {
    let mut bytes = sample();
    change(&mut bytes);
    seal(&mut bytes);
    Model::parse(&bytes).unwrap_err()
}

#[test]
fn each_error_of_the_header() {
    assert_eq!(Model::parse(&[0; 35]).unwrap_err(), ParseError::TooShort { len: 35 });
    assert_eq!(Model::parse(&[0; 36]).unwrap_err(), ParseError::Magic);
    assert_eq!(sealed(|b| b[4] = 2), ParseError::FormatVersion { found: 2 });
    assert_eq!(sealed(|b| b[5] = 9), ParseError::NumericsVersion { found: 9 });
    assert_eq!(sealed(|b| b[7] = 1), ParseError::Reserved);
    assert_eq!(sealed(|b| b[6] = 1), ParseError::Margin);
    let len = sample().len();
    let longer = ParseError::FileLength { stated: len as u32, actual: len + 1 };
    assert_eq!(sealed(|b| b.push(0)), longer);
    let mut damaged = sample();
    damaged[len - 1] ^= 1;
    assert!(matches!(Model::parse(&damaged), Err(ParseError::Crc { .. })));
    let word = |b: &mut Vec<u8>, at: usize, value: u32| {
        b[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    for stated in [len as u32, u32::MAX] {
        let error = sealed(|b| word(b, 16, stated));
        assert_eq!(error, ParseError::GraphLength { stated });
    }
    assert_eq!(sealed(|b| word(b, 16, 0)), ParseError::Graph { offset: HEADER_LEN });
    assert_eq!(sealed(|b| word(b, 20, 10)), ParseError::ArenaLength { stated: 10, needed: 9 });
    assert!(matches!(sealed(|b| word(b, 20, u32::MAX)), ParseError::ArenaLength { .. }));
    assert_eq!(sealed(|b| word(b, 24, 5)), ParseError::Input);
    assert_eq!(sealed(|b| word(b, 28, 3)), ParseError::Output);
    let found = OpKind::Dense.bit() | OpKind::Argmax.bit();
    assert_eq!(sealed(|b| word(b, 32, 1)), ParseError::Kinds { stated: 1, found });
}

#[test]
fn each_error_of_the_graph() {
    let error = |meta: &Meta<'_>, ops: &[Op]| Model::parse(&write(meta, ops)).unwrap_err();
    let ops = [Op::Dense(dense())];
    let changed = |change: &dyn Fn(&mut Meta<'_>)| {
        let mut meta = meta();
        change(&mut meta);
        error(&meta, &ops)
    };
    assert_eq!(changed(&|m| m.input.shape = Shape::default()), ParseError::Input);
    assert_eq!(changed(&|m| m.input_scale = 0.0), ParseError::Scale);
    assert_eq!(changed(&|m| m.output_scale = f32::NAN), ParseError::Scale);
    assert_eq!(changed(&|m| m.output_scale = -1.0), ParseError::Scale);
    let preprocess = |channels: &[ByteAffine]| {
        changed(&|m| {
            m.preprocess = Preprocess::Bytes(channels.iter().copied().collect());
        })
    };
    let good = ByteAffine { mul: 1, add: 0, shift: 0 };
    assert_eq!(preprocess(&[good; 3]), ParseError::Preprocess);
    assert_eq!(preprocess(&[]), ParseError::Preprocess);
    let shift = MAX_PREPROCESS_SHIFT + 1;
    assert_eq!(preprocess(&[ByteAffine { shift, ..good }]), ParseError::Preprocess);
    let features = Preprocess::Features { offset: 0 };
    assert_eq!(changed(&|m| m.preprocess = features.clone()), ParseError::Preprocess);
    let many = vec![argmax(Source::At(tensor(0, &[4], 0))); usize::from(MAX_OPS) + 1];
    assert_eq!(error(&meta(), &many), ParseError::TooManyOps);
    assert!(Model::parse(&write(&meta(), &many[1..])).is_ok());
    let mut beyond = dense();
    beyond.affine.weights.offset = 1;
    let fault = OpFault::Section;
    assert_eq!(error(&meta(), &[Op::Dense(beyond)]), ParseError::Op { index: 0, fault });
}

#[test]
fn an_empty_graph_and_an_unknown_operator_are_refused() {
    let start = HEADER_LEN + postcard::experimental::serialized_size(&meta()).unwrap();
    let graph_len = (start - HEADER_LEN) as u8;
    assert_eq!(
        sealed(|b| {
            b[16] = graph_len;
            b[start..].fill(0);
        }),
        ParseError::NoOps
    );
    assert_eq!(sealed(|b| b[start] = 99), ParseError::Graph { offset: start });
    assert!(matches!(sealed(|b| b[start - 1] = 99), ParseError::Graph { .. }));
}

#[test]
fn work_is_limited() {
    use crate::format::Window;
    use crate::ops::MaxPool2d;
    let side = 2048;
    let window = Window { size: [side; 2], stride: [1, 1], padding: [0, 0] };
    let pool = Op::MaxPool2d(MaxPool2d {
        input: Source::At(tensor(0, &[side, side, 1], 0)),
        output: tensor(1 << 23, &[side, side, 1], 0),
        window,
        clamp: Clamp::NONE,
    });
    assert_eq!(
        Model::parse(&write(&meta(), &[pool])).unwrap_err(),
        ParseError::TooMuchWork { index: 0, steps: 1 << 44, most: MAX_STEPS }
    );
}

#[test]
fn callers_limit_the_work() {
    let bytes = sample();
    // 4 × 3 products, and 3 values to compare.
    let at = |steps| Model::parse_with(&bytes, Limits::steps(steps)).map(|_| ());
    assert_eq!((at(u64::MAX), at(15)), (Ok(()), Ok(())));
    assert_eq!(at(14), Err(ParseError::TooMuchWork { index: 1, steps: 15, most: 14 }));
    assert_eq!(at(0), Err(ParseError::TooMuchWork { index: 0, steps: 12, most: 0 }));
    let text = "operator 1: one inference takes 15 steps so far, and 14 are allowed";
    assert_eq!(std::format!("{}", at(14).unwrap_err()), text);
    assert_eq!(Limits::default(), Limits::steps(MAX_STEPS));
}

#[test]
fn every_damaged_bit_is_noticed() {
    let sample = sample();
    for bit in 0..sample.len() * 8 {
        let mut bytes = sample.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Model::parse(&bytes).is_err());
    }
    for len in 0..sample.len() {
        assert!(Model::parse(&sample[..len]).is_err());
    }
}
