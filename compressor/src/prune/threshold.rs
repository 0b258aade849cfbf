//! Where to cut: the valley of the histogram of prune scores, and what validation allows.
//!
//! The posterior of group scales is bimodal once training has gone far enough: groups the data
//! needs on the left, groups that fell to the prior on the right. The published threshold is a
//! fixed number; the valley between the modes moves with prior, layer and training length, so it is
//! looked for in each layer, and checked: candidates from severe to mild are tried on validation
//! and the first that costs no more than a stated tolerance is taken.

use serde::{Deserialize, Serialize};

use super::Order;

/// Bins of a histogram: fine enough to place a valley within 2 % of the range.
const BINS: usize = 48;

/// Fewest groups for which a histogram says more than the gaps between the sorted values.
const LEAST_GROUPS_FOR_HISTOGRAM: usize = 24;

/// A valley is one if it is this much lower than the lower of its two modes.
const VALLEY_DEPTH: f32 = 0.7;

/// A gap is one if it is this many times the mean gap.
const GAP_FACTOR: f32 = 4.0;

/// Where to start without a valley in the posterior's order: noise as strong as the signal
/// (log α = 0), and a horseshoe's log-mode of 0 where the untouched scale had it.
const POSTERIOR_FALLBACK: f32 = 0.0;

/// Severities tried, most severe first, in units of the layer's spread (interquartile range)
/// towards fewer groups kept; 0 is the valley itself.
const SEVERITIES: [f32; 11] = [1.5, 1.0, 0.75, 0.5, 0.25, 0.0, -0.25, -0.5, -1.0, -1.5, -2.5];

/// Histogram of one layer's prune score, for choosing and for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Histogram {
    /// Lower edge of the first bin.
    pub low: f32,
    /// Width of a bin.
    pub bin: f32,
    /// Groups per bin.
    pub counts: Vec<u32>,
    /// Groups per bin, smoothed; its minimum between the modes is the valley.
    pub smoothed: Vec<f32>,
    /// Position of the valley; `None` when there is only one mode.
    pub valley: Option<f32>,
}

impl Histogram {
    /// Histogram and valley of a layer's prune score; values that aren't finite are left out.
    pub(crate) fn new(scores: &[f32]) -> Self {
        let mut sorted: Vec<f32> = scores.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f32::total_cmp);
        let low = sorted.first().copied().unwrap_or(0.0);
        let high = sorted.last().copied().unwrap_or(0.0);
        let bin = ((high - low) / BINS as f32).max(f32::EPSILON);
        let mut counts = vec![0; BINS];
        for v in &sorted {
            counts[(((v - low) / bin) as usize).min(BINS - 1)] += 1;
        }
        let smoothed = smooth(&counts);
        let valley = if sorted.len() < LEAST_GROUPS_FOR_HISTOGRAM {
            widest_gap(&sorted)
        } else {
            valley(&smoothed).map(|at| low + (at + 0.5) * bin)
        };
        Self { low, bin, counts, smoothed, valley }
    }
}

/// A Gaussian of one and a half bins: wide enough that a mode is one hill.
fn smooth(counts: &[u32]) -> Vec<f32> {
    let kernel: Vec<f32> = (-4..=4).map(|d| (-(d * d) as f32 / 4.5).exp()).collect();
    let total: f32 = kernel.iter().sum();
    let at = |bin: isize| usize::try_from(bin).ok().and_then(|bin| counts.get(bin)).copied();
    (0..counts.len() as isize)
        .map(|bin| {
            let near = kernel.iter().zip(bin - 4..);
            near.map(|(k, b)| k * at(b).unwrap_or(0) as f32).sum::<f32>() / total
        })
        .collect()
}

/// Position (in bins) of the deepest valley: the one whose lower bank rises most above it.
fn valley(hills: &[f32]) -> Option<f32> {
    let peak = |range: &[f32]| range.iter().copied().fold(0.0, f32::max);
    let rise = |at: usize| peak(&hills[..at]).min(peak(&hills[at..])) - hills[at];
    let best = (1..hills.len().saturating_sub(1)).max_by(|&a, &b| rise(a).total_cmp(&rise(b)))?;
    let bank = rise(best) + hills[best];
    if hills[best] > VALLEY_DEPTH * bank || rise(best) <= 0.0 {
        return None;
    }
    // The middle of a flat bottom.
    let flat = |at: &usize| hills[*at] <= hills[best] + 1e-6;
    let first = (0..=best).rev().take_while(flat).last().unwrap_or(best);
    let last = (best..hills.len()).take_while(flat).last().unwrap_or(best);
    Some((first + last) as f32 / 2.0)
}

