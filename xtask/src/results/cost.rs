//! Predicted instructions beside counted ones: what `cargo xtask bench cost` found, and its section of
//! the page.

use serde::{Deserialize, Serialize};

use crate::certificate::thousands;

/// The layers of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CostRow {
    pub(crate) core: String,
    /// How many layers were compared.
    pub(crate) layers: usize,
    /// Percent of them whose prediction is at most so far from the count.
    pub(crate) within_10_percent: f64,
    pub(crate) within_25_percent: f64,
    /// The sum of all predictions by that of all counts.
    pub(crate) sum_ratio: f64,
    /// Those that are furthest off, the worst first.
    pub(crate) worst: Vec<Missed>,
    pub(crate) seed: u64,
    pub(crate) command: String,
    pub(crate) date: String,
    pub(crate) machine: String,
}

/// A layer, what it takes, and what was predicted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Missed {
    pub(crate) layer: String,
    pub(crate) counted: u64,
    pub(crate) predicted: u64,
}

impl Missed {
    /// How far the prediction is from the count, as a share of it.
    pub(crate) fn error(&self) -> f64 {
        (self.predicted as f64 / self.counted.max(1) as f64 - 1.0).abs()
    }
}

const HEAD: &str = "
## Predicted instructions

What reports, `[size]`, `[requirements]` and `bitsback inspect` say where nothing was counted. Layers of
every kind, width and layout were drawn by chance and run on each core; they aren't among those that the
costs were solved from. *Together* is the sum of all predictions by that of all counts. The worst layers
are in `cost.json`.

| core | layers | within 10 % | within 25 % | together | the worst: predicted, counted | date |
|---|---:|---:|---:|---:|---|---|
";

/// The section, or nothing where nothing was measured.
pub(super) fn section(rows: &[CostRow]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut text = HEAD.to_owned();
    for row in rows {
        let worst = row.worst.first().map_or_else(String::new, |layer| {
            let [predicted, counted] = [layer.predicted, layer.counted].map(thousands);
            format!("{}: {predicted}, {counted}", layer.layer)
        });
        text += &format!(
            "| {} | {} | {} % | {} % | {} | {worst} | {} |\n",
            row.core,
            row.layers,
            row.within_10_percent,
            row.within_25_percent,
            row.sum_ratio,
            &row.date.get(..10).unwrap_or(&row.date),
        );
    }
    text + &format!("\nReproduce with `{}`; seed {}.\n", first.command, first.seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_worst_layer() {
        let layer = "conv-bytes 3×3×4 → 3×3×8".to_owned();
        let worst = vec![Missed { layer, counted: 1000, predicted: 1500 }];
        assert!((worst[0].error() - 0.5).abs() < 1e-9);
        let row = CostRow {
            core: "cortex-m4".to_owned(),
            layers: 285,
            within_10_percent: 91.2,
            within_25_percent: 99.0,
            sum_ratio: 1.01,
            worst,
            seed: 1,
            command: "cargo xtask bench cost --keep".to_owned(),
            date: "2026-11-30T01:02:03Z".to_owned(),
            machine: "a machine".to_owned(),
        };
        let text = section(&[row]);
        assert!(text.contains("| cortex-m4 | 285 | 91.2 % | 99 % | 1.01 |"), "{text}");
        assert!(text.contains("1,500, 1,000") && text.contains("seed 1"), "{text}");
        assert_eq!(section(&[]), "");
    }
}
