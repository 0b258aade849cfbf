//! What the counts of a path's layers take, by least squares.
//!
//! Relative errors are made small, so that small layers count as much as large ones, and nothing takes less
//! than no instructions, so that a layer unlike those that were counted gets no nonsense. That is Lawson and
//! Hanson's algorithm ("Solving Least Squares Problems", chapter 23). It runs again with
//! smaller weights for layers that are far off, so that a few unlike the others don't spoil these: in the
//! end, errors count by their size rather than its square.

use std::collections::BTreeSet;

use super::Counted;
use crate::prediction::Costs;

/// Runs, each with weights by the errors of the one before.
const RUNS: usize = 8;
/// Errors below this count by their squares.
const SMALL: f64 = 0.02;
/// What keeps costs of counts that hardly differ from running apart, as a share of their squares.
const RIDGE: f64 = 1e-9;
/// A count that would make the sum of squares smaller by less for each unit stays out.
const LEAST_GAIN: f64 = 1e-9;
/// Counts that add less of their layers' instructions are left out, unless they are a part of one layer's that
/// is seen: what few layers have may be all that these are about.
const LEAST_SHARE: f64 = 1e-3;
const LEAST_PART: f64 = 0.05;
/// Digits of a cost.
const DIGITS: i32 = 4;

/// What the counts of these layers, which take one path, take.
pub(crate) fn costs(layers: &[&Counted]) -> Costs {
    let names: BTreeSet<&str> =
        layers.iter().flat_map(|counted| counted.layer.counts.names()).collect();
    let mut names: Vec<&str> = names.into_iter().collect();
    let mut found = solve(layers, &names);
    // Once more without what hardly counts, so that others take its place.
    let counts = |name: &str, cost: f64| {
        let parts = || layers.iter().map(|counted| share(counted, name) * cost);
        let mean = parts().sum::<f64>() / layers.len().max(1) as f64;
        mean > LEAST_SHARE || parts().fold(0.0, f64::max) > LEAST_PART
    };
    let mut costs = found.iter();
    names.retain(|name| costs.next().is_some_and(|&cost| counts(name, cost)));
    found = solve(layers, &names);
    let costs = names.into_iter().zip(found);
    costs
        .map(|(name, cost)| (name.to_owned(), rounded(cost)))
        .filter(|&(_, cost)| cost > 0.0)
        .collect()
}

/// A layer's count of a name for each instruction that was counted.
fn share(counted: &Counted, name: &str) -> f64 {
    counted.layer.counts.get(name) / counted.instructions.max(1) as f64
}

fn solve(layers: &[&Counted], names: &[&str]) -> Vec<f64> {
    let shares: Vec<Vec<f64>> =
        names.iter().map(|name| layers.iter().map(|layer| share(layer, name)).collect()).collect();
    let mut weights = vec![1.0; layers.len()];
    let mut found = Vec::new();
    for _ in 0..RUNS {
        // Each column as long as the others, so that a gain is worth the same in each.
        let columns: Vec<Vec<f64>> = shares
            .iter()
            .map(|column| column.iter().zip(&weights).map(|(x, w)| x * w).collect())
            .collect();
        let norms: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
        let normal = |a: usize, b: usize| dot(&columns[a], &columns[b]) / (norms[a] * norms[b]);
        let all = 0..names.len();
        let gram: Vec<Vec<f64>> =
            all.clone().map(|a| all.clone().map(|b| normal(a, b)).collect()).collect();
        let wanted: Vec<f64> = all.map(|a| dot(&columns[a], &weights) / norms[a]).collect();
        found = non_negative(&gram, &wanted).iter().zip(&norms).map(|(x, norm)| x / norm).collect();
        for (layer, weight) in weights.iter_mut().enumerate() {
            let sum: f64 = shares.iter().zip(&found).map(|(column, x)| column[layer] * x).sum();
            *weight = (sum - 1.0).abs().max(SMALL).sqrt().recip();
        }
    }
    found
}

