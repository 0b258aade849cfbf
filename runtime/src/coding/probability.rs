//! How likely a binary decision is, learnt from those before it.

use core::hint::cold_path;

use crate::arch::{Isa, Kernels};

/// Twice the observations, and 3, after which a probability stops adapting more slowly: 250.
const SETTLED: u16 = 503;
/// Bits of a probability as the coder uses it.
pub(super) const PRECISION: u32 = 12;
/// Least distance of a probability from 0 and 1, in 65,536ths: a surprise costs 10 bits at most.
const MARGIN: i32 = 64;

/// The probability that a decision is `true`. It moves by 1/(n + 1.5) of its error after the
/// n-th observation, as a count of both outcomes would, and by a fixed share once it is settled.
#[derive(Clone, Copy, Debug)]
#[repr(C)] // as a kernel reads it
pub(crate) struct Probability {
    /// In 65,536ths.
    value: u16,
    /// 2n + 3.
    divisor: u16,
}

impl Probability {
    /// Nothing seen: even odds.
    pub(super) const EVEN: Self = Self { value: 1 << 15, divisor: 3 };

    /// In units of 2^−[`PRECISION`], neither 0 nor 1.
    #[inline(always)]
    pub(super) fn scaled(self) -> u32 {
        u32::from(self.value) >> (16 - PRECISION)
    }

    /// Learns an outcome.
    #[inline(always)]
    pub(super) fn learn(&mut self, outcome: bool) {
        let target = if outcome { (1 << 16) - 1 - MARGIN } else { MARGIN };
        let error = target.wrapping_sub(i32::from(self.value));
        // |error| < 2¹⁶ and a share below 2¹⁵ / 2 stay within 31 bits.
        let step = error.wrapping_mul(share(self.divisor.into()) as i32) >> 14;
        self.value = i32::from(self.value).wrapping_add(step) as u16;
        if self.divisor < SETTLED {
            self.divisor = self.divisor.wrapping_add(2);
        }
    }
}

/// 2¹⁵ / divisor, rounded down, of an odd divisor.
#[inline(always)]
fn share(divisor: u32) -> u32 {
    if !Isa::DIVIDES {
        let share = SHARES.get((divisor / 2) as usize % SHARES.len());
        return share.copied().unwrap_or_default().into();
    }
    // It is odd, which leaves no check of it in the binary.
    (1 << 15) / (divisor | 1)
}

/// [`share`] of 1, 3, 5 and so on.
static SHARES: [u16; 256] = {
    let mut shares = [0; 256];
    let mut i = 0;
    while i < 256 {
        shares[i] = ((1 << 15) / (2 * i + 1)) as u16;
        i += 1;
    }
    shares
};

/// Writes or reads binary decisions.
pub(crate) trait Coder: Sized {
    /// One decision: a writer writes `bit` and returns it, a reader returns what it has read.
    /// `probability`, in units of 2^−[`PRECISION`], is that of `true`.
    fn decide(&mut self, bit: bool, probability: u32) -> bool;

    /// Runs what is rare: a coder that is kept in registers is in memory for it alone.
    fn rarely<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        run(self)
    }
}

/// One decision whose probability learns.
#[inline(always)]
pub(super) fn adaptive<C: Coder>(coder: &mut C, learnt: &mut Probability, bit: bool) -> bool {
    let bit = coder.decide(bit, learnt.scaled());
    learnt.learn(bit);
    bit
}

/// As [`adaptive`], faster where the decision is `true`.
#[inline(always)]
pub(super) fn mostly<C: Coder>(coder: &mut C, learnt: &mut Probability, bit: bool) -> bool {
    if coder.decide(bit, learnt.scaled()) {
        learnt.learn(true);
        return true;
    }
    cold_path();
    learnt.learn(false);
    false
}

/// One decision of even odds.
#[inline(always)]
pub(super) fn even<C: Coder>(coder: &mut C, bit: bool) -> bool {
    coder.decide(bit, 1 << (PRECISION - 1))
}
