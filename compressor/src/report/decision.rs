//! What the model is sure of: the margin, the promise, and what became of it.

use super::html::{self, esc};
use super::number::{significant, thousands};
use super::tables;
use crate::select::confidence::percent;
use crate::select::{Accepted, DecisionSummary};

/// The section; empty for a job that promises nothing of it.
pub(super) fn section(decision: Option<&DecisionSummary>) -> String {
    let Some(decision) = decision else { return String::new() };
    let promise = format!(
        "at most {} % of what the model is sure of is wrong, with {} % confidence",
        significant(decision.accepted_error_percent),
        percent(decision.confidence)
    );
    let text = match decision.margin {
        None => format!("No margin keeps the promise that {promise}."),
        Some(0) => format!("The model is sure of every input: {promise}."),
        Some(margin) => format!(
            "The model is sure of an input where its largest output leads all others by {margin} \
             steps or more, and says else that it isn\u{2019}t: {promise}."
        ),
    };
    let mut rows = row("held out, which chose the margin", &decision.held_out);
    if let Some(test) = &decision.test {
        rows += &row("test, which played no part", test);
    }
    let body = format!(
        "<p>{}</p>\n{}{}",
        esc(&text),
        tables::table(HEADS, &rows),
        html::remark(&format!(
            "Of as many new examples as were accepted of those held out, drawn alike, and about so of more. Test: \
             {}. Every margin is in <code>ledger-margins.csv</code>.",
            esc(&decision.method)
        ))
    );
    html::section("decision", "Decisions", &body)
}

const HEADS: &[&str] = &["Examples", "#All", "#Sure", "#Coverage %", "#Wrong of these", "#%"];

fn row(of: &str, accepted: &Accepted) -> String {
    let cells = [
        thousands(accepted.examples),
        thousands(accepted.accepted),
        significant(accepted.coverage_percent),
        thousands(accepted.errors),
        significant(accepted.error_percent),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td class=\"n\">{cell}</td>")).collect();
    format!("<tr><td>{of}</td>{cells}</tr>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::margin::{Leads, Promise, choose_margin};

    fn decision(test: Option<Accepted>) -> DecisionSummary {
        let leads = Leads::count((0..2_000).map(|i| ((i % 200) as u8, i % 200 < 9)));
        let promise = Promise { percent: 1.0, confidence: 0.95 };
        DecisionSummary::new(&choose_margin(&leads, &leads, promise), promise, test)
    }

    #[test]
    fn margin_promise_and_coverage_are_stated() {
        assert_eq!(section(None), "");
        let page = section(Some(&decision(Some(Accepted::new(10_000, 9_500, 31)))));
        for text in
            ["leads all others by 8 steps", "at most 1.00 % of", "95 % confidence", "9,500", "0.33"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(page.matches("<tr><td>").count(), 2);
    }

    #[test]
    fn what_is_not_kept_is_said() {
        let page = section(Some(&DecisionSummary { margin: None, ..decision(None) }));
        assert!(page.contains("No margin keeps the promise") && !page.contains("test, which"));
        let page = section(Some(&DecisionSummary { margin: Some(0), ..decision(None) }));
        assert!(page.contains("sure of every input"));
    }
}
