//! The training part of a job file, with its defaults.

use serde::{Deserialize, Serialize};

use crate::posterior::Prior;

/// `[pretrain]`: the deterministic network that the posterior starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// Passes over the training set.
    pub epochs: u32,
    /// Examples per step.
    pub batch: usize,
    /// Peak learning rate of Adam; a cosine takes it to 1 %.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Passes without a better validation error before stopping; 0 never stops early.
    pub patience: u32,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self { epochs: 10, batch: 128, learning_rate: 2e-3, weight_decay: 1e-4, patience: 0 }
    }
}

/// `[variational]`: the Bayesian pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VariationalConfig {
    /// `normal-jeffreys` or `horseshoe`.
    pub prior: Prior,
    /// Passes over the training set.
    pub epochs: u32,
    /// Examples per step.
    pub batch: usize,
}

impl Default for VariationalConfig {
    fn default() -> Self {
        Self { prior: Prior::NormalJeffreys, epochs: 12, batch: 128 }
    }
}

/// `[finetune]`: deterministic training of what is left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneConfig {
    /// Passes over the training set.
    pub epochs: u32,
    /// Examples per step.
    pub batch: usize,
    /// Peak learning rate of Adam; a cosine takes it to 1 %.
    pub learning_rate: f32,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self { epochs: 10, batch: 128, learning_rate: 1e-3 }
    }
}
