//! Deterministic training: before the posterior, and of what is left after it.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::adam::{Adam, Rates};
use super::batch::{Batch, Examples, scalar, sharded, shuffled};
use super::batches::TrainingBatches;
use super::evaluate::score;
use super::forward::{Deterministic, forward};
use super::pace::Pace;
use super::schedule::cosine;
use super::{FinetuneConfig, Observer, PretrainConfig, StepReport, TrainError};
use crate::bayes::Parameters;
use crate::graph::ops::{BatchNorm, Op};
use crate::graph::{Affine, Graph};

/// Most steps over which the learning rate rises at the start.
const WARM_UP: u64 = 100;

/// Part of all steps that it rises over at most: one in so many.
const WARM_UP_PART: u64 = 4;

/// Weight of the newest batch in batch normalisation's running statistics.
const NORM_MOMENTUM: f32 = 0.1;

/// Weight of the newest step in the loss that is shown.
const LOSS_MOMENTUM: f64 = 0.02;

/// What deterministic training needs to know, whichever stage it is.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Name of the stage.
    pub stage: &'static str,
    /// Examples per step, and passes over the training set.
    pub pace: Pace,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Decay of the exponential average of the weights; 0 for none.
    pub average: f32,
    /// Passes without gain before stopping; 0 for never.
    pub patience: u32,
    /// Seed of shuffles and dropout.
    pub seed: u64,
}

impl Plan {
    /// The plan of `[pretrain]` on so many training examples.
    pub(crate) fn pretrain(config: &PretrainConfig, examples: usize, seed: u64) -> Self {
        Self {
            stage: "pretrain",
            pace: config.pace(examples),
            learning_rate: config.learning_rate,
            weight_decay: config.weight_decay,
            average: 0.0,
            patience: config.patience,
            seed,
        }
    }

    /// The plan of `[finetune]` on so many training examples.
    pub(crate) fn finetune(config: &FinetuneConfig, examples: usize, seed: u64) -> Self {
        Self {
            stage: "finetune",
            pace: config.pace(examples),
            learning_rate: config.learning_rate,
            weight_decay: 0.0,
            average: config.average,
            patience: config.patience,
            seed,
        }
    }
}

/// Everything that resuming needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    network: Graph<Affine>,
    adam: Adam<Graph<Affine>>,
    average: Graph<Affine>,
    best: Graph<Affine>,
    best_loss: f64,
    epochs_without_gain: u32,
    loss: f64,
    /// Steps done.
    pub step: u64,
}

impl State {
    /// No steps taken yet.
    pub(crate) fn new(network: Graph<Affine>) -> Self {
        Self {
            adam: Adam::new(&network),
            average: network.clone(),
            best: network.clone(),
            best_loss: f64::INFINITY,
            epochs_without_gain: 0,
            loss: 0.0,
            step: 0,
            network,
        }
    }

    /// The network of the best epoch on validation.
    pub(crate) fn into_best(self) -> Graph<Affine> {
        self.best
    }
}

/// Trains until the plan is done, the validation loss stalls, or the observer stops it.
pub(crate) fn train(
    state: &mut State,
    plan: &Plan,
    batches: &mut TrainingBatches<'_>,
    validation: &Examples,
    device: &Device,
    observer: &mut impl Observer<State>,
) -> Result<(), TrainError> {
    let (per_epoch, steps) =
        (plan.pace.steps_an_epoch(batches.len()), plan.pace.steps(batches.len()));
    let warm_up = WARM_UP.min(steps / WARM_UP_PART);
    let batch_size = plan.pace.batch;
    let mut order = (u64::MAX, Vec::new());
    while state.step < steps {
        if plan.patience > 0 && state.epochs_without_gain >= plan.patience {
            break;
        }
        let epoch = state.step / per_epoch;
        if order.0 != epoch {
            order = (epoch, shuffled(batches.len(), plan.seed, epoch));
        }
        let from = (state.step % per_epoch) as usize * batch_size;
        let indices = &order.1[from..(from + batch_size).min(batches.len())];
        let batch = batches.batch(epoch, indices);
        let (loss, gradient) = gradient(state, plan, &batch, device)?;
        let learning_rate = plan.learning_rate * cosine(state.step, steps, warm_up);
        let rates = Rates { weight_decay: plan.weight_decay, ..Rates::uniform(learning_rate) };
        state.adam.update(&mut state.network, &gradient, &rates);
        state.follow(&gradient, plan.average);
        state.step += 1;
        state.loss = running(state.loss, loss, state.step);
        let mut report = StepReport {
            epoch,
            step: state.step,
            steps,
            loss: state.loss,
            kl: None,
            kl_weight: None,
            learning_rate,
            validation: None,
            weights: weight_count(&state.network),
            instructions: None,
            groups: Vec::new(),
        };
        if state.step.is_multiple_of(per_epoch) {
            report.validation = Some(state.close_epoch(plan, validation, device));
        }
        observer.step(state, &report)?;
    }
    Ok(())
}

