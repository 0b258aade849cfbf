//! Variational training: posteriors over weights and group scales, shrinking as groups die.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::ablation::Baseline;
use super::adam::{Adam, Rates};
use super::batch::{Batch, Examples, Material, scalar, sharded, shuffled};
use super::costs::{Cost, GroupCosts, Target};
use super::deterministic::running;
use super::edges::{Cropping, cropping};
use super::evaluate::score;
use super::forward::{Sampled, forward};
use super::shrink::{Price, Removal, Scope, Terms, harmless};
use super::{Observer, ShrinkConfig, StepReport, TrainError, VariationalConfig};
use crate::bayes::layer::LayerValues;
use crate::bayes::{
    AffinePosterior, KlWeights, Noise, add_kl_gradient, description_length, posterior, weight_count,
};
use crate::graph::Graph;
use crate::ledger::{GroupRecord, Reason};
use crate::prune::{Decision, Edge, Lineage, Shrinkage, posterior_mean, prune_score};

const STAGE: &str = "variational";

/// Sets the shrinking sample's stream apart from the shuffles of the epochs.
const SAMPLE_SEED: u64 = 0x5a4d;

/// Log-variances are kept in this range, where e^x is a normal f32 with room for its square.
const LOG_VARIANCE_RANGE: (f32, f32) = (-30.0, 10.0);

/// Share of the network's cost: a try that saves less doubles the price, while a target isn't reached.
const LEAST_SAVED: f64 = 0.02;

/// Most doublings of the price: a million times it is any price.
const MAX_DOUBLINGS: u32 = 20;

/// How a posterior is trained.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The job's settings.
    pub config: &'a VariationalConfig,
    /// Everything random follows from it.
    pub seed: u64,
    /// What groups' costs follow from.
    pub target: &'a Target,
}

/// Everything that resuming needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The posterior at its present shapes.
    pub network: Graph<AffinePosterior>,
    adam: Adam<Graph<AffinePosterior>>,
    /// Which group of the network before any pruning each present group is.
    pub lineage: Lineage,
    /// Groups that went while training.
    pub removed: Vec<GroupRecord>,
    best_loss: f64,
    epochs_without_gain: u32,
    loss: f64,
    /// What the network costs since groups left last, where that matters.
    costs: Option<GroupCosts>,
    /// How often the price of a removal was doubled.
    doublings: u32,
    /// Steps done.
    pub step: u64,
}

impl State {
    /// No steps taken yet.
    pub fn new(network: Graph<AffinePosterior>) -> Self {
        Self {
            adam: Adam::new(&network),
            lineage: Lineage::new(&network),
            removed: Vec::new(),
            best_loss: f64::INFINITY,
            epochs_without_gain: 0,
            loss: 0.0,
            costs: None,
            doublings: 0,
            step: 0,
            network,
        }
    }
}

/// Trains until the epochs are done, the validation loss stalls, or the observer stops it.
pub fn train(
    state: &mut State,
    plan: Plan<'_>,
    material: &Material<'_>,
    validation: &Examples,
    device: &Device,
    observer: &mut impl Observer<State>,
) -> Result<(), TrainError> {
    let examples = material.examples;
    let seed = plan.seed;
    let config = &plan.config.resolve_for(examples.len(), weight_count(&state.network));
    let pace = config.pace(examples.len());
    let (per_epoch, steps) = (pace.steps_an_epoch(examples.len()), pace.steps(examples.len()));
    let mut order = (u64::MAX, Vec::new());
    while state.step < steps {
        if config.patience > 0 && state.epochs_without_gain >= config.patience {
            break;
        }
        let epoch = state.step / per_epoch;
        if order.0 != epoch {
            order = (epoch, shuffled(examples.len(), seed, epoch));
        }
        let from = (state.step % per_epoch) as usize * pace.batch;
        let indices = &order.1[from..(from + pace.batch).min(examples.len())];
        let batch = material.gather(indices);
        let temperature = config.temperature_at(state.step as f32 / per_epoch as f32);
        state.measure(config, plan.target)?;
        let weights = KlWeights {
            base: temperature / examples.len() as f32,
            scale: state.scale_weights(config),
        };
        let (loss, mut gradient) = gradient(state, seed, &batch, device)?;
        add_kl_gradient(&state.network, &weights, &mut gradient);
        state.adam.update(&mut state.network, &gradient, &rates(config));
        state.confine(config);
        state.step += 1;
        state.loss = running(state.loss, loss, state.step);
        let instructions = state.instructions();
        if let Some(scope) = scope(config, state) {
            let sample = examples.sample(config.shrink.examples, seed ^ SAMPLE_SEED ^ state.step);
            state.shrink(config, scope, &sample, device)?;
        }
        let mut report = StepReport {
            epoch,
            step: state.step,
            steps,
            loss: state.loss,
            kl: None,
            kl_weight: Some(f64::from(weights.base)),
            learning_rate: config.learning_rate.mean,
            validation: None,
            weights: weight_count(&state.network),
            instructions,
            groups: Vec::new(),
        };
        if state.step.is_multiple_of(per_epoch) {
            report.kl = Some(description_length(state.network.parameters()));
            report.groups = state.groups();
            report.validation = Some(state.close_epoch(validation, device)?);
        }
        observer.step(state, &report)?;
    }
    Ok(())
}

