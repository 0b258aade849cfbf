//! A front as a table.

use super::table::{self, Align};
use crate::report::number::thousands;
use crate::select::FrontSummary;

/// The points, one a line, and why the chosen one.
pub(super) fn table(front: &FrontSummary) -> String {
    use Align::{Left, Right};
    let rows: Vec<[String; 8]> = front
        .points
        .iter()
        .map(|point| {
            [
                format!("{}{}", point.point, if point.chosen { " *" } else { "" }),
                format!("{:.3}", point.rate),
                thousands(point.weights),
                thousands(point.file_bytes),
                format!("{:.2} %", point.error_percent),
                format!("{:.2} %", point.error_bound_percent),
                thousands(point.instructions),
                match point.unmet[..] {
                    [] if point.promised => "meets all".to_owned(),
                    [] => "not tested: a gentler point failed".to_owned(),
                    _ => format!("fails {}", point.unmet.join(", ")),
                },
            ]
        })
        .collect();
    let from = front.points.first().map_or("", |point| point.instructions_from.name());
    let instructions = format!("M4 instr. ({from})");
    let table = table::layout(
        &["Point", "Rate", "Weights", "Bytes", "Error", "At most", &instructions, "Requirements"],
        &[Left, Right, Right, Right, Right, Right, Right, Left],
        &rows,
    );
    format!("{table}\n{}\n", front.why)
}
