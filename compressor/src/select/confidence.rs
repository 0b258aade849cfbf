//! What a count of errors allows to promise: the one-sided bound of Clopper and Pearson (1934).
//!
//! Of n examples that decided nothing, x were wrong. The upper bound at confidence 1 − α is the
//! error rate p at which as few errors as x would be seen with probability α alone:
//! P(X ≤ x | n, p) = α. It holds for every p and n; it needs no normal approximation, which fails
//! where it matters here, at a handful of errors.

/// Halvings of the search for a rate: beyond an f64's digits.
const HALVINGS: u32 = 60;

/// Most examples that a search for a sufficient number goes up to: more than any data set here.
pub(crate) const MAX_EXAMPLES: u64 = 1 << 32;
/// Most examples for which a sufficient number is made exact; beyond, the normal bound is so.
const MAX_EXACT: u64 = 1 << 20;

/// The upper bound of an error rate, as a share, of which `errors` of `count` examples were seen; 1
/// without examples.
pub(crate) fn upper_bound(errors: u64, count: u64, confidence: f64) -> f64 {
    if errors >= count {
        return 1.0;
    }
    let alpha = 1.0 - confidence;
    if errors == 0 {
        // (1 − p)ⁿ = α.
        return -(alpha.ln() / count as f64).exp_m1();
    }
    let (mut low, mut high) = (errors as f64 / count as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if at_most(errors, count, middle) > alpha { low = middle } else { high = middle }
    }
    high
}

/// The lower bound, which is the upper bound of the rate of right answers, turned round.
pub(crate) fn lower_bound(errors: u64, count: u64, confidence: f64) -> f64 {
    if errors == 0 {
        return 0.0;
    }
    1.0 - upper_bound(count.saturating_sub(errors), count, confidence)
}

/// P(X ≤ x) of a binomial distribution.
fn at_most(x: u64, n: u64, p: f64) -> f64 {
    let (log_p, log_q) = (p.ln(), (-p).ln_1p());
    // The terms' logarithms from k = 0 up, by the ratio of neighbours; the sum by its largest term.
    let mut log_term = n as f64 * log_q;
    let mut terms = Vec::with_capacity(x as usize + 1);
    terms.push(log_term);
    for k in 0..x {
        log_term += ((n - k) as f64 / (k + 1) as f64).ln() + log_p - log_q;
        terms.push(log_term);
    }
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (terms.iter().map(|term| (term - most).exp()).sum::<f64>().ln() + most).exp().min(1.0)
}

/// The fewest examples on which a ceiling (a share) can be promised at all: without one error.
pub(crate) fn least_examples(ceiling: f64, confidence: f64) -> u64 {
    let needed = (1.0 - confidence).ln() / (-ceiling).ln_1p();
    if needed.is_finite() { needed.ceil().max(1.0) as u64 } else { 1 }
}

/// The examples that it would take, at the error rate that was seen, to promise a ceiling; `None`
/// where the rate isn't below it, or beyond [`MAX_EXAMPLES`].
pub(crate) fn sufficient_examples(
    errors: u64,
    count: u64,
    ceiling: f64,
    confidence: f64,
) -> Option<u64> {
    let rate = errors as f64 / count.max(1) as f64;
    if rate >= ceiling {
        return None;
    }
    // From many examples on, the bound is the normal one, which is somewhat low before.
    let z = quantile(confidence);
    let normal = (z * z * ceiling * (1.0 - ceiling) / (ceiling - rate).powi(2)).ceil();
    let enough = normal.max(least_examples(ceiling, confidence) as f64);
    if enough > MAX_EXAMPLES as f64 {
        return None;
    }
    let mut enough = enough as u64;
    let errors = |examples: u64| (rate * examples as f64).ceil() as u64;
    while enough < MAX_EXACT && upper_bound(errors(enough), enough, confidence) > ceiling {
        enough += enough / 64 + 1;
    }
    Some(enough)
}

/// A confidence in percent: `95`, `97.5`, `98.333`.
pub(crate) fn percent(confidence: f64) -> String {
    let text = format!("{:.3}", 100.0 * confidence);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The standard normal's quantile, by halving its distribution function.
fn quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (0.0, 10.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if cumulative(middle) < probability { low = middle } else { high = middle }
    }
    high
}

