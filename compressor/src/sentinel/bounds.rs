//! What counts of reference examples let be said of the law that they were drawn from, in 4096ths.
//!
//! Each bound is that of Clopper and Pearson (1934), one-sided, rounded outward. A reference makes m such
//! statements; where each is wrong with probability δ/m at most, all hold at once with 1 − δ (Bonferroni).

use bitsback_runtime::sentinel::{BINS, proof};

use crate::select::confidence::{lower_bound, upper_bound};

/// Borders between the bins of an ordinal statistic.
pub(super) const EDGES: usize = BINS - 1;
/// A probability of 1, in the unit of all bounds.
pub(super) const ONE: u16 = proof::CERTAIN;
/// What a float may be off by, in 4096ths, is far less than this.
const SLACK: f64 = 1e-6;

/// How often an ordinal statistic is in bin k or above: bounds for k = 1…7, in 4096ths, neither rising with
/// k. An upper bound of 4095 isn't among them: the file has no word for it, and 4096 is written instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Not more often than this, 0 to 4096.
    pub(super) up: [u16; EDGES],
    /// Not more rarely than this, 0 to 4095.
    pub(super) lo: [u16; EDGES],
}

impl Bounds {
    /// Of counts by bin; each of the 14 statements is wrong with probability `doubt` at most.
    pub(super) fn of(counts: &[u64; BINS], doubt: f64) -> Self {
        let examples: u64 = counts.iter().sum();
        let mut bounds = Self { up: [ONE; EDGES], lo: [0; EDGES] };
        let mut above = examples;
        for ((up, lo), below) in bounds.up.iter_mut().zip(&mut bounds.lo).zip(counts) {
            above -= below;
            *up = upper(above, examples, doubt);
            *lo = lower(above, examples, doubt);
        }
        bounds
    }

    /// The most that a set of bins can have together, in 4096ths: summed by parts, as the proof of tables
    /// does, so 0 to 4096 but not always the least such bound.
    pub(super) fn most(&self, bins: &[bool; BINS]) -> u16 {
        let mut sum = i32::from(bins[0]) * i32::from(ONE);
        for (k, pair) in bins.windows(2).enumerate() {
            sum += match (pair[0], pair[1]) {
                (false, true) => i32::from(self.up[k]),
                (true, false) => -i32::from(self.lo[k]),
                _ => 0,
            };
        }
        sum.clamp(0, i32::from(ONE)) as u16
    }
}

/// The most that the probability of what was seen `count` times of `examples` can be, in 4096ths, but for a
/// chance of `doubt`.
pub(super) fn upper(count: u64, examples: u64, doubt: f64) -> u16 {
    let bound = upper_bound(count, examples, 1.0 - doubt) * f64::from(ONE);
    match (bound + SLACK).ceil() {
        bound if bound < f64::from(ONE - 1) => bound as u16,
        _ => ONE,
    }
}

/// The least that it can be.
fn lower(count: u64, examples: u64, doubt: f64) -> u16 {
    let bound = lower_bound(count, examples, 1.0 - doubt) * f64::from(ONE);
    ((bound - SLACK).floor().max(0.0) as u16).min(ONE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn bounds_are_rounded_outward() {
        for (count, examples) in
            [(0, 240), (3, 1_600), (200, 1_600), (1_599, 1_600), (1_600, 1_600)]
        {
            let exact = upper_bound(count, examples, 0.999) * 4096.0;
            let up = f64::from(upper(count, examples, 0.001));
            assert!(up >= exact && (up - exact < 1.01 || up == 4096.0), "{count}: {up} {exact}");
            let exact = lower_bound(count, examples, 0.999) * 4096.0;
            let lo = f64::from(lower(count, examples, 0.001));
            assert!(lo <= exact && exact - lo < 1.01, "{count}: {lo} {exact}");
        }
        assert_eq!((upper(0, 0, 0.01), lower(0, 0, 0.01)), (4096, 0));
        assert_eq!(upper(99_990, 100_000, 0.01), 4096, "4095 is none that the file can say");
    }

    #[test]
    fn a_set_of_bins_is_bounded_by_its_borders() {
        let counts = [100, 200, 300, 400, 400, 300, 200, 100];
        let bounds = Bounds::of(&counts, 1e-3);
        let of = |bins: [u8; BINS]| bounds.most(&bins.map(|bin| bin == 1));
        assert_eq!(of([1; 8]), 4096);
        assert_eq!(of([0; 8]), 0);
        assert_eq!(of([0, 0, 0, 0, 0, 0, 0, 1]), bounds.up[6]);
        assert_eq!(of([1, 0, 0, 0, 0, 0, 0, 0]), 4096 - bounds.lo[0]);
        assert_eq!(of([0, 0, 0, 1, 0, 0, 0, 0]), bounds.up[2] - bounds.lo[3]);
    }

    /// The law is in all bounds at once in 1 − δ of the draws, and not in almost all where few statements
    /// are made at a great doubt: a bound that is far too wide would be a mistake as well.
    #[test]
    fn the_law_is_within_the_bounds_as_often_as_promised() {
        let mut noise = ChaCha8Rng::seed_from_u64(5);
        let law = [0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.2];
        let (draws, examples, delta) = (300, 200, 0.2);
        let mut outside = [0, 0];
        for _ in 0..draws {
            let mut counts = [0; BINS];
            for _ in 0..examples {
                let mut at: f64 = noise.random();
                let bin = law.iter().take(EDGES).take_while(|p| {
                    at -= *p;
                    at >= 0.0
                });
                counts[bin.count()] += 1;
            }
            let within = |bounds: &Bounds, k: usize| {
                let above = law[k..].iter().sum::<f64>() * 4096.0;
                let of = |bound: u16| f64::from(bound);
                above <= of(bounds.up[k - 1]) && above >= of(bounds.lo[k - 1])
            };
            let all = Bounds::of(&counts, delta / 14.0);
            outside[0] += u32::from(!(1..BINS).all(|k| within(&all, k)));
            outside[1] += u32::from(!within(&Bounds::of(&counts, delta / 2.0), 4));
        }
        // Four standard errors above, and far too wide.
        let most = delta * f64::from(draws) + 28.0;
        assert!(outside.iter().all(|&count| f64::from(count) <= most), "{outside:?} of {draws}");
        assert!(outside[1] >= 25, "{outside:?} of {draws}");
    }
}
