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
