//! The proof that a bet is fair under every law that the section's bounds allow: exact, in integers, and the
//! same code on the host, which chooses bets, and on the device, which takes none that isn't proved.
//!
//! A bet multiplies a stake by 2^(score/16) for the symbol that it sees. It is fair if the expectation of that
//! factor is at most 1 under each law p with `lo`ₖ ≤ p(bin ≥ k) ≤ `up`ₖ, and under each law that differs from
//! such a p by at most the tolerance, in total variation. Summed by parts, the expectation of f is
//! f(0) + Σ (f(k) − f(k − 1)) · p(bin ≥ k), which is largest with `up`ₖ where f rises and with `lo`ₖ where it
//! falls; moving a mass of τ adds at most τ · (max f − min f).

use super::{Event, Fault, Ordinal, Sentinel, TAILS_AT, TILTS};

/// A probability of 1 in the section's bounds, which are multiples of 1/4096.
pub const CERTAIN: u16 = 4096;
/// A stake that isn't expected to grow: 2²⁴ from [`power`], times [`CERTAIN`]. A bet is fair up to it.
pub const FAIR: i64 = 1 << 36;

/// ⌈2³¹ · 2^(i/16)⌉.
const FRACTIONS: [u32; 16] = [
    0x8000_0000,
    0x85AA_C368,
    0x8B95_C1E4,
    0x91C3_D374,
    0x9837_F052,
    0x9EF5_3261,
    0xA5FE_D6AA,
    0xAD58_3EEB,
    0xB504_F334,
    0xBD08_A3A0,
    0xC567_2A12,
    0xCE24_8C16,
    0xD744_FCCB,
    0xE0CC_DEED,
    0xEAC0_C6E8,
    0xF525_7D16,
];

/// ⌈2²⁴ · 2^(score/16)⌉: what a stake of 2²⁴ becomes, rounded up.
pub fn power(score: i8) -> u32 {
    let fraction = FRACTIONS[(score & 15) as usize];
    // 0 to 15: rounding up twice is rounding up once.
    let shift = 7i8.wrapping_sub(score >> 4) as u32;
    (fraction.wrapping_sub(1) >> (shift & 15)).wrapping_add(1)
}

/// The most that a stake of [`FAIR`] is expected to become, of a bet with a score for each bin; `up` and `lo`
/// bound the probability of bins 1, 2, … 7 and beyond, and these and the tolerance are multiples of 1/4096.
pub fn table_bound(scores: &[i8; 8], up: &[u16; 7], lo: &[u16; 7], tolerance: u16) -> i64 {
    let powers = scores.map(|score| i64::from(power(score)));
    let (mut least, mut most, mut before) = (powers[0], powers[0], powers[0]);
    let mut bound = before.wrapping_mul(i64::from(CERTAIN));
    let (_, rest) = powers.split_at(1);
    for ((&now, &up), &lo) in rest.iter().zip(up).zip(lo) {
        let step = now.wrapping_sub(before);
        let at = if step >= 0 { up } else { lo };
        bound = bound.wrapping_add(step.wrapping_mul(i64::from(at)));
        (least, most, before) = (least.min(now), most.max(now), now);
    }
    bound.wrapping_add(most.wrapping_sub(least).wrapping_mul(i64::from(tolerance)))
}

/// Whether a bet with a score for each bin is fair; the arguments are those of [`table_bound`].
pub fn table(scores: &[i8; 8], up: &[u16; 7], lo: &[u16; 7], tolerance: u16) -> bool {
    table_bound(scores, up, lo, tolerance) <= FAIR
}

/// The most that a stake of [`FAIR`] is expected to become, of a bet on an event whose probability is at most
/// `up`; that and the tolerance are multiples of 1/4096. An event's numbers are at most 127.
pub fn event_bound(event: Event, up: u16, tolerance: u16) -> i64 {
    let often = i64::from(up.saturating_add(tolerance).min(CERTAIN));
    let rest = i64::from(CERTAIN).wrapping_sub(often);
    let (hit, loss) = (power(event.hit as i8), power((event.loss as i8).wrapping_neg()));
    often.wrapping_mul(hit.into()).wrapping_add(rest.wrapping_mul(loss.into()))
}

