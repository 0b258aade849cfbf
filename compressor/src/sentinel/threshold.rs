//! How much evidence is an alarm: the least threshold that keeps a promise about false alarms.
//!
//! A false alarm is one while, given everything fed before, the law of the next symbol is within the bounds
//! and the tolerance. Two proofs bound its chance within N feeds, and for each bet the better one is taken:
//!
//! - 2^V is at most the larger of 1 and the Shiryaev-Roberts sum R of the bet's products, and R − t is a
//!   supermartingale; so the chance is at most N / 2^(h/16) (after Shin, Ramdas and Rinaldo,
//!   arXiv:2203.03532).
//! - Among the laws of the null set the increments have a stochastically largest one. V is dominated by the
//!   chain on 0…h − 1 with independent increments of that law ([`Steps`]), whose chance is computed: see
//!   [`Alarms`].
//!
//! The chance that any bet alarms is the sum at most.

use bitsback_runtime::sentinel::{BINS, Event, MAX_THRESHOLD};

use super::bounds::{Bounds, ONE};
use super::events;
use super::tables::Table;

/// Sixteenths of a bit.
const STEPS: f64 = 16.0;
/// The most that a bet rises or falls at once.
const MOST: usize = 127;
/// Feeds of a chain at the most: beyond, the other proof has to do.
const MAX_FEEDS: u64 = 20_000;
/// How far the greatest hazard may be above that of the start for the chain to be settled.
const SETTLED: f64 = 1.01;
/// Covers the rounding of sums of floats, which is far below it.
const ROUNDING: f64 = 1.0 + 1e-9;

/// What is promised: within so many feeds, an alarm with this probability at the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Promise {
    /// The chance of a false alarm, above 0 and at most 1.
    pub(super) chance: f64,
    /// Inferences that are fed, at least 1.
    pub(super) feeds: u64,
}

/// The stochastically largest law of a bet's increments: each with its probability in 4096ths, which sum
/// to 4096.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps(Vec<(i16, u16)>);

impl Steps {
    /// Of a table.
    pub(super) fn of_table(table: &Table, bounds: &Bounds, tolerance: u16) -> Self {
        let mut values = table.to_vec();
        values.sort_unstable();
        values.dedup();
        // How likely an increment is at least this large. Bounds of sets needn't grow with them, the
        // probabilities do.
        let mut most = ONE;
        let tails: Vec<u16> = values
            .iter()
            .map(|value| {
                let bins: [bool; BINS] = table.map(|t| t >= *value);
                most = most.min(bounds.most(&bins).saturating_add(tolerance));
                most
            })
            .collect();
        let next = tails.iter().skip(1).chain(&[0]);
        let steps = values.iter().zip(tails.iter().zip(next));
        Self(steps.map(|(&value, (here, next))| (i16::from(value), here - next)).collect())
    }

    /// Of an event.
    pub(super) fn of_event(event: Event, up: u16, tolerance: u16) -> Self {
        let hits = events::worst(up, tolerance);
        Self(vec![(-i16::from(event.loss), ONE - hits), (i16::from(event.hit), hits)])
    }

    /// How likely it makes an increment that is at least so large, in 4096ths.
    #[cfg(test)]
    pub(super) fn at_least(&self, least: i16) -> u16 {
        let steps = self.0.iter().filter(|&&(step, _)| step >= least);
        steps.map(|&(_, likely)| likely).sum()
    }

    /// Whether it ever rises.
    pub(super) fn rises(&self) -> bool {
        self.0.iter().any(|&(step, likely)| step > 0 && likely > 0)
    }
}

/// The chain of a bet, from every evidence 0…h − 1 at once.
///
/// δ_t(v) is the chance that the first alarm of a chain at v is at feed t + 1. δ_0 is that of a jump over the
/// threshold, δ_(t+1) = Q·δ_t with Q the chain that stops at alarms, and so max δ_t never grows. Therefore,
/// for every T ≤ N,
///
/// P(alarm within N feeds from 0) ≤ Σ_(t<T) δ_t(0) + (N − T)·max δ_T,
///
/// whatever became of the chain's law; after some thousand feeds little is lost by it.
struct Alarms<'a> {
    steps: &'a Steps,
    threshold: usize,
    /// δ at evidence v is at v + MOST; what is before it repeats δ(0), as V never falls below 0; what is
    /// behind it is 0: an alarm isn't first after another.
    hazard: Vec<f64>,
    next: Vec<f64>,
}

