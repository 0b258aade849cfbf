//! The device's bets once more, from counts: every bet is a product over inferences, so counts are all that it
//! takes.

use bitsback_runtime::sentinel::{
    BINS, CLASSES_AT, Event, MAX_BETS, Record, Sentinel, TAILS_AT, TILTS,
};

/// What each bet makes of a window, in sixteenths of a bit, by its place; 0 where there is no bet.
pub(super) fn of_window(sentinel: &Sentinel<'_>, record: &Record) -> [i64; MAX_BETS] {
    let mut sums = [0; MAX_BETS];
    let wager = |hits: u16, event: Event| {
        let (hits, misses) = (i64::from(hits), i64::from(record.fed.saturating_sub(hits)));
        hits * i64::from(event.hit) - misses * i64::from(event.loss)
    };
    for (statistic, of) in sentinel.ordinals() {
        let statistic = usize::from(statistic);
        let Some(counts) = record.counts[statistic] else { continue };
        for (scores, count) in of.table.iter().zip(counts) {
            for (tilt, &score) in scores.iter().enumerate() {
                sums[statistic * TILTS + tilt] += i64::from(score) * i64::from(count);
            }
        }
        let low = if statistic == 0 { counts[0] + counts[1] } else { counts[0] };
        sums[TAILS_AT + 2 * statistic] = wager(low, of.low);
        sums[TAILS_AT + 2 * statistic + 1] = wager(counts[BINS - 1], of.high);
    }
    let counts = record.classes.unwrap_or_default();
    for ((sum, bet), hits) in sums[CLASSES_AT..].iter_mut().zip(sentinel.class_bets()).zip(counts) {
        *sum = wager(hits, bet.event);
    }
    sums
}

/// The weight of the n-th start, n ≥ 1: 2^−k / ((k + 1)(k + 2)) with k = ⌊log₂ n⌋. All of them are 1 together.
fn start_weight(n: u64) -> f64 {
    let k = n.max(1).ilog2();
    0.5f64.powi(k as i32) / (f64::from(k + 1) * f64::from(k + 2))
}

/// Evidence that was collected in rounds, against the law of the reference since some round or other: an
/// e-process, so that it may be looked at after every round and is still worth what it says. Each bet is
/// started anew in every round, with weights that sum to 1; bets are averaged.
///
/// E-processes with a mixture of starts: Shin, Ramdas and Rinaldo (arXiv:2203.03532).
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// log₂ of the weighted sum over starts, for each bet that there is, with its place.
    sums: Vec<(u8, f64)>,
    rounds: u64,
    /// The weights of starts to come.
    left: f64,
}

impl Evidence {
    /// None yet, by a sentinel's bets.
    pub(super) fn new(sentinel: &Sentinel<'_>) -> Self {
        let places = (0..MAX_BETS as u8).filter(|&place| sentinel.has_bet(place.into()));
        let sums = places.map(|place| (place, f64::NEG_INFINITY)).collect();
        Self { sums, rounds: 0, left: 1.0 }
    }

    /// A round, by what each bet made of it, in sixteenths of a bit.
    pub(super) fn add(&mut self, round: &[i64; MAX_BETS]) {
        self.rounds += 1;
        let weight = start_weight(self.rounds);
        self.left = (self.left - weight).max(0.0);
        for (place, sum) in &mut self.sums {
            *sum = add_logs(*sum, weight.log2()) + round[usize::from(*place)] as f64 / 16.0;
        }
    }

    /// log₂ of the e-value.
    pub(super) fn log2(&self) -> f64 {
        let bets = self.sums.len().max(1) as f64;
        let sum = self.sums.iter().fold(f64::NEG_INFINITY, |all, &(_, sum)| add_logs(all, sum));
        add_logs(sum - bets.log2(), self.left.log2())
    }

    /// The place of the bet with most evidence; the first of equals.
    pub(super) fn cause(&self) -> Option<u8> {
        let first = self.sums.first()?;
        let most =
            self.sums.iter().fold(first, |best, bet| if bet.1 > best.1 { bet } else { best });
        Some(most.0)
    }
}

/// log₂(2^a + 2^b).
pub(super) fn add_logs(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp2().ln_1p() / 2f64.ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_starts_sum_to_one() {
        let sum: f64 = (1..=1 << 20).map(start_weight).sum();
        // What is left of a harmonic tail: Σ over k ≥ 20 of 1 / ((k + 1)(k + 2)) = 1 / 21.
        assert!((sum + 1.0 / 21.0 - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!([1, 2, 3, 4].map(start_weight), [0.5, 1.0 / 12.0, 1.0 / 12.0, 1.0 / 48.0]);
    }

    #[test]
    fn logs_add() {
        assert_eq!(add_logs(3.0, 3.0), 4.0);
        assert_eq!(add_logs(f64::NEG_INFINITY, -7.0), -7.0);
        assert_eq!(add_logs(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!((add_logs(0.0, 1.0) - 3f64.log2()).abs() < 1e-12);
        assert_eq!(add_logs(5000.0, -5000.0), 5000.0);
    }
}
