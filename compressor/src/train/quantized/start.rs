//! Where training in integers starts: each layer's width, and its step or those of its channels.
//!
//! A weight that the posterior knows to a variance V need not be stored more precisely: rounding to a
//! grid of step Δ adds a noise of variance Δ²/12. To second order a rounded weight costs
//! Δ²/(24·V) nats, as the loss is about as curved as the posterior is narrow, 1/V. A step that several weights share costs
//! their sum, so it is chosen where the mean of Δ²/12 : V is 1: Δ² = 12 / mean(1/V). Weights that the
//! posterior leaves open, which can be anything, have no say; precise ones do.
//!
//! The width is the narrowest whose integers, times that step, reach the largest weight; and training begins with the
//! finest step of which that is true: it takes no more bits, and is near those that training ends with.

use serde::{Deserialize, Serialize};

use super::learned::most;
use crate::compile::widths::BitWidthConfig;
use crate::graph::{Affine, Graph};

/// The finest step that a row starts with, as a share of its layer's: rows of hardly any weights would
/// have biases of too many steps.
const FINEST: f32 = 1.0 / 32.0;
/// Least width in which weights are trained, in bits: −1, 0 and 1.
const LEAST_BITS: u8 = 2;
/// Greatest width.
const MOST_BITS: u8 = 8;

/// What training starts with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Width of each layer's weights.
    pub bits: Vec<u8>,
    /// ln of the steps of each layer: one for all its rows, or one for each.
    pub log_steps: Vec<Vec<f32>>,
    /// The variance that each layer's width comes from, the harmonic mean of its weights'; none where
    /// the job states widths.
    pub variance: Option<Vec<f64>>,
}

impl Start {
    /// At given widths: steps of 2·mean|w|/√most, Esser et al.'s start, over each layer or each of its rows.
    pub(crate) fn at_widths(network: &Graph<Affine>, bits: Vec<u8>, per_channel: bool) -> Self {
        let steps = |(affine, &bits): (&Affine, &u8)| {
            let start = |weight: &[f32]| {
                let sum: f32 = weight.iter().map(|w| w.abs()).sum();
                let mean = (sum / weight.len().max(1) as f32).max(1e-6);
                2.0 * mean / f32::from(most(bits)).sqrt()
            };
            let of_layer = start(&affine.weight);
            let rows = rows(affine, per_channel).map(|(_, row)| start(row));
            logarithms(rows, of_layer)
        };
        let log_steps = network.parameters().zip(&bits).map(steps).collect();
        Self { bits, log_steps, variance: None }
    }

    /// As the posterior's variances say, one vector a layer, within the limits of `[bits]`; each layer has
    /// `narrower` bits less.
    pub(crate) fn from_posterior(
        network: &Graph<Affine>,
        variance: &[Vec<f32>],
        limits: &BitWidthConfig,
        narrower: u8,
        per_channel: bool,
    ) -> Self {
        let least = limits.least.clamp(LEAST_BITS, MOST_BITS);
        let greatest = limits.most.clamp(least, MOST_BITS);
        let of_layer = |(affine, variance): (&Affine, &Vec<f32>)| {
            let rows: Vec<(f32, f32)> = rows(affine, per_channel)
                .map(|(at, row)| {
                    (largest(row), step(variance.get(at..at + row.len()).unwrap_or(&[])))
                })
                .collect();
            let widths: Vec<u8> = rows
                .iter()
                .map(|&(largest, step)| width(largest, step).saturating_sub(narrower))
                .map(|bits| bits.clamp(least, greatest))
                .collect();
            let bits = widths.iter().copied().max().unwrap_or(least);
            let steps =
                rows.iter().zip(&widths).map(|(&(largest, _), &bits)| largest / reach(bits));
            let coarsest = steps.clone().fold(0.0, f32::max);
            (bits, logarithms(steps, coarsest))
        };
        let (bits, log_steps) = network.parameters().zip(variance).map(of_layer).unzip();
        let variance = variance.iter().map(|layer| harmonic_mean(layer)).collect();
        Self { bits, log_steps, variance: Some(variance) }
    }

    /// What a layer began with, in words.
    pub(crate) fn describe(&self, layer: usize) -> String {
        let bits = self.bits.get(layer).copied().unwrap_or(0);
        let Some(variance) = self.variance.as_ref().and_then(|layers| layers.get(layer)) else {
            return format!("[quantize] bits = {bits}");
        };
        let allowed = (12.0 * variance).sqrt();
        let step = self.coarsest(layer);
        format!(
            "the posterior's variance of {variance:.1e} allows a step of {allowed:.2e}, {bits} bits; \
             these reach the largest weight with a step of {step:.2e}"
        )
    }

    /// The coarsest step of a layer.
    pub(crate) fn coarsest(&self, layer: usize) -> f32 {
        let steps = self.log_steps.get(layer).into_iter().flatten();
        steps.fold(f32::NEG_INFINITY, |most, step| most.max(*step)).exp()
    }
}

/// The rows that have a step in common, each with where it begins: all, or one after the other.
fn rows(affine: &Affine, per_channel: bool) -> impl Iterator<Item = (usize, &[f32])> {
    let rows = if per_channel { affine.bias.len() } else { 1 };
    let columns = (affine.weight.len() / rows.max(1)).max(1);
    affine.weight.chunks(columns).enumerate().map(move |(row, weights)| (row * columns, weights))
}

