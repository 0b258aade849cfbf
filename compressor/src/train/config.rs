//! The training part of a job file, with its defaults.

mod variational;

use serde::{Deserialize, Serialize};

pub use variational::*;

use super::pace::{Pace, Stage};
use super::weight_bits::WeightBits;

/// `[pretrain]`: the deterministic network that the posterior starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// Passes over the training set; unset: by the number of training examples.
    pub epochs: Option<u32>,
    /// Examples per step; unset: by the number of training examples.
    pub batch: Option<usize>,
    /// Peak learning rate of Adam; after 100 steps of warm-up, or a quarter of all if that is less, a
    /// cosine takes it to 1 %.
    pub learning_rate: f32,
    /// Decoupled weight decay, as a fraction of the learning rate.
    pub weight_decay: f32,
    /// Passes without a better validation loss before stopping; 0 never stops early.
    pub patience: u32,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self { epochs: None, batch: None, learning_rate: 2e-3, weight_decay: 0.01, patience: 0 }
    }
}

impl PretrainConfig {
    /// Batch and epochs on so many training examples.
    pub(crate) fn pace(&self, examples: usize) -> Pace {
        Stage::PRETRAIN.pace(examples, self.batch, self.epochs)
    }
}

/// `[finetune]`: deterministic training of what is left after pruning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneConfig {
    /// Passes over the training set; 0 keeps the posterior's mean as it is; unset: by the number of
    /// training examples.
    pub epochs: Option<u32>,
    /// Examples per step; unset: by the number of training examples.
    pub batch: Option<usize>,
    /// Peak learning rate of Adam; a cosine takes it to 1 %.
    pub learning_rate: f32,
    /// Decay of the exponential average of the weights that is kept; 0 keeps the last weights.
    pub average: f32,
    /// Share of the distillation term: how much of the loss is agreement with the dense network's
    /// softened predictions rather than with the labels.
    pub distill: f32,
    /// Temperature of the distillation.
    pub temperature: f32,
    /// Share of every label that is spread evenly over all classes.
    pub smoothing: f32,
    /// Passes without a better validation loss before stopping; 0 never stops early.
    pub patience: u32,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            batch: None,
            learning_rate: 3e-3,
            average: 0.998,
            distill: 0.0,
            temperature: 2.0,
            smoothing: 0.0,
            patience: 0,
        }
    }
}

impl FinetuneConfig {
    /// Batch and epochs on so many training examples.
    pub(crate) fn pace(&self, examples: usize) -> Pace {
        Stage::FINETUNE.pace(examples, self.batch, self.epochs)
    }
}

/// `[quantize]`: fine-tuning with the device's integer arithmetic in the forward pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuantizeConfig {
    /// Passes over the training set; 0 leaves this stage out: weights are then rounded to the widths
    /// that the posterior allows (`[bits]`). Unset: by the number of training examples where a front
    /// is traced, which needs it; else 0.
    pub epochs: Option<u32>,
    /// Where the widths of the weights come from; unset: from the posterior, and 4 bits where there is
    /// none.
    pub bits: Option<WeightBits>,
    /// Bits that a point of a front takes from each layer's width of the posterior's.
    #[serde(skip)]
    pub(crate) narrower: u8,
    /// Whether each output channel has a step of its own, rather than each layer; also of weights that
    /// are only rounded.
    pub per_channel: bool,
    /// Examples per step; unset: by the number of training examples.
    pub batch: Option<usize>,
    /// Peak learning rate of Adam for weights and biases; a cosine takes it to 1 %.
    pub learning_rate: f32,
    /// The same for the logarithms of the steps.
    pub step_learning_rate: f32,
    /// Weight λ of the rate: the loss gets λ·ln 2/N per bit of the weights' code. 0 leaves it out.
    /// Unset: ½ where a front is traced, else 0.
    pub rate: Option<f32>,
    /// Decay of the exponential average of the weights that is kept; 0 keeps the last weights.
    pub average: f32,
    /// How far rounding a bias may move an output, in steps of the output. Training sees the
    /// rounded biases.
    pub bias_tolerance: f32,
}

impl Default for QuantizeConfig {
    fn default() -> Self {
        Self {
            epochs: None,
            bits: None,
            narrower: 0,
            per_channel: false,
            batch: None,
            learning_rate: 2e-3,
            step_learning_rate: 5e-3,
            rate: None,
            average: 0.998,
            bias_tolerance: 0.25,
        }
    }
}

/// `[quantize] rate` where a front is traced and the job states none: its points are told apart by
/// factors on it.
pub(crate) const RATE_OF_A_FRONT: f32 = 0.5;

impl QuantizeConfig {
    /// Batch and epochs on so many training examples; none where the stage is left out.
    pub(crate) fn pace(&self, examples: usize) -> Pace {
        Stage::QUANTIZE.pace(examples, self.batch, Some(self.epochs.unwrap_or(0)))
    }

    /// Everything that is unset, for a job that traces a front or doesn't, and whose posterior has a prior or
    /// hasn't.
    pub(crate) fn resolve(&self, examples: usize, traces_front: bool, has_kl: bool) -> Self {
        let epochs = if traces_front { self.epochs } else { self.epochs.or(Some(0)) };
        let pace = Stage::QUANTIZE.pace(examples, self.batch, epochs);
        let rate = if traces_front && pace.epochs > 0 { RATE_OF_A_FRONT } else { 0.0 };
        Self {
            epochs: Some(pace.epochs),
            batch: Some(pace.batch),
            bits: self.bits.clone().or(Some(WeightBits::of_a_job(has_kl))),
            rate: self.rate.or(Some(rate)),
            ..self.clone()
        }
    }

    /// Whether there is training in integers.
    pub(crate) fn is_on(&self) -> bool {
        self.epochs.is_some_and(|epochs| epochs > 0)
    }

    /// The weight of the rate; 0 if unset.
    pub(crate) fn rate(&self) -> f32 {
        self.rate.unwrap_or(0.0)
    }

    /// Whether the code's rate is in the loss.
    pub(crate) fn has_rate(&self) -> bool {
        self.is_on() && self.rate() > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_trains_in_integers_and_other_jobs_only_if_they_say_so() {
        let unset = QuantizeConfig::default();
        assert!(
            !unset.resolve(300, false, true).is_on() && unset.resolve(300, true, true).has_rate()
        );
        let stated = QuantizeConfig { epochs: Some(0), rate: Some(0.5), ..unset };
        let resolved = stated.resolve(300, true, true);
        assert!(!resolved.is_on() && resolved.rate == Some(0.5));
        let rounded = QuantizeConfig { rate: None, ..stated };
        assert_eq!(rounded.resolve(300, true, true).rate, Some(0.0));
    }

    #[test]
    fn widths_are_the_posterior_s_where_there_is_one_and_none_are_stated() {
        let unset = QuantizeConfig::default();
        let posterior = Some(WeightBits::POSTERIOR);
        assert_eq!(unset.resolve(300, false, true).bits, posterior);
        assert_eq!(unset.resolve(300, false, false).bits, Some(WeightBits::Given(vec![4])));
        let stated = QuantizeConfig { bits: Some(WeightBits::Given(vec![3])), ..unset };
        assert_eq!(stated.resolve(300, true, true).bits, stated.bits);
    }
}
