//! Writes decisions.

use super::contexts::{CodedRow, Contexts, Memory};
use super::probability::{Coder, PRECISION};
use super::weights::Prediction;

/// The range encoder, into the start of a buffer. Bytes that don't fit are counted, not written.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    out: &'a mut [u8],
    /// Bytes given out, those that didn't fit included.
    len: usize,
    /// Lower end of the range; bit 32 is a carry into what was given out.
    low: u64,
    range: u32,
    /// The last byte, which a carry may still change, and bytes of 255 after it.
    held: Option<u8>,
    full: usize,
}

impl<'a> Encoder<'a> {
    /// An empty stream.
    pub(super) fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, low: 0, range: u32::MAX, held: None, full: 0 }
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.out.get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
    }

    /// Gives out the top byte of `low`, or holds it back until no carry can reach it.
    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let top = (self.low >> 24) as u8;
        if carry == 1 || top != u8::MAX {
            if let Some(held) = self.held {
                self.put(held.wrapping_add(carry));
            }
            for _ in 0..self.full {
                self.put(u8::MAX.wrapping_add(carry));
            }
            (self.held, self.full) = (Some(top), 0);
        } else if self.held.is_none() {
            self.held = Some(top);
        } else {
            self.full = self.full.saturating_add(1);
        }
        self.low = self.low << 8 & 0xFFFF_FFFF;
    }

    /// Ends the stream with the fewest bytes that lie in the range when zeros follow, and returns
    /// how many it has: `None` when the buffer is too short for them.
    pub(super) fn finish(mut self) -> Option<usize> {
        let end = self.low.saturating_add(u64::from(self.range));
        let rounded =
            |bits: u32| (self.low | ((1 << bits) - 1)).wrapping_add(1) & !((1 << bits) - 1);
        let within = |bits: &u32| self.low.trailing_zeros() >= *bits || rounded(*bits) < end;
        let bits = (0..=32).rev().find(within).unwrap_or(0);
        if self.low.trailing_zeros() < bits {
            self.low = rounded(bits);
        }
        for _ in 0..6 {
            self.shift();
        }
        let written = self.out.get(..self.len)?;
        Some(written.iter().rposition(|&byte| byte != 0).map_or(0, |last| last.saturating_add(1)))
    }
}

impl Coder for Encoder<'_> {
    fn decide(&mut self, bit: bool, probability: u32) -> bool {
        let bound = (self.range >> PRECISION).wrapping_mul(probability);
        if bit {
            self.range = bound;
        } else {
            self.low = self.low.saturating_add(u64::from(bound));
            self.range = self.range.wrapping_sub(bound);
        }
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

/// Writes a layer's rows into the start of `out` with the prediction that takes the fewest bytes,
/// and returns how many those are; `None` when `out` is too short or a value doesn't fit.
///
/// `lag` is the distance to the weight before, as for [`Contexts::read`].
pub fn encode<'r>(
    rows: impl Iterator<Item = CodedRow<'r>> + Clone,
    bits: u8,
    lag: usize,
    out: &mut [u8],
) -> Option<usize> {
    let mut one = |prediction: Prediction| {
        let mut encoder = Encoder::new(out);
        let mut memory = Memory::NEW;
        let mut contexts = Contexts::write(&mut encoder, &mut memory, prediction, bits, lag);
        for row in rows.clone() {
            contexts.write_row(&mut encoder, &row)?;
        }
        encoder.finish()
    };
    let sizes = Prediction::ALL.map(&mut one);
    let best = Prediction::ALL.into_iter().zip(sizes).filter_map(|(p, len)| Some((len?, p)));
    let (_, prediction) = best.min_by_key(|&(len, _)| len)?;
    one(prediction)
}
