//! Ranges of real numbers, and the one that int8 holds with the least error.

use serde::{Deserialize, Serialize};

/// Bins of a histogram between the least and the greatest value: 8 for each step of int8.
pub(crate) const BINS: usize = 2048;

/// Ranges tried, as fractions of the whole one: down to 1 in steps of 1/64 from a third.
const CUTS: std::ops::RangeInclusive<usize> = 22..=64;

/// A closed range of real numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Least.
    pub low: f32,
    /// Greatest.
    pub high: f32,
}

/// The part of `range` (both ends cut by the same fraction, towards zero) with the least expected
/// squared error: what is cut off counts with its distance, what stays with a step's noise.
pub(crate) fn least_squares(range: Range, counts: &[u32]) -> Range {
    let width = f64::from(range.high - range.low) / BINS as f64;
    let cut = |of_64: usize| Range {
        low: range.low.min(0.0) * of_64 as f32 / 64.0,
        high: range.high.max(0.0) * of_64 as f32 / 64.0,
    };
    let error = |of_64: usize| -> f64 {
        let Range { low, high } = cut(of_64);
        let (low, high) = (f64::from(low), f64::from(high));
        let noise = ((high - low) / 255.0).powi(2) / 12.0;
        let bins = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        bins.map(|(bin, &count)| {
            let x = f64::from(range.low) + (bin as f64 + 0.5) * width;
            let outside = (x - high).max(low - x).max(0.0);
            f64::from(count) * (noise + outside * outside)
        })
        .sum()
    };
    let best = CUTS.min_by(|&a, &b| error(a).total_cmp(&error(b)));
    best.map_or(range, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_outlier_is_cut_off_and_an_even_spread_is_not() {
        let range = Range { low: 0.0, high: 10.0 };
        let even = vec![100; BINS];
        assert_eq!(least_squares(range, &even), range);
        let mut lone = vec![0; BINS];
        lone[..BINS / 4].fill(100_000);
        lone[BINS - 1] = 1;
        let cut = least_squares(range, &lone);
        assert!(cut.high < 6.0, "{cut:?}");
        assert_eq!(cut.low, 0.0);
    }
}