/// Whether a bet on an event is fair and its numbers are in range; the arguments are those of [`event_bound`].
pub fn event(event: Event, up: u16, tolerance: u16) -> bool {
    event.is_sound() && event_bound(event, up, tolerance) <= FAIR
}

/// The bets on one ordinal statistic, the answer's (0), brightness (1) or roughness (2).
fn ordinal(statistic: u8, of: &Ordinal, tolerance: u16) -> Result<(), Fault> {
    if of.lo.iter().zip(&of.up).any(|(lo, up)| lo > up || *up > CERTAIN) {
        return Err(Fault::Bounds { statistic });
    }
    let first = statistic.wrapping_mul(TILTS as u8);
    for (place, tilt) in (first..).zip(0..TILTS) {
        let scores = of.table.map(|row| row.get(tilt).copied().unwrap_or_default());
        if !table(&scores, &of.up, &of.lo, tolerance) {
            return Err(Fault::Bet { place });
        }
    }
    let below = of.lo[if statistic == 0 { 1 } else { 0 }];
    let low = event(of.low, CERTAIN.wrapping_sub(below), tolerance);
    let high = event(of.high, of.up[6], tolerance);
    let place = (TAILS_AT as u8).wrapping_add(statistic.wrapping_mul(2));
    match (low, high) {
        (true, true) => Ok(()),
        (false, _) => Err(Fault::Bet { place }),
        (true, false) => Err(Fault::Bet { place: place.wrapping_add(1) }),
    }
}

