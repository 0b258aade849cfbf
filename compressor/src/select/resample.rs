//! Whether the promise about accepted errors is kept, by trying: examples are dealt out anew many times,
//! a margin is chosen on one part, and the errors are counted on the other, which is as large or larger.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::margin::{Accepted, Leads, Promise, choose_margin};
use super::unseen::breaks;

/// Which part of the examples that choose a margin plans where its tests begin: one of so many.
pub(crate) const PLANNING: usize = 4;

/// What came of all draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Resampled {
    /// How often examples were dealt out.
    pub(crate) draws: u64,
    /// Sets the draws' stream of randomness.
    pub(crate) seed: u64,
    /// Examples of each draw that choose the margin.
    pub(crate) choosing: u64,
    /// Examples of each draw on which the promise is looked at.
    pub(crate) tested: u64,
    /// Draws of which no margin kept the promise, so that none was made.
    pub(crate) without_margin: u64,
    /// Draws whose margin broke the promise on the examples tested.
    pub(crate) violations: u64,
    /// The same in percent of all draws.
    pub(crate) violation_percent: f64,
    /// Mean share of the examples tested that is accepted, in percent, and the least; of draws with a
    /// margin.
    pub(crate) coverage_percent: f64,
    pub(crate) least_coverage_percent: f64,
    /// Mean error among what is accepted, in percent, and the greatest; of draws with a margin.
    pub(crate) error_percent: f64,
    pub(crate) greatest_error_percent: f64,
    /// The smallest and the largest margin; none without one.
    pub(crate) margins: Option<(u8, u8)>,
}

/// Divides examples that choose a margin into those that plan where the tests begin, and the others.
pub(crate) fn divide(examples: &[(u8, bool)]) -> [Leads; 2] {
    let every = |planning: bool| {
        let part =
            examples.iter().enumerate().filter(move |(at, _)| (at % PLANNING == 0) == planning);
        Leads::count(part.map(|(_, &example)| example))
    };
    [every(true), every(false)]
}

/// Deals `examples` (how far each leads, and whether it is wrong) out `draws` times: `choosing` of them
/// choose a margin, and the promise is looked at on the rest.
pub(crate) fn resample(
    examples: &[(u8, bool)],
    choosing: usize,
    draws: u64,
    seed: u64,
    promise: Promise,
) -> Resampled {
    let mut noise = ChaCha8Rng::seed_from_u64(seed);
    let mut dealt = examples.to_vec();
    let mut found: Vec<(u8, Accepted)> = Vec::new();
    for _ in 0..draws {
        dealt.shuffle(&mut noise);
        let (choosing, tested) = dealt.split_at(choosing.min(dealt.len()));
        let [planning, held_out] = divide(choosing);
        if let Some(margin) = choose_margin(&planning, &held_out, promise).margin {
            found.push((margin, Leads::count(tested.iter().copied()).at(margin)));
        }
    }
    let broken = |(_, a): &&(u8, Accepted)| breaks(a.accepted, a.errors, promise.percent);
    let violations = found.iter().filter(broken).count() as u64;
    let mean = |of: fn(&Accepted) -> f64| {
        found.iter().map(|(_, accepted)| of(accepted)).sum::<f64>() / found.len().max(1) as f64
    };
    let fold = |from: f64, by: fn(f64, f64) -> f64, of: fn(&Accepted) -> f64| {
        found.iter().map(|(_, accepted)| of(accepted)).fold(from, by)
    };
    let coverage: fn(&Accepted) -> f64 = |accepted| accepted.coverage_percent;
    let error: fn(&Accepted) -> f64 = |accepted| accepted.error_percent;
    let margins = || found.iter().map(|&(margin, _)| margin);
    Resampled {
        draws,
        seed,
        choosing: choosing.min(examples.len()) as u64,
        tested: examples.len().saturating_sub(choosing) as u64,
        without_margin: draws - found.len() as u64,
        violations,
        violation_percent: 100.0 * violations as f64 / draws.max(1) as f64,
        coverage_percent: mean(coverage),
        least_coverage_percent: if found.is_empty() {
            0.0
        } else {
            fold(100.0, f64::min, coverage)
        },
        error_percent: mean(error),
        greatest_error_percent: fold(0.0, f64::max, error),
        margins: margins().min().zip(margins().max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of which those that lead by less are wrong more often.
    fn examples(count: u64) -> Vec<(u8, bool)> {
        // A fixed walk through leads, and a wrong one where another walk falls below a share that
        // shrinks with the lead.
        (0..count)
            .map(|i| {
                let lead = (i * 7_919 % 200) as u8;
                let place = (i * 104_729 % 10_007) as f64 / 10_007.0;
                (lead, place < 0.2 * (-f64::from(lead) / 12.0).exp())
            })
            .collect()
    }

    #[test]
    fn promises_are_broken_as_rarely_as_was_asked_for() {
        let all = examples(8_000);
        for (percent, choosing) in [(0.5, 4_000), (1.0, 2_000), (1.0, 4_000), (2.0, 2_000)] {
            let promise = Promise { percent, confidence: 0.95 };
            let found = resample(&all, choosing, 200, 7, promise);
            assert!(found.violation_percent <= 5.0, "{found:?}");
            assert!(found.coverage_percent > 40.0 && found.without_margin <= 20, "{found:?}");
            assert!(
                found.error_percent < percent && found.error_percent > 0.2 * percent,
                "{found:?}"
            );
        }
    }

    #[test]
    fn the_same_seed_deals_the_same() {
        let all = examples(3_000);
        let promise = Promise { percent: 1.0, confidence: 0.9 };
        let draw = |seed| resample(&all, 1_500, 20, seed, promise);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn without_a_margin_nothing_is_promised() {
        let promise = Promise { percent: 0.5, confidence: 0.95 };
        let found = resample(&examples(400), 200, 5, 1, promise);
        assert_eq!((found.without_margin, found.violations, found.margins), (5, 0, None));
        assert_eq!((found.coverage_percent, found.greatest_error_percent), (0.0, 0.0));
        assert_eq!(resample(&[], 9, 1, 1, promise).tested, 0);
    }
}