fn rates(config: &VariationalConfig) -> Rates {
    let rate = &config.learning_rate;
    Rates {
        mean: rate.mean,
        log_variance: rate.log_variance,
        scale_mean: rate.scale_mean.unwrap_or(rate.mean),
        scale_log_variance: rate.scale_log_variance.unwrap_or(rate.log_variance),
        beta2: config.beta2,
        ..Rates::uniform(rate.mean)
    }
}

/// Gradient of the batch's mean cross-entropy; the KL is added by the caller.
fn gradient(
    state: &State,
    seed: u64,
    batch: &Batch,
    device: &Device,
) -> Result<(f64, Graph<AffinePosterior>), TrainError> {
    let total = batch.len();
    let values = layer_values(&state.network, device);
    let step = sharded(batch, seed, state.step, |part, noise| {
        sampled_gradient(&state.network, &values, part, total, noise, device)
    });
    let (loss, gradient) = step.ok_or(TrainError::Shard { stage: STAGE, step: state.step })?;
    if !loss.is_finite() {
        return Err(TrainError::Diverged { stage: STAGE, step: state.step });
    }
    Ok((loss, gradient))
}

/// The parameters of `network` on the device.
pub(crate) fn layer_values(network: &Graph<AffinePosterior>, device: &Device) -> Vec<LayerValues> {
    network.parameters().map(|layer| LayerValues::new(layer, device)).collect()
}

/// Cross-entropy of one sampled forward pass, divided by `total`, and its gradient; `values` are
/// the network's.
pub(crate) fn sampled_gradient(
    network: &Graph<AffinePosterior>,
    values: &[LayerValues],
    part: &Batch,
    total: usize,
    noise: Noise,
    device: &Device,
) -> (f64, Graph<AffinePosterior>) {
    let mut layers = Sampled::new(values, noise, device);
    let logits = forward(network, part.value(device), &mut layers);
    let loss = part.loss(logits, total);
    let mut grads = loss.backward();
    let gradient = layers.take_gradient(network, values, &mut grads);
    (scalar(&loss), gradient)
}

/// Which layers groups may leave at this step.
fn scope(config: &VariationalConfig, state: &State) -> Option<Scope> {
    let shrink = &config.shrink;
    if shrink.every == 0
        || state.step < shrink.from_step
        || !(state.step - shrink.from_step).is_multiple_of(shrink.every)
    {
        return None;
    }
    let (weights, macs) = (shrink.target_weights.unwrap_or(0), shrink.target_macs);
    let is_free = weights == 0 && macs == 0 && shrink.target_instructions == 0;
    if is_free || weights > 0 && weight_count(&state.network) > weights {
        return Some(Scope::All);
    }
    let slow =
        macs > 0 && state.network.macs().iter().sum::<u64>() > macs || state.excess(shrink) > 0;
    // Fewer weights aren't asked for any more: the layers that have them are left alone.
    slow.then_some(if weights > 0 { Scope::Convolutions } else { Scope::All })
}

impl State {
    fn groups(&self) -> Vec<u32> {
        let groups = self.network.weights().into_iter().map(|weights| weights.group_count());
        groups.map(|count| u32::try_from(count).unwrap_or(u32::MAX)).collect()
    }

    /// Measures what the network costs, where that matters and isn't known.
    fn measure(&mut self, config: &VariationalConfig, target: &Target) -> Result<(), TrainError> {
        let matters = config.cost != Cost::None || config.shrink.target_instructions > 0;
        if matters && self.costs.is_none() {
            self.costs = Some(target.costs(&posterior(&self.network))?);
        }
        Ok(())
    }

    /// The predicted instructions, where they are above the target.
    pub(crate) fn missed(&mut self, plan: Plan<'_>) -> Result<Option<u64>, TrainError> {
        self.measure(plan.config, plan.target)?;
        Ok(self.instructions().filter(|_| self.excess(&plan.config.shrink) > 0))
    }

    /// Factors on the KL of each layer's scales: the job's, and those of what groups cost.
    fn scale_weights(&self, config: &VariationalConfig) -> Vec<f32> {
        let Some(costs) = self.costs.as_ref().filter(|_| config.cost != Cost::None) else {
            return config.scale_weight.clone();
        };
        let given = config.scale_weight.iter().copied().chain(std::iter::repeat(1.0));
        costs.kl_factors(config.cost).into_iter().zip(given).map(|(a, b)| a * b).collect()
    }

    /// The predicted instructions, where they matter and groups haven't left since.
    fn instructions(&self) -> Option<u64> {
        self.costs.as_ref().map(|costs| costs.whole.instructions)
    }

    /// Instructions that the network has too many.
    fn excess(&self, shrink: &ShrinkConfig) -> u64 {
        let target = Some(shrink.target_instructions).filter(|target| *target > 0);
        target.map_or(0, |target| self.instructions().unwrap_or(0).saturating_sub(target))
    }