/// The step of weights that are known to these variances.
fn step(variance: &[f32]) -> f32 {
    (12.0 * harmonic_mean(variance)).sqrt() as f32
}

/// 1 / mean(1/V); 0 of none.
fn harmonic_mean(variance: &[f32]) -> f64 {
    let precision: f64 = variance.iter().map(|&v| 1.0 / f64::from(v.max(f32::MIN_POSITIVE))).sum();
    variance.len() as f64 / precision.max(f64::MIN_POSITIVE)
}

/// Bits of the narrowest width whose integers, times `step`, reach `largest`.
fn width(largest: f32, step: f32) -> u8 {
    (LEAST_BITS..MOST_BITS).find(|&bits| reach(bits) * step >= largest).unwrap_or(MOST_BITS)
}

/// What rounds to the largest integer of a width, in steps.
fn reach(bits: u8) -> f32 {
    f32::from(most(bits)) + 0.5
}

fn largest(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |most, w| most.max(w.abs()))
}

fn logarithms(steps: impl Iterator<Item = f32>, of_layer: f32) -> Vec<f32> {
    steps.map(|step| step.max(of_layer * FINEST).max(1e-6).ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::Dense;
    use proptest::prelude::*;

    /// A dense layer of so many outputs.
    fn network(weight: Vec<f32>, outputs: usize) -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![weight.len() / outputs]);
        let affine = Affine { weight, bias: vec![0.0; outputs] };
        graph.push("dense_1", Dense {}, vec![0], vec![outputs], Some(affine));
        graph
    }

    fn start(weight: Vec<f32>, variance: Vec<f32>, outputs: usize, narrower: u8) -> Start {
        let limits = BitWidthConfig::default();
        let network = network(weight, outputs);
        Start::from_posterior(&network, &[variance], &limits, narrower, outputs > 1)
    }

    #[test]
    fn rounding_noise_is_the_posterior_s_variance() {
        // Δ²/12 = 0.01, so Δ = 0.346; 3 bits reach 3.5 of them, and need no coarser ones than 0.286.
        let found = start(vec![0.45, -0.1, 1.0], vec![0.01; 3], 1, 0);
        assert!((found.log_steps[0][0].exp() - 1.0 / 3.5).abs() < 1e-4, "{found:?}");
        assert_eq!(found.bits, [3]);
        assert_eq!(
            found.describe(0),
            "the posterior's variance of 1.0e-2 allows a step of 3.46e-1, 3 bits; \
             these reach the largest weight with a step of 2.86e-1"
        );
        // Nothing known of how certain they are: as precisely as is allowed, up to the largest.
        let found = start(vec![0.45, -0.1, 1.2], vec![0.0; 3], 1, 0);
        assert_eq!(found.bits, [8]);
        assert!((found.log_steps[0][0].exp() - 1.2 / 127.5).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn weights_that_are_open_have_no_say() {
        let found = start(vec![1.0, 0.0, 0.0], vec![0.01, 1e6, 1e6], 1, 0);
        // The precise one may be rounded three times as much, as the others cost nothing: Δ = 0.6.
        assert!(found.describe(0).contains("a step of 6.00e-1, 3 bits"), "{}", found.describe(0));
        assert_eq!(found.bits, [3]);
    }

    #[test]
    fn each_channel_has_the_step_of_its_variance_and_all_have_one_width() {
        let found = start(vec![0.4, 0.4, 0.4, 0.4], vec![0.01, 0.01, 1e-4, 1e-4], 2, 0);
        let steps: Vec<f32> = found.log_steps[0].iter().map(|step| step.exp()).collect();
        // Channels of 2 and of 5 bits.
        assert!((steps[0] - 0.4 / 1.5).abs() < 1e-4 && (steps[1] - 0.4 / 15.5).abs() < 1e-4);
        assert_eq!(found.bits, [5]);
    }

    #[test]
    fn a_point_of_a_front_has_fewer_bits_and_still_the_largest_weight() {
        let found = start(vec![0.4, -0.4], vec![1e-4; 2], 1, 2);
        assert_eq!(found.bits, [3]);
        assert!((found.log_steps[0][0].exp() - 0.4 / 3.5).abs() < 1e-4, "{found:?}");
    }

    proptest! {
        #[test]
        fn steps_are_finite_and_reach_the_largest_weight(
            weight in proptest::collection::vec(-40f32..40.0, 12),
            log_variance in proptest::collection::vec(-80f32..80.0, 12),
            outputs in prop::sample::select(vec![1usize, 2, 3]), narrower in 0u8..4,
        ) {
            let variance = log_variance.iter().map(|v| v.exp()).collect();
            let found = start(weight.clone(), variance, outputs, narrower);
            let bits = found.bits[0];
            prop_assert!((LEAST_BITS..=MOST_BITS).contains(&bits));
            for (row, log_step) in weight.chunks(12 / outputs).zip(&found.log_steps[0]) {
                prop_assert!(log_step.is_finite());
                let reached = reach(bits) * log_step.exp();
                prop_assert!(largest(row) <= reached * 1.0001, "{} {reached}", largest(row));
            }
        }
    }
}
