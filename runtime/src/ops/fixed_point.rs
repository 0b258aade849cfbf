//! Exponentials and reciprocals in fixed point, the bits of gemmlowp's reference.
//!
//! A number with n integer bits is an `i32` in units of 2^(n − 31). The products are rounding
//! doubling high products, so n adds up under multiplication. The polynomial of the exponential is
//! a fourth-order Taylor series about −1/8; reciprocals are three Newton steps from the linear
//! minimax start 48/17 − 32/17·d.

use crate::requantize::{rounding_divide_by_pot, saturating_multiply_by_pot};

pub(crate) use crate::requantize::saturating_rounding_doubling_high_mul as rounding_product;

/// exp(−1/8) with no integer bits.
const EXP_MINUS_EIGHTH: i32 = 1_895_147_668;
/// 1/3 with no integer bits.
const THIRD: i32 = 715_827_883;
/// exp(−2^k) with no integer bits, for k = −2 to 4.
const EXP_MINUS_POT: [(i32, i32); 7] = [
    (-2, 1_672_461_947),
    (-1, 1_302_514_674),
    (0, 790_015_084),
    (1, 290_630_308),
    (2, 39_332_535),
    (3, 720_401),
    (4, 242),
];
/// 48/17 with two integer bits.
const FORTY_EIGHT_17THS: i32 = 1_515_870_810;
/// 1 with two integer bits.
const ONE: i32 = 1 << 29;
/// −32/17 with two integer bits.
const MINUS_THIRTY_TWO_17THS: i32 = -1_010_580_540;

/// exp(a) for −1/4 ≤ a < 0; no integer bits in, none out.
fn exp_on_last_quarter(a: i32) -> i32 {
    let x = a.wrapping_add(1 << 28);
    let x2 = rounding_product(x, x);
    let x3 = rounding_product(x2, x);
    let x4 = rounding_product(x2, x2);
    let sum = rounding_product(rounding_divide_by_pot(x4, 2).wrapping_add(x3), THIRD);
    let tail = rounding_divide_by_pot(sum.wrapping_add(x2), 1);
    EXP_MINUS_EIGHTH.wrapping_add(rounding_product(EXP_MINUS_EIGHTH, x.wrapping_add(tail)))
}

/// exp(a) for a ≤ 0 with `integer_bits` of 4 or 5; no integer bits out.
pub(crate) fn exp_on_negative(a: i32, integer_bits: u32) -> i32 {
    if a == 0 {
        return i32::MAX;
    }
    let fraction_bits = 31u32.saturating_sub(integer_bits.min(5));
    let quarter = 1i32.wrapping_shl(fraction_bits - 2);
    let last = (a & (quarter - 1)).wrapping_sub(quarter);
    let mut result = exp_on_last_quarter(saturating_multiply_by_pot(last, integer_bits));
    let remainder = last.wrapping_sub(a);
    for (exponent, factor) in EXP_MINUS_POT {
        if exponent < integer_bits as i32
            && remainder & 1i32.wrapping_shl(fraction_bits.wrapping_add_signed(exponent)) != 0
        {
            result = rounding_product(result, factor);
        }
    }
    result
}

/// 1/d with two integer bits, where d = (1 + a)/2 and 0 ≤ a < 1 has no integer bits.
fn reciprocal_of_half(a: i32) -> i32 {
    // (1 + a)/2, rounded half away from zero, with 1 as the greatest fraction.
    let half = ((i64::from(a) + i64::from(i32::MAX) + 1) / 2) as i32;
    let mut x = FORTY_EIGHT_17THS.wrapping_add(rounding_product(half, MINUS_THIRTY_TWO_17THS));
    for _ in 0..3 {
        let error = ONE.wrapping_sub(rounding_product(half, x));
        x = x.wrapping_add(saturating_multiply_by_pot(rounding_product(x, error), 2));
    }
    x
}

/// 1/(1 + a) for 0 ≤ a < 1; no integer bits in, none out.
pub(crate) fn one_over_one_plus(a: i32) -> i32 {
    // Half of 1/d: one integer bit less, then the last one goes.
    saturating_multiply_by_pot(reciprocal_of_half(a), 1)
}