/// The least squares' solution with no number below 0.
fn non_negative(gram: &[Vec<f64>], wanted: &[f64]) -> Vec<f64> {
    let mut found = vec![0.0; wanted.len()];
    let mut used: Vec<usize> = Vec::new();
    // Each round takes one in; more of them than that are rounding errors going in circles.
    for _ in 0..4 * wanted.len() {
        let gain = |at: usize| wanted[at] - dot(&gram[at], &found);
        let best = (0..wanted.len())
            .filter(|at| !used.contains(at))
            .map(|at| (gain(at), at))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        match best {
            Some((gain, at)) if gain > LEAST_GAIN => used.push(at),
            _ => break,
        }
        loop {
            let solution = unbounded(gram, wanted, &used);
            // As far towards the solution as nothing falls below 0.
            let step = used.iter().zip(&solution).filter(|(_, x)| **x <= 0.0).map(|(&at, x)| {
                let from = found[at];
                if from > *x { from / (from - x) } else { 0.0 }
            });
            let step = step.fold(1.0, f64::min);
            for (&at, x) in used.iter().zip(&solution) {
                found[at] += step * (x - found[at]);
            }
            if step >= 1.0 && solution.iter().all(|&x| x > 0.0) {
                break;
            }
            used.retain(|&at| found[at] > f64::EPSILON);
            (0..found.len()).filter(|at| !used.contains(at)).for_each(|at| found[at] = 0.0);
            if used.is_empty() {
                break;
            }
        }
    }
    found
}

/// The least squares' solution of those that are used, by Cholesky's decomposition.
fn unbounded(gram: &[Vec<f64>], wanted: &[f64], used: &[usize]) -> Vec<f64> {
    let count = used.len();
    let mut lower = vec![vec![0.0; count]; count];
    for row in 0..count {
        for column in 0..=row {
            let sum = dot(&lower[row][..column], &lower[column][..column]);
            let value = gram[used[row]][used[column]] - sum;
            lower[row][column] = match row == column {
                true => (value + RIDGE).max(RIDGE).sqrt(),
                false => value / lower[column][column],
            };
        }
    }
    let mut found: Vec<f64> = Vec::with_capacity(count);
    for row in 0..count {
        let sum = dot(&lower[row][..row], &found);
        found.push((wanted[used[row]] - sum) / lower[row][row]);
    }
    for row in (0..count).rev() {
        let sum: f64 = (row + 1..count).map(|below| lower[below][row] * found[below]).sum();
        found[row] = (found[row] - sum) / lower[row][row];
    }
    found
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
        let truth = [("layer", 700.0), ("position", 40.0), ("row-word", 7.5)];
        let models = draw(3, 30).unwrap();
        let counted: Vec<Counted> = models
            .iter()
            .filter_map(|model| {
                let mut counted = of(Core::CortexM4, model, 1).ok()?;
                let cost = |(name, each): &(&str, f64)| each * counted.layer.counts.get(name);
                counted.instructions = truth.iter().map(cost).sum::<f64>().round() as u64;
                (counted.layer.path.name() == "conv-bytes").then_some(counted)
            })
            .collect();
        // Depthwise layers of few channels are convolutions, too.
        assert!(counted.len() >= 30);
        let layers: Vec<&Counted> = counted.iter().collect();
        let found = costs(&layers);
        for counted in &counted {
            let sum: f64 =
                found.iter().map(|(name, each)| each * counted.layer.counts.get(name)).sum();
            let ratio = sum / counted.instructions as f64;
            assert!((0.98..1.02).contains(&ratio), "{}: {ratio}", counted.shape);
        }
    }

    #[test]
    fn no_cost_is_below_nothing() {
        // x = 2, y = −1 without a bound; with it, y is 0 and x what is then best.
        let gram = [vec![2.0, 1.0], vec![1.0, 1.0]];
        assert_eq!(unbounded(&gram, &[3.0, 1.0], &[0, 1]).map_rounded(), [2.0, -1.0]);
        assert_eq!(non_negative(&gram, &[3.0, 1.0]).map_rounded(), [1.5, 0.0]);
        assert_eq!(non_negative(&gram, &[3.0, 2.0]).map_rounded(), [1.0, 1.0]);
    }

    trait MapRounded {
        fn map_rounded(&self) -> Vec<f64>;
    }

    impl MapRounded for Vec<f64> {
        fn map_rounded(&self) -> Vec<f64> {
            self.iter().map(|x| (x * 1e6).round() / 1e6).collect()
        }
    }

    #[test]
    fn costs_have_four_digits() {
        assert_eq!(rounded(1234.567), 1235.0);
        assert_eq!(rounded(0.123_456), 0.123_5);
        assert_eq!(rounded(-1.0), 0.0);
    }
}
