//! How int8 stands for real numbers.

use serde::{Deserialize, Serialize};

use super::Range;

/// How a tensor's integers stand for real numbers: scale·(q − zero point).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Real value of one step.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i8,
}

impl Quantization {
    /// Covers `range` and zero with 255 steps.
    pub fn of_range(range: Range) -> Self {
        let (low, high) = (f64::from(range.low.min(0.0)), f64::from(range.high.max(0.0)));
        // A range of nothing is that of a constant zero; any step will do.
        let scale = if high > low { (high - low) / 255.0 } else { 1.0 / 255.0 };
        let scale = (scale as f32).max(f32::MIN_POSITIVE);
        let zero_point = (-128.0 - low / f64::from(scale)).round().clamp(-128.0, 127.0) as i8;
        Self { scale, zero_point }
    }

    /// The nearest integer, ties away from zero, limited to int8.
    pub fn quantize(self, x: f32) -> i8 {
        let steps = (f64::from(x) / f64::from(self.scale)).round();
        (steps + f64::from(self.zero_point)).clamp(-128.0, 127.0) as i8
    }

    /// Whether a number is within a step of what one of the integers stands for.
    pub(crate) fn holds(self, x: f32) -> bool {
        (self.dequantize(self.quantize(x)) - x).abs() <= self.scale
    }

    /// The real number that an integer stands for.
    pub fn dequantize(self, q: i8) -> f32 {
        self.scale * f32::from(i16::from(q) - i16::from(self.zero_point))
    }
}

/// An output's step is at least the accumulator's: a finer one would only shift zeros in (and the
/// multiplier's left shift could leave 32 bits).
pub(crate) fn not_finer_than(wanted: Quantization, unit: f64) -> Quantization {
    if f64::from(wanted.scale) >= unit {
        return wanted;
    }
    let steps_below = f64::from(wanted.zero_point) + 128.0;
    let below = (steps_below * f64::from(wanted.scale) / unit).round();
    Quantization { scale: unit as f32, zero_point: (below - 128.0).clamp(-128.0, 127.0) as i8 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_relu_range_has_its_zero_point_at_the_bottom() {
        let q = Quantization::of_range(Range { low: 0.0, high: 2.55 });
        assert_eq!(q.zero_point, -128);
        assert!((q.scale - 0.01).abs() < 1e-7);
        assert_eq!([q.quantize(-1.0), q.quantize(0.0), q.quantize(2.55)], [-128, -128, 127]);
    }

    #[test]
    fn a_range_of_nothing_still_holds_zero() {
        let q = Quantization::of_range(Range { low: 0.0, high: 0.0 });
        assert_eq!(q.dequantize(q.quantize(0.0)), 0.0);
    }

    #[test]
    fn an_output_is_no_finer_than_its_accumulator() {
        let fine = Quantization { scale: 0.001, zero_point: 0 };
        let coarse = not_finer_than(fine, 0.01);
        assert_eq!(coarse, Quantization { scale: 0.01, zero_point: -115 });
        assert_eq!(not_finer_than(fine, 0.0001), fine);
    }

    proptest! {
        #[test]
        fn values_in_range_come_back_within_a_step(low in -50f32..0.0, high in 0f32..50.0, at in 0f32..=1.0) {
            prop_assume!(high - low > 1e-3);
            let q = Quantization::of_range(Range { low, high });
            prop_assert_eq!(q.dequantize(q.quantize(0.0)), 0.0);
            let x = low + at * (high - low);
            prop_assert!((q.dequantize(q.quantize(x)) - x).abs() <= q.scale * 1.01);
        }
    }
}
