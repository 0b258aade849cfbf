//! The rules that decided, in words, and how often each did.

use super::html::{self, esc};
use super::{Report, measure, prior_name, tables};
use crate::ledger::{BITS_FILE, GROUPS_FILE, Reason};
use crate::summary::Control;

/// Name and meaning, in the order in which they are listed.
const REASONS: [(Reason, &str, &str); 9] = [
    (Reason::BelowThreshold, "below the threshold", "kept: the data need it"),
    (Reason::AboveThreshold, "above the threshold", "removed: noise drowns what it carries"),
    (
        Reason::AblationHarmless,
        "harmless ablation",
        "removed during training: without it, and everything less important, the loss on held-out \
         training examples rose by less than the budget",
    ),
    (
        Reason::EdgeHarmless,
        "harmless crop",
        "removed during training in the same way, with the outer row or column of the image that it is \
         from: nothing before computes that any more",
    ),
    (Reason::NoConsumer, "no consumer", "removed: nothing reads it any more"),
    (
        Reason::Constant,
        "constant",
        "removed: it no longer depends on the input; its value went into the next bias",
    ),
    (Reason::LastOfLayer, "last of its layer", "kept: a layer may not become empty"),
    (Reason::CannotLeave, "cannot leave", "kept: something else needs its channel"),
    (Reason::NotJudged, "not judged", "kept: the job has no Bayesian stage that could tell"),
];

/// The section.
pub(super) fn section(report: &Report) -> String {
    let mut body = how(report);
    let groups = &report.ledger.groups;
    let counted: Vec<(&str, &str, usize)> = REASONS
        .iter()
        .map(|(reason, name, meaning)| {
            (*name, *meaning, groups.iter().filter(|g| g.reason == *reason).count())
        })
        .filter(|(_, _, count)| *count > 0)
        .collect();
    if !counted.is_empty() {
        body += &tables::counts(&counted);
    }
    if let Some(nats) = report.meta.description_length_nats {
        body += &html::remark(&description_length(nats, report.summary.compressed.file_bytes));
    }
    if let Some(part) = report.summary.input_part {
        body += &html::remark(&format!(
            "The model is given whole images, and reads {part}; what is outside, and what would be made \
             of it alone, isn't computed."
        ));
    }
    if let Some(left_out) = &report.summary.left_out {
        body += &html::remark(&format!(
            "{} channels of the integer model never change, whatever the input is, or are never read; \
             without them it makes {} products fewer, and gives the same bytes.",
            super::number::thousands(left_out.channels as u64),
            super::number::thousands(left_out.products)
        ));
    }
    body += &html::remark(&format!(
        "Every group's importance, threshold, fate, rule and effect (the rise of the loss by the \
         removal that it was part of) stand in <code>{GROUPS_FILE}</code>, every layer's bits and the \
         variance behind them in <code>{BITS_FILE}</code>, beside this page."
    ));
    html::section("rules", "Rules", &body)
}

/// How groups were judged, in a paragraph.
fn how(report: &Report) -> String {
    let control = report.summary.control;
    let judged = match control {
        Some(Control::NoBayesianStage) => {
            return "<p>A control: the dense network was quantised to the widths below without a \
                    Bayesian stage, so that nothing was removed for being uncertain.</p>\n"
                .to_owned();
        }
        Some(Control::OrderByMagnitude) => {
            "A control: groups are removed in the order of their magnitude, not of the posterior, \
             as long as that harms next to nothing"
        }
        None => {
            "It says how much of a group's scale is noise; what is mostly noise is removed whole, \
             so that the tensors shrink"
        }
    };
    format!(
        "<p>Training learned a distribution for every weight and one scale for every group, under \
         a {} prior, which prefers scales of zero. Importance is read from {}. {judged}. What a \
         removed group would have added as a constant is folded into the next bias. The survivors \
         are fine-tuned, quantised to the widths below, and run as integers.</p>\n",
        esc(prior_name(report.summary.row.prior)),
        esc(measure(&report.summary)),
    )
}

/// The KL term as a length, beside the file's.
fn description_length(nats: f64, file_bytes: u64) -> String {
    let bytes = nats / std::f64::consts::LN_2 / 8.0;
    format!(
        "Description length (bits-back): the posterior is {nats:.0} nats from the prior, which \
         would be {} bytes in an ideal code; the file has {}.",
        super::number::thousands(bytes.max(0.0) as u64),
        super::number::thousands(file_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_become_bytes() {
        let text = description_length(8.0 * std::f64::consts::LN_2 * 2_600.0, 3_000);
        assert!(text.contains("2,600 bytes") || text.contains("2,599 bytes"), "{text}");
    }
}
