//! What a count of errors allows to say of as many examples to come: an exact test that needs no model
//! of chance but that held-out examples and those to come were drawn alike.
//!
//! Of n examples held out, x were wrong. Suppose that of n examples to come more than the promised share
//! p are wrong: at least m = ⌊p·n⌋ + 1. All 2n hold x + m errors or more, and which n of them were held out
//! is chance alone; so the chance of seeing as few as x there is at most
//!
//! P(X ≤ x), X hypergeometric: n drawn from 2n, of which x + m are wrong.
//!
//! Where that is at most 1 − confidence, a broken promise *together with* having made it is that rare. The
//! bound of Clopper and Pearson says the same of the rate in the long run, which nobody sees: of a test
//! set of one's own as large as the examples held out it would be broken more often than it says. For a
//! few more than n it is about as rare, as ⌊p·n⌋ goes in steps: at 95 % confidence up to 6 % were found.

use super::confidence::MAX_EXAMPLES;

/// Seen of a number of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Examples held out.
    pub(super) examples: u64,
    /// The wrong ones among them.
    pub(super) errors: u64,
}

/// How many errors of so many examples break a promise in percent, at the least.
fn breaking(examples: u64, percent: f64) -> u64 {
    // Products such as 0.29 · 100 end a digit below the whole number that they are.
    (examples as f64 * percent / 100.0 + 1e-9).floor() as u64 + 1
}

/// Whether so many errors of so many examples break a promise in percent.
pub(crate) fn breaks(examples: u64, errors: u64, percent: f64) -> bool {
    errors >= breaking(examples, percent)
}

/// The chance of seeing no more errors than these, at the most, where as many examples to come break the
/// promise; 1 without examples.
pub(super) fn chance(seen: Seen, percent: f64) -> f64 {
    let (n, x) = (seen.examples, seen.errors);
    let wrong = x.saturating_add(breaking(n, percent));
    if wrong > n {
        return chance_of_many(n, x, wrong);
    }
    // P(0) is the product of (n − i)/(2n − i), and
    // P(k + 1)/P(k) = (wrong − k)(n − k) / ((k + 1)(n − wrong + k + 1)).
    let mut log = 0.0;
    for i in 0..wrong {
        log += ((n - i) as f64).ln() - ((2 * n - i) as f64).ln();
    }
    let mut logs = vec![log];
    for k in 0..x {
        let up = (wrong - k) as f64 * (n - k) as f64;
        let down = (k + 1) as f64 * (n - wrong + k + 1) as f64;
        log += (up / down).ln();
        logs.push(log);
    }
    sum(&logs)
}

/// The same where more are wrong than are drawn: by the right ones, of which at least n − x were drawn.
fn chance_of_many(n: u64, x: u64, wrong: u64) -> f64 {
    let right = (2 * n).saturating_sub(wrong);
    let least = n.saturating_sub(x);
    if least > right {
        return 0.0;
    }
    // As above, with k the right ones, from all of them downwards: P(right) = P(no right one is left).
    let mut log = 0.0;
    for i in 0..right {
        log += ((n - i) as f64).ln() - ((2 * n - i) as f64).ln();
    }
    let mut logs = vec![log];
    // k right ones left behind.
    for k in 0..right - least {
        let up = (right - k) as f64 * (n - k) as f64;
        let down = (k + 1) as f64 * (n - right + k + 1) as f64;
        log += (up / down).ln();
        logs.push(log);
    }
    sum(&logs)
}

/// Σ exp(log), by its largest term.
fn sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln() + most).exp().min(1.0)
}

