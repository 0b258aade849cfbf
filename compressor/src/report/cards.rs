//! The top of the page: one sentence, and four figures before and after.

use std::borrow::Cow;

use super::html::esc;
use super::latency::Latency;
use super::number::{bytes, change, count, significant, thousands, times};
use crate::summary::{Summary, error_interval, ratio};

/// What the job came to, in a sentence or three, and what it failed to meet.
pub(super) fn verdict(summary: &Summary, unmet: &str) -> String {
    let (dense, small) = (&summary.dense, &summary.compressed);
    let mut text = format!(
        "The compressed model is <b>{}</b> than the float network, needs <b>{} \
         multiply-accumulates</b> and is wrong on <b>{} %</b> of {} test examples, where the float \
         network is wrong on {} %.",
        change(summary.row.ratio, "smaller", "larger"),
        change(summary.macs_ratio(), "fewer", "more"),
        significant(small.error_percent),
        thousands(summary.test_examples),
        significant(dense.error_percent),
    );
    let intervals = (
        error_interval(dense.error_percent, summary.test_examples),
        error_interval(small.error_percent, summary.test_examples),
    );
    if let (Some(before), Some(after)) = intervals {
        text += if before.0 <= after.1 && after.0 <= before.1 {
            " The 95 % intervals of the two error rates overlap."
        } else {
            " The 95 % intervals of the two error rates do not overlap."
        };
    }
    let unmet = match unmet {
        "" => String::new(),
        words => format!(
            "<p class=\"unmet\"><b>A requirement isn\u{2019}t met:</b> {}</p>\n",
            esc(words)
        ),
    };
    let lost = summary.chance.iter().flat_map(|chance| &chance.lost_classes);
    let lost: Vec<String> = lost.map(|class| esc(class).to_string()).collect();
    if !lost.is_empty() {
        text += &format!(
            " <b>On validation it never answers {}</b>, which the float network knows.",
            lost.join(", ")
        );
    }
    format!("<p class=\"verdict\">{text}</p>\n{unmet}")
}

/// One card.
struct Card<'a> {
    title: Cow<'a, str>,
    before: String,
    after: String,
    change: String,
    /// Whether the change is for the worse.
    worse: bool,
    basis: String,
}

/// Size, error, arithmetic, time.
pub(super) fn cards(summary: &Summary, latencies: &[Latency]) -> String {
    let mut cards = vec![size(summary), error(summary), macs(summary)];
    cards.extend(latencies.iter().map(latency));
    let cards: String = cards.iter().map(render).collect();
    format!("<div class=\"cards\">\n{cards}</div>\n")
}

fn size(summary: &Summary) -> Card<'static> {
    Card {
        title: "Size".into(),
        before: bytes(summary.dense.file_bytes),
        after: bytes(summary.compressed.file_bytes),
        change: change(summary.row.ratio, "smaller", "larger"),
        worse: summary.compressed.file_bytes > summary.dense.file_bytes,
        basis: format!(
            "counted: {} bytes of float weights and biases; {} bytes of model file, header and all",
            thousands(summary.dense.file_bytes),
            thousands(summary.compressed.file_bytes)
        ),
    }
}

fn error(summary: &Summary) -> Card<'static> {
    let change = summary.error_change();
    let interval = match error_interval(summary.compressed.error_percent, summary.test_examples) {
        Some((low, high)) => {
            format!("; 95 % interval {}–{} %", significant(low), significant(high))
        }
        None => String::new(),
    };
    Card {
        title: "Error".into(),
        before: format!("{} %", significant(summary.dense.error_percent)),
        after: format!("{} %", significant(summary.compressed.error_percent)),
        change: match change {
            x if x > 0.0 => format!("{} points more", significant(x)),
            x if x < 0.0 => format!("{} points less", significant(-x)),
            _ => String::from("unchanged"),
        },
        worse: change > 0.0,
        basis: format!(
            "measured on {} test examples, before in floats, after on the integer runtime{interval}",
            thousands(summary.test_examples)
        ),
    }
}