/// Φ(z) for z ≥ 0, by the series Φ(z) = ½ + φ(z)·Σ z^(2k+1)/(1·3·5···(2k+1)).
fn cumulative(z: f64) -> f64 {
    let (mut term, mut sum, mut k) = (z, z, 1.0);
    while term > sum * 1e-16 {
        term *= z * z / (2.0 * k + 1.0);
        sum += term;
        k += 1.0;
    }
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    0.5 + density * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(value: f64, expected: f64, within: f64) {
        assert!((value - expected).abs() <= within, "{value}, not {expected}");
    }

    #[test]
    fn the_bound_is_the_beta_quantile() {
        // 1 − 0.05^(1/59): the smallest number without an error for 5 %.
        is(upper_bound(0, 59, 0.95), 0.04950, 1e-5);
        // Beta quantiles: 0.95 of (2, 9), (6, 95), (51, 4950).
        is(upper_bound(1, 10, 0.95), 0.39416, 1e-5);
        is(upper_bound(5, 100, 0.95), 0.10225, 1e-4);
        assert_eq!(upper_bound(0, 0, 0.95), 1.0);
        // The 0.05 quantile of (5, 96).
        is(lower_bound(5, 100, 0.95), 0.01991, 1e-4);
        assert_eq!((lower_bound(0, 9, 0.95), lower_bound(0, 0, 0.95)), (0.0, 0.0));
        assert_eq!(upper_bound(7, 7, 0.95), 1.0);
    }

    #[test]
    fn at_the_bound_so_few_errors_have_probability_alpha() {
        for (errors, count) in [(1, 10), (17, 300), (48, 5_000), (900, 5_000), (3_000, 60_000)] {
            for confidence in [0.9, 0.95, 0.999] {
                let bound = upper_bound(errors, count, confidence);
                assert!(bound > errors as f64 / count as f64);
                is(at_most(errors, count, bound), 1.0 - confidence, 1e-7);
            }
        }
    }

    #[test]
    fn the_least_number_is_exact() {
        for ceiling in [0.001, 0.01, 0.05, 0.5] {
            let least = least_examples(ceiling, 0.95);
            assert!(upper_bound(0, least, 0.95) <= ceiling + 1e-12);
            assert!(least == 1 || upper_bound(0, least - 1, 0.95) > ceiling);
        }
        assert_eq!(least_examples(0.05, 0.95), 59);
    }

    #[test]
    fn the_sufficient_number_is_near() {
        is(quantile(0.95), 1.644_854, 1e-5);
        is(quantile(0.5), 0.0, 1e-9);
        let enough = sufficient_examples(10, 1_000, 0.013, 0.95).unwrap();
        let errors = (enough as f64 * 0.01).ceil() as u64;
        assert!(upper_bound(errors, enough, 0.95) <= 0.013);
        is(upper_bound(errors, enough, 0.95), 0.013, 1e-4);
        // Few errors: the normal bound alone would say 1,073, where 6 errors are too many.
        let enough = sufficient_examples(2, 400, 0.01, 0.95).unwrap();
        assert!((1_074..2_000).contains(&enough), "{enough}");
        assert!(upper_bound((enough as f64 * 0.005).ceil() as u64, enough, 0.95) <= 0.01);
        assert_eq!(sufficient_examples(13, 1_000, 0.013, 0.95), None);
        assert_eq!(sufficient_examples(13_000, 1_000_001, 0.013, 0.95), None);
    }

    proptest::proptest! {
        #[test]
        fn more_errors_or_fewer_examples_raise_the_bound(
            count in 2u64..3_000, share in 0.0..1.0, confidence in 0.5..0.9999,
        ) {
            let errors = ((count - 1) as f64 * share) as u64;
            let bound = upper_bound(errors, count, confidence);
            proptest::prop_assert!(bound < upper_bound(errors + 1, count, confidence) + 1e-12);
            proptest::prop_assert!(bound > upper_bound(errors, count + 1, confidence) - 1e-12);
            proptest::prop_assert!((0.0..=1.0).contains(&bound));
        }
    }
}
