//! The one rounding rule: numerics v1, as TFLite's reference kernels compute it.
//!
//! A real factor is a 31-bit fraction and a power of two ([`Multiplier`]); applying it rounds
//! twice: once in the doubling high product (half away from zero for positive, half up for
//! negative products) and once in the right shift (half away from zero). Both sides, device and
//! compressor, call these very functions. Everything is defined for all arguments.

use serde::{Deserialize, Serialize};

/// A real factor: value · 2^(shift − 31).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[repr(C)] // as kernels in assembly read it
pub struct Multiplier {
    /// The fraction in units of 2⁻³¹; normally 2³⁰ to 2³¹ − 1.
    pub value: i32,
    /// Positions to the left; negative ones to the right.
    pub shift: i8,
}

impl Multiplier {
    /// Furthest shift to the right: beyond, every result is zero anyway.
    pub const MIN_SHIFT: i8 = -31;
    /// Furthest shift to the left that leaves a bit of the accumulator.
    pub const MAX_SHIFT: i8 = 30;
    /// The factor 1, exactly: (2³⁰ / 2³¹) · 2.
    pub const ONE: Self = Self { value: 1 << 30, shift: 1 };

    /// Whether the factor is not negative and its shift in range.
    pub fn is_sound(self) -> bool {
        self.value >= 0 && (Self::MIN_SHIFT..=Self::MAX_SHIFT).contains(&self.shift)
    }

    /// The factor with a fraction of 16 bits, rounded half up, whose lower half is 0; the greatest is
    /// 1 − 2⁻¹⁵.
    pub fn narrowed(self) -> Self {
        let upper = self.value.saturating_add(1 << 15) >> 16;
        Self { value: upper.min(i16::MAX.into()).wrapping_shl(16), ..self }
    }

    /// The factor divided by a count, as a mean needs it: the fraction is shifted up as far as the
    /// count allows, then divided, rounding down.
    pub fn over(self, count: u32) -> Self {
        let count = count.max(1);
        let room = 31i32.saturating_add(i32::from(self.shift)).max(0) as u32;
        let up = count.ilog2().min(room);
        let value = ((i64::from(self.value) << up.min(31)) / i64::from(count)) as i32;
        Self { value, shift: self.shift.saturating_sub(up as i8) }
    }

    /// `acc` times the factor, rounded. A left shift comes first and wraps.
    pub fn apply(self, acc: i32) -> i32 {
        let shift = i32::from(self.shift);
        let left = acc.wrapping_shl(shift.max(0) as u32);
        let product = saturating_rounding_doubling_high_mul(left, self.value);
        rounding_divide_by_pot(product, shift.wrapping_neg().max(0) as u32)
    }
}

/// High half of 2·a·b, rounded; −2³¹ times itself saturates.
///
/// Rounds to nearest; ties go away from zero for positive products and up for negative ones.
pub fn saturating_rounding_doubling_high_mul(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    if cfg!(bitsback_isa = "thumb1") {
        return high_mul_by_halves(a, b);
    }
    let product = i64::from(a) * i64::from(b);
    // The floor of one half more: half away from zero where positive, half up where negative.
    ((product + (1 << 30)) >> 31) as i32
}

/// The floor of a·b / 2³¹ and a half, for cores whose products have 32 bits: four of half-words.
fn high_mul_by_halves(a: i32, b: i32) -> i32 {
    let halves = |x: i32| (x >> 16, x & 0xFFFF);
    let ((a, a_low), (b, b_low)) = (halves(a), halves(b));
    let low = (a_low as u32).wrapping_mul(b_low as u32);
    // Each carry fits: 65,535 · 32,768 + 65,535 < 2³¹.
    let middle = a_low.wrapping_mul(b).wrapping_add((low >> 16) as i32);
    let other = a.wrapping_mul(b_low).wrapping_add(middle & 0xFFFF);
    let high = a.wrapping_mul(b).wrapping_add(middle >> 16).wrapping_add(other >> 16);
    // Two bits of the lower word decide: the one below the point is the half.
    let rounded = ((other as u32 >> 14 & 3).wrapping_add(1) >> 1) as i32;
    high.wrapping_shl(1).wrapping_add(rounded)
}