fn macs(summary: &Summary) -> Card<'static> {
    let arena = match summary.compressed.arena_bytes {
        Some(bytes) => format!("; working memory {} bytes", thousands(bytes)),
        None => String::new(),
    };
    Card {
        title: "Multiply-accumulates".into(),
        before: count(summary.dense.macs),
        after: count(summary.compressed.macs),
        change: change(summary.macs_ratio(), "fewer", "more"),
        worse: summary.compressed.macs > summary.dense.macs,
        basis: format!(
            "counted: {} and {} an inference{arena}",
            thousands(summary.dense.macs),
            thousands(summary.compressed.macs)
        ),
    }
}

fn latency(latency: &Latency) -> Card<'_> {
    let (after_ms, after) = (latency.after_ms, latency.after_from);
    let (change, basis) = match latency.before {
        Some((before_ms, before)) if before == after => {
            (faster(before_ms, after_ms), format!("both {}, before in plain 8 bits", after.name()))
        }
        // An estimate and a count don't make a ratio.
        Some((_, before)) => (
            "not compared: known in different ways".to_owned(),
            format!("instructions before {}, after {}", before.name(), after.name()),
        ),
        None => (String::new(), format!("instructions after {}", after.name())),
    };
    let before_ms = latency.before.map(|(before_ms, _)| before_ms);
    Card {
        title: format!("Time on {}", latency.target).into(),
        before: before_ms.map_or_else(|| "–".to_owned(), |ms| format!("{} ms", significant(ms))),
        after: format!("{} ms", significant(after_ms)),
        change,
        worse: latency.before.is_some_and(|(ms, before)| before == after && after_ms > ms),
        basis: format!(
            "{basis}; milliseconds are estimated, at an instruction a cycle (see Provenance)"
        ),
    }
}

/// Decoding takes time, so that a smaller model may well be slower.
fn faster(before: f64, after: f64) -> String {
    match (before, after) {
        _ if before <= 0.0 || after <= 0.0 => String::new(),
        _ if after > before => format!("{} slower", times(after / before)),
        _ => format!("{} faster", times(before / after)),
    }
}

fn render(card: &Card<'_>) -> String {
    format!(
        "<div class=\"card\"><h3>{}</h3>\n<p class=\"figures\"><span class=\"before\">{}</span> \
         <span class=\"arrow\">→</span> <span class=\"after\">{}</span></p>\n\
         <p class=\"{}\">{}</p>\n<p class=\"basis\">{}</p></div>\n",
        esc(&card.title),
        esc(&card.before),
        esc(&card.after),
        if card.worse { "change worse" } else { "change" },
        esc(&card.change),
        esc(&card.basis)
    )
}

/// A bar that shows how much is left, for table cells.
pub(super) fn share_bar(before: u64, after: u64) -> String {
    let share = if before == 0 { 0.0 } else { (1.0 / ratio(before, after.max(1))).clamp(0.0, 1.0) };
    format!(
        "<span class=\"share\" title=\"{:.1} % left\"><i style=\"width:{:.1}%\"></i></span>",
        share * 100.0,
        share * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Provenance;
    use crate::summary::tests::speed;

    #[test]
    fn what_is_slower_is_called_so() {
        assert_eq!(faster(4.0, 20.0), "5.00× slower");
        assert_eq!(faster(4.0, 2.0), "2.00× faster");
        assert_eq!(faster(0.0, 2.0), "");
    }

    #[test]
    fn what_got_worse_has_a_colour_of_its_own() {
        let mut summary = crate::summary::tests::example();
        let worse = |summary: &Summary| cards(summary, &[]).matches("\"change worse\"").count();
        assert_eq!((summary.error_change() > 0.0, worse(&summary)), (true, 1));
        summary.compressed.error_percent = summary.dense.error_percent;
        assert_eq!(worse(&summary), 0);
    }

    #[test]
    fn a_count_is_not_divided_by_an_estimate() {
        let summary = crate::summary::tests::example();
        let at = |from| {
            let times = Latency::all(&speed(Provenance::Estimated, from), 64.0);
            cards(&summary, &times).rsplit("Time on").next().map(str::to_owned).unwrap()
        };
        let estimated = at(Provenance::Estimated);
        assert!(
            estimated.contains("faster") && estimated.contains("both estimated"),
            "{estimated}"
        );
        let mixed = at(Provenance::Measured);
        assert!(!mixed.contains("faster") && mixed.contains("not compared"), "{mixed}");
        assert!(mixed.contains("before estimated, after measured"), "{mixed}");
    }
}
