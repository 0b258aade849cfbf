//! The table before/after.

use super::table::{self, Align};
use crate::report::number::{change, significant, thousands};
use crate::summary::Summary;

/// Dense float network against compressed integer model: error, bytes, MACs, arena.
pub(super) fn table(summary: &Summary) -> String {
    let (dense, small) = (&summary.dense, &summary.compressed);
    let percent = |x| format!("{} %", significant(x));
    let points = summary.error_change();
    let sign = if points < 0.0 { "−" } else { "+" };
    let mut rows = vec![
        [
            format!("error on {} test examples", thousands(summary.test_examples)),
            percent(dense.error_percent),
            percent(small.error_percent),
            format!("{sign}{} points", significant(points.abs())),
        ],
        [
            "file bytes".to_owned(),
            thousands(dense.file_bytes),
            thousands(small.file_bytes),
            change(summary.row.ratio, "smaller", "larger"),
        ],
        [
            "multiply-accumulates".to_owned(),
            thousands(dense.macs),
            thousands(small.macs),
            change(summary.macs_ratio(), "fewer", "more"),
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
        let mut grown = crate::summary::tests::example();
        (grown.row.ratio, grown.compressed.macs) = (0.5, 4 * grown.dense.macs);
        let text = table(&grown);
        assert!(text.contains("2.00× larger") && text.contains("4.00× more"), "{text}");
    }
}
