//! What models are sure of: what `cargo xtask bench decision` counted, and its section of the page.

use serde::{Deserialize, Serialize};

use crate::certificate::thousands;

/// One promise about one model, looked at many times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionRow {
    /// The model's file or folder, without those around it.
    pub(crate) model: String,
    /// Where the examples are from.
    pub(crate) data: String,
    /// Error on all of them, accepted or not.
    pub(crate) all_error_percent: f64,
    /// The promise.
    pub(crate) accepted_error_percent: f64,
    pub(crate) confidence: f64,
    pub(crate) draws: u64,
    pub(crate) seed: u64,
    /// Examples of a draw that choose the margin.
    pub(crate) choosing: u64,
    /// Examples of a draw on which the promise is looked at.
    pub(crate) tested: u64,
    /// Draws in which no margin kept the promise.
    pub(crate) without_margin: u64,
    /// Draws in which the promise was broken.
    pub(crate) violations: u64,
    /// Mean and least share of the examples tested that is accepted.
    pub(crate) coverage_percent: f64,
    pub(crate) least_coverage_percent: f64,
    /// Mean and greatest error among what is accepted.
    pub(crate) error_percent: f64,
    pub(crate) greatest_error_percent: f64,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

const HEAD: &str = "
## What models are sure of

A model with a margin says of some inputs that it isn't sure; the error among the others is promised. MNIST's
10,000 test images, which trained and chose nothing, are dealt out anew in every draw: *choosing* of them choose
the margin as `bitsback margin` does, and the promise is looked at on the others (*tested*). *Broken* counts the
draws in which more of what was accepted there was wrong than was promised. A draw without a margin promises
nothing. Coverage and error are means over the draws, in brackets the least coverage and the greatest error.

| model | error % | promised % | confidence | choosing | tested | draws | broken | no margin | coverage % | error of accepted % | date |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|
";

/// The section, or nothing where nothing was measured.
pub(super) fn section(rows: &[DecisionRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = HEAD.to_owned();
    for row in rows {
        text += &format!(
            "| {} | {:.2} | {} | {} | {} | {} | {} | {} ({:.1} %) | {} | {:.1} ({:.1}) | {:.2} ({:.2}) | {} |\n",
            row.model,
            row.all_error_percent,
            row.accepted_error_percent,
            row.confidence,
            thousands(row.choosing),
            thousands(row.tested),
            row.draws,
            row.violations,
            100.0 * row.violations as f64 / row.draws.max(1) as f64,
            row.without_margin,
            row.coverage_percent,
            row.least_coverage_percent,
            row.error_percent,
            row.greatest_error_percent,
            row.date.get(..10).unwrap_or(&row.date),
        );
    }
    let mut commands: Vec<&str> = rows.iter().map(|row| row.command.as_str()).collect();
    commands.dedup();
    text + &format!(
        "\nReproduce (seed {}):\n\n```\ncargo xtask data mnist\n{}\n```\n\nMachine: {}.\n",
        first.seed,
        commands.join("\n"),
        first.machine
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_how_often_a_promise_was_broken() {
        let row = DecisionRow {
            model: "lenet".into(),
            data: "data/mnist".into(),
            all_error_percent: 1.5,
            accepted_error_percent: 0.5,
            confidence: 0.95,
            draws: 200,
            seed: 1,
            choosing: 2_500,
            tested: 7_500,
            without_margin: 3,
            violations: 5,
            coverage_percent: 91.25,
            least_coverage_percent: 80.0,
            error_percent: 0.25,
            greatest_error_percent: 0.625,
            command: "cargo xtask bench decision --keep".into(),
            date: "2026-01-02T03:04:05Z".into(),
            machine: "a machine".into(),
        };
        let text = section(&[row.clone(), row]);
        let figures =
            "| 2,500 | 7,500 | 200 | 5 (2.5 %) | 3 | 91.2 (80.0) | 0.25 (0.62) | 2026-01-02 |";
        assert!(text.contains(figures), "{text}");
        assert_eq!(text.matches("--keep").count(), 1, "{text}");
        assert!(section(&[]).is_empty());
    }
}
