//! How important the groups of each layer are, and where the cut was made.

use super::chart::{self, Axis, Scale};
use super::html;
use crate::ledger::GroupRecord;

/// Columns of a histogram: two or three points wide each.
const BINS: usize = 36;

/// One layer's groups.
#[derive(Debug, PartialEq)]
pub(super) struct Layer {
    name: String,
    /// Finite prune scores of kept and removed groups.
    kept: Vec<f32>,
    removed: Vec<f32>,
    /// The one threshold, if all groups of the final pruning were compared with the same.
    threshold: Option<f32>,
    /// Where training cut, each value once.
    cuts: Vec<f32>,
    /// Groups without a finite value.
    unplaced: usize,
}

/// The section, empty when there are no groups.
pub(super) fn section(groups: &[GroupRecord], measure: &str) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let plots: String = layers(groups).iter().map(|layer| plot(layer, measure)).collect();
    let text = format!(
        "Each group (an input of a dense layer, a filter of a convolution) by its {measure}, when it \
         was decided whether it stays. Groups that the data don\u{2019}t need are on the right. <span class=\"key kept\"></span> kept <span class=\"key removed\"></span> removed. \
         Dashed: the threshold of the pruning after training. Thin: cuts during training; values \
         move on, so that a group which is kept may end up to the right of an earlier cut.",
    );
    let body = html::remark(&text) + &format!("<div class=\"plots\">\n{plots}</div>");
    html::section("importance", "Importance", &body)
}

/// Sorts the groups by layer, in the order of the network.
pub(super) fn layers(groups: &[GroupRecord]) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for group in groups {
        if layers.last().is_none_or(|layer| layer.name != group.layer) {
            layers.push(Layer {
                name: group.layer.clone(),
                kept: Vec::new(),
                removed: Vec::new(),
                threshold: threshold(groups, &group.layer),
                cuts: cuts(groups, &group.layer),
                unplaced: 0,
            });
        }
        let Some(layer) = layers.last_mut() else { continue };
        match (group.prune_score.is_finite(), group.kept) {
            (false, _) => layer.unplaced += 1,
            (true, true) => layer.kept.push(group.prune_score),
            (true, false) => layer.removed.push(group.prune_score),
        }
    }
    layers
}

/// The threshold of the pruning after training; groups removed during training were compared with
/// others, which the ledger lists.
fn threshold(groups: &[GroupRecord], layer: &str) -> Option<f32> {
    let own = || groups.iter().filter(|g| g.layer == layer && g.threshold.is_finite());
    // The point of a front may have been pruned once more.
    let last = if own().any(|g| g.stage == "front") { "front" } else { "pruning" };
    let mut all = own().filter(|g| g.stage == last).map(|g| g.threshold);
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// Thresholds at which training removed groups, ascending, each once.
fn cuts(groups: &[GroupRecord], layer: &str) -> Vec<f32> {
    let mut cuts: Vec<f32> = groups
        .iter()
        .filter(|g| g.layer == layer && g.stage == "training" && !g.kept)
        .map(|g| g.threshold)
        .filter(|threshold| threshold.is_finite())
        .collect();
    cuts.sort_by(f32::total_cmp);
    cuts.dedup();
    cuts
}

/// One layer's histogram.
fn plot(layer: &Layer, measure: &str) -> String {
    let all = || layer.kept.iter().chain(&layer.removed).copied().map(f64::from);
    let threshold = layer.threshold.map(f64::from);
    let lines = || layer.cuts.iter().copied().map(f64::from).chain(threshold);
    let low = all().chain(lines()).fold(f64::INFINITY, f64::min);
    let high = all().chain(lines()).fold(f64::NEG_INFINITY, f64::max);
    let air = 0.03 * (high - low);
    let x = Axis::horizontal(low - air, high + air);
    let kept = bin(&layer.kept, low, high);
    let removed = bin(&layer.removed, low, high);
    let tallest = kept.iter().zip(&removed).map(|(a, b)| a + b).max().unwrap_or(0);
    let y = Axis::vertical(Scale::Count, 0.0, tallest.max(1) as f64 * 1.12);
    let mut svg = chart::open(&layer.name, &x, &y, measure, "");
    let width = (high - low) / BINS as f64;
    for (i, (&kept, &removed)) in kept.iter().zip(&removed).enumerate() {
        let from = low + i as f64 * width;
        let place = (&x, from, from + width);
        let (middle, top) = (kept as f64, (kept + removed) as f64);
        let range = format!("{from:.2} to {:.2}", from + width);
        if kept > 0 {
            let title = format!("{kept} kept, {range}");
            svg += &chart::column(place, (&y, 0.0, middle), "column kept", &title);
        }
        if removed > 0 {
            let title = format!("{removed} removed, {range}");
            svg += &chart::column(place, (&y, middle, top), "column removed", &title);
        }
    }
    svg += &layer.cuts.iter().map(|&cut| chart::cut(&x, cut.into())).collect::<String>();
    if let Some(value) = threshold {
        svg += &chart::marker(&x, value, &format!("threshold {}", chart::label(value)));
    }
    chart::close(&layer.name, &note(layer), svg)
}

/// What a threshold without a group on one of its sides means.
fn beyond(layer: &Layer) -> &'static str {
    let Some(threshold) = layer.threshold else { return "" };
    let all = || layer.kept.iter().chain(&layer.removed);
    if all().all(|&value| value < threshold) {
        "; the threshold is beyond all of them: validation allowed no removal after training"
    } else if all().all(|&value| value >= threshold) && !layer.kept.is_empty() {
        "; all of them reach the threshold: those that the network can't do without were kept"
    } else {
        ""
    }
}

