//! A front as a table.

use super::table::{self, Align};
use crate::report::number::thousands;
use crate::select::FrontSummary;

/// The points, one a line, and why the chosen one.
pub(super) fn table(front: &FrontSummary) -> String {
    use Align::{Left, Right};
    let varies = front.varies_temperature();
    let mut rows: Vec<Vec<String>> = front
        .points
        .iter()
        .map(|point| {
            vec![
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
                    _ => format!("fails {}", point.failures()),
                },
            ]
        })
        .collect();
    let from = front.points.first().map_or("", |point| point.instructions_from.name());
    let instructions = format!("Instr. ({from})");
    let mut heads = vec![
        "Point",
        "Rate",
        "Weights",
        "Bytes",
        "Error",
        "At most",
        &instructions,
        "Requirements",
    ];
    let mut align = vec![Left, Right, Right, Right, Right, Right, Right, Left];
    if varies {
        heads.insert(1, "KL temp.");
        align.insert(1, Right);
        for (row, point) in rows.iter_mut().zip(&front.points) {
            row.insert(1, format!("× {}", point.temperature));
        }
    }
    let table = table::layout(&heads, &align, &rows);
    format!("{table}\n{}\n", front.why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::point::tests::point;
    use crate::select::{Requirements, choose};

    #[test]
    fn the_chosen_point_has_a_star_and_failures_their_names() {
        let requirements = Requirements { error_percent: Some(3.5), ..Requirements::default() };
        let points = [point(0, 20, 3_000), point(1, 60, 2_000), point(2, 20, 1_000)];
        let choice = choose(&points, &requirements, 64.0).unwrap();
        let text = table(&FrontSummary::new(&points, &choice, &requirements, 64.0));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].starts_with("1 *") && lines[2].contains("meets all"), "{text}");
        assert!(lines[3].contains("fails error_percent"), "{text}");
        assert!(lines[4].contains("not tested"), "{text}");
        assert!(text.contains("(estimated)") && text.contains("Point 1 of 5"), "{text}");
        assert!(!text.contains("KL temp."), "{text}");
    }

    #[test]
    fn temperatures_have_a_column_where_they_vary() {
        let requirements = Requirements { error_percent: Some(3.5), ..Requirements::default() };
        let mut points = [point(0, 60, 3_000), point(1, 20, 2_000)];
        points[1].plan.temperature = 0.25;
        let choice = choose(&points, &requirements, 64.0).unwrap();
        let text = table(&FrontSummary::new(&points, &choice, &requirements, 64.0));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("Point  KL temp."), "{text}");
        assert!(lines[3].contains("× 0.25") && lines[3].contains("meets all"), "{text}");
    }
}
