//! Fine-tuning in integers: what training sees is what the device computes.
//!
//! The survivors of pruning are trained with the device's arithmetic in the forward pass
//! ([`simulate`], [`alone`]), at given widths with one learned step per layer or per output channel
//! ([`learned`]), and with the rate of their code in the loss ([`rate`]). Activations are calibrated anew at the start of each
//! epoch of the first half and stay fixed from there on. Rows and columns that became all zero
//! leave the tensors (`shrink`).

pub(crate) mod alone;
pub(crate) mod learned;
pub(crate) mod rate;
mod record;
mod shrink;
pub(crate) mod simulate;
pub(crate) mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::adam::{Adam, Rates};
use super::batch::{Batch, Examples, scalar, sharded, shuffled};
use super::batches::{TrainingBatches, in_integers};
use super::deterministic::{running, weight_count};
use super::evaluate::{Score, batched, score_logits};
use super::schedule::cosine;
use super::{Observer, QuantizeConfig, StepReport, TrainError};
use crate::bayes::Parameters;
use crate::compile::InputQuantization;
use crate::compile::calibrate::{RangeMethod, calibrate};
use crate::graph::{Affine, Graph, Rows, ValueId};
use crate::ledger::GroupRecord;
use crate::numbers::Quantization;
use crate::prune::Lineage;
use learned::{Learned, most, stepped};
use rate::Rate;
use simulate::Simulation;
use start::Start;

const STAGE: &str = "quantize";

/// Steps between two fits of the layers' codes.
const REFIT: u64 = 50;

/// Share of the steps over which the rate's weight rises.
const RATE_RAMP: f32 = 0.3;

/// Share of the epochs in which activations are calibrated anew.
const CALIBRATED: f32 = 0.5;

/// Share of the epochs after which rows and columns stay, whatever they hold.
const SHRINKING: f32 = 0.75;

/// Longest gradient of weights and biases together; a longer one is scaled down, and the steps' with
/// it.
const GRADIENT_NORM: f64 = 5.0;

/// What each value's integers stand for.
pub(crate) type Activations = BTreeMap<ValueId, Quantization>;

/// Everything that resuming needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    learned: Learned,
    adam: Adam<Learned>,
    average: Learned,
    best: Option<(f64, Learned)>,
    activations: Activations,
    rates: Vec<Rate>,
    start: Start,
    /// Which groups of the first network the present ones are.
    pub lineage: Lineage,
    /// Groups that went in this stage.
    pub removed: Vec<GroupRecord>,
    loss: f64,
    /// Steps done.
    pub step: u64,
}

/// The network that came of it, as its integers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantized {
    /// Biases as learned, weights as the integers stand for them.
    pub network: Graph<Affine>,
    /// ln of the steps of each layer: one for all its rows, or one for each.
    pub log_steps: Vec<Vec<f32>>,
    /// Width of each layer's weights.
    pub bits: Vec<u8>,
    /// The steps and widths that training started with.
    pub start: Start,
    /// The activations that training saw.
    pub activations: Activations,
}

impl Quantized {
    /// The integers of each layer.
    pub(crate) fn integers(&self) -> Vec<Rows> {
        let (network, log_steps) = (self.network.clone(), self.log_steps.clone());
        Learned { network, log_steps, bits: self.bits.clone() }.integers()
    }
}

/// What the stage is given and never changes.
pub(crate) struct TrainingContext<'a> {
    /// `[quantize]`.
    pub config: &'a QuantizeConfig,
    /// Normalised training inputs for calibration.
    pub calibration: &'a [f32],
    /// Ranges' method.
    pub method: RangeMethod,
    /// The input's quantisation.
    pub input: &'a InputQuantization,
    /// Normalised validation examples.
    pub validation: &'a Examples,
    /// Seed of the shuffles.
    pub seed: u64,
    /// burn's device.
    pub device: &'a Device,
}

impl State {
    /// No steps taken yet.
    ///
    /// # Errors
    /// When the network can't be calibrated.
    pub(crate) fn new(
        network: Graph<Affine>,
        lineage: Lineage,
        start: Start,
        context: &TrainingContext<'_>,
    ) -> Result<Self, TrainError> {
        let activations = context.calibrate(&network)?;
        let learned = Learned::new(network, start.clone());
        Ok(Self {
            adam: Adam::new(&learned),
            average: learned.clone(),
            best: None,
            activations,
            rates: Vec::new(),
            start,
            lineage,
            removed: Vec::new(),
            loss: 0.0,
            step: 0,
            learned,
        })
    }

    /// The integer network of the best epoch.
    pub(crate) fn into_best(self) -> Quantized {
        let best = self.best.map_or(self.average, |(_, best)| best);
        let network = best.dequantized();
        let Learned { log_steps, bits, .. } = best;
        Quantized { network, log_steps, bits, start: self.start, activations: self.activations }
    }
}

impl TrainingContext<'_> {
    fn calibrate(&self, network: &Graph<Affine>) -> Result<Activations, TrainError> {
        Ok(calibrate(network, self.calibration, self.input, self.method)?)
    }

    fn simulation(
        &self,
        learned: &Learned,
        activations: &Activations,
    ) -> Result<(Vec<Rows>, Simulation), TrainError> {
        let integers = learned.integers();
        let tolerance = f64::from(self.config.bias_tolerance);
        let simulation =
            Simulation::new(&learned.network, &integers, activations, self.input, tolerance)?;
        Ok((integers, simulation))
    }

    fn rates(&self, integers: &[Rows]) -> Vec<Rate> {
        let layers = integers.iter();
        layers.map(|layer| Rate::fit(&layer.values, most(layer.bits))).collect()
    }
}