/// Middle of the widest gap, if it stands out.
fn widest_gap(sorted: &[f32]) -> Option<f32> {
    let range = sorted.last()? - sorted.first()?;
    let pair = sorted.windows(2).max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])))?;
    let mean = range / (sorted.len() - 1) as f32;
    // With n gaps one alone is at most n times the mean, so few groups need a lower bar.
    let bar = GAP_FACTOR.min((sorted.len() - 1) as f32 * 0.6);
    (sorted.len() >= 4 && pair[1] - pair[0] >= bar * mean && range > 0.0)
        .then(|| f32::midpoint(pair[0], pair[1]))
}

/// One candidate and what validation said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trial {
    /// Spreads below (positive) or above (negative) the valley; infinite negative keeps all.
    pub severity: f32,
    /// Groups at or above the thresholds.
    pub removed: usize,
    /// What the caller measured on validation.
    pub loss: f64,
}

/// The thresholds taken, and the way there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thresholds {
    /// Per layer with weights: groups whose prune score reaches this go.
    pub layers: Vec<f32>,
    /// Per affine layer.
    pub histograms: Vec<Histogram>,
    /// Loss with every group kept (NaN when nothing was tried).
    pub loss_before: f64,
    /// Candidates in the order they were tried; the last one was taken.
    pub trials: Vec<Trial>,
}

impl Thresholds {
    /// Masks of the groups that go, per affine layer.
    pub(crate) fn dead(&self, scores: &[Vec<f32>]) -> Vec<Vec<bool>> {
        dead(scores, &self.layers)
    }
}

/// Groups that reach their layer's threshold. NaN never does.
fn dead(scores: &[Vec<f32>], thresholds: &[f32]) -> Vec<Vec<bool>> {
    let layers = scores.iter().zip(thresholds);
    layers.map(|(layer, t)| layer.iter().map(|u| u >= t).collect()).collect()
}

/// Chooses the thresholds on prune scores of an `order`: `given` for all layers without asking, or else the
/// most severe candidate whose `loss` (cross-entropy or error on *validation*, of the network without the dead groups) is
/// at most `tolerance` above the loss with every group kept.
///
/// # Errors
/// What `loss` gives.
pub(crate) fn choose_threshold<E>(
    scores: &[Vec<f32>],
    order: Order,
    given: Option<f32>,
    tolerance: f64,
    mut loss: impl FnMut(&[Vec<bool>]) -> Result<f64, E>,
) -> Result<Thresholds, E> {
    let histograms: Vec<_> = scores.iter().map(|u| Histogram::new(u)).collect();
    if let Some(threshold) = given {
        let layers = vec![threshold; scores.len()];
        return Ok(Thresholds { layers, histograms, loss_before: f64::NAN, trials: Vec::new() });
    }
    let keep_all = vec![f32::INFINITY; scores.len()];
    let loss_before = loss(&dead(scores, &keep_all))?;
    let mut chosen = Thresholds { layers: keep_all, histograms, loss_before, trials: Vec::new() };
    let mut last: Option<Vec<Vec<bool>>> = None;
    for severity in SEVERITIES {
        let layers = candidate(&chosen.histograms, scores, order, severity);
        let masks = dead(scores, &layers);
        if last.as_ref() == Some(&masks) {
            continue;
        }
        let removed = masks.iter().flatten().filter(|&&dead| dead).count();
        let measured = if removed == 0 { loss_before } else { loss(&masks)? };
        chosen.trials.push(Trial { severity, removed, loss: measured });
        if measured <= loss_before + tolerance {
            chosen.layers = layers;
            return Ok(chosen);
        }
        last = Some(masks);
    }
    let severity = f32::NEG_INFINITY;
    chosen.trials.push(Trial { severity, removed: 0, loss: loss_before });
    Ok(chosen)
}

fn candidate(
    histograms: &[Histogram],
    scores: &[Vec<f32>],
    order: Order,
    severity: f32,
) -> Vec<f32> {
    let start = |h: &Histogram, u: &[f32]| {
        h.valley.unwrap_or_else(|| match order {
            Order::Posterior => POSTERIOR_FALLBACK,
            // A magnitude has no natural zero.
            Order::Magnitude => median(u),
        })
    };
    let layers = histograms.iter().zip(scores);
    layers.map(|(h, u)| start(h, u) - severity * spread(u)).collect()
}