/// All bets of a section.
pub(super) fn check(sentinel: &Sentinel<'_>) -> Result<(), Fault> {
    for (statistic, of) in sentinel.ordinals() {
        ordinal(statistic, &of, sentinel.tolerance())?;
    }
    for (place, class) in (super::CLASSES_AT as u8..).zip(sentinel.class_bets()) {
        if !event(class.event, class.up, sentinel.tolerance()) {
            return Err(Fault::Bet { place });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{TOLERANCE, any_table, draft_with};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_are_rounded_up_and_exact() {
        for score in i8::MIN..=i8::MAX {
            let real = (f64::from(score) / 16.0).exp2() * f64::from(1 << 24);
            // Nothing is so near to an integer that floats couldn't tell, but for whole powers.
            let slack = if score % 16 == 0 { 0.0 } else { 1e-5 };
            assert_eq!(f64::from(power(score)), (real - slack).ceil(), "{score}");
            assert_eq!(f64::from(power(score)), (real + slack).ceil(), "{score}");
        }
    }

    /// Bounds as a section may have them, `lo` and `up`; rows of them descend, since fewer values are in more
    /// bins, but nothing relies on it.
    fn any_bounds() -> impl Strategy<Value = ([u16; 7], [u16; 7])> {
        let sorted = prop::array::uniform7((0u16..4096, 0u16..400)).prop_map(|mut pairs| {
            pairs.sort_unstable_by(|a, b| b.cmp(a));
            pairs
        });
        let unsorted = prop::array::uniform7((0u16..4096, 0u16..400));
        prop_oneof![sorted, unsorted].prop_map(|pairs| {
            (pairs.map(|(lo, _)| lo), pairs.map(|(lo, width)| (lo + width).min(CERTAIN)))
        })
    }

    /// The expectation of a stake of 2²⁴ under these probabilities of bins 1, 2, … and beyond, times 4096.
    fn expected(scores: &[i8; 8], tails: &[i128; 7]) -> i128 {
        let powers = scores.map(|score| i128::from(power(score)));
        let of = |bin: usize| {
            let reached = if bin == 0 { i128::from(CERTAIN) } else { tails[bin - 1] };
            (reached - tails.get(bin).copied().unwrap_or(0)) * powers[bin]
        };
        (0..8).map(of).sum()
    }

    proptest! {
        /// Over all vertices of the set of laws, and the worst move of a mass.
        #[test]
        fn a_tables_bound_is_the_maximum(
            scores: [i8; 8], (lo, up) in any_bounds(), tolerance in 0u16..=4096,
        ) {
            let vertex = |choice: u32| -> [i128; 7] {
                core::array::from_fn(|k| if choice >> k & 1 == 1 { up[k].into() } else { lo[k].into() })
            };
            let most = (0..128).map(|choice| expected(&scores, &vertex(choice))).max().unwrap();
            let powers = scores.map(|score| i128::from(power(score)));
            let spread = powers.iter().max().unwrap() - powers.iter().min().unwrap();
            let bound = most + spread * i128::from(tolerance);
            prop_assert_eq!(i128::from(table_bound(&scores, &up, &lo, tolerance)), bound);
            prop_assert_eq!(table(&scores, &up, &lo, tolerance), bound <= 1 << 36);
        }

        /// Of laws in the set, with a mass moved, in floats: no stake grows.
        #[test]
        fn fair_tables_are_fair(
            table in any_table(),
            at in prop::array::uniform7(0.0f64..=1.0),
            (from, to) in (0usize..8, 0usize..8),
        ) {
            let of = draft_with(0, table).answer.unwrap();
            let mut tails = [0.0; 9];
            tails[0] = 1.0;
            for k in 0..7 {
                let (lo, up) = (f64::from(of.lo[k]) / 4096.0, f64::from(of.up[k]) / 4096.0);
                tails[k + 1] = (lo + at[k] * (up - lo)).min(tails[k]);
            }
            let mut law: [f64; 8] = core::array::from_fn(|bin| tails[bin] - tails[bin + 1]);
            let moved = law[from].min(f64::from(TOLERANCE) / 4096.0);
            law[from] -= moved;
            law[to] += moved;
            let factor = |score: i8| (f64::from(score) / 16.0).exp2();
            for tilt in 0..TILTS {
                let mean: f64 = law.iter().zip(of.table).map(|(p, row)| p * factor(row[tilt])).sum();
                prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
            }
            let low = law[0] + law[1];
            for (p, event) in [(low, of.low), (law[7], of.high)] {
                let mean = p * factor(event.hit as i8) + (1.0 - p) * factor(-(event.loss as i8));
                prop_assert!(mean <= 1.0 + 1e-9, "{mean}");
            }
        }

        /// Over all probabilities that are allowed.
        #[test]
        fn an_events_bound_is_the_maximum(
            hit in 0u8..=127, loss in 0u8..=127, up in 0u16..=4096, tolerance in 0u16..=4096,
        ) {
            let (won, lost) = (i128::from(power(hit as i8)), i128::from(power(-(loss as i8))));
            let at = |p: u16| i128::from(p) * won + i128::from(CERTAIN - p) * lost;
            let most = (0..=(up + tolerance).min(CERTAIN)).map(at).max().unwrap();
            let bet = Event { hit, loss };
            prop_assert_eq!(i128::from(event_bound(bet, up, tolerance)), most);
            prop_assert_eq!(event(bet, up, tolerance), loss > 0 && most <= 1 << 36);
        }
    }

    #[test]
    fn numbers_beyond_range_are_no_bets() {
        for (hit, loss) in [(128, 1), (255, 255), (0, 0), (0, 128)] {
            assert!(!event(Event { hit, loss }, 0, 0), "{hit} {loss}");
        }
        assert!(event(Event { hit: 127, loss: 1 }, 0, 0));
        assert!(event(Event { hit: 0, loss: 127 }, 4096, 4096));
        assert!(!event(Event { hit: 1, loss: 127 }, 4096, 0));
    }
}
