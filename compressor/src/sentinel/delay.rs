//! How soon a sentinel notices a change: a bound of the mean, beforehand.
//!
//! Where a bet gains g > 0 a feed from the change on, its evidence rises at least like a walk with that
//! drift, whatever came before. The walk is stopped at h − 1 and one step more at the most, so (Wald) the
//! mean number of feeds to the alarm is at most (h − 1 + the bet's greatest step) / g. The sentinel alarms
//! with the first of its bets.

use bitsback_runtime::sentinel::{Bet, Draft, Event, Ordinal, TAILS_AT, TILTS};

use super::bins::bin;
use super::bounds::EDGES;
use super::reference::Seen;
use super::seed::ordinals;

/// Feeds beyond which a change counts as not noticed: what gains so little in a sample may lose in truth.
const MOST_FEEDS: f64 = 100_000.0;

/// Mean feeds to the alarm at the most, and the bet that gives it, where inferences are drawn from `seen`;
/// `None` if no bet gains.
pub(super) fn predicted(draft: &Draft, seen: &[Seen]) -> Option<(f64, Bet)> {
    let all = seen.len() as f64;
    let evidence = f64::from(draft.threshold) - 1.0;
    let mut soonest: Option<(f64, Bet)> = None;
    for (bet, scores) in scores(draft) {
        let sum: i64 = seen.iter().map(|seen| i64::from(scores.of(seen))).sum();
        let feeds = (evidence + f64::from(scores.most())) * all / sum as f64;
        let is_sooner = soonest.is_none_or(|(before, _)| feeds < before);
        if sum > 0 && feeds <= MOST_FEEDS && is_sooner {
            soonest = Some((feeds, bet));
        }
    }
    soonest
}

/// The median, over inferences, of what [`predicted`] says where one of them comes again and again;
/// `None` where fewer than half of them are noticed.
pub(super) fn frozen(draft: &Draft, seen: &[Seen]) -> Option<(f64, Bet)> {
    let mut found: Vec<(f64, Bet)> =
        seen.iter().filter_map(|one| predicted(draft, std::slice::from_ref(one))).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found.get(seen.len() / 2).copied()
}

/// What a bet makes of an inference.
pub(super) enum Scores {
    /// By the bin of a statistic.
    Table { statistic: usize, of: Ordinal, tilt: usize },
    /// By a tail of one.
    Tail { statistic: usize, of: Ordinal, high: bool },
    /// By the class.
    Class { class: u16, event: Event },
}

impl Scores {
    /// What is added for an inference.
    pub(super) fn of(&self, seen: &Seen) -> i16 {
        match self {
            Self::Table { statistic, of, tilt } => {
                of.table[bin(&of.edges, seen.values[*statistic])][*tilt].into()
            }
            Self::Tail { statistic, of, high } => {
                let bin = bin(&of.edges, seen.values[*statistic]);
                let lowest = usize::from(*statistic == 0);
                let (event, hit) = match high {
                    true => (of.high, bin == EDGES),
                    false => (of.low, bin <= lowest),
                };
                score(event, hit)
            }
            Self::Class { class, event } => score(*event, seen.class == *class),
        }
    }

    /// The greatest step.
    fn most(&self) -> i16 {
        match self {
            Self::Table { of, tilt, .. } => {
                of.table.iter().map(|row| i16::from(row[*tilt])).max().unwrap_or_default()
            }
            Self::Tail { of, high: true, .. } => of.high.hit.into(),
            Self::Tail { of, high: false, .. } => of.low.hit.into(),
            Self::Class { event, .. } => event.hit.into(),
        }
    }
}

fn score(event: Event, hit: bool) -> i16 {
    if hit { event.hit.into() } else { -i16::from(event.loss) }
}

/// All bets of a section.
pub(super) fn scores(draft: &Draft) -> Vec<(Bet, Scores)> {
    let mut scores = Vec::new();
    for (statistic, &of) in ordinals(draft) {
        for tilt in 0..TILTS {
            let place = TILTS * statistic + tilt;
            let table = Scores::Table { statistic, of, tilt };
            scores.push((Bet::Ordinal(place as u8), table));
        }
        for high in [false, true] {
            let place = TAILS_AT + 2 * statistic + usize::from(high);
            scores.push((Bet::Ordinal(place as u8), Scores::Tail { statistic, of, high }));
        }
    }
    for (index, class) in draft.classes.iter().enumerate() {
        let number = draft.map.and_then(|map| map.get(index).copied()).unwrap_or(index as u16);
        scores.push((Bet::Class(number), Scores::Class { class: number, event: class.event }));
    }
    scores
}
