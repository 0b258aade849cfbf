//! The sentinel: what is promised of it, what it notices and how soon, and what it can't see.

use super::html::{self, esc};
use super::number::{significant, thousands};
use super::tables;
use crate::select::confidence::percent;
use crate::sentinel::{Delay, SentinelProfile, SentinelSummary};

/// The section; empty for a model without.
pub(super) fn section(sentinel: Option<&SentinelSummary>) -> String {
    let Some(sentinel) = sentinel else { return String::new() };
    let text = format!(
        "{} bytes of the file tell the device whether the field still looks like the {} reference examples: \
         {} bets on {}, of which one has to gather {} bits of evidence. {}.",
        thousands(sentinel.bytes),
        thousands(sentinel.examples),
        sentinel.bets,
        watched(sentinel.profile),
        significant(sentinel.threshold_bits),
        promise(sentinel)
    );
    let rows: String = sentinel.delays.iter().map(row).collect();
    let body = format!(
        "<p>{}</p>\n{}{}{}",
        esc(&text),
        tables::table(HEADS, &rows),
        html::remark(
            "Predicted by changing the reference and running the model: the mean number of inferences from \
             the change to the alarm is at most this, if they are independent. <em>Not noticed</em>: no bet \
             gains, however long it lasts.",
        ),
        html::remark(&limits(sentinel))
    );
    html::section("sentinel", "Sentinel", &body)
}

const HEADS: &[&str] = &["Change", "#Noticed after", "By", "#Error, points"];

/// What is promised of a sentinel, a sentence without its full stop.
pub(crate) fn promise(sentinel: &SentinelSummary) -> String {
    let fed = match sentinel.decimate {
        0 | 1 => String::new(),
        every => format!(", of which one in {every} is looked at"),
    };
    format!(
        "While the field is like the reference, up to {} % of the inferences whatever they may be, a false \
         alarm within {} of them{fed} has a chance of at most {} %, with {} % confidence in the reference",
        significant(sentinel.tolerance_percent),
        thousands(sentinel.inferences),
        significant(100.0 * sentinel.false_alarms),
        percent(sentinel.confidence)
    )
}

/// The statistics of a profile.
pub(crate) fn watched(profile: SentinelProfile) -> &'static str {
    match profile {
        SentinelProfile::None => "nothing",
        SentinelProfile::All => "answers, inputs and classes",
        SentinelProfile::Quiet => "answers",
        SentinelProfile::NoPrior => "answers and inputs",
    }
}

/// After how many inferences a change is noticed, in words.
pub(crate) fn noticed(delay: &Delay) -> String {
    match delay.inferences {
        Some(inferences) => thousands(inferences as u64),
        None => "not noticed".to_owned(),
    }
}

/// What the sentinel can't see.
fn limits(sentinel: &SentinelSummary) -> String {
    let examples = match sentinel.unnoticed().next() {
        Some(_) => {
            "Some of these changes are within what the promise allows or what so few examples leave open."
        }
        None => "Each of these changes is noticed.",
    };
    format!(
        "{examples} A sentinel says that the field has changed, not that answers are wrong: it knows no labels, \
         and classes that have changed places escape it. Its promise is about independent inferences; of \
         frames that follow one another closely, feed fewer, or one an event."
    )
}

fn row(delay: &Delay) -> String {
    let points = delay.error_points.map_or_else(String::new, |points| format!("{points:+.1}"));
    format!(
        "<tr><td>{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{points}</td></tr>\n",
        esc(&delay.change),
        noticed(delay),
        esc(delay.bet.as_deref().unwrap_or_default()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sentinel that notices one of two changes.
    fn example() -> SentinelSummary {
        let delay = |change: &str, found: Option<(f64, &str)>| Delay {
            change: change.into(),
            inferences: found.map(|(inferences, _)| inferences),
            bet: found.map(|(_, bet)| bet.into()),
            error_points: Some(1.2),
        };
        SentinelSummary {
            profile: SentinelProfile::All,
            bytes: 249,
            examples: 2_000,
            confidence: 0.99,
            tolerance_percent: 2.0,
            false_alarms: 0.001,
            inferences: 10_000,
            decimate: 1,
            threshold_bits: 24.5,
            bets: 28,
            delays: vec![
                delay("nothing changed", None),
                delay("values times 0.6", Some((1_018.0, "brightness lo2"))),
                delay("a ninth covered", None),
            ],
        }
    }

    #[test]
    fn promise_and_delays_are_stated() {
        assert_eq!(section(None), "");
        let page = section(Some(&example()));
        for text in [
            "249 bytes",
            "2,000 reference",
            "28 bets on answers, inputs and classes",
            "24.5 bits",
            "within 10,000 of them has",
            "99 % confidence",
            "1,018",
            "brightness lo2",
            "+1.2",
            "not noticed",
            "Some of these",
            "no labels",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(page.matches("<tr><td>").count(), 3);
        let seldom = SentinelSummary { decimate: 5, ..example() };
        assert!(promise(&seldom).contains("one in 5"));
    }
}
