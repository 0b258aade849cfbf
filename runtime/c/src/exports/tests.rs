//! The functions as C would call them.

use super::*;
use crate::{BITSBACK_MODEL_ALIGNMENT, BITSBACK_WORDS, BitsbackStatus};
use bitsback_runtime::format::HEADER_LEN;
use bitsback_runtime::include_model;
use bitsback_runtime::writer::set_margin;
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use std::ffi::CStr;
use std::vec;
use std::vec::Vec;

static MODEL: &[u8] = include_model!("../../../../tests/golden/digits/model.bbk");
static INPUTS: &[u8] = include_bytes!("../../../../tests/golden/digits/inputs.i8");
static OUTPUTS: &[u8] = include_bytes!("../../../../tests/golden/digits/outputs.i8");

/// A network with all that it lives on.
struct Net {
    network: Bitsback,
    model: Vec<u32>,
    arena: Vec<i8>,
}

impl Net {
    fn empty() -> Self {
        Self::of(MODEL)
    }

    /// Nothing is loaded, but it will be this model.
    fn of(file: &[u8]) -> Self {
        // SAFETY: zeros are a valid `Bitsback`.
        let network = unsafe { MaybeUninit::zeroed().assume_init() };
        let words = file.chunks(BITSBACK_MODEL_ALIGNMENT).map(|word| {
            let mut bytes = [0; BITSBACK_MODEL_ALIGNMENT];
            bytes[..word.len()].copy_from_slice(word);
            u32::from_ne_bytes(bytes)
        });
        let arena = vec![0; bitsback_runtime::arena_len(MODEL)];
        Self { network, model: words.collect(), arena }
    }

    fn load(&mut self) -> BitsbackStatus {
        let (model, arena) = (self.model.as_ptr().cast(), self.arena.as_mut_ptr());
        // SAFETY: vectors of our own; the model's length is that of the bytes it was made of.
        unsafe { bitsback_load(&mut self.network, model, MODEL.len(), arena, self.arena.len()) }
    }

    fn loaded() -> Self {
        let mut net = Self::empty();
        assert_eq!(net.load(), BitsbackStatus::Ok);
        net
    }
}

fn class(network: &Bitsback) -> usize {
    let mut found = usize::MAX;
    // SAFETY: a network and a place of our own.
    assert_eq!(unsafe { bitsback_class(network, &mut found) }, BitsbackStatus::Ok);
    found
}

#[test]
fn golden_vectors_match() {
    let net = Net::loaded();
    let mut len = 0;
    // SAFETY: arguments of our own.
    let input = unsafe { bitsback_input(&net.network, &mut len) };
    let (input_len, mut output_len) = (len, 0);
    // SAFETY: as above.
    let output = unsafe { bitsback_output(&net.network, &mut output_len) };
    assert_eq!(INPUTS.len() / input_len, OUTPUTS.len() / output_len);
    for (x, y) in INPUTS.chunks(input_len).zip(OUTPUTS.chunks(output_len)) {
        let x: Vec<i8> = x.iter().map(|&byte| byte as i8).collect();
        // SAFETY: `x` has `input_len` values, the places are in the arena.
        unsafe {
            assert_eq!(bitsback_set_input(&net.network, x.as_ptr(), x.len()), Status::Ok);
            assert_eq!(bitsback_run(&net.network), Status::Ok);
            let got = core::slice::from_raw_parts(output.cast::<u8>(), output_len);
            assert_eq!(got, y);
            // The same again, written in place.
            core::ptr::copy_nonoverlapping(x.as_ptr(), input, input_len);
            assert_eq!(bitsback_run(&net.network), Status::Ok);
            assert_eq!(core::slice::from_raw_parts(output.cast::<u8>(), output_len), y);
        }
        let y: Vec<i8> = y.iter().map(|&byte| byte as i8).collect();
        let best = y.iter().max().and_then(|best| y.iter().position(|value| value == best));
        assert_eq!(Some(class(&net.network)), best);
    }
}

