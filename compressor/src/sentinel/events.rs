//! The bets on a single event, such as a class or the tail of a statistic: what it adds when it happens,
//! and what is taken off when it doesn't, in sixteenths of a bit.

use bitsback_runtime::sentinel::{Event, proof};

use super::bounds::ONE;

/// The bet that never rises.
pub(super) const INERT: Event = Event { hit: 0, loss: 1 };
/// By how much more likely a class must be at the least to be bet on.
const LEAST_RISE: f64 = 0.05;
/// Alternatives aren't taken for more certain than this.
const MOST_LIKELY: f64 = 0.98;
const STEPS: f64 = 16.0;
const MOST: f64 = 127.0;

/// The most that an event's probability can be with the tolerance, in 4096ths.
pub(super) fn worst(up: u16, tolerance: u16) -> u16 {
    up.saturating_add(tolerance).min(ONE)
}

/// How likely a class is under the alternative that it comes too often: four times as often, or half-way
/// to always.
pub(super) fn class_alternative(likely: f64, up: u16, tolerance: u16) -> f64 {
    let least = f64::from(worst(up, tolerance)) / f64::from(ONE) + LEAST_RISE;
    (4.0 * likely).min(0.5 + 0.5 * likely).max(least).min(MOST_LIKELY)
}

/// How likely a tail is where it has so much more than it can have.
pub(super) fn tail_alternative(more: f64, up: u16, tolerance: u16) -> f64 {
    (f64::from(worst(up, tolerance)) / f64::from(ONE) + more).min(MOST_LIKELY)
}

/// The bet on an event of probability `up` (in 4096ths) at the most, for the alternative that it is
/// `alternative`: the one that gains most of those that are proved; [`INERT`] if none gains.
pub(super) fn event(up: u16, tolerance: u16, alternative: f64) -> Event {
    let worst = worst(up, tolerance);
    let p = f64::from(worst) / f64::from(ONE);
    if worst == ONE || p >= alternative {
        return INERT;
    }
    let bets = (1..=MOST as u8).map(|loss| {
        let kept = (1.0 - p) * (-f64::from(loss) / STEPS).exp2();
        // One more than can be, for the rounding of floats, and down to what is proved.
        let mut hit = ((STEPS * ((1.0 - kept) / p).log2()).floor() + 1.0).clamp(0.0, MOST) as u8;
        while hit > 0 && !proof::event(Event { hit, loss }, up, tolerance) {
            hit -= 1;
        }
        Event { hit, loss }
    });
    let best = bets.max_by(|a, b| gain(*a, alternative).total_cmp(&gain(*b, alternative)));
    best.filter(|&bet| gain(bet, alternative) > 0.0).unwrap_or(INERT)
}

/// What a bet gains a feed where the event has a probability, in sixteenths of a bit.
pub(super) fn gain(bet: Event, likely: f64) -> f64 {
    likely * f64::from(bet.hit) - (1.0 - likely) * f64::from(bet.loss)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_probability_of_the_null_set_lets_a_bet_gain_on_average() {
        let mut nearest = 0.0f64;
        for up in (0..=4096u16).step_by(13) {
            for tolerance in [0, 20, 82, 205] {
                for more in [0.05, 0.12, 0.4] {
                    let bet = event(up, tolerance, tail_alternative(more, up, tolerance));
                    let most = f64::from(worst(up, tolerance)) / 4096.0;
                    for p in [0.0, 0.5 * most, most] {
                        let mean = p * (f64::from(bet.hit) / 16.0).exp2()
                            + (1.0 - p) * (-f64::from(bet.loss) / 16.0).exp2();
                        assert!(mean <= 1.0, "{up} {tolerance} {bet:?}: {mean}");
                        nearest = nearest.max(mean);
                    }
                }
            }
        }
        assert!(nearest > 0.999, "{nearest}");
    }

    #[test]
    fn every_bet_gains_under_its_alternative_or_is_inert() {
        for up in (0..=4096u16).step_by(7) {
            let likely = f64::from(up) / 4096.0 * 0.8;
            let t = class_alternative(likely, up, 82);
            let bet = event(up, 82, t);
            assert!(proof::event(bet, up, 82), "{up} {bet:?}");
            assert!(gain(bet, t) > 0.0 || bet == INERT, "{up} {bet:?}");
            assert!(up > 2_500 || bet != INERT, "{up} has a bet that gains");
        }
        assert_eq!(event(4096, 0, 0.98), INERT);
        assert_eq!(event(4000, 82, 0.98), INERT, "more likely than any alternative");
    }

    #[test]
    fn a_class_of_one_in_ten_is_bet_on_at_four_times_as_often() {
        let t = class_alternative(0.1, 500, 82);
        assert!((t - 0.4).abs() < 1e-12);
        let bet = event(500, 82, t);
        // log2((1 − 0.142)/(1 − 0.4)) = 0.516 and log2(0.4/0.142) = 1.494 bits.
        assert!((7..=9).contains(&bet.loss) && (22..=24).contains(&bet.hit), "{bet:?}");
    }
}
