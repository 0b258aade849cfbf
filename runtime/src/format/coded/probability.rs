//! How likely a binary decision is, learnt from those before it.

/// Observations after which a probability stops adapting more slowly.
const SETTLED: u8 = 250;
/// Bits of a probability as the coder uses it.
pub(super) const PRECISION: u32 = 12;
/// Least distance of a probability from 0 and 1, in 65,536ths: a surprise costs 10 bits at most.
const MARGIN: u16 = 64;

/// The probability that a decision is `true`. It moves by 1/(n + 1.5) of its error after the
/// n-th observation, as a count of both outcomes would, and by a fixed share once it is settled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probability {
    /// In 65,536ths.
    value: u16,
    seen: u8,
}

impl Probability {
    /// Nothing seen: even odds.
    pub(super) const EVEN: Self = Self { value: 1 << 15, seen: 0 };

    /// In units of 2^−[`PRECISION`], neither 0 nor 1.
    pub(super) fn scaled(self) -> u32 {
        u32::from(self.value) >> (16 - PRECISION)
    }

    /// Learns an outcome.
    pub(super) fn learn(&mut self, outcome: bool) {
        let divisor = u32::from(self.seen).wrapping_mul(2).wrapping_add(3);
        // The divisor is at least 3, which leaves no check of it in the binary.
        let share = (2 << 16) / divisor;
        let target = if outcome { u16::MAX - MARGIN } else { MARGIN };
        let error = i32::from(target).wrapping_sub(i32::from(self.value));
        // |error| < 2¹⁶ and share < 2¹⁶ / 1.5 would leave 32 bits by one: halve the share.
        let step = error.wrapping_mul((share >> 2) as i32) >> 14;
        self.value = i32::from(self.value).wrapping_add(step) as u16;
        if self.seen < SETTLED {
            self.seen = self.seen.wrapping_add(1);
        }
    }
}

/// Writes or reads binary decisions.
pub(crate) trait Coder {
    /// One decision: a writer writes `bit` and returns it, a reader returns what it has read.
    /// `probability`, in units of 2^−[`PRECISION`], is that of `true`.
    fn decide(&mut self, bit: bool, probability: u32) -> bool;
}

/// One decision whose probability learns.
pub(super) fn adaptive<C: Coder>(coder: &mut C, learnt: &mut Probability, bit: bool) -> bool {
    let bit = coder.decide(bit, learnt.scaled());
    learnt.learn(bit);
    bit
}

/// One decision of even odds.
pub(super) fn even<C: Coder>(coder: &mut C, bit: bool) -> bool {
    coder.decide(bit, 1 << (PRECISION - 1))
}
