//! Softmax in fixed point.

use serde::{Deserialize, Serialize};

use super::fixed_point::{exp_on_negative, one_over_one_plus, rounding_product};
use super::operands::copied;
use super::{Operator, Parameters};
use crate::format::{OpFault, Source, Tensor};
use crate::requantize::{Multiplier, rounding_divide_by_pot};

/// y = exp(β·x) / Σ exp(β·x) over the fastest dimension; output scale 1/256, zero point −128.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softmax {
    /// Input.
    pub input: Source,
    /// Output, of the input's shape, zero point −128.
    pub output: Tensor,
    /// min(β · input scale · 2²⁶, 2³¹ − 1) as a factor; its shift is 0 to 30.
    pub multiplier: Multiplier,
}

/// Integer bits of a scaled difference.
const DIFF_INTEGER_BITS: u32 = 5;
/// Integer bits of the sum of exponentials: up to 2¹² − 1 summands of at most 1.
const SUM_INTEGER_BITS: u32 = 12;
/// Most values of a row: the sum of exponentials stays within its integer bits.
pub(crate) const MAX_SOFTMAX_LEN: usize = 4095;

impl Operator for Softmax {
    const IN_PLACE: bool = true;

    fn inputs(&self) -> &[Source] {
        core::slice::from_ref(&self.input)
    }

    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        if input.shape != self.output.shape || input.shape.channels() > MAX_SOFTMAX_LEN {
            return Err(OpFault::Shape);
        }
        if self.output.zero_point != i8::MIN {
            return Err(OpFault::ZeroPoint);
        }
        let sound = self.multiplier.is_sound() && self.multiplier.shift >= 0;
        if sound { Ok(()) } else { Err(OpFault::Multiplier) }
    }

    fn parameters(&self, _previous: &Tensor) -> Parameters {
        Parameters::default()
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        // Each exponential takes about this many multiplications, twice.
        (self.output.len() as u64).saturating_mul(32)
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let values = copied(arena, self.input.resolve(previous), &self.output);
        for row in values.chunks_exact_mut(self.output.shape.channels().max(1)) {
            softmax(row, self.multiplier);
        }
    }
}

/// Differences below this count as −∞: −⌊31 · 2²⁶ / 2^shift⌋.
fn diff_min(shift: i8) -> i32 {
    let radius = ((1i64 << DIFF_INTEGER_BITS) - 1) << (31 - DIFF_INTEGER_BITS);
    -((radius >> shift.clamp(0, 31)) as i32)
}

/// Softmax of one row, in place.
fn softmax(row: &mut [i8], multiplier: Multiplier) {
    let max = row.iter().fold(i8::MIN, |max, &x| max.max(x));
    let least = diff_min(multiplier.shift);
    // exp of the scaled difference, or nothing where it is negligible.
    let exp = |x: i8| {
        let diff = i32::from(x) - i32::from(max);
        (diff >= least).then(|| exp_on_negative(multiplier.apply(diff), DIFF_INTEGER_BITS))
    };
    let mut sum = 0i32;
    for &x in row.iter() {
        let summand = exp(x).unwrap_or_default();
        sum = sum.wrapping_add(rounding_divide_by_pot(summand, SUM_INTEGER_BITS));
    }
    let headroom = sum.leading_zeros();
    // sum = (1 + fraction) · 2^(12 − headroom); the reciprocal is taken of 1 + fraction.
    let fraction = (sum as u32).wrapping_shl(headroom).wrapping_sub(1 << 31) as i32;
    let scale = one_over_one_plus(fraction);
    let exponent = (SUM_INTEGER_BITS + 31 - 8).saturating_sub(headroom);
    for x in row {
        let y = exp(*x).map_or(i32::from(i8::MIN), |e| {
            rounding_divide_by_pot(rounding_product(scale, e), exponent)
                .saturating_add(i32::from(i8::MIN))
        });
        *x = y.max(i32::from(i8::MIN)).min(i32::from(i8::MAX)) as i8;
    }
}