impl<'a> Alarms<'a> {
    fn new(steps: &'a Steps, threshold: u16) -> Self {
        let threshold = usize::from(threshold);
        let empty = vec![0.0; threshold + 2 * MOST];
        let mut alarms = Self { steps, threshold, hazard: empty.clone(), next: empty };
        // One feed from the indicator of an alarm.
        alarms.hazard[MOST + threshold..].fill(1.0);
        alarms.advance();
        alarms
    }

    /// From δ_t to δ_(t+1).
    fn advance(&mut self) {
        let states = MOST..MOST + self.threshold;
        self.next[states.clone()].fill(0.0);
        for &(step, likely) in &self.steps.0 {
            let likely = f64::from(likely) / f64::from(ONE);
            let from = (MOST as isize + step as isize).unsigned_abs();
            let reached = &self.hazard[from..from + self.threshold];
            for (sum, reached) in self.next[states.clone()].iter_mut().zip(reached) {
                *sum += likely * reached;
            }
        }
        let lowest = self.next[MOST];
        self.next[..MOST].fill(lowest);
        self.next[states.end..].fill(0.0);
        std::mem::swap(&mut self.hazard, &mut self.next);
    }

    /// A bound of the chance of an alarm within so many feeds; at least as large as that many times the
    /// greatest hazard, so that k times as many feeds have k times the chance at the most. Nothing exact
    /// above `enough`.
    fn within(mut self, feeds: u64, enough: f64) -> f64 {
        let states = MOST..MOST + self.threshold;
        let mut sum = 0.0;
        for fed in 0..MAX_FEEDS {
            let (lowest, left) = (self.hazard[MOST], feeds.saturating_sub(fed));
            let greatest = self.hazard[states.clone()].iter().copied().fold(0.0, f64::max);
            let settled = greatest <= SETTLED * lowest || greatest * feeds as f64 <= 1e-6 * enough;
            if settled || sum > enough || fed + 1 == MAX_FEEDS {
                let bound = sum + left as f64 * greatest;
                return (ROUNDING * bound.max(feeds as f64 * greatest)).min(1.0);
            }
            if left > 0 {
                sum += lowest;
            }
            self.advance();
        }
        1.0
    }
}

/// The least threshold by the first proof alone: ⌈16·log2(J·N/α)⌉ of J bets, 1 of none. At most
/// [`MAX_THRESHOLD`], which no numbers reach.
pub(super) fn by_ratio(bets: usize, promise: Promise) -> u16 {
    let rarer = (bets as f64).log2() + (promise.feeds as f64).log2() - promise.chance.log2();
    (STEPS * rarer - 1e-9).ceil().clamp(1.0, MAX_THRESHOLD.into()) as u16
}

/// A bound of the chance that any of the bets alarms within the promise's feeds.
pub(super) fn chance(bets: &[Steps], threshold: u16, promise: Promise) -> f64 {
    let by_ratio = promise.feeds as f64 * (-f64::from(threshold) / STEPS).exp2();
    let mut sum = 0.0;
    for steps in bets.iter().filter(|steps| steps.rises()) {
        let exact = Alarms::new(steps, threshold).within(promise.feeds, by_ratio);
        sum += exact.min(by_ratio);
    }
    sum
}