/// x / 2^exponent, rounded to nearest, ties away from zero. Exponents beyond 31 count as 31.
pub fn rounding_divide_by_pot(x: i32, exponent: u32) -> i32 {
    let exponent = exponent.min(31);
    if exponent == 0 {
        return x;
    }
    // A negative tie must go down: one less turns it into no tie. −2³¹, which saturates, is none.
    let x = x.saturating_add(x >> 31);
    (x >> exponent) + ((x >> (exponent - 1)) & 1)
}

/// x · 2^exponent, saturating, for an exponent of 0 to 30.
pub fn saturating_multiply_by_pot(x: i32, exponent: u32) -> i32 {
    let exponent = exponent.min(30);
    let limit = i32::MAX >> exponent;
    if x > limit {
        i32::MAX
    } else if x < -limit {
        i32::MIN
    } else {
        x << exponent
    }
}

/// x · 2^exponent within 16 bits, saturating, for an x of 16 bits.
pub(crate) fn saturating_shift_left(x: i32, exponent: u32) -> i32 {
    // 15 positions saturate all but 0.
    x.wrapping_shl(exponent.min(15)).clamp(i16::MIN.into(), i16::MAX.into())
}

/// acc times the factor, plus the zero point, saturating: an output before its activation.
pub fn requantize(acc: i32, multiplier: Multiplier, zero_point: i8) -> i32 {
    multiplier.apply(acc).saturating_add(i32::from(zero_point))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn high_mul_at_ties_negatives_and_extremes() {
        let half = 1 << 30; // 0.5
        for (a, b, expected) in [
            (0, 0, 0),
            (1, half, 1),   // 0.5 → away from zero
            (-1, half, 0),  // −0.5 → up
            (3, half, 2),   // 1.5 → 2
            (-3, half, -1), // −1.5 → −1
            (5, half, 3),
            (i32::MAX, i32::MAX, i32::MAX - 1),
            (i32::MIN, i32::MAX, -i32::MAX),
            (i32::MIN, i32::MIN, i32::MAX),
            (i32::MIN, half, i32::MIN / 2),
        ] {
            assert_eq!(saturating_rounding_doubling_high_mul(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn halves_at_extremes() {
        let edges = [i32::MIN, i32::MIN + 1, -65_536, -65_535, -1, 0, 1, 65_535, 1 << 30, i32::MAX];
        for (a, b) in edges.into_iter().flat_map(|a| edges.map(|b| (a, b))) {
            let exact = (i64::from(a) * i64::from(b) + (1 << 30)) >> 31;
            if exact <= i64::from(i32::MAX) {
                assert_eq!(i64::from(high_mul_by_halves(a, b)), exact, "{a} {b}");
            }
        }
    }

    #[test]
    fn division_at_ties_negatives_and_extremes() {
        for (x, exponent, expected) in [
            (5, 0, 5),
            (1, 1, 1),
            (-1, 1, -1),
            (2, 2, 1),
            (-2, 2, -1),
            (1, 2, 0),
            (-1, 2, 0),
            (6, 2, 2),
            (-6, 2, -2),
            (i32::MAX, 31, 1),
            (i32::MIN, 31, -1),
            (i32::MIN / 2, 31, -1),
            (i32::MAX / 2, 31, 0),
            (i32::MIN, 99, -1),
        ] {
            assert_eq!(rounding_divide_by_pot(x, exponent), expected, "{x} / 2^{exponent}");
        }
    }

    #[test]
    fn multiplication_by_powers_saturates() {
        for (x, exponent, expected) in [
            (3, 0, 3),
            (3, 2, 12),
            (i32::MAX, 1, i32::MAX),
            (i32::MIN, 1, i32::MIN),
            (1 << 29, 1, 1 << 30),
            (1 << 30, 1, i32::MAX),
            (-1, 30, -(1 << 30)),
            (-2, 30, i32::MIN),
        ] {
            assert_eq!(saturating_multiply_by_pot(x, exponent), expected, "{x} · 2^{exponent}");
        }
    }

    #[test]
    fn shifts_within_16_bits_saturate() {
        for (x, exponent, expected) in [
            (0, 40, 0),
            (3, 0, 3),
            (1, 14, 1 << 14),
            (1, 15, 32_767),
            (-1, 15, -32_768),
            (-1, 99, -32_768),
            (-32_768, 15, -32_768),
            (32_767, 15, 32_767),
        ] {
            assert_eq!(saturating_shift_left(x, exponent), expected, "{x} · 2^{exponent}");
        }
    }

    #[test]
    fn narrow_fractions_are_rounded() {
        let narrow = |value| Multiplier { value, shift: 3 }.narrowed();
        for (value, upper) in [
            (0, 0),
            (1 << 30, 1 << 14),
            ((1 << 30) + 0x7FFF, 1 << 14),
            ((1 << 30) + 0x8000, (1 << 14) + 1),
            (i32::MAX - 0x8000, 32_767),
            (i32::MAX, 32_767),
            (i32::MIN, -32_768),
        ] {
            assert_eq!(narrow(value), Multiplier { value: upper << 16, shift: 3 }, "{value}");
        }
    }

    #[test]
    fn multipliers_round_twice() {
        let m = |value, shift| Multiplier { value, shift };
        for (acc, multiplier, expected) in [
            (7, Multiplier::ONE, 7),
            (-7, Multiplier::ONE, -7),
            (1, m(1 << 30, 0), 1),
            // 1 · 0.5 · 0.5 = 0.25, but 0.5 rounds to 1 and then 0.5 to 1 again.
            (1, m(1 << 30, -1), 1),
            (-1, m(1 << 30, -1), 0),
            (1000, m(i32::MAX, -31), 0),
            (i32::MIN, m(i32::MAX, -31), -1),
            (1, m(1 << 30, 30), 1 << 29),
            (4, m(1 << 30, 30), 0), // the left shift wraps
        ] {
            assert_eq!(multiplier.apply(acc), expected, "{acc} {multiplier:?}");
        }
        assert_eq!(requantize(i32::MAX, Multiplier::ONE, 127), 126); // 2³¹ − 1 shifted wraps to −2
    }

    #[test]
    fn division_by_a_count() {
        let m = |value, shift| Multiplier { value, shift };
        assert_eq!(Multiplier::ONE.over(1), Multiplier::ONE);
        assert_eq!(Multiplier::ONE.over(64), m(1 << 30, -5));
        assert_eq!(Multiplier::ONE.over(49), m(((1i64 << 35) / 49) as i32, -4));
        assert_eq!(m(1 << 30, -30).over(64), m(1 << 25, -31));
        assert_eq!(Multiplier::ONE.over(0), Multiplier::ONE);
    }

    #[test]
    fn soundness_has_limits() {
        assert!(Multiplier::ONE.is_sound());
        assert!(!Multiplier { value: -1, shift: 0 }.is_sound());
        assert!(!Multiplier { value: 1, shift: 31 }.is_sound());
        assert!(!Multiplier { value: 1, shift: -32 }.is_sound());
    }

    proptest! {
        #[test]
        fn within_one_step_of_the_real_product(acc in -(1i32 << 24)..(1 << 24), value in (1i32 << 30).., shift in -20i8..=6) {
            let exact = f64::from(acc) * f64::from(value) * 2f64.powi(i32::from(shift) - 31);
            let rounded = f64::from(Multiplier { value, shift }.apply(acc));
            prop_assert!((rounded - exact).abs() <= 1.0, "{rounded} for {exact}");
        }

        #[test]
        fn halves_give_the_same_product(a: i32, b: i32) {
            prop_assume!(a != i32::MIN || b != i32::MIN);
            let exact = ((i64::from(a) * i64::from(b) + (1 << 30)) >> 31) as i32;
            prop_assert_eq!(high_mul_by_halves(a, b), exact);
        }

        #[test]
        fn division_matches_an_i64_oracle(x: i32, exponent in 0u32..=31) {
            let exact = (i64::from(x).abs() + ((1i64 << exponent) >> 1)) >> exponent;
            prop_assert_eq!(i64::from(rounding_divide_by_pot(x, exponent)), exact * i64::from(x).signum());
        }
    }
}
