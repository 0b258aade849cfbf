//! Softmax in fixed point.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::fixed_point::{exp_on_negative, input_radius, one_over_one_plus, rounding_product};
use super::operands::copied;
use crate::format::{OpFault, Source, Tensor, read_fields};
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

read_fields!(Softmax { input, output, multiplier });

/// Integer bits of a scaled difference.
const DIFF_INTEGER_BITS: u32 = 5;
/// Integer bits of the sum of exponentials: up to 2¹² − 1 summands of at most 1.
const SUM_INTEGER_BITS: u32 = 12;
/// Most values of a row: the sum of exponentials stays within its integer bits.
pub(crate) const MAX_SOFTMAX_LEN: usize = 4095;

impl Operator for Softmax {
    fn in_place(&self) -> bool {
        true
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

/// Softmax of one row, in place.
fn softmax(row: &mut [i8], multiplier: Multiplier) {
    let max = row.iter().fold(i8::MIN, |max, &x| max.max(x));
    // Differences below this count as −∞.
    let least = -input_radius(DIFF_INTEGER_BITS, multiplier.shift);
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
    // Beyond 31, for rows of more than 511 equals, the quotient is below a half: it rounds to 0.
    let exponent = (SUM_INTEGER_BITS + 31 - 8).saturating_sub(headroom);
    for x in row {
        let steps = exp(*x).map_or(0, |e| match exponent {
            0..=31 => rounding_divide_by_pot(rounding_product(scale, e), exponent),
            _ => 0,
        });
        let y = steps.saturating_add(i32::from(i8::MIN));
        *x = y.max(i32::from(i8::MIN)).min(i32::from(i8::MAX)) as i8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor, values};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A β · scale as the record wants it.
    fn multiplier(scale: f64) -> Multiplier {
        let real = (scale * f64::from(1 << 26)).min(f64::from(i32::MAX));
        let shift = real.log2().floor() as i8 + 1;
        Multiplier { value: (real * 2f64.powi(31 - i32::from(shift))) as i32, shift }
    }

    fn op(offset: u32, dims: &[u16], multiplier: Multiplier, zero_point: i8) -> Op {
        let output = tensor(offset, dims, zero_point);
        Op::Softmax(Softmax { input: Source::Previous, output, multiplier })
    }

    fn exact(x: &[i8], scale: f64) -> Vec<f64> {
        let max = f64::from(*x.iter().max().unwrap());
        let exps: Vec<f64> = x.iter().map(|&x| ((f64::from(x) - max) * scale).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.iter().map(|e| e / sum * 256.0 - 128.0).collect()
    }

    proptest! {
        #[test]
        fn within_a_step_of_the_real_one(
            x in (1usize..40).prop_flat_map(values), scale in 0.001f64..2.0, in_place: bool,
        ) {
            let n = x.len() as u16;
            let offset = if in_place { 0 } else { n.into() };
            let op = op(offset, &[n], multiplier(scale), -128);
            let found = run(&tensor(0, &[n], 0), &[op], &[], &x).unwrap();
            for (&y, exact) in found.iter().zip(exact(&x, scale)) {
                prop_assert!((f64::from(y) - exact.min(127.0)).abs() < 1.01, "{y} for {exact}");
            }
        }
    }

    #[test]
    fn extremes() {
        let run = |x: &[i8], scale| {
            let n = x.len() as u16;
            run(&tensor(0, &[n], 0), &[op(0, &[n], multiplier(scale), -128)], &[], x).unwrap()
        };
        assert_eq!(run(&[-128], 0.1), [127]);
        assert_eq!(run(&[127, -128], 1.0), [127, -128]);
        assert_eq!(run(&[5, 5], 0.5), [0, 0]);
        assert!(run(&[0; 4095], 0.1).iter().all(|&y| y == -128));
        assert!(run(&[0; 256], 0.1).iter().all(|&y| y == -127));
    }

    #[test]
    fn rows_are_apart() {
        let op = op(0, &[2, 2], multiplier(1.0), -128);
        let found = run(&tensor(0, &[2, 2], 0), &[op], &[], &[9, 9, 100, -100]).unwrap();
        assert_eq!(found, [0, 0, 127, -128]);
    }

    #[test]
    fn each_fault() {
        let good = multiplier(1.0);
        let input = tensor(0, &[4], 0);
        assert_eq!(fault(&input, op(4, &[4], good, -128), &[]), None);
        assert_eq!(fault(&input, op(4, &[5], good, -128), &[]), Some(OpFault::Shape));
        assert_eq!(fault(&input, op(4, &[4], good, 0), &[]), Some(OpFault::ZeroPoint));
        assert_eq!(fault(&input, op(2, &[4], good, -128), &[]), Some(OpFault::Overlap));
        let right = Multiplier { shift: -1, ..good };
        assert_eq!(fault(&input, op(4, &[4], right, -128), &[]), Some(OpFault::Multiplier));
        let long = tensor(0, &[4096], 0);
        assert_eq!(fault(&long, op(0, &[4096], good, -128), &[]), Some(OpFault::Shape));
    }
}
