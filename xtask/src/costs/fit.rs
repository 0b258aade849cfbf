//! What the counts of a path's layers take, by least squares.
//!
//! The squares of relative errors are made small, so that small layers count as much as large ones, and
//! nothing takes less than no instructions, so that a layer unlike those that were counted gets no
//! nonsense. Coordinate descent does that: each cost in turn becomes the best one beside the others.

use super::Counted;
use crate::prediction::Costs;
use crate::prediction::features::Feature;

/// Rounds of all costs; what is left after them is below the table's digits.
const ROUNDS: usize = 4000;
/// What keeps costs of features that hardly differ from running apart, as a share of their squares.
const RIDGE: f64 = 1e-6;
/// Features that add less of their layers' instructions are left out.
const LEAST_SHARE: f64 = 2e-4;
/// Digits of a cost.
const DIGITS: i32 = 4;

/// What the features of these layers, which take one path, take.
pub(crate) fn costs(layers: &[&Counted]) -> Costs {
    let used: Vec<Feature> = Feature::ALL
        .iter()
        .copied()
        .filter(|&feature| layers.iter().any(|counted| share(counted, feature) > 0.0))
        .collect();
    let mut costs = solve(layers, &used);
    // Once more without what hardly counts, so that others take its place.
    let mean = |feature, cost: f64| {
        layers.iter().map(|counted| share(counted, feature) * cost).sum::<f64>()
            / layers.len().max(1) as f64
    };
    costs.retain(|&(feature, cost)| mean(feature, cost) > LEAST_SHARE);
    let kept: Vec<Feature> = costs.iter().map(|&(feature, _)| feature).collect();
    let mut costs = solve(layers, &kept);
    costs.iter_mut().for_each(|(_, cost)| *cost = rounded(*cost));
    costs.retain(|&(_, cost)| cost > 0.0);
    costs
}

/// A layer's count of a feature for each instruction that was counted.
fn share(counted: &Counted, feature: Feature) -> f64 {
    counted.layer.features.get(feature) / counted.instructions.max(1) as f64
}

fn solve(layers: &[&Counted], features: &[Feature]) -> Costs {
    let columns: Vec<Vec<f64>> = features
        .iter()
        .map(|&feature| layers.iter().map(|counted| share(counted, feature)).collect())
        .collect();
    // Each column as long as the others, so that a round does as much for each.
    let norms: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    let gram: Vec<Vec<f64>> = columns
        .iter()
        .zip(&norms)
        .map(|(a, norm)| {
            columns.iter().zip(&norms).map(|(b, other)| dot(a, b) / (norm * other)).collect()
        })
        .collect();
    let wanted: Vec<f64> = columns
        .iter()
        .zip(&norms)
        .map(|(column, norm)| column.iter().sum::<f64>() / norm)
        .collect();
    let mut found = vec![0.0; features.len()];
    for _ in 0..ROUNDS {
        for at in 0..found.len() {
            let others = dot(&gram[at], &found) - gram[at][at] * found[at];
            found[at] = f64::max(0.0, (wanted[at] - others) / (gram[at][at] + RIDGE));
        }
    }
    features.iter().zip(found.iter().zip(&norms)).map(|(&f, (x, norm))| (f, x / norm)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// With the table's digits.
fn rounded(cost: f64) -> f64 {
    if cost <= 0.0 {
        return 0.0;
    }
    let places = (DIGITS - 1 - cost.log10().floor() as i32).clamp(0, 9);
    let unit = 10f64.powi(places);
    (cost * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::{draw, of};
    use crate::prediction::cores::Core;

    #[test]
    fn costs_that_made_the_counts_are_found_again() {
        let truth = [(Feature::Layer, 700.0), (Feature::Position, 40.0), (Feature::Product, 0.75)];
        let models = draw(3, 30).unwrap();
        let counted: Vec<Counted> = models
            .iter()
            .filter_map(|model| {
                let mut counted = of(Core::CortexM4, model, 1).ok()?;
                let cost =
                    |&(feature, each): &(Feature, f64)| each * counted.layer.features.get(feature);
                counted.instructions = truth.iter().map(cost).sum::<f64>().round() as u64;
                (counted.layer.path.name() == "conv-bytes").then_some(counted)
            })
            .collect();
        assert_eq!(counted.len(), 30);
        let layers: Vec<&Counted> = counted.iter().collect();
        let found = costs(&layers);
        for counted in &counted {
            let sum: f64 = found
                .iter()
                .map(|&(feature, each)| each * counted.layer.features.get(feature))
                .sum();
            let ratio = sum / counted.instructions as f64;
            assert!((0.98..1.02).contains(&ratio), "{}: {ratio}", counted.shape);
        }
    }

    #[test]
    fn costs_have_four_digits() {
        assert_eq!(rounded(1234.567), 1235.0);
        assert_eq!(rounded(0.123_456), 0.123_5);
        assert_eq!(rounded(-1.0), 0.0);
    }
}
