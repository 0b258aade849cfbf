//! The bets on an ordinal statistic: what a value is worth as evidence that the field's law is a given
//! other one, in sixteenths of a bit.
//!
//! A bet is a likelihood ratio clipped from both sides, which is what a test against a whole neighbourhood
//! of a law comes to (Huber 1965), divided by the most that its expectation can be. What is written are
//! rounded logarithms; that their powers of two have expectations of 1 at most is proved of these very
//! numbers, by the function that devices trust. An optimiser that errs costs power alone.

use bitsback_runtime::sentinel::{BINS, TILTS, proof};

use super::bounds::{Bounds, ONE};

/// A bet: sixteenths of a bit by bin.
pub(super) type Table = [i8; BINS];
/// A law of an ordinal statistic, or weights of its bins.
pub(super) type Law = [f64; BINS];

/// Slopes of the alternatives, nats over the whole of the reference's ranks: small changes, and large ones.
pub(super) const SLOPES: [f64; TILTS] = [-2.0, -6.0, 2.0, 6.0];
/// Bets that say that nothing happened are worth nothing.
pub(super) const INERT: Table = [0; BINS];
/// Lower and upper clips that are tried.
const CLIPS: (usize, usize) = (17, 33);
/// Sixteenths of a bit.
const STEPS: f64 = 16.0;
const MOST: f64 = 127.0;

/// The law behind counts by bin, with half an example more in each.
pub(super) fn law(counts: &[u64; BINS]) -> Law {
    let all = counts.iter().sum::<u64>() as f64 + 0.5 * BINS as f64;
    counts.map(|count| (count as f64 + 0.5) / all)
}

/// The alternative: weights that rise by e^slope from the lowest rank to the highest.
pub(super) fn tilted(reference: &Law, slope: f64) -> Law {
    let mut below = 0.0;
    let weights = reference.map(|p| {
        let rank = below + 0.5 * p;
        below += p;
        p * (slope * rank).exp()
    });
    let all: f64 = weights.iter().sum();
    weights.map(|weight| weight / all)
}

/// The bet against the reference that gains most under an alternative, proved; [`INERT`] if none gains.
/// `tolerance` in 4096ths.
pub(super) fn table(reference: &Law, alternative: &Law, bounds: &Bounds, tolerance: u16) -> Table {
    let exact = clipped(reference, alternative, bounds, tolerance);
    let holds = |table: &Table| proof::table(table, &bounds.up, &bounds.lo, tolerance);
    let mut table = exact.map(|x| x.round().clamp(-MOST, MOST) as i8);
    while !holds(&table) {
        // At the least that an entry can be, the expectation is far below 1.
        let over = |s: &usize| f64::from(table[*s]) - exact[*s];
        let lowerable = (0..BINS).filter(|&s| f64::from(table[s]) > -MOST);
        match lowerable.max_by(|a, b| over(a).total_cmp(&over(b))) {
            Some(s) => table[s] -= 1,
            None => return INERT,
        }
    }
    let mut order: [usize; BINS] = std::array::from_fn(|s| s);
    order.sort_by(|&a, &b| alternative[b].total_cmp(&alternative[a]));
    for s in order {
        let mut higher = table;
        higher[s] = higher[s].saturating_add(1);
        if holds(&higher) {
            table = higher;
        }
    }
    if gain(&table, alternative) > 0.0 { table } else { INERT }
}

/// What a bet gains a feed under a law, in sixteenths of a bit.
pub(super) fn gain(table: &Table, law: &Law) -> f64 {
    table.iter().zip(law).map(|(&t, &q)| f64::from(t) * q).sum()
}

/// The clipped ratio that gains most, in sixteenths of a bit.
fn clipped(reference: &Law, alternative: &Law, bounds: &Bounds, tolerance: u16) -> Law {
    let ratio: Law = std::array::from_fn(|s| alternative[s] / reference[s]);
    let least = ratio.iter().copied().fold(1.0, f64::min).ln();
    let most = ratio.iter().copied().fold(1.0, f64::max).ln();
    let mut best = (f64::NEG_INFINITY, [0.0; BINS]);
    for a in 0..CLIPS.0 {
        let low = (least * a as f64 / (CLIPS.0 - 1) as f64).exp();
        for b in 0..CLIPS.1 {
            let high = (most * b as f64 / (CLIPS.1 - 1) as f64).exp();
            let bet = ratio.map(|r| r.clamp(low, high));
            let worst = worst(&bet, bounds, tolerance);
            let bet = bet.map(|e| STEPS * (e / worst).log2());
            let gain = bet.iter().zip(alternative).map(|(x, q)| x * q).sum();
            if gain > best.0 {
                best = (gain, bet);
            }
        }
    }
    best.1
}