/// The mean of the first steps, then an exponential one.
pub(super) fn running(mean: f64, newest: f64, step: u64) -> f64 {
    mean + (newest - mean) * LOSS_MOMENTUM.max(1.0 / step as f64)
}

/// Weights of all layers, biases not counted.
pub(crate) fn weight_count(network: &Graph<Affine>) -> usize {
    let layers = network.layers().filter_map(|node| node.parameters.as_ref());
    layers.map(|affine| affine.weight.len()).sum()
}

/// Batch normalisations, in order.
fn norms(network: &Graph<Affine>) -> impl Iterator<Item = &BatchNorm> {
    network.nodes.iter().filter_map(|node| match &node.op {
        Op::BatchNorm(norm) => Some(norm),
        _ => None,
    })
}

/// As [`norms`], to change them.
fn norms_mut(network: &mut Graph<Affine>) -> impl Iterator<Item = &mut BatchNorm> {
    network.nodes.iter_mut().filter_map(|node| match &mut node.op {
        Op::BatchNorm(norm) => Some(norm),
        _ => None,
    })
}

fn gradient(
    state: &State,
    plan: &Plan,
    batch: &Batch,
    device: &Device,
) -> Result<(f64, Graph<Affine>), TrainError> {
    let (network, total) = (&state.network, batch.len());
    let step = sharded(batch, plan.seed, state.step, |part, noise| {
        let mut layers = Deterministic::new(network, Some(noise), device);
        let logits = forward(network, part.value(device), &mut layers);
        let loss = part.loss(logits, total);
        let grads = loss.backward();
        let mut into = layers.gradient(network, &grads);
        let share = part.len() as f32 / total as f32;
        for norm in norms_mut(&mut into) {
            norm.mean.iter_mut().chain(&mut norm.variance).for_each(|seen| *seen *= share);
        }
        (scalar(&loss), into)
    });
    let failed = TrainError::Shard { stage: plan.stage, step: state.step };
    let (loss, gradient) = step.ok_or(failed)?;
    if !loss.is_finite() {
        return Err(TrainError::Diverged { stage: plan.stage, step: state.step });
    }
    Ok((loss, gradient))
}

impl State {
    /// Updates running statistics and the average of the weights after a step.
    fn follow(&mut self, gradient: &Graph<Affine>, decay: f32) {
        // The gradient of a batch normalisation carries the batch's statistics.
        for (norm, seen) in norms_mut(&mut self.network).zip(norms(gradient)) {
            let blend = |into: &mut Vec<f32>, from: &Vec<f32>| {
                into.iter_mut().zip(from).for_each(|(a, b)| *a += NORM_MOMENTUM * (b - *a));
            };
            blend(&mut norm.mean, &seen.mean);
            blend(&mut norm.variance, &seen.variance);
        }
        self.average.follow(&self.network, decay, self.step);
        for (average, norm) in norms_mut(&mut self.average).zip(norms(&self.network)) {
            average.mean.clone_from(&norm.mean);
            average.variance.clone_from(&norm.variance);
        }
    }

    /// Scores the epoch's network on validation and keeps it if it is the best so far.
    fn close_epoch(&mut self, plan: &Plan, validation: &Examples, device: &Device) -> (f64, f64) {
        let network = if plan.average > 0.0 { &self.average } else { &self.network };
        let score = score(network, validation, device);
        if score.loss < self.best_loss {
            self.best_loss = score.loss;
            self.best = network.clone();
            self.epochs_without_gain = 0;
        } else {
            self.epochs_without_gain += 1;
        }
        (score.loss, score.error_percent)
    }
}