/// For every vector and margin, run either way, what Rust says.
#[test]
fn decisions_are_those_of_rust() {
    let mut unsure = 0;
    for margin in [0, 1, 20, 40, 255] {
        let mut file = MODEL.to_vec();
        set_margin(&mut file, margin);
        let mut net = Net::of(&file);
        assert_eq!(net.load(), BitsbackStatus::Ok);
        let model = bitsback_runtime::Model::parse(&file).unwrap();
        let (input_len, output_len) = (model.input().len(), model.output().len());
        let mut weights = vec![0; model.weights_len()];
        // SAFETY: memory of our own, as long as it says, that is used for nothing else.
        let status =
            unsafe { bitsback_unpack(&mut net.network, weights.as_mut_ptr(), weights.len()) };
        assert_eq!(status, Status::Ok);
        for (x, y) in INPUTS.chunks(input_len).zip(OUTPUTS.chunks(output_len)) {
            let x: Vec<i8> = x.iter().map(|&byte| byte as i8).collect();
            let y: Vec<i8> = y.iter().map(|&byte| byte as i8).collect();
            let expected = model.decision_of(&y).class();
            unsure += usize::from(expected.is_none());
            for run in [bitsback_run, bitsback_run_unpacked] {
                let mut class_index = usize::MAX;
                // SAFETY: `x` has `input_len` values; the place is our own.
                let status = unsafe {
                    assert_eq!(bitsback_set_input(&net.network, x.as_ptr(), x.len()), Status::Ok);
                    assert_eq!(run(&net.network), Status::Ok);
                    bitsback_decision(&net.network, &mut class_index)
                };
                let found = match status {
                    Status::Ok => Some(class_index),
                    status => {
                        assert_eq!((status, class_index), (Status::Unsure, usize::MAX));
                        None
                    }
                };
                assert_eq!(found, expected, "margin {margin}");
            }
        }
    }
    assert!(unsure > 40, "{unsure}");
    // SAFETY: arguments of our own.
    unsafe {
        assert_eq!(bitsback_decision(null(), null_mut()), Status::Null);
        assert_eq!(bitsback_decision(&Net::loaded().network, null_mut()), Status::Null);
        assert_eq!(bitsback_decision(&Net::empty().network, null_mut()), Status::NotLoaded);
    }
}

#[test]
fn unpacked_weights_give_the_same() {
    let mut net = Net::loaded();
    let (mut input_len, mut output_len) = (0, 0);
    // SAFETY: arguments of our own.
    let (whole, output) = unsafe {
        bitsback_input(&net.network, &mut input_len);
        let output = bitsback_output(&net.network, &mut output_len).cast::<u8>();
        (bitsback_weights_len(&net.network), output)
    };
    assert_eq!(whole, bitsback_runtime::weights_len(MODEL));
    let mut weights = vec![0xA5; whole];
    for len in [whole, whole / 2, 0] {
        // SAFETY: memory of our own, as long as it says, that is used for nothing else.
        let status = unsafe { bitsback_unpack(&mut net.network, weights.as_mut_ptr(), len) };
        assert_eq!(status, Status::Ok);
        for (x, y) in INPUTS.chunks(input_len).zip(OUTPUTS.chunks(output_len)).take(3) {
            let x: Vec<i8> = x.iter().map(|&byte| byte as i8).collect();
            // SAFETY: `x` has `input_len` values; the output has as many as was said.
            unsafe {
                assert_eq!(bitsback_set_input(&net.network, x.as_ptr(), x.len()), Status::Ok);
                assert_eq!(bitsback_run_unpacked(&net.network), Status::Ok);
                assert_eq!(core::slice::from_raw_parts(output, output_len), y);
            }
        }
    }
}

#[test]
fn unpacking_needs_memory_of_its_own() {
    let mut net = Net::loaded();
    let arena: *mut u8 = net.arena.as_mut_ptr().cast();
    let model: *mut u8 = net.model.as_mut_ptr().cast();
    let network = &raw mut net.network;
    // SAFETY: a network of our own, and memory that is refused before it is written.
    unsafe {
        assert_eq!(bitsback_unpack(network, null_mut(), 9), Status::Null);
        assert_eq!(bitsback_unpack(network, arena, 9), Status::Overlap);
        for at in [0, HEADER_LEN, MODEL.len() - 1] {
            assert_eq!(bitsback_unpack(network, model.add(at), 1), Status::Overlap, "byte {at}");
        }
        assert_eq!(bitsback_unpack(network, network.cast(), 1), Status::Overlap);
        assert_eq!(bitsback_unpack(null_mut(), arena, 9), Status::Null);
    }
    let mut empty = Net::empty();
    let mut weights = [0; 9];
    // SAFETY: as above.
    unsafe {
        let status = bitsback_unpack(&mut empty.network, weights.as_mut_ptr(), 9);
        assert_eq!(status, Status::NotLoaded);
        assert_eq!(bitsback_run_unpacked(&empty.network), Status::NotLoaded);
        assert_eq!(bitsback_weights_len(&empty.network), 0);
    }
}

