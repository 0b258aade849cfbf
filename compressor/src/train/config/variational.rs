//! `[variational]`: the Bayesian pass, and how the network shrinks in it.

use serde::{Deserialize, Serialize};

use crate::posterior::Prior;
use crate::prune::Order;
use crate::train::costs::Cost;
use crate::train::pace::{Pace, Stage};

/// Share of the epochs over which the KL temperature rises, unless the job says otherwise.
const RAMP: f32 = 0.2;

/// Weights for each training example up to which the KL has its full weight, unless the job says
/// otherwise: with many more, the bound is best where nothing is learned. Such a network shrinks to
/// that many and no further: below, few examples fit well long after others don't.
const WEIGHTS_AN_EXAMPLE: f64 = 16.0;

/// Where shrinking ends at the soonest, unless the job says otherwise: a task takes some weights
/// however few its examples are, and a small convolutional network with under a thousand lost one that
/// 54 images had taught it.
const LEAST_TARGET_WEIGHTS: usize = 2_500;

/// A temperature that rises to `most` over the first of the epochs.
fn ramp(epochs: u32, most: f32) -> Vec<(f32, f32)> {
    vec![(0.0, 0.0), ((epochs as f32 * RAMP).max(1.0), most)]
}

/// Rounded to the digits that say something.
fn two_digits(share: f64) -> f32 {
    let unit = 10f64.powf(share.log10().floor() - 1.0);
    // By division: a whole number over a power of ten has its own digits.
    ((share / unit).round() / (1.0 / unit).round()) as f32
}

/// Below any prune score: the least that a job may state.
const NO_FLOOR: f32 = -100.0;

/// Rise of the loss that a removal may cost, in nats, unless the job says otherwise.
const LOSS_RISE: f32 = 0.005;

/// The same with a `cost`, for all that the network costs: a fortieth of it may cost as much.
const PRICE: f32 = 0.2;

/// `[variational]`: the Bayesian pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariationalConfig {
    /// `normal-jeffreys` or `horseshoe`.
    pub prior: Prior,
    /// Passes over the training set; 0 leaves the stage out: nothing is removed for being uncertain.
    /// Unset: by the number of training examples.
    pub epochs: Option<u32>,
    /// Examples per step; unset: by the number of training examples.
    pub batch: Option<usize>,
    /// Learning rates of the four kinds of parameters.
    pub learning_rate: LearningRates,
    /// Decay of Adam's second moment: lower than usual, so that dying groups die quickly.
    pub beta2: f32,
    /// The KL temperature β as (epoch, β) points, joined by straight lines; unset: from 0 to 1, or
    /// less for few examples (`WEIGHTS_AN_EXAMPLE`), over the first fifth of the epochs.
    pub temperature: Option<Vec<(f32, f32)>>,
    /// Factor on the KL of each layer's group scales, first layer first; missing ones are 1.
    pub scale_weight: Vec<f32>,
    /// What the KL of a group's scale is weighed by, on top of that, and what its removal may cost.
    pub cost: Cost,
    /// Log-variance of weights and biases at the start.
    pub initial_log_variance: f32,
    /// Ceiling of the first layer's log-variances: keeps its noise from drowning the input.
    pub first_log_variance_most: f32,
    /// Log-variance of the scales at the start; unset: −6 for normal-Jeffreys, −4 for horseshoe.
    pub initial_scale_log_variance: Option<f32>,
    /// τ0 of the horseshoe: scale of the half-Cauchy over each layer's global scale.
    pub tau0: f32,
    /// Passes without a better validation loss before stopping, once nothing shrinks; 0 never
    /// stops early.
    pub patience: u32,
    /// How the network shrinks while it trains.
    pub shrink: ShrinkConfig,
}

/// `[variational.learning_rate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearningRates {
    /// Means of weights and biases.
    pub mean: f32,
    /// Log-variances of weights and biases.
    pub log_variance: f32,
    /// Locations of the group scales; unset: 2e-3 for normal-Jeffreys, 1e-2 for horseshoe.
    pub scale_mean: Option<f32>,
    /// Log-variances of the group scales; unset: 5e-2 for normal-Jeffreys, 3e-2 for horseshoe.
    pub scale_log_variance: Option<f32>,
}

