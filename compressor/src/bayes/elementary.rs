//! Exponentials and normal samples as polynomials without branches or calls, so that loops over them
//! become vector instructions, and give the same bits on every machine whatever its libm.

use std::f32::consts::{LN_2, LOG2_E, PI};

/// Adding 1.5·2²³ leaves an f32's nearest integer in the low bits of its significand.
const TO_INTEGER: f32 = 12_582_912.0;
/// ln 2 in two parts, the first exact in products with small integers.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = LN_2 - LN_2_HIGH;
/// Where e^x is still a normal f32.
const EXP_RANGE: (f32, f32) = (-87.0, 88.0);
/// √½ as bits: a significand taken from there on is centred on 1.
const SQRT_HALF_BITS: u32 = 0x3f35_04f3;
const SIGNIFICAND: u32 = 0x007f_ffff;
/// 2⁻²⁴.
const STEP: f32 = 1.0 / 16_777_216.0;

/// e^x to a few units in the last place; beyond [`EXP_RANGE`], as at its ends.
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(EXP_RANGE.0, EXP_RANGE.1);
    let shifted = x * LOG2_E + TO_INTEGER;
    let n = shifted - TO_INTEGER;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Taylor's series on |r| ≤ ½ ln 2: what is left out is below 1e-8.
    let p = 1.0 / 720.0 + r * (1.0 / 5040.0);
    let p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * p);
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * p)));
    let power = shifted.to_bits().wrapping_sub(TO_INTEGER.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(power)
}

/// ln x of a positive normal x.
fn ln(x: f32) -> f32 {
    let shifted = x.to_bits().wrapping_sub(SQRT_HALF_BITS);
    let exponent = (shifted.cast_signed() >> 23) as f32;
    let f = f32::from_bits((shifted & SIGNIFICAND) + SQRT_HALF_BITS) - 1.0;
    // ln(1 + f) = 2 artanh(f/(2 + f)), and |s| < 0.172.
    let s = f / (2.0 + f);
    let square = s * s;
    let p = 1.0 / 5.0 + square * (1.0 / 7.0 + square * (1.0 / 9.0));
    exponent * LN_2 + 2.0 * s * (1.0 + square * (1.0 / 3.0 + square * p))
}

/// sin and cos of 2π·t for t from −½ to ½, by way of the half angle.
fn sin_cos_turn(t: f32) -> (f32, f32) {
    let y = PI * t;
    let square = y * y;
    let s = -1.0 / 5040.0 + square * (1.0 / 362_880.0 - square * (1.0 / 39_916_800.0));
    let s = y * (1.0 - square * (1.0 / 6.0 - square * (1.0 / 120.0 + square * s)));
    let c = 1.0 / 3_628_800.0 - square * (1.0 / 479_001_600.0);
    let c = -1.0 / 720.0 + square * (1.0 / 40_320.0 - square * c);
    let c = 1.0 - square * (0.5 - square * (1.0 / 24.0 + square * c));
    (2.0 * s * c, 1.0 - 2.0 * s * s)
}

/// Two independent samples of N(0, 1) from two random words (Box and Muller, 1958).
pub(crate) fn normal_pair(radius: u32, angle: u32) -> (f32, f32) {
    // From (0, 1]: the radius ends at √(48 ln 2) = 5.8, which is passed once in 10⁸ samples.
    let uniform = ((radius >> 8).cast_signed() + 1) as f32 * STEP;
    let radius = (-2.0 * ln(uniform)).max(0.0).sqrt();
    let (sin, cos) = sin_cos_turn((angle >> 8).cast_signed() as f32 * STEP - 0.5);
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_library() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) / exact - 1.0).abs();
            assert!(error < 4e-7, "{x}: {error}");
        }
        assert_eq!(exp(-1000.0), exp(EXP_RANGE.0));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_agrees_with_the_library() {
        for i in 1..=1 << 20 {
            let x = i as f32 * 16.0 * STEP;
            let exact = f64::from(x).ln();
            assert!((f64::from(ln(x)) - exact).abs() < 1e-6 + 2e-7 * exact.abs(), "{x}");
        }
    }

    #[test]
    fn sin_and_cos_agree_with_the_library() {
        for i in -5000..=5000 {
            let t = i as f32 * 1e-4;
            let (sin, cos) = sin_cos_turn(t);
            let (exact_sin, exact_cos) = (std::f64::consts::TAU * f64::from(t)).sin_cos();
            assert!((f64::from(sin) - exact_sin).abs() < 1e-6, "{t}: {sin}");
            assert!((f64::from(cos) - exact_cos).abs() < 1e-6, "{t}: {cos}");
        }
    }

    #[test]
    fn the_ends_of_the_random_words_are_finite() {
        for radius in [0, u32::MAX] {
            for angle in [0, 1 << 31, u32::MAX] {
                let (a, b) = normal_pair(radius, angle);
                assert!(a.abs() < 6.0 && b.abs() < 6.0, "{radius} {angle}: {a} {b}");
            }
        }
    }
}