/// The fewest examples of which a promise in percent can be made at all: without one error.
pub(crate) fn least_examples(percent: f64, confidence: f64) -> u64 {
    // More errors among those to come are less likely to leave none here: about a half each. The number
    // of them decides, and the fewest examples that have it.
    for more in 0u32.. {
        let examples = (f64::from(more) * 100.0 / percent - 1e-9).ceil().max(1.0) as u64;
        if examples > MAX_EXAMPLES {
            return examples;
        }
        let seen = Seen { examples, errors: 0 };
        if examples >= u64::from(more) && chance(seen, percent) <= 1.0 - confidence {
            return examples;
        }
    }
    u64::MAX
}

/// Most errors of so many examples with which a promise can be made; `None` if not even without one.
pub(super) fn most_errors(examples: u64, percent: f64, confidence: f64) -> Option<u64> {
    let holds = |errors| chance(Seen { examples, errors }, percent) <= 1.0 - confidence;
    // More errors are likelier: below `low` all hold, from `high` on none does.
    let (mut low, mut high) = (0, breaking(examples, percent));
    while low < high {
        let middle = u64::midpoint(low, high);
        if holds(middle) { low = middle + 1 } else { high = middle }
    }
    low.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By counting all ways in which n of 2n can be drawn.
    fn counted(n: u64, x: u64, wrong: u64) -> f64 {
        let choose = |n: u64, k: u64| (0..k).fold(1.0, |c, i| c * (n - i) as f64 / (i + 1) as f64);
        let ways = |k: u64| choose(wrong, k) * choose(2 * n - wrong, n - k);
        let possible = |k: &u64| *k <= wrong && n - k <= 2 * n - wrong;
        (0..=x.min(n)).filter(possible).map(ways).sum::<f64>() / choose(2 * n, n)
    }

    #[test]
    fn the_chance_is_that_of_all_ways_to_draw() {
        for n in [1u64, 2, 5, 12, 20] {
            for percent in [1.0, 10.0, 25.0, 49.0, 80.0, 99.0] {
                for x in 0..=n {
                    let wrong = x + breaking(n, percent);
                    let expected = if wrong > 2 * n { 0.0 } else { counted(n, x, wrong) };
                    let found = chance(Seen { examples: n, errors: x }, percent);
                    assert!(
                        (found - expected).abs() < 1e-9,
                        "{n} {percent} {x}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn it_is_stricter_than_the_bound_for_the_long_run_and_near_it() {
        use super::super::confidence::upper_bound;
        for (examples, percent) in [(800, 0.5), (2_400, 1.0), (5_000, 2.0), (400, 10.0)] {
            let most = most_errors(examples, percent, 0.95).unwrap();
            assert!(upper_bound(most, examples, 0.95) <= percent / 100.0);
            let in_the_long_run =
                (0..).take_while(|&errors| upper_bound(errors, examples, 0.95) <= percent / 100.0);
            let in_the_long_run = in_the_long_run.last().unwrap();
            assert!(most <= in_the_long_run && in_the_long_run <= 2 * most + 3, "{most}");
        }
    }

    #[test]
    fn the_least_number_is_exact() {
        for (percent, confidence) in
            [(0.1, 0.95), (0.5, 0.95), (1.0, 0.99), (20.0, 0.9), (99.0, 0.5)]
        {
            let least = least_examples(percent, confidence);
            let can = |examples| most_errors(examples, percent, confidence).is_some();
            assert!(can(least), "{percent} {least}");
            assert!((1..least).all(|fewer| !can(fewer)), "{percent} {least}");
        }
        assert_eq!((least_examples(0.5, 0.95), least_examples(1.0, 0.95)), (800, 400));
        assert_eq!(most_errors(799, 0.5, 0.95), None);
        assert_eq!(most_errors(0, 0.5, 0.95), None);
    }

    #[test]
    fn whole_numbers_of_errors_are_told_from_a_hair_more() {
        assert!(!breaks(1_000, 5, 0.5) && breaks(1_000, 6, 0.5));
        assert!(!breaks(100, 29, 29.0) && breaks(100, 30, 29.0));
        assert!(!breaks(0, 0, 0.5) && breaks(10, 1, 0.5));
    }
}