/// The most that a function's expectation can be within the bounds and the tolerance: summed by parts,
/// E f = f(0) + Σ (f(k) − f(k − 1))·P(bin ≥ k), and a share moved anywhere adds its range at most.
fn worst(f: &Law, bounds: &Bounds, tolerance: u16) -> f64 {
    let one = f64::from(ONE);
    let mut sum = f[0];
    for (k, pair) in f.windows(2).enumerate() {
        let step = pair[1] - pair[0];
        let bound = if step >= 0.0 { bounds.up[k] } else { bounds.lo[k] };
        sum += step * f64::from(bound) / one;
    }
    let range = f.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        - f.iter().copied().fold(f64::INFINITY, f64::min);
    sum + range * f64::from(tolerance) / one
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const TOLERANCE: u16 = 82;

    /// Counts of some references: level, skewed, with empty bins, few.
    pub(in crate::sentinel) fn references() -> Vec<[u64; BINS]> {
        vec![
            [16, 48, 96, 160, 240, 320, 400, 320],
            [6, 74, 240, 480, 480, 240, 74, 6],
            [1, 3, 6, 10, 15, 20, 25, 160],
            [0, 0, 0, 1_600, 0, 0, 0, 0],
            [200, 0, 0, 0, 0, 0, 0, 1_400],
            [40, 300, 900, 1_800, 1_800, 900, 300, 40],
        ]
    }

    /// A law within the bounds, or where they leave none in this draw, none: probabilities of bins or
    /// above are drawn within their bounds, many of them at an end, and must not rise.
    fn inside(bounds: &Bounds, noise: &mut ChaCha8Rng) -> Option<Law> {
        let mut above = [1.0; BINS + 1];
        above[BINS] = 0.0;
        for k in 1..BINS {
            let (up, lo) = (f64::from(bounds.up[k - 1]), f64::from(bounds.lo[k - 1]));
            let drawn = match noise.random_range(0..3) {
                0 => up,
                1 => lo,
                _ => noise.random_range(lo..=up),
            };
            above[k] = (drawn / 4096.0).min(above[k - 1]);
            if above[k] * 4096.0 < lo {
                return None;
            }
        }
        Some(std::array::from_fn(|s| above[s] - above[s + 1]))
    }

    /// A law with a share moved from the bins that `from` prefers to one bin.
    fn moved(law: &Law, share: f64, to: usize, from: &[usize]) -> Law {
        let (mut law, mut left) = (*law, share);
        for &bin in from.iter().filter(|&&bin| bin != to) {
            let taken = left.min(law[bin]);
            law[bin] -= taken;
            law[to] += taken;
            left -= taken;
        }
        law
    }

    #[test]
    fn no_law_of_the_null_set_lets_a_bet_gain_on_average() {
        let mut noise = ChaCha8Rng::seed_from_u64(1);
        let (mut tried, mut nearest) = (0, 0.0f64);
        for counts in references() {
            let (reference, bounds) = (law(&counts), Bounds::of(&counts, 0.01 / 52.0));
            for slope in SLOPES {
                let table = table(&reference, &tilted(&reference, slope), &bounds, TOLERANCE);
                let worth = table.map(|t| (f64::from(t) / 16.0).exp2());
                let mut dear: Vec<usize> = (0..BINS).collect();
                dear.sort_by(|&a, &b| worth[a].total_cmp(&worth[b]));
                for _ in 0..300 {
                    let Some(law) = inside(&bounds, &mut noise) else { continue };
                    // The worst move, and any other.
                    let worst = moved(&law, f64::from(TOLERANCE) / 4096.0, dear[BINS - 1], &dear);
                    let any = moved(&law, 0.02, noise.random_range(0..BINS), &[3, 0, 5, 7, 1]);
                    for law in [law, worst, any] {
                        let mean: f64 = law.iter().zip(&worth).map(|(p, e)| p * e).sum();
                        assert!(mean <= 1.0 + 1e-9, "{counts:?} {slope} {table:?}: {mean}");
                        nearest = nearest.max(mean);
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 5_000 && nearest > 0.97, "{tried} laws, {nearest} at the most");
    }

    #[test]
    fn every_bet_gains_under_its_alternative_or_is_inert() {
        let mut inert = 0;
        for counts in references() {
            let (reference, bounds) = (law(&counts), Bounds::of(&counts, 0.01 / 52.0));
            for slope in SLOPES {
                let alternative = tilted(&reference, slope);
                let table = table(&reference, &alternative, &bounds, TOLERANCE);
                assert!(proof::table(&table, &bounds.up, &bounds.lo, TOLERANCE));
                let gain = gain(&table, &alternative);
                assert!(gain > 0.0 || table == INERT);
                inert += u32::from(table == INERT);
                if counts[3] == 160 && slope.abs() == 6.0 {
                    assert!(gain > 8.0, "{slope}: half a bit a feed, not {gain}/16");
                }
            }
        }
        assert!(inert <= 12, "{inert} of {}", 4 * references().len());
    }

    #[test]
    fn alternatives_are_tilted_to_their_side() {
        let reference = law(&[100; BINS]);
        let mean = |law: &Law| law.iter().enumerate().map(|(s, p)| s as f64 * p).sum::<f64>();
        let means = SLOPES.map(|slope| mean(&tilted(&reference, slope)));
        assert!(means[1] < means[0] && means[0] < 3.5 && 3.5 < means[2] && means[2] < means[3]);
        assert!((tilted(&reference, 2.0).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
