//! Real factors as the runtime's multipliers.

use bitsback_runtime::requantize::Multiplier;

/// The multiplier nearest to a positive factor: a fraction of 31 bits and a power of two. Factors
/// too small for the format become 0; those too large the largest.
pub(crate) fn multiplier(factor: f64) -> Multiplier {
    if !(factor.is_finite() && factor > 0.0) {
        return Multiplier::default();
    }
    // factor = fraction · 2^shift with ½ ≤ fraction < 1, exactly.
    let mut shift = factor.log2().floor() as i32 + 1;
    let mut fraction = factor * 2f64.powi(-shift);
    while fraction >= 1.0 {
        fraction /= 2.0;
        shift += 1;
    }
    while fraction < 0.5 {
        fraction *= 2.0;
        shift -= 1;
    }
    let mut value = (fraction * f64::from(1u32 << 31)).round() as i64;
    if value == 1 << 31 {
        value /= 2;
        shift += 1;
    }
    if shift < i32::from(Multiplier::MIN_SHIFT) {
        return Multiplier::default();
    }
    let most = Multiplier { value: i32::MAX, shift: Multiplier::MAX_SHIFT };
    if shift > i32::from(Multiplier::MAX_SHIFT) {
        return most;
    }
    Multiplier { value: value as i32, shift: shift as i8 }
}

/// How many times finer than its input's scale a hard swish's output may be at most: the factor of
/// its product must stay below 1.
pub(crate) const HARD_SWISH_STEPS: f32 = 127.0;
/// Bits that a hard swish has behind the point: of an input that is shifted up, and of its gate.
const HARD_SWISH_UP: f32 = 128.0;
const HARD_SWISH_THREE: f32 = 3.0 / 32768.0;
/// Furthest shift of either to the right.
const HARD_SWISH_MIN_SHIFT: i8 = -15;

/// The factors of a hard swish's product and of its gate for scales of its input and output: in
/// single precision, as TensorFlow Lite divides them.
pub(crate) fn hard_swish(from: f32, to: f32) -> [Multiplier; 2] {
    let up = from / HARD_SWISH_UP;
    [up / to, up / HARD_SWISH_THREE].map(|factor| {
        let narrow = multiplier(f64::from(factor)).narrowed();
        // What is shifted out of 16 bits is nothing.
        if narrow.shift < HARD_SWISH_MIN_SHIFT { Multiplier::default() } else { narrow }
    })
}

/// The scale of a hard swish's input, and how many times its output's that is, by these factors.
pub(crate) fn hard_swish_scales([product, gate]: [Multiplier; 2]) -> [f64; 2] {
    let up = f64::from(HARD_SWISH_UP);
    [factor(gate) * up * f64::from(HARD_SWISH_THREE), factor(product) * up]
}

/// What a multiplier stands for.
pub(crate) fn factor(Multiplier { value, shift }: Multiplier) -> f64 {
    f64::from(value) * 2f64.powi(i32::from(shift) - 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_and_the_extremes() {
        assert_eq!(multiplier(1.0), Multiplier::ONE);
        assert_eq!(multiplier(0.5), Multiplier { value: 1 << 30, shift: 0 });
        assert_eq!(multiplier(1.0 - 2f64.powi(-40)), Multiplier::ONE);
        assert_eq!(multiplier(0.0), Multiplier::default());
        assert_eq!(multiplier(f64::NAN), Multiplier::default());
        assert_eq!(multiplier(1e-30), Multiplier::default());
        assert_eq!(multiplier(1e30), Multiplier { value: i32::MAX, shift: 30 });
    }

    proptest! {
        #[test]
        fn the_factor_comes_back(log in -20f64..20.0) {
            let factor = log.exp();
            let m = multiplier(factor);
            prop_assert!(m.is_sound() && m.value >= 1 << 30);
            prop_assert!((super::factor(m) / factor - 1.0).abs() < 1e-9);
        }
    }
}