/// Trains until the plan is done or the observer stops it.
pub(crate) fn train(
    state: &mut State,
    context: &TrainingContext<'_>,
    batches: &mut TrainingBatches<'_>,
    observer: &mut impl Observer<State>,
) -> Result<(), TrainError> {
    let config = context.config;
    let pace = config.pace(batches.len());
    let (per_epoch, steps) = (pace.steps_an_epoch(batches.len()), pace.steps(batches.len()));
    let nats_per_bit = config.rate() * std::f32::consts::LN_2 / batches.len().max(1) as f32;
    let validation = in_integers(context.validation, context.input);
    let mut order = (u64::MAX, Vec::new());
    while state.step < steps {
        let epoch = state.step / per_epoch;
        if order.0 != epoch {
            order = (epoch, shuffled(batches.len(), context.seed, epoch));
        }
        if state.step.is_multiple_of(REFIT) || state.rates.is_empty() {
            state.rates = context.rates(&state.learned.integers());
        }
        let from = (state.step % per_epoch) as usize * pace.batch;
        let indices = &order.1[from..(from + pace.batch).min(batches.len())];
        let batch = batches.batch(epoch, indices);
        let (loss, mut gradient) = gradient(state, context, &batch)?;
        limit(&mut gradient);
        let ramp = (state.step as f32 / (steps as f32 * RATE_RAMP)).min(1.0);
        add_rate(&state.learned, &state.rates, nats_per_bit * ramp, &mut gradient);
        let decay = cosine(state.step, steps, 0);
        let learning_rate = config.learning_rate * decay;
        let adam_rates = Rates {
            scale_mean: config.step_learning_rate * decay,
            ..Rates::uniform(learning_rate)
        };
        state.adam.update(&mut state.learned, &gradient, &adam_rates);
        state.average.follow(&state.learned, config.average, state.step);
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
            weights: weight_count(&state.learned.network),
            instructions: None,
            groups: Vec::new(),
        };
        if state.step.is_multiple_of(per_epoch) {
            let done = state.step as f32 / steps as f32;
            let score = state.close_epoch(context, &validation, f64::from(nats_per_bit), done)?;
            report.validation = Some((score.loss, score.error_percent));
        }
        observer.step(state, &report)?;
    }
    Ok(())
}

fn gradient(
    state: &State,
    context: &TrainingContext<'_>,
    batch: &Batch,
) -> Result<(f64, Learned), TrainError> {
    let (learned, device) = (&state.learned, context.device);
    let (_, simulation) = context.simulation(learned, &state.activations)?;
    let total = batch.len();
    let step = sharded(batch, context.seed, state.step, |part, _| {
        let tensors = simulation.tensors(device);
        let loss = part.loss(simulation.forward(part.value(device), &tensors), total);
        let grads = loss.backward();
        (scalar(&loss), learned.gradient(&simulation, &tensors, &grads))
    });
    let (loss, gradient) = step.ok_or(TrainError::Shard { stage: STAGE, step: state.step })?;
    if !loss.is_finite() {
        return Err(TrainError::Diverged { stage: STAGE, step: state.step });
    }
    Ok((loss, gradient))
}

/// Scales the gradient down until that of weights and biases is within [`GRADIENT_NORM`].
fn limit(gradient: &mut Learned) {
    let squares = gradient.network.tensors().into_iter().flat_map(|(_, t)| t);
    let norm = squares.map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
    if norm > GRADIENT_NORM {
        let scale = (GRADIENT_NORM / norm) as f32;
        gradient.tensors_mut().into_iter().flatten().for_each(|g| *g *= scale);
    }
}

/// Adds the rate's gradient.
fn add_rate(learned: &Learned, rates: &[Rate], nats_per_bit: f32, gradient: &mut Learned) {
    let layers = learned.network.parameters().zip(&learned.log_steps).zip(rates);
    for (((affine, log_steps), rate), into) in layers.zip(gradient.network.parameters_mut()) {
        let mut gradients = into.weight.iter_mut();
        for (row, log_step) in stepped(&affine.weight, log_steps) {
            let per_step = (-log_step).exp();
            for (w, g) in row.iter().zip(&mut gradients) {
                *g += nats_per_bit * per_step * rate.slope(w * per_step);
            }
        }
    }
}

/// Loss and error of the integer network on `examples` (in integers).
pub(crate) fn score(simulation: &Simulation, examples: &Examples, device: &Device) -> Score {
    let device = device.clone().without_autodiff();
    let logits = batched(examples, &device, || {
        let tensors = simulation.tensors(&device);
        move |x| simulation.forward(x, &tensors)
    });
    score_logits(&logits, &examples.labels, examples.classes)
}

impl State {
    /// Scores the average on validation; calibrates, shrinks or keeps it, as far as training is.
    fn close_epoch(
        &mut self,
        context: &TrainingContext<'_>,
        validation: &Examples,
        nats_per_bit: f64,
        done: f32,
    ) -> Result<Score, TrainError> {
        let (integers, simulation) = context.simulation(&self.average, &self.activations)?;
        let score = score(&simulation, validation, context.device);
        if done > SHRINKING {
            let rates = context.rates(&integers);
            let layers = rates.iter().zip(&integers);
            let bits: f64 = layers.map(|(rate, layer)| rate.of(&layer.values)).sum();
            let objective = score.loss + nats_per_bit * bits;
            if self.best.as_ref().is_none_or(|(least, _)| objective < *least) {
                self.best = Some((objective, self.average.clone()));
            }
        } else {
            self.shrink()?;
        }
        if done <= CALIBRATED {
            self.activations = context.calibrate(&self.average.dequantized())?;
        }
        Ok(score)
    }
}
