//! Deltas: what of a model stands in another, and what doesn't.
//!
//! Models are weights packed or coded to the bit, so what stays the same is whole layers, records and names, and
//! most of it in its old place. A greedy search for the copy that saves most, which looks one byte ahead, finds
//! that; there is nothing to gain from differences of bytes.

use alloc::vec::Vec;
use core::ops::Range;

use super::super::emit_number;

/// Bytes that a copy out of place must have in common to be looked at.
const SEED: usize = 4;
/// Most places in the base that are looked at for each byte of the model: beyond them, time goes up and
/// packages hardly down.
const MAX_PLACES: usize = 64;
/// A copy must save so many bytes, for what comes behind it may need another head.
const LEAST_SAVED: usize = 2;

/// A copy that could be made.
#[derive(Clone, Copy, Debug)]
struct Copy {
    at: usize,
    len: usize,
    /// Bytes saved, its own numbers taken off.
    saved: usize,
}

/// The payload that makes `model` of `base`.
pub fn delta(base: &[u8], model: &[u8]) -> Vec<u8> {
    let index = Index::of(base);
    let mut out = Delta { payload: Vec::new(), model, shift: 0 };
    let (mut at, mut copied) = (0, 0);
    while at < model.len() {
        let best = |at, shift| best(&index, base, (model, at), shift);
        let Some(found) = best(at, out.shift).filter(|found| found.saved >= LEAST_SAVED) else {
            at += 1;
            continue;
        };
        if best(at + 1, out.shift).is_some_and(|next| next.saved > found.saved) {
            at += 1;
            continue;
        }
        // What was passed over may belong to it.
        let before = model[copied..at].iter().rev().zip(base[..found.at].iter().rev());
        let more = before.take_while(|(a, b)| a == b).count();
        out.insert(copied..at - more);
        out.copy(at - more, found.at - more, found.len + more);
        at += found.len;
        copied = at;
    }
    out.insert(copied..model.len());
    out.payload
}

/// Where in the base runs of [`SEED`] bytes are, the first first: of many repetitions, that is where the longest
/// copies begin.
struct Index {
    /// By a run's hash, its first place plus one; 0: none.
    first: Vec<u32>,
    /// By place, the next with the same hash, likewise.
    next: Vec<u32>,
}

impl Index {
    fn of(base: &[u8]) -> Self {
        let (mut first, mut next) = (alloc::vec![0; 1 << HASH_BITS], alloc::vec![0; base.len()]);
        for (at, seed) in base.windows(SEED).enumerate().rev() {
            // Files have at most `MAX_FILE_LEN` bytes.
            next[at] = core::mem::replace(&mut first[hash(seed)], at as u32 + 1);
        }
        Self { first, next }
    }

    /// Places where `bytes` may begin.
    fn places(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let first = bytes.get(..SEED).map_or(0, |seed| self.first[hash(seed)]);
        let place = |plus_one: u32| (plus_one as usize).checked_sub(1);
        core::iter::successors(place(first), move |&at| place(self.next[at])).take(MAX_PLACES)
    }
}

/// Bits of a hash of [`SEED`] bytes.
const HASH_BITS: u32 = 16;

fn hash(seed: &[u8]) -> usize {
    let word = seed.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
    (word.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

/// The copy to `at` in the model that saves most, if any does.
fn best(index: &Index, base: &[u8], (model, at): (&[u8], usize), shift: i64) -> Option<Copy> {
    let rest = model.get(at..)?;
    // Without a shift of its own, a shorter copy pays.
    let in_place = usize::try_from(at as i64 + shift).ok();
    let places = in_place.into_iter().chain(index.places(rest));
    let copies = places.filter_map(|place| {
        let common = base.get(place..)?.iter().zip(rest).take_while(|(a, b)| a == b);
        let len = common.count();
        let saved = len.checked_sub(head_len(len, place as i64 - at as i64 - shift))?;
        Some(Copy { at: place, len, saved })
    });
    // Of equals the first: that without a shift.
    copies.reduce(|best, next| if next.saved > best.saved { next } else { best })
}

/// Bytes of a copy's numbers.
fn head_len(len: usize, change: i64) -> usize {
    emit_number(copy_number(len)).1 + emit_number(zigzag(change)).1
}

/// Lengths are those of parts of files of at most `MAX_FILE_LEN`.
fn copy_number(len: usize) -> u32 {
    (len as u32) << 1 | 1
}

fn zigzag(change: i64) -> u32 {
    (change << 1 ^ change >> 63) as u32
}

/// A payload that is being written.
struct Delta<'m> {
    payload: Vec<u8>,
    model: &'m [u8],
    shift: i64,
}

impl Delta<'_> {
    fn number(&mut self, number: u32) {
        let (bytes, len) = emit_number(number);
        self.payload.extend(bytes.iter().take(len));
    }

    fn insert(&mut self, range: Range<usize>) {
        let bytes = &self.model[range];
        if !bytes.is_empty() {
            self.number((bytes.len() as u32) << 1);
            self.payload.extend(bytes);
        }
    }

    fn copy(&mut self, to: usize, from: usize, len: usize) {
        let shift = from as i64 - to as i64;
        self.number(copy_number(len));
        self.number(zigzag(shift - self.shift));
        self.shift = shift;
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    #[test]
    fn what_stayed_costs_a_few_bytes() {
        let base: Vec<u8> = (0..4000_u32).map(|i| ((i * i) >> 3) as u8).collect();
        let whole = delta(&base, &base);
        assert_eq!(whole, [0xC1, 0x3E, 0], "one copy in place");
        let mut changed = base.clone();
        changed[2000] ^= 1;
        let one = delta(&base, &changed);
        assert_eq!(one.len(), 3 + 2 + 3, "{one:?}");
        let shorter = [&base[..1000], &base[1010..]].concat();
        assert_eq!(delta(&base, &shorter).len(), 3 + 3);
        assert_eq!(delta(&[], &base).len(), base.len() + 2);
        assert!(delta(&base, &[]).is_empty());
    }

    /// A base of one byte over and over: places are limited, copies as long as they can be.
    #[test]
    fn repetitions_stay_cheap() {
        let base = vec![0; 100_000];
        let model = [&base[..], &[1], &base].concat();
        assert!(delta(&base, &model).len() < 16);
    }
}