fn sorted(values: &[f32]) -> Vec<f32> {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f32::total_cmp);
    sorted
}

fn median(values: &[f32]) -> f32 {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Interquartile range.
fn spread(values: &[f32]) -> f32 {
    let sorted = sorted(values);
    let quarter = sorted.len() / 4;
    match (sorted.get(quarter), sorted.get(sorted.len().saturating_sub(1 + quarter))) {
        (Some(low), Some(high)) => high - low,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hill of `n` values around `center`, `width` wide.
    fn hill(center: f32, width: f32, n: usize) -> Vec<f32> {
        let step = |i: usize| (i as f32 + 0.5) / n as f32 - 0.5;
        (0..n).map(|i| center + width * step(i) * (1.0 + step(i).abs())).collect()
    }

    #[test]
    fn the_valley_lies_between_two_hills() {
        let two = [hill(-6.0, 3.0, 300), hill(2.0, 2.0, 80)].concat();
        let valley = Histogram::new(&two).valley.unwrap();
        assert!((-4.2..0.8).contains(&valley), "{valley}");
    }

    #[test]
    fn one_hill_has_no_valley() {
        assert_eq!(Histogram::new(&hill(-6.0, 3.0, 300)).valley, None);
        assert_eq!(Histogram::new(&[]).valley, None);
        assert_eq!(Histogram::new(&[1.0; 40]).valley, None);
    }

    #[test]
    fn few_groups_are_cut_at_their_widest_gap() {
        let valley = Histogram::new(&[-5.0, -4.8, -4.9, -5.1, 3.0, 3.1]).valley.unwrap();
        assert!((valley - -0.9).abs() < 0.2, "{valley}");
        assert_eq!(Histogram::new(&[-5.0, -4.0, -3.0, -2.0, -1.0]).valley, None);
    }

    #[test]
    fn the_most_severe_harmless_candidate_is_taken() {
        let layer = [hill(-6.0, 3.0, 300), hill(2.0, 2.0, 80)].concat();
        // Losing more than 100 groups hurts.
        let loss = |dead: &[Vec<bool>]| {
            let removed = dead.iter().flatten().filter(|&&d| d).count();
            Ok::<f64, ()>(if removed > 100 { 1.0 } else { 0.1 })
        };
        let chosen =
            choose_threshold(std::slice::from_ref(&layer), Order::Posterior, None, 0.01, loss)
                .unwrap();
        let removed = chosen.trials.last().unwrap().removed;
        assert!((80..=100).contains(&removed), "{removed}");
        assert!(chosen.trials.windows(2).all(|t| t[0].severity > t[1].severity));
        let dead = chosen.dead(&[layer]);
        assert_eq!(dead[0].iter().filter(|&&d| d).count(), removed);
    }

    #[test]
    fn a_given_threshold_is_taken_as_it_is_and_nothing_harmless_means_nothing_goes() {
        let layer = vec![vec![-1.0, 0.0, 1.0]];
        let never = |_: &[Vec<bool>]| Err::<f64, &str>("asked");
        let given = choose_threshold(&layer, Order::Posterior, Some(0.0), 0.0, never).unwrap();
        assert_eq!(given.dead(&layer), vec![vec![false, true, true]]);
        assert_eq!(choose_threshold(&layer, Order::Magnitude, None, 0.0, never), Err("asked"));
        let hurts = |dead: &[Vec<bool>]| {
            Ok::<f64, ()>(if dead.iter().flatten().any(|&d| d) { 9.0 } else { 0.0 })
        };
        let chosen = choose_threshold(&layer, Order::Posterior, None, 0.5, hurts).unwrap();
        assert!(chosen.dead(&layer).iter().flatten().all(|&d| !d));
    }

    #[test]
    fn magnitudes_start_at_their_median() {
        let layer = vec![vec![5.0, 6.0, 7.0, 8.0, 9.0]];
        let loss = |dead: &[Vec<bool>]| {
            Ok::<f64, ()>(dead.iter().flatten().filter(|&&d| d).count() as f64)
        };
        let chosen = choose_threshold(&layer, Order::Magnitude, None, 3.0, loss).unwrap();
        // A quarter of the spread below the median of 7.
        assert_eq!(chosen.layers, [6.5]);
    }
}
