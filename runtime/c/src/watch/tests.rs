//! The functions as C would call them.

use super::*;
use crate::{BITSBACK_MODEL_ALIGNMENT, bitsback_load, bitsback_run, bitsback_set_input};
use bitsback_runtime::sentinel::{MAX_BETS, Record};
use bitsback_runtime::writer::set_sentinel;
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};
use std::string::String;
use std::vec;
use std::vec::Vec;

static MODEL: &[u8] = include_bytes!("../../../../tests/golden/watched/model.bbk");
static INPUTS: &[u8] = include_bytes!("../../../../tests/golden/watched/inputs.i8");
static EVIDENCE: &[u8] = include_bytes!("../../../../tests/golden/watched/evidence.u16");

/// A network and its watch, with all that they live on.
struct Net {
    network: Bitsback,
    watch: BitsbackWatch,
    model: Vec<u32>,
    len: usize,
    arena: Vec<i8>,
}

impl Net {
    fn of(file: &[u8]) -> Self {
        let words = file.chunks(BITSBACK_MODEL_ALIGNMENT).map(|word| {
            let mut bytes = [0; BITSBACK_MODEL_ALIGNMENT];
            bytes[..word.len()].copy_from_slice(word);
            u32::from_ne_bytes(bytes)
        });
        // SAFETY: zeros are valid for both.
        let (network, watch) =
            unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) };
        let arena = vec![0; bitsback_runtime::arena_len(file)];
        let mut net = Self { network, watch, model: words.collect(), len: file.len(), arena };
        let (model, arena) = (net.model.as_ptr().cast(), net.arena.as_mut_ptr());
        // SAFETY: vectors of our own, as long as they are.
        let status =
            unsafe { bitsback_load(&mut net.network, model, net.len, arena, net.arena.len()) };
        assert_eq!(status, Status::Ok);
        net
    }

    fn started() -> Self {
        let mut net = Self::of(MODEL);
        // SAFETY: arguments of our own.
        assert_eq!(unsafe { bitsback_watch_start(&mut net.watch, &net.network) }, Status::Ok);
        net
    }

    /// Runs an input, and feeds the watch.
    fn feed(&mut self, input: &[u8]) -> Status {
        let input: Vec<i8> = input.iter().map(|&byte| byte as i8).collect();
        // SAFETY: arguments of our own.
        unsafe {
            assert_eq!(bitsback_set_input(&self.network, input.as_ptr(), input.len()), Status::Ok);
            assert_eq!(bitsback_watch_look(&mut self.watch, &self.network), Status::Ok);
            assert_eq!(bitsback_run(&self.network), Status::Ok);
            bitsback_watch_feed(&mut self.watch, &self.network)
        }
    }

    /// The alarm's name and class, and the highest evidence.
    fn alarm(&mut self) -> (String, usize, u16) {
        let (mut name, mut len, mut class, mut evidence) = (null(), 0, 0, 0);
        // SAFETY: places of our own; what comes back is a text of so many bytes.
        unsafe {
            let watch = &mut self.watch;
            let status =
                bitsback_watch_alarm(watch, &mut name, &mut len, &mut class, &mut evidence);
            assert_eq!(status, Status::Ok);
            let text = core::slice::from_raw_parts(name.cast::<u8>(), len);
            (String::from_utf8(text.to_vec()).unwrap(), class, evidence)
        }
    }
}

#[test]
fn evidence_is_that_of_the_golden_vectors() {
    let mut net = Net::started();
    let expected = EVIDENCE.chunks(2 * MAX_BETS);
    assert_eq!(expected.len(), INPUTS.len() / 64);
    for (input, expected) in INPUTS.chunks(64).zip(expected) {
        assert_eq!(net.feed(input), Status::Ok);
        let highest = expected.chunks(2).map(|bet| u16::from_le_bytes([bet[0], bet[1]])).max();
        assert_eq!(net.alarm(), (String::new(), usize::MAX, highest.unwrap()));
    }
    let mut bytes = [0; BITSBACK_RECORD_LEN];
    // SAFETY: places of our own.
    let status =
        unsafe { bitsback_watch_record(&mut net.watch, &net.network, 7, bytes.as_mut_ptr()) };
    assert_eq!(status, Status::Ok);
    let record = Record::read(&bytes).unwrap();
    assert_eq!((record.window, usize::from(record.fed)), (7, INPUTS.len() / 64));
    assert_eq!(record.model.to_le_bytes(), MODEL[8..12]);
}

