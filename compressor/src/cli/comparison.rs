//! The table before/after.

use super::table::{self, Align};
use crate::cost::{Instructions, Provenance};
use crate::report::number::{change, significant, thousands};
use crate::summary::{Speed, Summary, ratio};

/// Dense float network against compressed integer model: error, bytes, MACs, arena, and instructions, for
/// which the dense one is of integers, too.
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
    if let Some(speed) = &summary.instructions {
        rows.extend(instructions(speed));
    }
    let heads = ["", "dense float", "compressed integer", ""];
    let mut text =
        table::layout(&heads, &[Align::Left, Align::Right, Align::Right, Align::Left], &rows);
    if let Some(speed) = &summary.instructions {
        text += &format!("* {}\n", basis(speed));
    }
    text
}

/// Instructions with weights as they are stored, and with RAM for them.
fn instructions(speed: &Speed) -> Vec<[String; 4]> {
    let Speed { core, dense, compressed } = speed;
    let row = |what: String, count: u64| {
        let before = dense.map_or_else(|| "–".to_owned(), |dense| thousands(dense.count));
        let change = match dense {
            Some(dense) if dense.from == compressed.from => {
                change(ratio(dense.count, count), "fewer", "more")
            }
            _ => String::new(),
        };
        [what, before, thousands(count), change]
    };
    let mut rows = vec![row(format!("instructions, {core}*"), compressed.count)];
    rows.extend(compressed.unpacked.map(|unpacked| {
        let ram = thousands(unpacked.weights_ram_bytes);
        row(format!("with {ram} bytes of RAM for weights*"), unpacked.count)
    }));
    rows
}

/// How they are known.
fn basis(speed: &Speed) -> String {
    let how = |of: Instructions| match of.from {
        Provenance::Measured => "counted under QEMU",
        Provenance::Counted | Provenance::Estimated => "estimated",
    };
    let after = how(speed.compressed);
    match speed.dense {
        Some(dense) if how(dense) == after => {
            format!("{after}; the dense network's in plain 8 bits, by the same runtime")
        }
        Some(dense) => {
            format!("{after}; the dense network's {}, in plain 8 bits", how(dense))
        }
        None => format!("{after}; the dense network has no integer form"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::speed;

    #[test]
    fn the_four_figures_are_there() {
        let text = table(&crate::summary::tests::example());
        for part in ["2.00 %", "2.50 %", "+0.50 points", "40,000", "20.0× smaller", "10.0× fewer"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.lines().last().unwrap().contains("128"), "{text}");
        let mut timed = crate::summary::tests::example();
        timed.instructions = Some(speed(Provenance::Measured, Provenance::Measured));
        let text = table(&timed);
        let lines: Vec<&str> = text.lines().collect();
        let [stored, unpacked, note] = lines[lines.len() - 3..] else { unreachable!() };
        assert!(stored.contains("48,000") && stored.contains("1.33× more"), "{text}");
        assert!(unpacked.contains("1,427 bytes") && unpacked.contains("3.00× fewer"), "{text}");
        assert!(note.contains("counted under QEMU") && note.contains("plain 8 bits"), "{text}");
        timed.instructions = Some(speed(Provenance::Estimated, Provenance::Measured));
        let text = table(&timed);
        assert!(!text.contains("3.00× fewer") && text.contains("network's estimated"), "{text}");
        let mut grown = crate::summary::tests::example();
        (grown.row.ratio, grown.compressed.macs) = (0.5, 4 * grown.dense.macs);
        let text = table(&grown);
        assert!(text.contains("2.00× larger") && text.contains("4.00× more"), "{text}");
    }
}
