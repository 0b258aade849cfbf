//! Which decisions a weight is made of, and what their probabilities depend on.

use core::cell::Cell;
use core::hint::cold_path;

use super::decoder::Decoder;
use super::probability::{Coder, Probability, adaptive, even, mostly};
use crate::arch::{Stretch, read_coded};

/// Magnitudes up to this are counted in decisions with a probability each; what is above it is
/// written as a number.
const COUNTED: u8 = 14;
/// How much a column has been used, in as many steps.
const ACTIVITIES: usize = 7;
/// A weight of magnitude 1, 2, 3 or more, as a column's activity counts it.
const ACTIVITY_UNIT: u8 = 80;

/// The greatest magnitude of coded weights of a width.
pub const fn coded_limit(bits: u8) -> i8 {
    match bits {
        0 | 1 => 0,
        2..=7 => ((1u8 << (bits - 1)) - 1) as i8,
        _ => i8::MAX,
    }
}

/// What a weight is predicted from; the first decisions of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prediction {
    /// The weight before it in the row.
    pub(crate) neighbour: bool,
    /// The weights above it in the column.
    pub(super) column: bool,
    /// Its sign, from that of the weight before.
    pub(crate) sign: bool,
}

#[cfg(any(test, feature = "writer"))]
impl Prediction {
    /// All there are.
    pub(super) const ALL: [Self; 8] = {
        let mut all = [Self { neighbour: false, column: false, sign: false }; 8];
        let mut i = 0;
        while i < 8 {
            all[i] = Self { neighbour: i & 1 != 0, column: i & 2 != 0, sign: i & 4 != 0 };
            i += 1;
        }
        all
    };
}

/// What has been learnt about weights.
#[derive(Debug)]
#[repr(C)] // what a kernel reads is near the beginning
pub(crate) struct Weights {
    /// By [`step`], four each: of the weight before, is it 0, 1 or more?
    pub(crate) zero: [Probability; STATES],
    pub(crate) negative: [Probability; 3],
    pub(crate) more: [Probability; COUNTED as usize],
    pub(crate) limit: u8,
    /// Up to which magnitudes are counted.
    pub(crate) counted: u8,
    pub(crate) prediction: Prediction,
    pub(crate) stretch: Stretch,
    escape: Number,
}

/// Weights that a kernel has read.
pub(crate) struct Found {
    /// How many: all, unless one is `open`.
    pub(crate) count: usize,
    /// Σ w·(x − zero point), in which inputs that aren't there are 0.
    pub(crate) sum: i32,
    /// Whether the next one is below 0, if its magnitude goes on as a number, above [`COUNTED`].
    pub(crate) open: Option<bool>,
}

impl Weights {
    #[inline(always)]
    pub(super) fn new(prediction: Prediction, bits: u8) -> Self {
        Self {
            prediction,
            limit: coded_limit(bits) as u8,
            // A trusted file may state any width; a kernel's loop ends where this many are counted.
            counted: (coded_limit(bits) as u8).clamp(1, COUNTED + 1),
            zero: [Probability::EVEN; STATES],
            negative: [Probability::EVEN; 3],
            more: [Probability::EVEN; COUNTED as usize],
            stretch: Stretch::NEW,
            escape: Number::NEW,
        }
    }

    /// As [`Contexts::read_some`], by a kernel up to a weight whose magnitude is a number.
    pub(super) fn read_some(
        &mut self,
        decoder: &mut Decoder<'_>,
        [before, places]: [&[Cell<u8>]; 2],
        activities: &mut [u8],
        (x, zero_point): (&[i8], i8),
        share: u32,
        sum: &mut i32,
    ) -> usize {
        let len = activities.len();
        let x = x.get(..len).unwrap_or_default();
        let found = read_coded(self, decoder, [before, places], activities, (x, zero_point), share);
        let Some(found) = found else { return len };
        *sum = sum.wrapping_add(found.sum);
        if let Some(negative) = found.open {
            let cells = [before, places];
            let from = (found.count, negative);
            self.read_rest(decoder, cells, activities, (x, zero_point), share, from, sum);
        }
        len
    }

    /// As [`Self::read_some`], from a weight on whose magnitude is a number.
    #[cold]
    #[inline(never)]
    #[allow(clippy::too_many_arguments)] // as there, and where it begins
    fn read_rest(
        &mut self,
        decoder: &mut Decoder<'_>,
        [before, places]: [&[Cell<u8>]; 2],
        activities: &mut [u8],
        (x, zero_point): (&[i8], i8),
        share: u32,
        (mut from, mut negative): (usize, bool),
        sum: &mut i32,
    ) {
        loop {
            let counted = COUNTED.wrapping_add(1);
            let most = self.limit.saturating_sub(counted);
            let rest = self.escape.code(decoder, 0, most.into());
            let magnitude = counted.wrapping_add(rest as u8) as i8;
            let weight = if negative { magnitude.wrapping_neg() } else { magnitude };
            if let (Some(place), Some(activity)) = (places.get(from), activities.get_mut(from)) {
                place.set(weight as u8);
                move_to(activity, weight, share);
            }
            let factor = i32::from(x.get(from).copied().unwrap_or_default());
            let factor = factor.wrapping_sub(zero_point.into());
            *sum = sum.wrapping_add(i32::from(weight).wrapping_mul(factor));
            from = from.wrapping_add(1);
            let cells = [before, places].map(|cells| cells.get(from..).unwrap_or_default());
            let left = activities.get_mut(from..).unwrap_or_default();
            let x = x.get(from..).unwrap_or_default();
            let found = read_coded(self, decoder, cells, left, (x, zero_point), share);
            let Some(found) = found else { return };
            *sum = sum.wrapping_add(found.sum);
            from = from.wrapping_add(found.count);
            let Some(open) = found.open else { return };
            negative = open;
        }
    }