/// `[variational.shrink]`: every few steps and layer by layer, the largest tail of the posterior's
/// order is removed whose ablation costs the training loss next to nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShrinkConfig {
    /// First step at which groups may go.
    pub from_step: u64,
    /// Steps between two tries; 0 never shrinks while training.
    pub every: u64,
    /// Training examples on which an ablation is judged.
    pub examples: usize,
    /// By what groups are ordered, here and in `[prune]`.
    pub order: Order,
    /// Prune score below which a group is never tried (log α, or v − m); unset: −5 for
    /// normal-Jeffreys, −0.2 for horseshoe, and no floor for an order by magnitude.
    pub floor: Option<f32>,
    /// Absolute rise of the loss, in nats, that one removal may cost; one value for all layers or
    /// one per layer. With a `cost`, one price for all: that of all there is, of which a removal pays
    /// the share that it saves. Unset: `LOSS_RISE`, or `PRICE` with a cost.
    pub loss_rise: Option<Vec<f32>>,
    /// Relative rise of the loss that one removal may cost on top; with a `cost`, in the same way.
    pub loss_ratio: f32,
    /// Largest share of a layer's groups that goes at once.
    pub most_at_once: f32,
    /// Weights at which shrinking stops: the size knob. 0 sets no target. Unset: 0, or with more than
    /// `WEIGHTS_AN_EXAMPLE` so many for each training example, but no fewer than
    /// `LEAST_TARGET_WEIGHTS`.
    pub target_weights: Option<usize>,
    /// Multiply-accumulates at which shrinking stops: the speed knob. 0 sets no target. With
    /// both targets, shrinking goes on until both are reached; from `target_weights` on, only
    /// convolutions shrink. Without any target it never stops.
    pub target_macs: u64,
    /// Predicted instructions on `[target]` at which shrinking stops, as `target_macs`. 0 sets no target.
    pub target_instructions: u64,
}

impl Default for VariationalConfig {
    fn default() -> Self {
        Self {
            prior: Prior::NormalJeffreys,
            epochs: None,
            batch: None,
            learning_rate: LearningRates::default(),
            beta2: 0.99,
            temperature: None,
            scale_weight: Vec::new(),
            cost: Cost::None,
            initial_log_variance: -6.0,
            first_log_variance_most: -3.2,
            initial_scale_log_variance: None,
            tau0: 1e-3,
            patience: 0,
            shrink: ShrinkConfig::default(),
        }
    }
}

impl Default for LearningRates {
    fn default() -> Self {
        Self { mean: 1e-3, log_variance: 2e-2, scale_mean: None, scale_log_variance: None }
    }
}

impl Default for ShrinkConfig {
    fn default() -> Self {
        Self {
            from_step: 100,
            every: 50,
            examples: 1000,
            order: Order::Posterior,
            floor: None,
            loss_rise: None,
            loss_ratio: 0.02,
            most_at_once: 1.0,
            target_weights: None,
            target_macs: 0,
            target_instructions: 0,
        }
    }
}

impl ShrinkConfig {
    /// Rises of the loss that one removal may cost: one for all layers, or one each.
    pub(crate) fn rises(&self) -> &[f32] {
        self.loss_rise.as_deref().unwrap_or(&[LOSS_RISE])
    }
}

impl VariationalConfig {
    /// Everything that depends on the prior, filled in.
    pub(crate) fn resolve(&self) -> Self {
        let (scale_mean, scale_log_variance, start, floor) = match self.prior {
            Prior::NormalJeffreys => (2e-3, 5e-2, -6.0, -5.0),
            Prior::Horseshoe => (1e-2, 3e-2, -4.0, -0.2),
        };
        let mut resolved = self.clone();
        resolved.learning_rate.scale_mean.get_or_insert(scale_mean);
        resolved.learning_rate.scale_log_variance.get_or_insert(scale_log_variance);
        resolved.initial_scale_log_variance.get_or_insert(start);
        let floor = match self.shrink.order {
            Order::Posterior => floor,
            Order::Magnitude => NO_FLOOR,
        };
        resolved.shrink.floor.get_or_insert(floor);
        let rise = if self.cost == Cost::None { LOSS_RISE } else { PRICE };
        resolved.shrink.loss_rise.get_or_insert_with(|| vec![rise]);
        resolved
    }

    /// Batch and epochs on so many training examples.
    pub(crate) fn pace(&self, examples: usize) -> Pace {
        Stage::VARIATIONAL.pace(examples, self.batch, self.epochs)
    }

    /// Everything that depends on the prior, the number of training examples, or the number of the
    /// network's weights, filled in.
    pub(crate) fn resolve_for(&self, examples: usize, weights: usize) -> Self {
        let Pace { batch, epochs } = self.pace(examples);
        let mut resolved = Self { batch: Some(batch), epochs: Some(epochs), ..self.resolve() };
        let most = (WEIGHTS_AN_EXAMPLE * examples as f64 / weights.max(1) as f64).min(1.0);
        resolved.temperature.get_or_insert_with(|| ramp(epochs, two_digits(most)));
        let enough = ((WEIGHTS_AN_EXAMPLE * examples as f64) as usize).max(LEAST_TARGET_WEIGHTS);
        let ShrinkConfig { target_macs, target_instructions, .. } = resolved.shrink;
        let is_free = target_macs > 0 || target_instructions > 0 || weights <= enough;
        resolved.shrink.target_weights.get_or_insert(if is_free { 0 } else { enough });
        resolved
    }

