//! The front: error against bytes with intervals, the requirements, and why the chosen point.

use super::chart::{self, Axis, Scale};
use super::html::{self, esc};
use super::number::{count, significant, thousands};
use super::tables;
use crate::select::confidence::{lower_bound, percent, upper_bound};
use crate::select::{FrontSummary, PointSummary};

/// Air around the points, as a share of the axis.
const AIR: f64 = 0.06;

/// The section; empty for a job without a front.
pub(super) fn section(front: Option<&FrontSummary>) -> String {
    let Some(front) = front else { return String::new() };
    let varies = front.varies_temperature();
    let together = match front.confidence_of_each > front.confidence {
        true => {
            format!(", which makes {} % of all temperatures together", percent(front.confidence))
        }
        false => String::new(),
    };
    let heads: Vec<&str> =
        HEADS.iter().copied().filter(|head| varies || *head != TEMPERATURE).collect();
    let rows: String = front.points.iter().map(|point| row(point, varies)).collect();
    let body = format!(
        "<p>{}</p>\n<div class=\"plots\">\n{}</div>\n{}{}",
        esc(&front.why),
        plot(front),
        tables::table(&heads, &rows),
        html::remark(&format!(
            "Errors are the integer runtime's on {} validation examples that the front is judged by; \
             bars and \u{201c}at most\u{201d} are at {} % confidence{together}, one-sided each way. Test: {}. \
             Every point is in <code>front/</code>.",
            thousands(front.points.first().map_or(0, |point| point.examples)),
            percent(front.confidence_of_each),
            esc(&front.test)
        ))
    );
    html::section("front", "Front", &body)
}

/// Lower and upper bound of a point's error, in percent.
fn bounds(point: &PointSummary, confidence: f64) -> (f64, f64) {
    let (errors, examples) = (point.errors, point.examples);
    let percent = |share: f64| 100.0 * share;
    let low = lower_bound(errors, examples, confidence);
    (percent(low), percent(upper_bound(errors, examples, confidence)))
}

fn plot(front: &FrontSummary) -> String {
    let varies = front.varies_temperature();
    let sizes = || front.points.iter().map(|p| p.file_bytes as f64);
    let limit = front.flash_bytes_limit.map(|bytes| bytes as f64);
    let least = sizes().chain(limit).fold(f64::INFINITY, f64::min);
    let most = sizes().chain(limit).fold(0.0, f64::max);
    let highest = front.points.iter().map(|p| bounds(p, front.confidence_of_each).1);
    let highest = highest.chain(front.error_percent_limit).fold(0.0, f64::max);
    let air = AIR * (most - least).max(1.0);
    let x = Axis::horizontal(least - air, most + air);
    let y = Axis::vertical(Scale::Linear, 0.0, highest * (1.0 + AIR));
    let title = "Error on validation, %";
    let mut svg = chart::open(title, &x, &y, "bytes of the model file", "");
    if let Some(limit) = limit {
        svg += &chart::marker(&x, limit, "flash_bytes");
    }
    if let Some(limit) = front.error_percent_limit {
        svg += &chart::level(&y, limit, "error_percent");
    }
    let place = |point: &PointSummary| (x.at(point.file_bytes as f64), y.at(point.error_percent));
    let mut names = chart::Names::around(front.points.iter().map(place));
    for point in &front.points {
        let (low, high) = bounds(point, front.confidence_of_each);
        let (mut name, mut tempered) = (point.point.to_string(), String::new());
        if varies {
            name += &format!(" (×{})", point.temperature);
            tempered = format!(" at KL temperature × {}", point.temperature);
        }
        svg += &chart::interval((&x, point.file_bytes as f64), (&y, low, high));
        svg += &chart::point(
            (&x, point.file_bytes as f64),
            (&y, point.error_percent),
            if point.chosen { "point chosen" } else { "point" },
            &format!(
                "point {}{tempered}: {} bytes, {} %, at most {} %",
                point.point,
                thousands(point.file_bytes),
                significant(point.error_percent),
                significant(high)
            ),
        );
        svg += &names.place(place(point), &name);
    }
    let note = match varies {
        true => "the chosen point is filled; in brackets the factor on the KL's temperature",
        false => "the chosen point is filled",
    };
    chart::close(title, note, svg)
}

