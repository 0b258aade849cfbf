//! Training: deterministic pre-training, variational training, fine-tuning.
//!
//! burn computes the forward pass and the gradient of the cross-entropy ([`forward`], and the operators'
//! files in [`crate::graph::ops`]);
//! parameters, moments and schedules are plain data ([`adam`]), so that a checkpoint is exact and a
//! dead group is cut out by slicing. Every step's randomness is a function of (seed, step), so a
//! resumed run repeats an uninterrupted one to the bit.

pub(crate) mod ablation;
pub(crate) mod adam;
pub(crate) mod augment;
pub(crate) mod batch;
pub(crate) mod batches;
mod config;
pub(crate) mod costs;
pub(crate) mod deterministic;
mod edges;
pub(crate) mod evaluate;
pub(crate) mod forward;
pub(crate) mod initialize;
pub(crate) mod pace;
pub(crate) mod quantized;
mod schedule;
pub(crate) mod shrink;
pub(crate) mod variational;
mod weight_bits;

use serde::{Deserialize, Serialize};

pub use augment::AugmentConfig;
pub use config::*;
pub use costs::Cost;
pub use weight_bits::{FromPosterior, WeightBits};

use crate::compile::CompileError;
use crate::compile::calibrate::CalibrateError;
use crate::graph::LowerError;
use crate::prune::PruneError;

/// What went wrong while training.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss is not a number any more.
    #[error(
        "{stage} diverged at step {step}: the loss is not finite; lower [{stage}] learning_rate, \
         or check the data for extreme values"
    )]
    Diverged {
        /// Which stage.
        stage: &'static str,
        /// At which step.
        step: u64,
    },
    /// A shard's thread ended without a result.
    #[error("{stage} failed at step {step}: burn could not compute this step's gradient")]
    Shard {
        /// Which stage.
        stage: &'static str,
        /// At which step.
        step: u64,
    },
    /// The user asked to stop.
    #[error("interrupted; the checkpoint is saved")]
    Interrupted,
    /// The network could not be shrunk.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// The activations could not be calibrated.
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    /// The network has no integer form.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// An operator of the integer network can't be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The observer could not save or log.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

/// What one step did, for progress, metrics and checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Pass over the training set, from 0.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Steps planned.
    pub steps: u64,
    /// Cross-entropy of this step's batch in nats, a running mean.
    pub loss: f64,
    /// KL from the prior in nats, untempered, at the end of an epoch of variational training.
    pub kl: Option<f64>,
    /// What the KL is multiplied by: β/N.
    pub kl_weight: Option<f64>,
    /// Learning rate of the means.
    pub learning_rate: f32,
    /// Validation loss and error, at the end of an epoch.
    pub validation: Option<(f64, f64)>,
    /// Weights that the network has now.
    pub weights: usize,
    /// Predicted instructions of an inference, where the job weighs groups by their cost or has such a
    /// target.
    pub instructions: Option<u64>,
    /// Groups that each affine layer has now, in variational training.
    pub groups: Vec<u32>,
}

/// Sees every step of a stage; may save its state, and may stop it with an error.
pub trait Observer<S> {
    /// One step is done and `state` is what a later run would resume from.
    fn step(&mut self, state: &S, report: &StepReport) -> Result<(), TrainError>;
}
