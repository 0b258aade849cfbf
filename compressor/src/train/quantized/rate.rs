//! The rate: what a layer's integers cost in bits, and its pull on the weights.
//!
//! A geometric code with a probability of its own for zero, P(0) = p₀,
//! P(±k) = (1 − p₀)/2 · (1 − r)·r^(k − 1), fitted to the layer as it is. The loss gets
//! λ·ln 2/N · bits, so that λ = 1 weighs a bit of the file as a bit of the labels' description
//! (the two-part code behind bits-back: Hinton and van Camp 1993), and a weight is drawn to zero by
//! the slope of the code's length between the two integers around it.

use serde::{Deserialize, Serialize};

/// Least probability of a zero: below, a layer without zeros would repel its first one.
const LEAST_ZERO: f64 = 0.4;

/// A layer's code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Bits of ±k, for k from 0 to the largest integer plus one.
    bits: Vec<f32>,
}

impl Rate {
    /// Fitted to `values`, none of which is beyond ±`most`.
    pub(crate) fn fit(values: &[i16], most: i16) -> Self {
        let n = values.len().max(1) as f64;
        let nonzero = values.iter().filter(|&&v| v != 0).count() as f64;
        let sum: f64 = values.iter().map(|&v| f64::from(v.unsigned_abs())).sum();
        let zero = ((n - nonzero + 0.5) / (n + 1.0)).max(LEAST_ZERO);
        // The mean magnitude of a geometric variable is 1/(1 − r).
        let ratio = 1.0 - (nonzero + 1.0) / (sum + 2.0);
        let ratio = ratio.clamp(0.01, 0.99);
        let first = -((1.0 - zero) / 2.0 * (1.0 - ratio)).log2();
        let step = -ratio.log2();
        let levels = 1..=i32::from(most) + 1;
        let of_level = levels.map(|k| (first + step * f64::from(k - 1)) as f32);
        Self { bits: std::iter::once(-zero.log2() as f32).chain(of_level).collect() }
    }

    /// Bits of all `values`.
    pub(crate) fn of(&self, values: &[i16]) -> f64 {
        values.iter().map(|&v| f64::from(self.at(usize::from(v.unsigned_abs())))).sum()
    }

    /// Slope of the length at a weight of `steps` steps, in bits per step.
    pub(crate) fn slope(&self, steps: f32) -> f32 {
        let below = steps.abs().floor() as usize;
        (self.at(below + 1) - self.at(below)) * steps.signum()
    }

    fn at(&self, level: usize) -> f32 {
        self.bits.get(level).or(self.bits.last()).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let rate = Rate::fit(&[0, 0, 0, 0, 1, -1, 2, 0, 0, -3], 200);
        let p = |bits: &f32| 2f64.powf(-f64::from(*bits));
        let sum = p(&rate.bits[0]) + 2.0 * rate.bits[1..].iter().map(p).sum::<f64>();
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn zeros_are_cheapest_and_attract() {
        let rate = Rate::fit(&[0, 0, 0, 1, -1, 0, 2], 3);
        assert!(rate.slope(0.4) > 0.0 && rate.slope(-0.4) < 0.0);
        assert!(rate.of(&[0]) < rate.of(&[1]) && rate.of(&[1]) < rate.of(&[-2]));
        assert_eq!(rate.of(&[1]), rate.of(&[-1]));
    }

    #[test]
    fn a_layer_without_zeros_has_a_finite_code() {
        let rate = Rate::fit(&[3; 50], 3);
        assert!(rate.bits.iter().all(|b| b.is_finite() && *b > 0.0));
        assert!(Rate::fit(&[], 3).bits.iter().all(|b| b.is_finite()));
    }
}
