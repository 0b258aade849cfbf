//! What the sentinel's tests share: drafts whose bets are fair, and models for them.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{ClassBet, Draft, Event, Ordinal, TILTS, proof};
use crate::format::{Clamp, Source};
use crate::ops::testing::{file, tensor};
use crate::ops::{Argmax, Op, Rescale};
use crate::requantize::Multiplier;

/// Half a percent.
pub(super) const TOLERANCE: u16 = 20;

/// A statistic whose bins are alike within a hundredth, with these scores, lowered until each bet is fair.
pub(super) fn ordinal(edges: [i16; 7], table: [[i8; TILTS]; 8], answer: bool) -> Ordinal {
    let up = [3625, 3113, 2601, 2089, 1577, 1065, 553];
    let lo = [3543, 3031, 2519, 2007, 1495, 983, 471];
    let (low, high) = (event(4096 - lo[usize::from(answer)]), event(up[6]));
    let mut of = Ordinal { edges, table, low, high, up, lo };
    for tilt in 0..TILTS {
        while !proof::table(&of.table.map(|row| row[tilt]), &up, &lo, TOLERANCE) {
            of.table.iter_mut().for_each(|row| row[tilt] -= 1);
        }
    }
    of
}

/// The best bet on an event that is at most so likely, which takes off half a bit.
pub(super) fn event(up: u16) -> Event {
    let mut event = Event { hit: 127, loss: 8 };
    while !proof::event(event, up, TOLERANCE) {
        event.hit -= 1;
    }
    event
}

/// Bets on small and on large values.
pub(super) const TABLE: [[i8; TILTS]; 8] = [
    [8, 32, -11, -60],
    [6, 22, -8, -45],
    [4, 10, -5, -30],
    [1, -2, -2, -15],
    [-2, -15, 1, -2],
    [-5, -30, 4, 10],
    [-8, -45, 6, 22],
    [-11, -60, 8, 32],
];

/// All groups, with these scores in every table.
pub(super) fn draft_with(classes: usize, table: [[i8; TILTS]; 8]) -> Draft {
    let up = (4096 / classes.max(1) + 41).min(4096) as u16;
    let event = if classes > 1 { event(up) } else { Event { hit: 0, loss: 1 } };
    Draft {
        threshold: 447,
        shift: 2,
        decimate: 1,
        tolerance: TOLERANCE,
        values: false,
        answer: Some(ordinal([5, 10, 20, 40, 60, 90, 130], table, true)),
        inputs: Some([
            ordinal([-300, -200, -100, 0, 100, 200, 300], table, false),
            ordinal([10, 20, 30, 40, 50, 60, 70], table, false),
        ]),
        classes: vec![ClassBet { event, up }; classes],
        map: None,
    }
}

/// As [`draft_with`], with bets on small and large values.
pub(super) fn draft(classes: usize) -> Draft {
    draft_with(classes, TABLE)
}

/// Every kind of section, with the values of the model that it is for, and whether that gives the class alone.
pub(super) fn kinds() -> Vec<(Draft, u16, bool)> {
    let all = |classes| draft(classes);
    let none = Vec::new;
    let mapped = |draft| Draft { map: Some([1, 3, 7, 300, 999]), ..draft };
    let values = Draft { classes: none(), values: true, ..all(0) };
    vec![
        (all(10), 10, false),
        (all(2), 2, false),
        (mapped(all(5)), 1000, false),
        (Draft { classes: none(), inputs: None, ..all(0) }, 10, false),
        (Draft { classes: none(), ..all(0) }, 10, false),
        (Draft { answer: None, ..all(9) }, 9, false),
        (Draft { answer: None, inputs: None, ..all(10) }, 10, false),
        (Draft { answer: None, classes: none(), ..all(0) }, 1, false),
        (Draft { answer: None, ..all(10) }, 10, true),
        (Draft { answer: None, inputs: None, ..mapped(all(5)) }, 1000, true),
        (values.clone(), 1, false),
        (values.clone(), 640, false),
        (Draft { inputs: None, ..values }, 3, false),
    ]
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

/// Tables of any scores that aren't so high that lowering them takes long.
pub(super) fn any_table() -> impl Strategy<Value = [[i8; TILTS]; 8]> {
    prop::array::uniform8(prop::array::uniform4(-40i8..40))
}