    /// The price of a removal, where groups cost something.
    fn price(&self, config: &VariationalConfig) -> Option<Price<'_>> {
        let costs = self.costs.as_ref().filter(|_| config.cost != Cost::None)?;
        // Below the target, the price is the job's again.
        let (excess, factor) = match self.excess(&config.shrink) {
            0 => (f64::INFINITY, 1.0),
            excess => (excess as f64, f64::from(self.doublings).exp2()),
        };
        Some(Price { costs, cost: config.cost, factor, excess })
    }

    /// Keeps log-variances in range, the first layer's below its ceiling.
    fn confine(&mut self, config: &VariationalConfig) {
        let (least, most) = LOG_VARIANCE_RANGE;
        for (i, layer) in self.network.parameters_mut().enumerate() {
            let most = if i == 0 { config.first_log_variance_most.min(most) } else { most };
            for gaussian in [&mut layer.weight, &mut layer.bias] {
                gaussian.log_variance.iter_mut().for_each(|v| *v = v.clamp(least, most));
            }
        }
    }

    /// Removes what can go now from parameters and moments alike.
    fn shrink(
        &mut self,
        config: &VariationalConfig,
        scope: Scope,
        sample: &Examples,
        device: &Device,
    ) -> Result<(), TrainError> {
        let price = self.price(config);
        let terms = Terms { scope, price };
        let (removal, edge) = self.removal(&config.shrink, terms, sample, device)?;
        let saved = price.map_or(Vec::new(), |price| saved(price, edge.as_ref()));
        // Where nothing was there to go, or all of it went, the price isn't what it takes.
        let is_too_low = removal.refused && removal.saved < LEAST_SAVED;
        if price.is_some() && is_too_low && self.excess(&config.shrink) > 0 {
            self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        }
        if removal.is_empty() {
            return Ok(());
        }
        let (dead, prune_score) = (&removal.dead, &removal.prune_score);
        let step = Shrinkage::plan_ranked(&self.network, dead, prune_score)?;
        let decision = Decision {
            dead,
            prune_score,
            thresholds: &removal.thresholds,
            effects: &removal.effects,
            saved: &saved,
            reason: Reason::AblationHarmless,
            stage: "training",
            step: self.step,
        };
        let mut records = self.lineage.removed(&step, &decision);
        if edge.is_some() {
            let harmless = |record: &&mut GroupRecord| record.reason == Reason::AblationHarmless;
            records.iter_mut().filter(harmless).for_each(|r| r.reason = Reason::EdgeHarmless);
        }
        self.removed.extend(records.into_iter().filter(|record| !record.kept));
        self.adam.first = step.apply(&self.adam.first)?;
        self.adam.second = step.apply(&self.adam.second)?;
        self.network = step.apply(&self.network)?;
        self.lineage.shrink(&step)?;
        self.costs = None;
        self.epochs_without_gain = 0;
        self.best_loss = f64::INFINITY;
        Ok(())
    }

    /// What can go now: at a price, an outer row or column of an image, or else groups.
    fn removal(
        &self,
        config: &ShrinkConfig,
        terms: Terms<'_>,
        sample: &Examples,
        device: &Device,
    ) -> Result<(Removal, Option<Edge>), TrainError> {
        let posterior = config.order.applied(posterior(&self.network))?;
        let (mean, scores) = (posterior_mean(&posterior)?, prune_score(&posterior)?);
        let structure = mean.structure();
        let baseline = Baseline::new(&structure, &mean, sample, device);
        let mut refused = false;
        if let Some(price) = terms.price {
            let Cropping { removal, edge } =
                cropping(&mean, scores.clone(), config, price, &baseline)?;
            if edge.is_some() {
                return Ok((removal, edge));
            }
            refused = removal.refused;
        }
        let mut groups = harmless(mean, scores, config, terms, &baseline)?;
        groups.refused |= refused;
        Ok((groups, None))
    }

    /// Scores the posterior's mean on validation.
    fn close_epoch(
        &mut self,
        validation: &Examples,
        device: &Device,
    ) -> Result<(f64, f64), TrainError> {
        let score = score(&posterior_mean(&posterior(&self.network))?, validation, device);
        if score.loss < self.best_loss {
            self.best_loss = score.loss;
            self.epochs_without_gain = 0;
        } else {
            self.epochs_without_gain += 1;
        }
        Ok((score.loss, score.error_percent))
    }
}

/// What each group of a layer saves that leaves at a price, or each input of the edge that does.
fn saved(Price { costs, cost, .. }: Price<'_>, edge: Option<&Edge>) -> Vec<f32> {
    let mut saved: Vec<f32> = costs.layers.iter().map(|of| of.saved(cost) as f32).collect();
    if let Some(edge) = edge {
        saved[edge.layer] = (cost.of(costs.edge(edge)) / edge.count().max(1) as f64) as f32;
    }
    saved
}

#[cfg(test)]
mod tests;