/// A column that is left out where the temperature is the job's.
const TEMPERATURE: &str = "#KL temperature";

const HEADS: &[&str] = &[
    "#Point",
    // What one looks for, where narrow screens show it.
    "Requirements",
    TEMPERATURE,
    "#Rate λ",
    "#Kept",
    "#Weights",
    "#Bytes",
    "#Errors",
    "#%",
    "#at most %",
    "#Arena",
    "#MACs",
    "#Instructions",
];

fn row(point: &PointSummary, varies: bool) -> String {
    let verdict = match point.unmet[..] {
        _ if point.chosen && point.unmet.is_empty() => "meets all; chosen".to_owned(),
        [] if point.promised => "meets all".to_owned(),
        [] => "not tested: a gentler point failed".to_owned(),
        _ if point.chosen => format!("nearest; fails {}", point.failures()),
        _ => format!("fails {}", point.failures()),
    };
    let efficient = if point.efficient { "" } else { " (another has fewer bytes and errors)" };
    let mut cells = vec![
        significant(f64::from(point.rate)),
        format!("{:.0} %", 100.0 * point.keep),
        thousands(point.weights),
        thousands(point.file_bytes),
        thousands(point.errors),
        significant(point.error_percent),
        significant(point.error_bound_percent),
        thousands(point.arena_bytes),
        count(point.macs),
        format!("{} ({})", count(point.instructions), point.instructions_from.name()),
    ];
    if varies {
        cells.insert(0, format!("× {}", point.temperature));
    }
    let cells: String = cells.iter().map(|c| format!("<td class=\"n\">{}</td>", esc(c))).collect();
    let class = if point.chosen { " class=\"total\"" } else { "" };
    format!(
        "<tr{class}><td class=\"n\">{}</td><td>{}{efficient}</td>{cells}</tr>\n",
        point.point,
        esc(&verdict)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::point::tests::point;
    use crate::select::{Requirements, choose};

    fn front(requirements: &Requirements) -> FrontSummary {
        let points = [point(0, 20, 3_000), point(1, 22, 2_000), point(2, 60, 2_100)];
        let choice = choose(&points, requirements, 64.0).unwrap();
        FrontSummary::new(&points, &choice, requirements, 64.0)
    }

    #[test]
    fn no_front_no_section() {
        assert_eq!(section(None), "");
    }

    #[test]
    fn the_chosen_point_is_marked_and_the_limits_are_drawn() {
        let requirements = Requirements {
            error_percent: Some(3.5),
            flash_bytes: Some(2_500),
            ..Requirements::default()
        };
        let page = section(Some(&front(&requirements)));
        assert_eq!(page.matches("class=\"point chosen\"").count(), 1);
        assert_eq!(page.matches("class=\"interval\"").count(), 3);
        for text in ["Point 2 of 5", "flash_bytes", "fails error_percent", "meets all; chosen"] {
            assert!(page.contains(text), "{text}");
        }
        assert!(page.contains("another has fewer bytes and errors"));
    }

    #[test]
    fn temperatures_are_shown_where_they_vary() {
        let requirements = Requirements { error_percent: Some(3.5), ..Requirements::default() };
        let page = section(Some(&front(&requirements)));
        assert!(!page.contains("KL temperature") && page.contains("are at 95 % confidence"));
        let mut points = [point(0, 20, 3_000), point(1, 22, 2_000), point(2, 20, 1_000)];
        points[2].plan.temperature = 2.0;
        let choice = choose(&points, &requirements, 64.0).unwrap();
        let summary = FrontSummary::new(&points, &choice, &requirements, 64.0);
        let page = section(Some(&summary));
        for text in [
            "<th class=\"n\">KL temperature</th>",
            ">× 2</td>",
            ">3 (×2)</text>",
            "point 3 at KL temperature × 2:",
            "are at 97.5 % confidence, which makes 95 % of all",
            "Bonferroni",
            "Point 3 of 5 (KL temperature × 2)",
        ] {
            assert!(page.contains(text), "{text}");
        }
    }

    #[test]
    fn a_nearest_point_is_called_that() {
        let tight = Requirements { flash_bytes: Some(100), ..Requirements::default() };
        assert!(section(Some(&front(&tight))).contains("nearest; fails flash_bytes"));
    }
}