/// What stands beside the name.
fn note(layer: &Layer) -> String {
    let count = layer.kept.len() + layer.removed.len() + layer.unplaced;
    let mut note = match layer.unplaced {
        0 => format!("{} of {count} groups kept", layer.kept.len()),
        n => format!("{count} groups, {n} of them without a finite value"),
    };
    match layer.cuts.len() {
        0 => {}
        1 => note += ", one cut during training",
        n => note += &format!(", {n} cuts during training"),
    }
    note + beyond(layer)
}

/// Counts per column.
fn bin(values: &[f32], low: f64, high: f64) -> [usize; BINS] {
    let mut counts = [0; BINS];
    for &value in values {
        let share = (f64::from(value) - low) / (high - low).max(1e-9);
        // `as` takes a fraction below zero or above the end to the ends.
        let index = (share * BINS as f64) as usize;
        if let Some(count) = counts.get_mut(index.min(BINS - 1)) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{GroupKind, Reason};

    fn group(layer: &str, prune_score: f32, threshold: f32, kept: bool) -> GroupRecord {
        GroupRecord {
            layer: layer.into(),
            kind: GroupKind::Input,
            group: 0,
            prune_score,
            threshold,
            kept,
            reason: if kept { Reason::BelowThreshold } else { Reason::AboveThreshold },
            stage: "pruning".into(),
            step: 0,
            effect: None,
            saved: None,
        }
    }

    #[test]
    fn groups_are_sorted_by_layer_and_fate() {
        let groups = [
            group("a", -5.0, -3.0, true),
            group("a", 1.0, -3.0, false),
            group("a", f32::NAN, -3.0, false),
            group("b", 0.0, -1.0, true),
            group("b", 0.0, -2.0, true),
        ];
        let layers = layers(&groups);
        assert_eq!(layers.len(), 2);
        assert_eq!((layers[0].kept.len(), layers[0].removed.len()), (1, 1));
        assert_eq!(layers[0].unplaced, 1);
        assert_eq!(layers[0].threshold, Some(-3.0));
        assert_eq!(layers[1].threshold, None, "two thresholds make no line");
    }

    #[test]
    fn cuts_of_training_are_listed_once() {
        let cut = |threshold, kept| GroupRecord {
            stage: "training".into(),
            ..group("a", 1.0, threshold, kept)
        };
        let groups = [cut(-3.0, false), cut(-3.0, false), cut(-4.0, false), cut(-9.0, true)];
        let layers = layers(&groups);
        assert_eq!(layers[0].cuts, [-4.0, -3.0]);
        assert_eq!(layers[0].threshold, None);
        assert_eq!(note(&layers[0]), "1 of 4 groups kept, 2 cuts during training");
    }

    #[test]
    fn a_threshold_beyond_every_bar_is_explained() {
        let note_of = |values: [f32; 2], kept| {
            note(&layers(&values.map(|value| group("a", value, -3.0, kept)))[0])
        };
        assert!(note_of([-5.0, -4.0], true).contains("allowed no removal"));
        assert!(note_of([-1.0, 2.0], true).contains("can't do without"));
        assert!(!note_of([-5.0, -1.0], true).contains("threshold"));
    }

    #[test]
    fn every_value_has_a_column() {
        let values = [-1.0, -0.5, 0.0, 0.5, 1.0];
        let counts = bin(&values, -1.0, 1.0);
        assert_eq!(counts.iter().sum::<usize>(), values.len());
        assert_eq!((counts[0], counts[BINS - 1]), (1, 1));
        assert_eq!(bin(&[2.0; 7], 2.0, 2.0).iter().sum::<usize>(), 7);
    }
}