    /// A weight, given the one before and how much its column has been used, which it moves.
    #[inline(always)]
    pub(super) fn weight<C: Coder>(
        &mut self,
        coder: &mut C,
        before: i8,
        activity: &mut u8,
        share: u32,
        value: i8,
    ) -> i8 {
        let was = *activity;
        let mut size = 0;
        if before != 0 {
            cold_path();
            if self.prediction.neighbour {
                size = usize::from(before.unsigned_abs().min(2));
            }
        }
        let used = STEPS.get(usize::from(was >> 2)).copied().unwrap_or_default();
        let state = usize::from(used).wrapping_add(size) % STATES;
        if let Some(zero) = self.zero.get_mut(state)
            && mostly(coder, zero, value == 0)
        {
            *activity = was.wrapping_sub(moved(was.into(), share));
            return 0;
        }
        let weight = coder.rarely(|coder| self.used(coder, before, value));
        move_to(activity, weight, share);
        weight
    }

    /// A weight that isn't 0.
    #[inline(never)]
    fn used<C: Coder>(&mut self, coder: &mut C, before: i8, value: i8) -> i8 {
        let same = if self.prediction.sign { before.signum().wrapping_add(1) as usize } else { 0 };
        let negative = match self.negative.get_mut(same) {
            Some(negative) if self.prediction.sign => adaptive(coder, negative, value < 0),
            _ => even(coder, value < 0),
        };
        let magnitude = self.magnitude(coder, value.unsigned_abs()) as i8;
        if negative { magnitude.wrapping_neg() } else { magnitude }
    }

    /// A magnitude from 1 to the limit.
    #[inline(always)]
    fn magnitude<C: Coder>(&mut self, coder: &mut C, value: u8) -> u8 {
        let mut found = 1u8;
        for more in &mut self.more {
            if found >= self.limit || !adaptive(coder, more, value > found) {
                return found;
            }
            found = found.wrapping_add(1);
        }
        let most = self.limit.saturating_sub(found);
        let value = u16::from(value.saturating_sub(found));
        let rest = self.escape.code(coder, value, most.into());
        found.wrapping_add(rest as u8)
    }
}

/// The part of an error by which an activity moves.
#[inline(always)]
fn moved(error: u32, share: u32) -> u8 {
    error.wrapping_mul(share).wrapping_shr(16) as u8
}

/// Moves a column's activity after a weight that isn't 0.
#[inline(always)]
fn move_to(activity: &mut u8, weight: i8, share: u32) {
    let was = *activity;
    let target = weight.unsigned_abs().min(3).wrapping_mul(ACTIVITY_UNIT);
    *activity = if target < was {
        was.wrapping_sub(moved(was.wrapping_sub(target).into(), share))
    } else {
        was.wrapping_add(moved(target.wrapping_sub(was).into(), share))
    };
}

/// States of whether a weight is 0, as a power of two.
const STATES: usize = (4 * ACTIVITIES).next_power_of_two();

/// Four times the [`step`] of an activity, by fours.
pub(crate) static STEPS: [u8; 64] = {
    let mut steps = [0; 64];
    let mut i = 0;
    while i < 64 {
        steps[i] = 4 * step(4 * i as u8) as u8;
        i += 1;
    }
    steps
};

/// An activity in steps, which begin at multiples of four: about 1/16, 1/6, 1/3, 1/2, 4/5 and 1.2 of
/// a weight of 1.
const fn step(activity: u8) -> usize {
    match activity {
        0..=3 => 0,
        4..=11 => 1,
        12..=23 => 2,
        24..=39 => 3,
        40..=63 => 4,
        64..=95 => 5,
        _ => 6,
    }
}

/// Numbers of up to 16 bits: how many bits in decisions that learn, then the bits below the top.
#[derive(Clone, Debug)]
pub(super) struct Number {
    longer: [Probability; 16],
    /// The bit after the top one, by length.
    second: [Probability; 16],
}

impl Number {
    pub(super) const NEW: Self =
        Self { longer: [Probability::EVEN; 16], second: [Probability::EVEN; 16] };

    /// A number of at most `most`.
    #[inline(never)]
    pub(super) fn code<C: Coder>(&mut self, coder: &mut C, value: u16, most: u16) -> u16 {
        let (wanted, longest) = (bit_len(value), bit_len(most));
        let mut len = 0u32;
        for longer in &mut self.longer {
            if len >= longest || !adaptive(coder, longer, wanted > len) {
                break;
            }
            len = len.wrapping_add(1);
        }
        let mut found = u32::from(len > 0);
        for at in (0..len.saturating_sub(1)).rev() {
            let bit = u32::from(value).wrapping_shr(at) & 1 == 1;
            let bit = match self.second.get_mut(at as usize) {
                Some(second) if found == 1 => adaptive(coder, second, bit),
                _ => even(coder, bit),
            };
            found = found << 1 | u32::from(bit);
        }
        found.min(u32::from(most)) as u16
    }
}

/// Bits of a number without leading zeros.
fn bit_len(value: u16) -> u32 {
    16u32.wrapping_sub(value.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel's loop over counted magnitudes ends there, whatever a trusted file states.
    #[test]
    fn every_width_counts_one_magnitude_and_no_more_than_there_is_room_for() {
        let prediction = Prediction { neighbour: false, column: false, sign: false };
        for bits in 0..=u8::MAX {
            let weights = Weights::new(prediction, bits);
            assert!((1..=COUNTED + 1).contains(&weights.counted), "{bits} bits");
            assert!(weights.counted <= weights.limit.max(1), "{bits} bits");
        }
    }
}
