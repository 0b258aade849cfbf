//! The training stages, one after the other, from wherever the checkpoint is.

use burn::tensor::Device;

use super::checkpoint::{Pruned, Reached};
use super::given;
use super::watch::Watch;
use crate::calibrate::InputQuantization;
use crate::error::Error;
use crate::job::Job;
use crate::ledger::{GroupRecord, Reason};
use crate::network::{FloatNetwork, Topology};
use crate::progress::Progress;
use crate::prune::batch_norm::fold_batch_norm;
use crate::prune::constants::fold_constants;
use crate::prune::weights::{posterior_mean, shrink_posterior};
use crate::prune::{Decision, PruneError, Shrinkage, choose_threshold, joint_unimportance};
use crate::train::batch::Examples;
use crate::train::evaluate::score;
use crate::train::lessons::{Distillation, Lessons};
use crate::train::quantized::{self, Quantized};
use crate::train::{FinetuneConfig, deterministic, initialize, variational};

/// What training needs and never changes.
pub(super) struct Setting<'a> {
    pub(super) job: &'a Job,
    pub(super) topology: &'a Topology,
    pub(super) train: &'a Examples,
    pub(super) input: &'a InputQuantization,
    pub(super) validation: &'a Examples,
    pub(super) device: &'a Device,
    pub(super) progress: &'a Progress,
}

/// What training came to.
pub(super) struct Trained {
    pub(super) dense: FloatNetwork,
    pub(super) pruned: Pruned,
    pub(super) network: FloatNetwork,
    pub(super) quantized: Option<Quantized>,
}

/// Streams of randomness are set apart by stage.
#[derive(Clone, Copy)]
enum Stream {
    Initialize,
    Pretrain,
    Variational,
    Finetune,
    Quantize,
    Augment,
}

