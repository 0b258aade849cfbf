//! Variational training: posteriors over weights and group scales, shrinking as groups die.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::adam::{Adam, Rates};
use super::batch::{Batch, Examples, Material, scalar, sharded, shuffled};
use super::deterministic::running;
use super::evaluate::score;
use super::forward::{Sampled, forward};
use super::shrink::{Scope, removal};
use super::{Observer, StepReport, TrainError, VariationalConfig};
use crate::bayes::leaves::LayerValues;
use crate::bayes::{
    AffinePosterior, BayesNetwork, KlWeights, Noise, add_kl_gradient, description_length,
    group_count,
};
use crate::ledger::{GroupRecord, Reason};
use crate::prune::weights::posterior_mean;
use crate::prune::{Decision, Lineage, PruneError, Shrinkage};
use crate::shapes;

const STAGE: &str = "variational";

/// Sets the shrinking sample's stream apart from the shuffles of the epochs.
const SAMPLE_SEED: u64 = 0x5a4d;

/// Log-variances are kept in this range, where e^x is a normal f32 with room for its square.
const LOG_VARIANCE_RANGE: (f32, f32) = (-30.0, 10.0);

/// Everything that resuming needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The posterior at its present shapes.
    pub network: BayesNetwork,
    adam: Adam<Vec<AffinePosterior>>,
    /// Which group of the network before any pruning each present group is.
    pub lineage: Lineage,
    /// Groups that went while training.
    pub removed: Vec<GroupRecord>,
    best_loss: f64,
    epochs_without_gain: u32,
    loss: f64,
    /// Steps done.
    pub step: u64,
}

impl State {
    /// No steps taken yet.
    pub fn new(network: BayesNetwork) -> Self {
        Self {
            adam: Adam::new(&network.layers),
            lineage: Lineage::new(&network.topology),
            removed: Vec::new(),
            best_loss: f64::INFINITY,
            epochs_without_gain: 0,
            loss: 0.0,
            step: 0,
            network,
        }
    }
}