/// (1 − a)/(1 + a) = 2/(1 + a) − 1 for 0 ≤ a < 1; no integer bits in, none out.
fn one_minus_over_one_plus(a: i32) -> i32 {
    saturating_multiply_by_pot(reciprocal_of_half(a).wrapping_sub(ONE), 2)
}

/// Integer bits of the arguments of [`logistic`] and [`tanh`].
pub(crate) const INPUT_INTEGER_BITS: u32 = 4;

/// 1/(1 + exp(−x)); [`INPUT_INTEGER_BITS`] in, none out.
pub(crate) fn logistic(x: i32) -> i32 {
    if x == 0 {
        return 1 << 30;
    }
    let magnitude = x.wrapping_abs();
    let positive = one_over_one_plus(exp_on_negative(magnitude.wrapping_neg(), INPUT_INTEGER_BITS));
    if x > 0 { positive } else { i32::MAX.wrapping_sub(positive) }
}

/// tanh(x); [`INPUT_INTEGER_BITS`] in, none out.
pub(crate) fn tanh(x: i32) -> i32 {
    if x == 0 {
        return 0;
    }
    // The same bits with one integer bit more are twice the number.
    let twice = x.wrapping_abs().wrapping_neg();
    let positive = one_minus_over_one_plus(exp_on_negative(twice, INPUT_INTEGER_BITS + 1));
    if x > 0 { positive } else { positive.wrapping_neg() }
}

/// The least difference that saturates: ⌊(2^bits − 1) · 2^(31 − bits) / 2^shift⌋.
pub(crate) fn input_radius(integer_bits: u32, shift: i8) -> i32 {
    let range = ((1i64 << integer_bits) - 1) << (31 - integer_bits);
    (range >> shift.clamp(0, 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixed::types::{I1F31, I3F29};

    /// The real number of `value`, which has no integer bits.
    fn real(value: i32) -> f64 {
        I1F31::from_bits(value).to_num()
    }

    #[test]
    fn the_constants_are_what_they_say() {
        let close = |value, expected: f64| assert!((real(value) - expected).abs() < 1e-9);
        close(EXP_MINUS_EIGHTH, (-0.125f64).exp());
        close(THIRD, 1.0 / 3.0);
        let wide = |value| I3F29::from_bits(value).to_num::<f64>();
        assert!((wide(FORTY_EIGHT_17THS) - 48.0 / 17.0).abs() < 1e-8);
        assert!((wide(MINUS_THIRTY_TWO_17THS) + 32.0 / 17.0).abs() < 1e-8);
        for (k, factor) in EXP_MINUS_POT {
            close(factor, (-(2f64.powi(k))).exp());
        }
    }

    #[test]
    fn exponentials_are_close() {
        for integer_bits in [4, 5] {
            assert_eq!(exp_on_negative(0, integer_bits), i32::MAX);
            for i in 1..4000i64 {
                let a = -(i * ((1i64 << 31) / 4000)) as i32;
                let x = f64::from(a) * 2f64.powi(integer_bits as i32 - 31);
                let error = (real(exp_on_negative(a, integer_bits)) - x.exp()).abs();
                assert!(error < 3e-6, "exp({x}): {error}");
            }
        }
    }

    #[test]
    fn sigmoids_are_close() {
        for i in -1000..1000i64 {
            let x = (i * ((1i64 << 31) / 1000)) as i32;
            let exact = f64::from(x) * 2f64.powi(4 - 31);
            assert!((real(logistic(x)) - 1.0 / (1.0 + (-exact).exp())).abs() < 3e-6);
            assert!((real(tanh(x)) - exact.tanh()).abs() < 6e-6);
        }
        assert_eq!((logistic(0), tanh(0)), (1 << 30, 0));
        assert!(real(logistic(i32::MIN)).abs() < 1e-6 && real(tanh(i32::MIN)) < -0.999);
    }

    #[test]
    fn reciprocals_are_close() {
        for i in 0..1000i64 {
            let a = (i * ((1i64 << 31) / 1000)) as i32;
            let error = (real(one_over_one_plus(a)) - 1.0 / (1.0 + real(a))).abs();
            assert!(error < 1e-8, "1/(1 + {}): {error}", real(a));
        }
    }
}
