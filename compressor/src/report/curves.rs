//! Training over time: one small plot a quantity, with the stages as bands.

use super::chart::{self, Axis, Scale};
use super::html;
use super::number::{duration, significant, thousands};
use crate::metrics::MetricRow;

/// What a plot shows.
struct Quantity {
    title: &'static str,
    scale: Scale,
    /// Linear plots of quantities that can't be negative start here.
    floor: Option<f64>,
    value: fn(&MetricRow) -> Option<f64>,
    last: fn(f64) -> String,
}

/// In the order of what people ask first.
const QUANTITIES: [Quantity; 4] = [
    Quantity {
        title: "Validation error, %",
        scale: Scale::Log,
        floor: None,
        value: |row| row.validation_error_percent,
        last: |x| format!("{} % at the end", significant(x)),
    },
    Quantity {
        title: "Weights left",
        scale: Scale::Log,
        floor: None,
        value: |row| row.weights_left.map(|n| n as f64),
        last: |x| format!("{} at the end", thousands(x.max(0.0) as u64)),
    },
    Quantity {
        title: "Training loss, nats an example",
        scale: Scale::Log,
        floor: None,
        value: |row| row.loss,
        last: |x| format!("{} at the end", significant(x)),
    },
    Quantity {
        title: "KL divergence from the prior, nats",
        scale: Scale::Linear,
        floor: Some(0.0),
        value: |row| row.kl,
        last: |x| format!("{} at the end", chart::label(x)),
    },
];

/// The section, empty when nothing was measured.
pub(super) fn section(rows: &[MetricRow]) -> String {
    let bands = bands(rows);
    let plots: String = QUANTITIES.iter().filter_map(|q| plot(q, rows, &bands)).collect();
    let (Some(last), false) = (rows.last(), plots.is_empty()) else { return String::new() };
    let names: Vec<String> =
        bands.iter().map(|b| format!("{} {}", b.name, duration(b.to - b.from))).collect();
    let text = format!(
        "{} of training: {}. The validation split chooses; the test split is not seen here.",
        duration(last.seconds),
        names.join(", ")
    );
    let body = html::remark(&html::esc(text).to_string())
        + &format!("<div class=\"plots\">\n{plots}</div>");
    html::section("training", "Training", &body)
}

/// A stage on the axis of time, in seconds.
struct Band {
    name: String,
    from: f64,
    to: f64,
}

/// Stages in the order in which they ran.
fn bands(rows: &[MetricRow]) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut end = 0.0;
    for row in rows {
        match bands.last_mut() {
            Some(band) if band.name == row.stage => band.to = row.seconds,
            _ => bands.push(Band { name: row.stage.clone(), from: end, to: row.seconds }),
        }
        end = row.seconds;
    }
    bands
}

/// A plot of one quantity; `None` when fewer than two rows have it.
fn plot(quantity: &Quantity, rows: &[MetricRow], bands: &[Band]) -> Option<String> {
    let points: Vec<(f64, f64)> = rows
        .iter()
        .filter_map(|row| (quantity.value)(row).map(|value| (row.seconds, value)))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let (&(_, last), true) = (points.last()?, points.len() > 1) else { return None };
    let end = rows.last()?.seconds;
    // Minutes where seconds would be long numbers.
    let (unit, name) = if end > 240.0 { (60.0, "minutes") } else { (1.0, "seconds") };
    let points: Vec<(f64, f64)> = points.into_iter().map(|(x, y)| (x / unit, y)).collect();
    let (low, high) = range(quantity, &points);
    let x = Axis::horizontal(0.0, end / unit);
    let y = Axis::vertical(quantity.scale, low, high);
    let background: String = bands
        .iter()
        .enumerate()
        .map(|(i, b)| chart::band(&x, b.from / unit, b.to / unit, &b.name, i % 2 == 0))
        .collect();
    let mut svg = chart::open(quantity.title, &x, &y, name, &background);
    svg += &chart::line(&x, &y, &points);
    Some(chart::close(quantity.title, &(quantity.last)(last), svg))
}

/// Lowest and highest value to show. On a logarithmic axis zeros (no error at all) are drawn at
/// the lower end, half the smallest positive value.
fn range(quantity: &Quantity, points: &[(f64, f64)]) -> (f64, f64) {
    let high = points.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
    let all = points.iter().map(|p| p.1);
    let low = match quantity.scale {
        Scale::Linear | Scale::Count => all.fold(f64::INFINITY, f64::min),
        Scale::Log => {
            let zeros = points.iter().any(|p| p.1 <= 0.0);
            let least = all.filter(|&y| y > 0.0).fold(f64::INFINITY, f64::min);
            if zeros { least / 2.0 } else { least }
        }
    };
    let low = quantity.floor.map_or(low, |floor| low.min(floor));
    // Air above and below the line.
    match quantity.scale {
        Scale::Linear | Scale::Count => (low, high + 0.08 * (high - low)),
        Scale::Log => (low / 1.15, high * 1.25),
    }
}