impl Setting<'_> {
    /// Where a new job starts: with pre-training, or from given weights.
    pub(super) fn start(&self) -> Result<Reached, Error> {
        if let Some(path) = &self.job.network.weights {
            return self.bayesian(given::network(self, path)?);
        }
        let seed = self.seed(Stream::Initialize);
        let network = initialize::deterministic(self.topology, seed);
        Ok(Reached::Pretrain(deterministic::State::new(network)))
    }

    /// Trains from `reached` to the end.
    pub(super) fn train(&self, mut reached: Reached, watch: &mut Watch) -> Result<Trained, Error> {
        loop {
            reached = match reached {
                Reached::Pretrain(state) => self.pretrain(state, watch)?,
                Reached::Variational { dense, state } => self.variational(dense, state, watch)?,
                Reached::Finetune { dense, pruned, state } => {
                    self.finetune(dense, pruned, state, watch)?
                }
                Reached::Quantize { dense, pruned, state } => {
                    self.quantize(dense, pruned, state, watch)?
                }
                Reached::Trained { dense, pruned, network, quantized } => {
                    return Ok(Trained { dense, pruned, network, quantized });
                }
            };
            watch.save(reached.clone())?;
        }
    }

    /// A seed for one stage: the job's seed and the stage, mixed by an odd constant (2^64/φ).
    fn seed(&self, stream: Stream) -> u64 {
        self.job.seed.wrapping_add((stream as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn pretrain(
        &self,
        mut state: deterministic::State,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        let plan = deterministic::Plan::pretrain(&self.job.pretrain, self.seed(Stream::Pretrain));
        let steps = deterministic::State::steps(&plan, self.train.len());
        let mut observer =
            watch.stage("pretrain", steps, |s: &deterministic::State| Reached::Pretrain(s.clone()));
        deterministic::train(
            &mut state,
            &plan,
            &mut self.lessons(plan.epochs),
            self.validation,
            self.device,
            &mut observer,
        )?;
        observer.finish();
        self.bayesian(state.into_best())
    }

    /// A posterior around a trained network.
    fn bayesian(&self, network: FloatNetwork) -> Result<Reached, Error> {
        let dense = fold_batch_norm(network)?;
        let posterior = initialize::posterior(&dense, &self.job.variational);
        Ok(Reached::Variational { dense, state: variational::State::new(posterior) })
    }

    fn variational(
        &self,
        dense: FloatNetwork,
        mut state: variational::State,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        let config = &self.job.variational;
        let steps = variational::State::steps(config, self.train.len());
        let kept = dense.clone();
        let mut observer = watch.stage("variational", steps, move |s: &variational::State| {
            Reached::Variational { dense: kept.clone(), state: s.clone() }
        });
        let seed = self.seed(Stream::Variational);
        variational::train(
            &mut state,
            config,
            seed,
            self.train,
            self.validation,
            self.device,
            &mut observer,
        )?;
        observer.finish();
        let (pruned, network) = self.prune(state)?;
        self.progress.note(&format!(
            "pruned: {} of {} weights left",
            weights(&network),
            weights(&dense)
        ));
        Ok(Reached::Finetune { dense, pruned, state: deterministic::State::new(network) })
    }

    /// Cuts at the threshold that validation allows, then folds constants.
    fn prune(&self, state: variational::State) -> Result<(Pruned, FloatNetwork), Error> {
        let posterior = state.network.posterior();
        let description_length_nats = posterior.description_length_nats;
        let own: Vec<Vec<f32>> = posterior.layers.iter().map(|l| l.unimportance.clone()).collect();
        let unimportance = joint_unimportance(&posterior.topology, &own)?;
        let mean = posterior_mean(&posterior)?;
        let config = &self.job.prune;
        let loss = |dead: &[Vec<bool>]| -> Result<f64, PruneError> {
            let step = Shrinkage::plan_ranked(&posterior.topology, dead, &unimportance)?;
            Ok(score(&step.apply(&mean)?, self.validation, self.device).loss)
        };
        let thresholds = choose_threshold(&unimportance, config.threshold, config.loss_rise, loss)?;
        let dead = thresholds.dead(&unimportance);
        let step = Shrinkage::plan_ranked(&posterior.topology, &dead, &unimportance)?;
        let decision = Decision {
            dead: &dead,
            unimportance: &unimportance,
            thresholds: &thresholds.layers,
            reason: Reason::AboveThreshold,
            stage: "pruning",
            step: 0,
        };
        let mut lineage = state.lineage;
        let mut groups = state.removed;
        groups.extend(lineage.removed(&step, &decision));
        let mut kept = lineage.kept(&step, &decision);
        lineage.shrink(&step)?;
        let mut posterior = shrink_posterior(&posterior, &step)?;
        let folded = fold_constants(step.apply(&mean)?)?;
        for fold in &folded.steps {
            let gone = fold.records(&lineage);
            kept.retain(|k| !gone.iter().any(|g| same_group(g, k)));
            groups.extend(gone);
            lineage.shrink(&fold.shrinkage)?;
            posterior = shrink_posterior(&posterior, &fold.shrinkage)?;
        }
        groups.extend(kept);
        sort(&mut groups, &mean.topology);
        let pruned = Pruned { posterior, lineage, groups, thresholds, description_length_nats };
        Ok((pruned, folded.network))
    }

    fn finetune(
        &self,
        dense: FloatNetwork,
        pruned: Pruned,
        mut state: deterministic::State,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        let config = &self.job.finetune;
        let plan = deterministic::Plan::finetune(config, self.seed(Stream::Finetune));
        let steps = deterministic::State::steps(&plan, self.train.len());
        let (kept_dense, kept_pruned) = (dense.clone(), pruned.clone());
        let mut observer =
            watch.stage("finetune", steps, move |s: &deterministic::State| Reached::Finetune {
                dense: kept_dense.clone(),
                pruned: kept_pruned.clone(),
                state: s.clone(),
            });
        deterministic::train(
            &mut state,
            &plan,
            &mut self.lessons(plan.epochs).taught(self.distillation(&dense)),
            self.validation,
            self.device,
            &mut observer,
        )?;
        observer.finish();
        let network = state.into_best();
        if self.job.quantize.epochs == 0 {
            return Ok(Reached::Trained { dense, pruned, network, quantized: None });
        }
        let (bits, calibration) = (self.widths(&network), self.calibration());
        let setting = self.in_integers(&bits, &calibration);
        let state = quantized::State::new(network, pruned.lineage.clone(), &setting)?;
        Ok(Reached::Quantize { dense, pruned, state })
    }

    fn quantize(
        &self,
        dense: FloatNetwork,
        mut pruned: Pruned,
        mut state: quantized::State,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        let config = &self.job.quantize;
        let (bits, calibration) = (self.widths(&dense), self.calibration());
        let steps = quantized::State::steps(config, self.train.len());
        let (kept_dense, kept_pruned) = (dense.clone(), pruned.clone());
        let mut observer =
            watch.stage("quantize", steps, move |s: &quantized::State| Reached::Quantize {
                dense: kept_dense.clone(),
                pruned: kept_pruned.clone(),
                state: s.clone(),
            });
        let mut lessons =
            self.lessons(config.epochs).taught(self.distillation(&dense)).in_integers(self.input);
        let setting = self.in_integers(&bits, &calibration);
        quantized::train(&mut state, &setting, &mut lessons, &mut observer)?;
        observer.finish();
        pruned.lineage = state.lineage.clone();
        let gone = std::mem::take(&mut state.removed);
        pruned.groups.retain(|k| !gone.iter().any(|g| same_group(g, k)));
        pruned.groups.extend(gone);
        sort(&mut pruned.groups, &dense.topology);
        let quantized = state.into_best(&bits);
        let network = quantized.network.clone();
        Ok(Reached::Trained { dense, pruned, network, quantized: Some(quantized) })
    }

    fn in_integers<'a>(&'a self, bits: &'a [u8], calibration: &'a [f32]) -> quantized::Setting<'a> {
        quantized::Setting {
            config: &self.job.quantize,
            bits,
            calibration,
            method: self.job.calibration.method,
            input: self.input,
            validation: self.validation,
            seed: self.seed(Stream::Quantize),
            device: self.device,
        }
    }

    fn widths(&self, network: &FloatNetwork) -> Vec<u8> {
        self.job.quantize.widths(network.affine.len())
    }

    fn calibration(&self) -> Vec<f32> {
        self.train.sample(self.job.calibration.examples, self.job.seed).inputs
    }

    /// The material of a stage.
    fn lessons(&self, epochs: u32) -> Lessons<'_> {
        let seed = self.seed(Stream::Augment);
        Lessons::new(self.train, &self.job.augment, seed, epochs, self.device)
    }

    /// The dense network as the teacher, if the job wants one.
    fn distillation<'a>(&self, dense: &'a FloatNetwork) -> Option<Distillation<'a>> {
        let FinetuneConfig { distill: weight, temperature, .. } = self.job.finetune;
        (weight > 0.0).then_some(Distillation { teacher: dense, weight, temperature })
    }
}

/// In the order of the layers, and of their groups.
fn sort(groups: &mut [GroupRecord], topology: &Topology) {
    let names: Vec<String> =
        (0..topology.affine_layers().count()).map(|i| topology.affine_name(i)).collect();
    groups.sort_by_key(|g| (names.iter().position(|n| *n == g.layer), g.group));
}

fn same_group(a: &GroupRecord, b: &GroupRecord) -> bool {
    a.layer == b.layer && a.group == b.group
}

/// Weights of all affine layers, biases not counted.
pub(super) fn weights(network: &FloatNetwork) -> usize {
    network.affine.iter().map(|a| a.weight.len()).sum()
}
