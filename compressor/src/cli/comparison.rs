//! The table before/after.

use super::table::{self, Align};
use crate::report::number::{significant, thousands, times};
use crate::summary::Summary;

/// Dense float network against compressed integer model: error, bytes, MACs, arena.
pub(super) fn table(summary: &Summary) -> String {
    let (dense, small) = (&summary.dense, &summary.compressed);
    let percent = |x| format!("{} %", significant(x));
    let change = summary.error_change();
    let sign = if change < 0.0 { "−" } else { "+" };
    let mut rows = vec![
        [
            format!("error on {} test examples", thousands(summary.test_examples)),
            percent(dense.error_percent),
            percent(small.error_percent),
            format!("{sign}{} points", significant(change.abs())),
        ],
        [
            "file bytes".to_owned(),
            thousands(dense.file_bytes),
            thousands(small.file_bytes),
            format!("{} smaller", times(summary.row.ratio)),
        ],
        [
            "multiply-accumulates".to_owned(),
            thousands(dense.macs),
            thousands(small.macs),
            format!("{} fewer", times(summary.macs_ratio())),
        ],
    ];
    if let Some(arena) = small.arena_bytes {
        rows.push(["arena bytes".to_owned(), "–".to_owned(), thousands(arena), String::new()]);
    }
    let heads = ["", "dense float", "compressed integer", ""];
    table::layout(&heads, &[Align::Left, Align::Right, Align::Right, Align::Left], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_figures_are_there() {
        let text = table(&crate::summary::tests::example());
        for part in ["2.00 %", "2.50 %", "+0.50 points", "40,000", "20.0× smaller", "10.0× fewer"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.lines().last().unwrap().contains("128"), "{text}");
    }
}
