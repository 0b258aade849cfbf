//! Sections: written, found in files, refused.

use super::*;
use crate::Model;
use crate::format::{Clamp, Source};
use crate::ops::testing::{file, tensor};
use crate::ops::{Argmax, Op, Rescale};
use crate::requantize::Multiplier;
use crate::writer::set_sentinel;
use std::vec;
use std::vec::Vec;

const TOLERANCE: u16 = 20;

/// A statistic whose bins are alike within a hundredth, and bets that this allows.
pub(super) fn ordinal(edges: [i16; 7]) -> Ordinal {
    let up = [3625, 3113, 2601, 2089, 1577, 1065, 553];
    let lo = [3543, 3031, 2519, 2007, 1495, 983, 471];
    let mut of = Ordinal { edges, up, lo, ..Ordinal::default() };
    of.table = [
        [4, 12, -5, -30],
        [2, 4, -3, -20],
        [1, -2, -2, -12],
        [0, -6, -1, -8],
        [-1, -8, 0, -6],
        [-2, -12, 1, -2],
        [-3, -20, 2, 4],
        [-5, -30, 4, 12],
    ];
    for tilt in 0..TILTS {
        while !proof::table(&of.table.map(|row| row[tilt]), &up, &lo, TOLERANCE) {
            of.table.iter_mut().for_each(|row| row[tilt] -= 1);
        }
    }
    (of.low, of.high) = (event(4096 - lo[1]), event(up[6]));
    of
}

/// The best bet on an event that is at most so likely, which takes off half a bit.
fn event(up: u16) -> Event {
    let mut event = Event { hit: 127, loss: 8 };
    while !proof::event(event, up, TOLERANCE) {
        event.hit -= 1;
    }
    event
}

pub(super) fn draft(classes: usize) -> Draft {
    let up = (4096 / classes.max(1) + 41) as u16;
    Draft {
        threshold: 447,
        shift: 2,
        decimate: 1,
        tolerance: TOLERANCE,
        values: false,
        answer: Some(ordinal([5, 10, 20, 40, 60, 90, 130])),
        inputs: Some([
            ordinal([-300, -200, -100, 0, 100, 200, 300]),
            ordinal([10, 20, 30, 40, 50, 60, 70]),
        ]),
        classes: vec![ClassBet { event: event(up), up }; classes],
        map: None,
    }
}

/// A model that gives what it takes, or the class alone.
pub(super) fn model(values: u16, class_alone: bool) -> Vec<u8> {
    let output = tensor(u32::from(values), &[values], 0);
    let (multiplier, clamp) = (Multiplier::ONE, Clamp::NONE);
    let mut ops = vec![Op::Rescale(Rescale { input: Source::Previous, output, multiplier, clamp })];
    if class_alone {
        let output = tensor(0, &[2], 0);
        ops.push(Op::Argmax(Argmax { input: Source::Previous, output }));
    }
    file(&tensor(0, &[values], 0), &ops, &[])
}

#[test]
fn a_draft_is_written_and_read() {
    let draft = draft(10);
    let bytes = draft.to_bytes().unwrap();
    assert_eq!(bytes.len(), 255);
    let mut file = model(10, false);
    let without = file.clone();
    set_sentinel(&mut file, &bytes);
    let parsed = Model::parse(&file).unwrap();
    let sentinel = Sentinel::new(&parsed).unwrap().unwrap();
    assert_eq!(Draft::of(&sentinel), draft);
    assert_eq!(sentinel.bets(), MAX_BETS);
    set_sentinel(&mut file, &[]);
    assert_eq!(file, without);
}