#[test]
fn bytes_are_looked_at_while_they_are_copied() {
    let (mut one, mut other) = (Net::started(), Net::started());
    for input in INPUTS.chunks(64) {
        // The model takes q = pixel − 128.
        let pixels: Vec<u8> = input.iter().map(|&byte| byte ^ 0x80).collect();
        // SAFETY: arguments of our own.
        unsafe {
            let Net { watch, network, .. } = &mut one;
            let (data, len) = (pixels.as_ptr(), pixels.len());
            assert_eq!(bitsback_watch_input_bytes(watch, network, data, len), Status::Ok);
            assert_eq!(bitsback_run(network), Status::Ok);
            bitsback_watch_feed(watch, network);
        }
        other.feed(input);
        assert_eq!(one.alarm(), other.alarm());
    }
}

#[test]
fn an_alarm_stays_until_it_is_reset_and_a_trial_ends_sooner() {
    let feeds = |net: &mut Net| (1..).find(|_| net.feed(&[0x80; 64]) == Status::Alarm).unwrap();
    let mut net = Net::started();
    let without = feeds(&mut net);
    let (name, class, evidence) = net.alarm();
    assert!(name.starts_with("brightness") && class == usize::MAX && evidence > 300, "{name}");
    assert_eq!(net.feed(&INPUTS[..64]), Status::Alarm);
    // SAFETY: arguments of our own.
    unsafe {
        assert_eq!(bitsback_watch_settle(&mut net.watch), Status::Ok);
        assert_eq!(net.alarm().0, name);
        assert_eq!(bitsback_watch_reset(&mut net.watch), Status::Ok);
        assert_eq!(net.alarm(), (String::new(), usize::MAX, 0));
        assert_eq!(bitsback_watch_trial(&mut net.watch, &net.network, 10), Status::Ok);
    }
    assert_eq!(net.alarm().2, 160);
    assert!(feeds(&mut net) < without);
}

#[test]
fn what_is_wrong_is_said() {
    let mut plain = MODEL.to_vec();
    set_sentinel(&mut plain, &[]);
    let mut net = Net::of(&plain);
    // SAFETY: arguments of our own, or null.
    unsafe {
        assert_eq!(bitsback_watch_start(&mut net.watch, &net.network), Status::NoSentinel);
        assert_eq!(bitsback_watch_feed(&mut net.watch, &net.network), Status::NotLoaded);
        assert_eq!(bitsback_watch_start(null_mut(), &net.network), Status::Null);
        assert_eq!(bitsback_watch_start(&mut net.watch, null()), Status::Null);
        assert_eq!(bitsback_watch_feed(null_mut(), &net.network), Status::Null);
        let inside = (&raw mut net.network).cast::<BitsbackWatch>();
        assert_eq!(bitsback_watch_start(inside, &net.network), Status::Overlap);
        let mut net = Net::started();
        let record = bitsback_watch_record(&mut net.watch, &net.network, 0, null_mut());
        assert_eq!(record, Status::Null);
    }
    // A section whose first bet was changed to win too much.
    let mut greedy = MODEL.to_vec();
    let at = greedy.len() - 255 + 8 + 35;
    greedy[at..at + 4].fill(0x7F);
    bitsback_runtime::writer::seal(&mut greedy);
    let mut net = Net::of(&greedy);
    // SAFETY: arguments of our own.
    let status = unsafe { bitsback_watch_start(&mut net.watch, &net.network) };
    assert_eq!(status, Status::SentinelInvalid);
}