#[test]
fn raw_bytes_go_through_the_preprocessing_and_scales_are_told() {
    let net = Net::loaded();
    let pixels = [128_u8; 64];
    let (mut scale, mut zero_point) = (0.0, 0);
    // SAFETY: arguments of our own.
    unsafe {
        assert_eq!(bitsback_set_input_bytes(&net.network, pixels.as_ptr(), 64), Status::Ok);
        assert_eq!(*bitsback_input(&net.network, null_mut()), 0);
        assert_eq!(bitsback_set_input_features(&net.network, [0.5; 64].as_ptr(), 64), Status::Ok);
        assert_eq!(bitsback_run(&net.network), Status::Ok);
        assert_eq!(
            bitsback_output_scale(&net.network, &mut scale, &mut zero_point),
            BitsbackStatus::Ok
        );
        let wrong = bitsback_set_input_bytes(&net.network, pixels.as_ptr(), 63);
        assert_eq!(wrong, BitsbackStatus::InputLength);
    }
    assert!(scale > 0.0);
}

#[test]
fn what_is_not_loaded_does_nothing() {
    let net = Net::empty();
    let (mut size, mut name) = (7, null());
    // SAFETY: arguments of our own, or null.
    unsafe {
        assert_eq!(bitsback_run(&net.network), Status::NotLoaded);
        assert_eq!(bitsback_run(null()), Status::Null);
        assert_eq!(bitsback_run((&raw const net.network).wrapping_byte_add(1)), Status::Misaligned);
        assert!(bitsback_input(&net.network, &mut size).is_null());
        assert!(bitsback_output(null(), &mut size).is_null());
        assert_eq!(bitsback_set_input(&net.network, [0].as_ptr(), 1), Status::NotLoaded);
        assert_eq!(bitsback_class(&net.network, &mut size), Status::NotLoaded);
        let status = bitsback_class_name(&net.network, 0, &mut name, &mut size);
        assert_eq!(status, Status::NotLoaded);
        assert_eq!(bitsback_output_scale(&net.network, null_mut(), null_mut()), Status::NotLoaded);
    }
    assert_eq!(size, 7);
}

#[test]
fn wrong_arguments_of_loading_have_codes() {
    let mut net = Net::empty();
    let network: *mut Bitsback = &mut net.network;
    let model: *const u8 = net.model.as_ptr().cast();
    let arena = net.arena.as_mut_ptr();
    let (model_len, arena_len) = (MODEL.len(), net.arena.len());
    let inside = model.cast_mut().cast();
    let table = [
        (null_mut(), model, model_len, arena, arena_len, Status::Null),
        (network, null(), model_len, arena, arena_len, Status::Null),
        (network, model, model_len, null_mut(), arena_len, Status::Null),
        (network.wrapping_byte_add(4), model, model_len, arena, arena_len, Status::Misaligned),
        (network, model.wrapping_add(2), model_len, arena, arena_len, Status::Misaligned),
        (network, model, model_len, arena, arena_len - 1, Status::ArenaTooSmall),
        (network, model, model_len, inside, arena_len, Status::Overlap),
        (network, network.cast(), model_len, arena, arena_len, Status::Overlap),
        (network, model, model_len, network.cast(), arena_len, Status::Overlap),
        (network, model, 0, arena, arena_len, Status::ModelLength),
        (network, model, model_len - 1, arena, arena_len, Status::ModelLength),
    ];
    for (network, model, model_len, arena, arena_len, expected) in table {
        // SAFETY: each is refused before any byte beyond our own is touched.
        let status = unsafe { bitsback_load(network, model, model_len, arena, arena_len) };
        assert_eq!(status, expected);
    }
    // SAFETY: ours.
    assert_eq!(unsafe { bitsback_run(network) }, Status::NotLoaded);
}