/// The least threshold that keeps the promise, in sixteenths of a bit.
pub(super) fn threshold(bets: &[Steps], promise: Promise) -> u16 {
    let rising = bets.iter().filter(|steps| steps.rises()).count();
    let mut high = by_ratio(rising, promise);
    let mut low = 0;
    while high - low > 1 {
        let middle = u16::midpoint(low, high);
        if chance(bets, middle, promise) <= promise.chance { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::tables::tests::references;
    use crate::sentinel::tables::{SLOPES, law, table, tilted};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// The bets on a reference.
    fn bets(counts: &[u64; BINS]) -> Vec<Steps> {
        let (reference, bounds) = (law(counts), Bounds::of(counts, 0.01 / 52.0));
        let table = |slope| table(&reference, &tilted(&reference, slope), &bounds, 82);
        let mut bets: Vec<Steps> =
            SLOPES.iter().map(|&slope| Steps::of_table(&table(slope), &bounds, 82)).collect();
        let up = bounds.up[6];
        let tail = events::event(up, 82, events::tail_alternative(0.06, up, 82));
        bets.push(Steps::of_event(tail, up, 82));
        bets
    }

    #[test]
    fn the_largest_law_is_a_law_and_above_all_of_the_null_set() {
        let mut noise = ChaCha8Rng::seed_from_u64(3);
        for counts in references() {
            for steps in bets(&counts) {
                assert_eq!(steps.0.iter().map(|&(_, p)| u32::from(p)).sum::<u32>(), 4096);
            }
            // Bets that are no monotone functions: bounds of their sets don't grow with them.
            let bounds = Bounds::of(&counts, 0.01);
            let all = counts.iter().sum::<u64>() as f64;
            for _ in 0..100 {
                let odd: Table = std::array::from_fn(|_| noise.random_range(-20..20));
                let steps = Steps::of_table(&odd, &bounds, 82);
                assert_eq!(steps.0.iter().map(|&(_, p)| u32::from(p)).sum::<u32>(), 4096);
                for value in odd {
                    let bins = odd.iter().zip(&counts).filter(|(t, _)| **t >= value);
                    let likely = bins.map(|(_, &count)| count as f64 / all).sum::<f64>();
                    let moved = (likely * 4096.0 + 82.0).min(4096.0);
                    assert!(moved <= f64::from(steps.at_least(value.into())), "{counts:?} {odd:?}");
                }
            }
        }
    }

    /// By the law of the evidence after each feed, which the bound doesn't follow.
    fn forwards(steps: &Steps, threshold: u16, feeds: u64) -> f64 {
        let mut law = vec![0.0; usize::from(threshold)];
        law[0] = 1.0;
        let mut alarmed = 0.0;
        for _ in 0..feeds {
            let mut next = vec![0.0; law.len()];
            for (v, p) in law.iter().enumerate() {
                for &(step, likely) in &steps.0 {
                    let mass = p * f64::from(likely) / 4096.0;
                    match next.get_mut((v as i32 + i32::from(step)).max(0) as usize) {
                        Some(place) => *place += mass,
                        None => alarmed += mass,
                    }
                }
            }
            law = next;
        }
        alarmed
    }

    #[test]
    fn the_bound_is_near_the_exact_chance_and_never_below() {
        let promise = Promise { chance: 0.1, feeds: 1_000 };
        for counts in references().into_iter().take(2) {
            for steps in bets(&counts).iter().filter(|steps| steps.rises()) {
                for h in [60, 150] {
                    let exact = forwards(steps, h, promise.feeds);
                    let bound = Alarms::new(steps, h).within(promise.feeds, 1.0);
                    assert!(bound >= exact && bound <= 1.5 * exact + 1e-9, "{bound} {exact}");
                }
            }
        }
    }

    #[test]
    fn the_threshold_is_the_least_and_below_that_of_the_ratio() {
        for (chance_, feeds) in [(0.001, 10_000), (0.5, 100), (0.01, 100_000)] {
            let promise = Promise { chance: chance_, feeds };
            let bets = bets(&references()[0]);
            let h = threshold(&bets, promise);
            let simple = by_ratio(5, promise);
            assert!(h <= simple && h > simple / 2, "{h} {simple}");
            assert!(chance(&bets, h, promise) <= promise.chance);
            assert!(chance(&bets, h - 1, promise) > promise.chance);
        }
        let promise = Promise { chance: 1e-3, feeds: 10_000 };
        assert_eq!(by_ratio(25, promise), 447);
        let idle = [Steps::of_event(events::INERT, 4096, 0)];
        assert_eq!(threshold(&idle, promise), 1);
        let strict = Promise { chance: f64::from_bits(1), feeds: 1_000_000_000_000 };
        assert!(by_ratio(28, strict) < MAX_THRESHOLD);
    }

    #[test]
    fn the_dominating_chain_alarms_no_more_often_than_promised() {
        let promise = Promise { chance: 0.2, feeds: 300 };
        let bets = bets(&references()[0]);
        let h = i32::from(threshold(&bets, promise));
        let mut noise = ChaCha8Rng::seed_from_u64(11);
        let streams = 3_000;
        let mut alarmed = 0;
        for _ in 0..streams {
            let mut evidence = vec![0i32; bets.len()];
            let mut alarm = false;
            for _ in 0..promise.feeds {
                for (v, steps) in evidence.iter_mut().zip(&bets) {
                    let mut at = noise.random_range(0..4096u16);
                    let mut found = 0;
                    for &(step, likely) in &steps.0 {
                        found = step;
                        if at < likely {
                            break;
                        }
                        at -= likely;
                    }
                    *v = (*v + i32::from(found)).max(0);
                    alarm |= *v >= h;
                }
            }
            alarmed += u32::from(alarm);
        }
        let share = f64::from(alarmed) / f64::from(streams);
        // Four standard errors are 3 points; bets that alarm independently nearly exhaust the sum.
        assert!(share <= promise.chance + 0.03 && share >= 0.4 * promise.chance, "{share}");
    }
}