    /// The points of the KL temperature.
    fn temperatures(&self) -> Vec<(f32, f32)> {
        let epochs = self.epochs.unwrap_or(Stage::VARIATIONAL.epochs);
        self.temperature.clone().unwrap_or_else(|| ramp(epochs, 1.0))
    }

    /// Whether there is a Bayesian stage at all.
    pub(crate) fn is_bayesian(&self) -> bool {
        self.epochs != Some(0)
    }

    /// Whether the KL weighs anything at any time.
    pub(crate) fn has_kl(&self) -> bool {
        let points = self.temperatures();
        self.is_bayesian() && (points.is_empty() || points.iter().any(|(_, value)| *value > 0.0))
    }

    /// The same with every temperature multiplied.
    pub(crate) fn tempered(&self, factor: f64) -> Self {
        let factor = factor as f32;
        let mut points = self.temperatures();
        if points.is_empty() && factor != 1.0 {
            points.push((0.0, 1.0));
        }
        points.iter_mut().for_each(|(_, value)| *value *= factor);
        Self { temperature: Some(points), ..self.clone() }
    }

    /// Whether the KL at the end is that of the bound, and so a description length: neither
    /// tempered nor weighted by layer or cost.
    pub(crate) fn is_bound(&self) -> bool {
        let weighted = self.cost != Cost::None || self.scale_weight.iter().any(|w| *w != 1.0);
        let end = self.epochs.unwrap_or(Stage::VARIATIONAL.epochs) as f32;
        self.is_bayesian() && !weighted && self.temperature_at(end) == 1.0
    }

    /// β at `epoch`, by straight lines between the points and constant beyond them.
    pub(crate) fn temperature_at(&self, epoch: f32) -> f32 {
        let mut before: Option<(f32, f32)> = None;
        for (at, value) in self.temperatures() {
            if epoch <= at {
                return match before {
                    Some((from, start)) if at > from => {
                        start + (value - start) * (epoch - from) / (at - from)
                    }
                    Some(_) | None => value,
                };
            }
            before = Some((at, value));
        }
        before.map_or(1.0, |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_is_piecewise_linear() {
        let c = VariationalConfig {
            temperature: Some(vec![(0.0, 1.0), (0.2, 1.5), (1.0, 1.0)]),
            ..VariationalConfig::default()
        };
        for (epoch, beta) in [(0.0, 1.0), (0.1, 1.25), (0.2, 1.5), (0.6, 1.25), (3.0, 1.0)] {
            assert!((c.temperature_at(epoch) - beta).abs() < 1e-5, "{epoch}");
        }
        let none = VariationalConfig { temperature: Some(Vec::new()), ..c };
        assert_eq!(none.temperature_at(0.5), 1.0);
        assert_eq!((none.tempered(2.0).temperature_at(0.5), none.tempered(1.0)), (2.0, none));
    }

    #[test]
    fn a_factor_scales_every_temperature() {
        let tempered = VariationalConfig::default().tempered(0.5);
        assert_eq!(tempered.temperature, Some(vec![(0.0, 0.0), (1.0, 0.5)]));
        assert!(tempered.has_kl() && !tempered.is_bound());
        let none = VariationalConfig { temperature: Some(vec![(0.0, 0.0)]), ..tempered };
        assert!(!none.has_kl());
    }

    #[test]
    fn the_temperature_rises_over_a_fifth_of_the_epochs() {
        let on = |examples, weights| VariationalConfig::default().resolve_for(examples, weights);
        assert_eq!(on(55_000, 430_500).temperature, Some(vec![(0.0, 0.0), (1.0, 1.0)]));
        let small = on(250, 4_000);
        let epochs = small.epochs.unwrap() as f32;
        assert!(epochs > 100.0, "{epochs}");
        assert_eq!(small.temperature_at(epochs * 0.1), 0.5);
        assert!(small.is_bound() && small.has_kl());
    }

    #[test]
    fn the_divergence_of_many_weights_doesn_t_drown_few_examples() {
        let large = VariationalConfig::default().resolve_for(216, 262_480);
        let most = large.temperature_at(1e6);
        assert_eq!(most, 0.013);
        assert!(!large.is_bound());
        assert_eq!(large.shrink.target_weights, Some(16 * 216));
        let tiny = VariationalConfig::default().resolve_for(54, 262_480);
        assert_eq!(tiny.shrink.target_weights, Some(2_500));
        let tiny = VariationalConfig::default().resolve_for(54, 2_500);
        assert_eq!(tiny.shrink.target_weights, Some(0));
        let small = VariationalConfig::default().resolve_for(1_294, 2_730);
        assert_eq!((small.shrink.target_weights, small.is_bound()), (Some(0), true));
        let stated = VariationalConfig { temperature: Some(vec![(0.0, 1.0)]), ..large };
        assert_eq!(stated.resolve_for(216, 262_480).temperature_at(9.0), 1.0);
    }
}