#[test]
fn a_network_that_overlaps_is_not_written_to() {
    let net = Net::empty();
    let mut memory = vec![u64::MAX; 2 * BITSBACK_WORDS + MODEL.len()];
    for (index, word) in net.model.chunks(2).enumerate() {
        memory[index] = word.iter().rev().fold(0, |sum, &half| sum << 32 | u64::from(half));
    }
    let before = memory.clone();
    let model: *const u8 = memory.as_mut_ptr().cast();
    let network: *mut Bitsback = memory.as_mut_ptr().cast();
    let arena_len = net.arena.len();
    let behind: *mut i8 = network.wrapping_add(1).cast();
    let inside = network.wrapping_byte_add(MODEL.len() / 8 * 8);
    let mut room = vec![0i8; arena_len];
    // SAFETY: each is refused before any byte is written; all lies within `memory`, or in `room`.
    let found = unsafe {
        [
            bitsback_load(network, model, MODEL.len(), room.as_mut_ptr(), arena_len),
            bitsback_load(inside, model, MODEL.len(), room.as_mut_ptr(), arena_len),
            bitsback_load(inside, model, 16, inside.cast(), arena_len),
            bitsback_load(inside, null(), 16, inside.wrapping_byte_add(8).cast(), arena_len),
            bitsback_load(network, null(), usize::MAX, behind.wrapping_sub(1), usize::MAX),
        ]
    };
    assert_eq!(found, [Status::Overlap; 5]);
    assert!(memory == before);
}

#[test]
fn steps_are_limited_by_the_caller() {
    let mut net = Net::empty();
    let steps: u64 = bitsback_runtime::Model::parse(MODEL)
        .unwrap()
        .ops()
        .map(|step| step.op.steps(&step.previous))
        .sum();
    let mut load = |most| {
        let (network, model) = (&raw mut net.network, net.model.as_ptr().cast());
        let (arena, len) = (net.arena.as_mut_ptr(), net.arena.len());
        // SAFETY: vectors of our own; the model's length is that of the bytes it was made of.
        unsafe { bitsback_load_within(network, model, MODEL.len(), arena, len, most) }
    };
    assert_eq!(load(u64::MAX), Status::Ok);
    assert_eq!(load(steps), Status::Ok);
    assert_eq!(load(steps - 1), Status::ModelSteps);
    assert_eq!(load(0), Status::ModelSteps);
    // SAFETY: ours; the failed load has unloaded what was there.
    assert_eq!(unsafe { bitsback_run(&net.network) }, Status::NotLoaded);
}

#[test]
fn damaged_models_have_codes_and_unload_what_was_there() {
    for (byte, expected) in [
        (0, BitsbackStatus::NotAModel),
        (4, Status::ModelVersion),
        (7, Status::ModelInvalid),
        (9, Status::ModelDamaged),
        (40, Status::ModelDamaged),
    ] {
        let mut net = Net::loaded();
        net.model[byte / 4] ^= 1 << (8 * (byte % 4));
        assert_eq!(net.load(), expected, "byte {byte}");
        // SAFETY: ours.
        assert_eq!(unsafe { bitsback_run(&net.network) }, Status::NotLoaded);
    }
}

#[test]
fn data_have_their_length_alignment_and_place() {
    let net = Net::loaded();
    let features = [0.0_f32; 65];
    let odd = features.as_ptr().wrapping_byte_add(1);
    // SAFETY: each is refused before it is read.
    unsafe {
        let network = &raw const net.network;
        assert_eq!(bitsback_set_input_features(network, odd, 64), Status::Misaligned);
        assert_eq!(
            bitsback_set_input_features(network, features.as_ptr(), 65),
            Status::InputLength
        );
        assert_eq!(
            bitsback_set_input_features(network, features.as_ptr(), usize::MAX),
            BitsbackStatus::InputLength
        );
        assert_eq!(bitsback_set_input(network, null(), 64), Status::Null);
        let inside = bitsback_output(network, null_mut());
        assert_eq!(bitsback_set_input(network, inside, 10), Status::Overlap);
        assert_eq!(bitsback_class(network, null_mut()), Status::Null);
    }
}

#[test]
fn arenas_are_known_from_the_header_and_texts_end() {
    // SAFETY: a slice, no pointer at all, and texts that end with a zero.
    unsafe {
        assert_eq!(bitsback_arena_len(MODEL.as_ptr(), MODEL.len()), Net::empty().arena.len());
        assert_eq!(bitsback_arena_len(MODEL.as_ptr(), 9), 0);
        assert_eq!(bitsback_arena_len(null(), 9), 0);
        assert_eq!(CStr::from_ptr(bitsback_error_text(12)), Status::ModelDamaged.text());
        assert_eq!(CStr::from_ptr(bitsback_error_text(999)), c"no status of this library");
    }
}