/// Trains until the epochs are done, the validation loss stalls, or the observer stops it.
pub fn train(
    state: &mut State,
    config: &VariationalConfig,
    seed: u64,
    material: &Material<'_>,
    validation: &Examples,
    device: &Device,
    observer: &mut impl Observer<State>,
) -> Result<(), TrainError> {
    let examples = material.examples;
    let config = &config.resolve_for(examples.len(), state.network.weights());
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
        let weights = KlWeights {
            base: temperature / examples.len() as f32,
            scale: config.scale_weight.clone(),
        };
        let (loss, mut gradient) = gradient(state, seed, &batch, device)?;
        add_kl_gradient(&state.network.layers, &weights, &mut gradient);
        state.adam.update(&mut state.network.layers, &gradient, &rates(config));
        state.confine(config);
        state.step += 1;
        state.loss = running(state.loss, loss, state.step);
        if let Some(scope) = scope(config, state)? {
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
            weights: state.network.weights(),
            groups: Vec::new(),
        };
        if state.step.is_multiple_of(per_epoch) {
            report.kl = Some(description_length(&state.network.layers));
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
) -> Result<(f64, Vec<AffinePosterior>), TrainError> {
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
pub fn layer_values(network: &BayesNetwork, device: &Device) -> Vec<LayerValues> {
    network.layers.iter().map(|layer| LayerValues::new(layer, device)).collect()
}

/// Cross-entropy of one sampled forward pass, divided by `total`, and its gradient; `values` are
/// the network's.
pub fn sampled_gradient(
    network: &BayesNetwork,
    values: &[LayerValues],
    part: &Batch,
    total: usize,
    noise: Noise,
    device: &Device,
) -> (f64, Vec<AffinePosterior>) {
    let mut layers = Sampled::new(&network.topology, values, noise, device);
    let logits = forward(&network.topology, part.value(device), &mut layers);
    let loss = part.loss(logits, total);
    let mut grads = loss.backward();
    let gradient = layers.take_gradient(&network.layers, values, &mut grads);
    (scalar(&loss), gradient)
}

/// Which layers groups may leave at this step.
fn scope(config: &VariationalConfig, state: &State) -> Result<Option<Scope>, PruneError> {
    let shrink = &config.shrink;
    if shrink.every == 0
        || state.step < shrink.from_step
        || !(state.step - shrink.from_step).is_multiple_of(shrink.every)
    {
        return Ok(None);
    }
    let (weights, macs) = (shrink.target_weights.unwrap_or(0), shrink.target_macs);
    if weights == 0 && macs == 0 || weights > 0 && state.network.weights() > weights {
        return Ok(Some(Scope::All));
    }
    let slow = macs > 0 && shapes::macs(&state.network.topology)?.iter().sum::<u64>() > macs;
    // Fewer weights aren't asked for any more: the layers that have them are left alone.
    Ok(slow.then_some(if weights > 0 { Scope::Convolutions } else { Scope::All }))
}

impl State {
    fn groups(&self) -> Vec<u32> {
        let layers = self.network.topology.affine_layers();
        layers.map(|l| u32::try_from(group_count(l)).unwrap_or(u32::MAX)).collect()
    }

    /// Keeps log-variances in range, the first layer's below its ceiling.
    fn confine(&mut self, config: &VariationalConfig) {
        let (least, most) = LOG_VARIANCE_RANGE;
        for (i, layer) in self.network.layers.iter_mut().enumerate() {
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
        let removal = removal(&self.network, config, scope, sample, device)?;
        if removal.is_empty() {
            return Ok(());
        }
        let topology = &self.network.topology;
        let step = Shrinkage::plan_ranked(topology, &removal.dead, &removal.unimportance)?;
        let decision = Decision {
            dead: &removal.dead,
            unimportance: &removal.unimportance,
            thresholds: &removal.thresholds,
            effects: &removal.effects,
            reason: Reason::AblationHarmless,
            stage: "training",
            step: self.step,
        };
        self.removed.extend(self.lineage.removed(&step, &decision).into_iter().filter(|r| !r.kept));
        let cut = |layers: &[AffinePosterior]| -> Result<Vec<AffinePosterior>, PruneError> {
            layers.iter().enumerate().map(|(i, l)| l.shrink(i, &step)).collect()
        };
        self.adam.first = cut(&self.adam.first)?;
        self.adam.second = cut(&self.adam.second)?;
        self.network.layers = cut(&self.network.layers)?;
        self.network.topology = step.topology().clone();
        self.lineage.shrink(&step)?;
        self.epochs_without_gain = 0;
        self.best_loss = f64::INFINITY;
        Ok(())
    }

    /// Scores the posterior's mean on validation.
    fn close_epoch(
        &mut self,
        validation: &Examples,
        device: &Device,
    ) -> Result<(f64, f64), TrainError> {
        let score = score(&posterior_mean(&self.network.posterior())?, validation, device);
        if score.loss < self.best_loss {
            self.best_loss = score.loss;
            self.epochs_without_gain = 0;
        } else {
            self.epochs_without_gain += 1;
        }
        Ok((score.loss, score.error_percent))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ShrinkConfig;
    use super::*;
    use crate::network::{Layer, Padding, Shape, Topology};
    use crate::train::initialize;

    /// 3 filters of 3 × 3 over 6 × 6 positions, and a dense layer: 1,107 weights, 2,052 MACs.
    fn state() -> State {
        let conv = Layer::Conv2d {
            channels: 1,
            filters: 3,
            kernel: [3; 2],
            stride: [1; 2],
            padding: Padding::Valid,
        };
        let dense = Layer::Dense { inputs: 108, outputs: 10 };
        let topology = Topology {
            input: Shape::Image { height: 8, width: 8, channels: 1 },
            layers: vec![conv, Layer::Flatten, dense],
        };
        let network = initialize::deterministic(&topology, 1);
        let mut state = State::new(initialize::posterior(&network, &VariationalConfig::default()));
        state.step = ShrinkConfig::default().from_step;
        state
    }

    #[test]
    fn shrinking_ends_at_its_targets() {
        let state = state();
        for (weights, macs, wanted) in [
            (0, 0, Some(Scope::All)),
            (1_000, 0, Some(Scope::All)),
            (1_107, 0, None),
            (0, 2_000, Some(Scope::All)),
            (0, 2_052, None),
            (1_000, 2_052, Some(Scope::All)),
            (1_107, 2_000, Some(Scope::Convolutions)),
            (1_107, 2_052, None),
        ] {
            let shrink = ShrinkConfig {
                target_weights: Some(weights),
                target_macs: macs,
                ..ShrinkConfig::default()
            };
            let config = VariationalConfig { shrink, ..VariationalConfig::default() };
            assert_eq!(scope(&config, &state).unwrap(), wanted, "{weights} {macs}");
        }
    }
}
