//! The training stages, one after the other, from wherever the checkpoint is.

use std::path::Path;

use burn::tensor::Device;

use super::checkpoint::{Pruned, Reached};
use super::cut::{Grown, overruled, sort, uncut};
use super::given;
use super::watch::Watch;
use crate::calibrate::InputQuantization;
use crate::error::Error;
use crate::job::Job;
use crate::network::{FloatNetwork, Topology};
use crate::progress::Progress;
use crate::prune::batch_norm::fold_batch_norm;
use crate::prune::weights::posterior_mean;
use crate::prune::{PruneError, Shrinkage, choose_threshold, unimportance};
use crate::train::batch::{Examples, Material};
use crate::train::evaluate::score;
use crate::train::lessons::{Distillation, Lessons};
use crate::train::quantized::{self, Quantized};
use crate::train::{FinetuneConfig, deterministic, initialize, variational};

/// What training needs and never changes.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) job: &'a Job,
    pub(super) topology: &'a Topology,
    /// The network of the job's model file.
    pub(super) given: Option<&'a FloatNetwork>,
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

/// What the points of a front have in common.
pub(super) struct Base {
    pub(super) dense: FloatNetwork,
    pub(super) pruned: Pruned,
    pub(super) network: FloatNetwork,
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
        if let Some(network) = self.given {
            let file = self.job.network.model.as_deref().unwrap_or(Path::new(""));
            given::tell(self, network, &format!("model: {}", file.display()));
            return self.bayesian(network.clone());
        }
        if let Some(path) = &self.job.network.weights {
            return self.bayesian(given::network(self, path)?);
        }
        let seed = self.seed(Stream::Initialize);
        let network = initialize::deterministic(self.topology, seed);
        Ok(Reached::Pretrain(deterministic::State::new(network)))
    }

    /// Trains from `reached` to the end.
    pub(super) fn train(&self, reached: Reached, watch: &mut Watch) -> Result<Trained, Error> {
        self.until(reached, watch, |reached| match reached {
            Reached::Trained { dense, pruned, network, quantized } => {
                Ok(Trained { dense, pruned, network, quantized })
            }
            other => Err(Box::new(other)),
        })
    }

    /// Trains from `reached` to where the Bayesian stage begins.
    pub(super) fn train_dense(
        &self,
        reached: Reached,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        // With given weights nothing is trained, and nothing else would save that it has begun.
        watch.save(reached.clone())?;
        self.until(reached, watch, |reached| match reached {
            Reached::Pretrain(_) => Err(Box::new(reached)),
            other => Ok(other),
        })
    }

    /// Trains from `reached` to what the points of a front have in common.
    pub(super) fn train_base(&self, reached: Reached, watch: &mut Watch) -> Result<Base, Error> {
        self.until(reached, watch, |reached| match reached {
            Reached::Finetuned { dense, pruned, network }
            // A job with a front never goes on in its own folder; it can't do harm, either.
            | Reached::Trained { dense, pruned, network, .. } => {
                Ok(Base { dense, pruned, network })
            }
            other => Err(Box::new(other)),
        })
    }

    /// Trains stage by stage until `done` takes what was reached.
    fn until<T>(
        &self,
        mut reached: Reached,
        watch: &mut Watch,
        done: impl Fn(Reached) -> Result<T, Box<Reached>>,
    ) -> Result<T, Error> {
        loop {
            reached = match done(reached) {
                Ok(result) => return Ok(result),
                Err(reached) => self.stage(*reached, watch)?,
            };
            watch.save(reached.clone())?;
        }
    }

    /// One stage.
    fn stage(&self, reached: Reached, watch: &mut Watch) -> Result<Reached, Error> {
        match reached {
            Reached::Pretrain(state) => self.pretrain(state, watch),
            Reached::Variational { dense, state } => self.variational(dense, state, watch),
            Reached::Finetune { dense, pruned, state } => {
                self.finetune(dense, pruned, state, watch)
            }
            Reached::Finetuned { dense, pruned, network } => {
                self.start_integers(dense, pruned, network)
            }
            Reached::Quantize { dense, pruned, state } => {
                self.quantize(dense, pruned, state, watch)
            }
            done @ Reached::Trained { .. } => Ok(done),
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
        let (config, examples) = (&self.job.pretrain, self.train.len());
        let plan = deterministic::Plan::pretrain(config, examples, self.seed(Stream::Pretrain));
        let steps = plan.pace.steps(examples);
        let mut observer =
            watch.stage("pretrain", steps, |s: &deterministic::State| Reached::Pretrain(s.clone()));
        deterministic::train(
            &mut state,
            &plan,
            &mut self.lessons(plan.pace.epochs),
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
        if !self.job.variational.is_bayesian() {
            let pruned = uncut(posterior.posterior())?;
            let network = FloatNetwork { topology: posterior.topology, ..dense.clone() };
            return Ok(Reached::Finetune {
                dense,
                pruned,
                state: deterministic::State::new(network),
            });
        }
        Ok(Reached::Variational { dense, state: variational::State::new(posterior) })
    }

    fn variational(
        &self,
        dense: FloatNetwork,
        mut state: variational::State,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        let config = &self.job.variational;
        let steps = config.pace(self.train.len()).steps(self.train.len());
        let kept = dense.clone();
        let mut observer = watch.stage("variational", steps, move |s: &variational::State| {
            Reached::Variational { dense: kept.clone(), state: s.clone() }
        });
        let seed = self.seed(Stream::Variational);
        variational::train(
            &mut state,
            config,
            seed,
            &Material::new(self.train, self.job.data.rare_class_share),
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
        let order = self.job.variational.shrink.order;
        let posterior = order.applied(state.network.posterior())?;
        let unimportance = unimportance(&posterior)?;
        let mean = posterior_mean(&posterior)?;
        let config = &self.job.prune;
        let loss = |dead: &[Vec<bool>]| -> Result<f64, PruneError> {
            let step = Shrinkage::plan_ranked(&posterior.topology, dead, &unimportance)?;
            Ok(score(&step.apply(&mean)?, self.validation, self.device).loss)
        };
        let (given, rise) = (config.threshold, config.loss_rise);
        let thresholds = choose_threshold(&unimportance, order, given, rise, loss)?;
        let grown = Grown { posterior, lineage: state.lineage, removed: state.removed };
        // Thresholds are tried on all layers at once, and the last try was taken.
        let taken = thresholds.trials.last().map(|trial| trial.loss - thresholds.loss_before);
        let effects = taken.map_or(Vec::new(), |rise| vec![rise as f32; unimportance.len()]);
        grown.cut(&mean, thresholds, &effects, "pruning")
    }

    fn finetune(
        &self,
        dense: FloatNetwork,
        pruned: Pruned,
        mut state: deterministic::State,
        watch: &mut Watch,
    ) -> Result<Reached, Error> {
        let (config, examples) = (&self.job.finetune, self.train.len());
        let plan = deterministic::Plan::finetune(config, examples, self.seed(Stream::Finetune));
        let steps = plan.pace.steps(examples);
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
            &mut self.taught(plan.pace.epochs, &dense),
            self.validation,
            self.device,
            &mut observer,
        )?;
        observer.finish();
        Ok(Reached::Finetuned { dense, pruned, network: state.into_best() })
    }

    /// What comes after fine-tuning.
    fn start_integers(
        &self,
        dense: FloatNetwork,
        pruned: Pruned,
        network: FloatNetwork,
    ) -> Result<Reached, Error> {
        if !self.job.quantize.is_on() {
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
        let pace = self.job.quantize.pace(self.train.len());
        let (bits, calibration) = (self.widths(&dense), self.calibration());
        let steps = pace.steps(self.train.len());
        let (kept_dense, kept_pruned) = (dense.clone(), pruned.clone());
        let mut observer =
            watch.stage("quantize", steps, move |s: &quantized::State| Reached::Quantize {
                dense: kept_dense.clone(),
                pruned: kept_pruned.clone(),
                state: s.clone(),
            });
        let mut lessons = self.taught(pace.epochs, &dense).in_integers(self.input);
        let setting = self.in_integers(&bits, &calibration);
        quantized::train(&mut state, &setting, &mut lessons, &mut observer)?;
        observer.finish();
        pruned.lineage = state.lineage.clone();
        let (gone, left) = overruled(pruned.groups, std::mem::take(&mut state.removed));
        pruned.groups = left;
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
        let lessons = Lessons::new(self.train, &self.job.augment, seed, epochs, self.device);
        lessons.balanced(self.job.data.rare_class_share)
    }

    /// The material of a stage after pruning, with smoothed labels and the dense network as the
    /// teacher, if the job wants them.
    fn taught<'a>(&'a self, epochs: u32, dense: &'a FloatNetwork) -> Lessons<'a> {
        let FinetuneConfig { distill: weight, temperature, smoothing, .. } = self.job.finetune;
        let distillation =
            (weight > 0.0).then_some(Distillation { teacher: dense, weight, temperature });
        self.lessons(epochs).taught(distillation).smoothed(smoothing)
    }
}

/// Weights of all affine layers, biases not counted.
pub(super) fn weights(network: &FloatNetwork) -> usize {
    network.affine.iter().map(|a| a.weight.len()).sum()
}
