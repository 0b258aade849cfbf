//! The training stages, one after the other, from wherever the checkpoint is.

use std::path::Path;

use burn::tensor::Device;

use super::checkpoint::{JobState, Pruned};
use super::cut::{Grown, overruled, sort, uncut};
use super::pretrained;
use super::watch::Watch;
use crate::bayes;
use crate::compile::InputQuantization;
use crate::error::Error;
use crate::graph::{Affine, Graph};
use crate::job::Job;
use crate::progress::Progress;
use crate::prune::{
    PruneError, Shrinkage, choose_threshold, fold_batch_norm, posterior_mean, posterior_variance,
    prune_score,
};
use crate::train::batch::{Examples, Material};
use crate::train::batches::{Distillation, TrainingBatches};
use crate::train::costs::Target;
use crate::train::deterministic::weight_count;
use crate::train::evaluate::score;
use crate::train::quantized::start::Start;
use crate::train::quantized::{self, Quantized};
use crate::train::{FinetuneConfig, WeightBits, deterministic, initialize, variational};

/// What training needs and never changes.
#[derive(Clone, Copy)]
pub(super) struct TrainingContext<'a> {
    pub(super) job: &'a Job,
    /// What the job's network computes.
    pub(super) structure: &'a Graph<()>,
    /// The network of the job's model file.
    pub(super) pretrained: Option<&'a Graph<Affine>>,
    pub(super) train: &'a Examples,
    pub(super) input: &'a InputQuantization,
    pub(super) validation: &'a Examples,
    pub(super) device: &'a Device,
    pub(super) progress: &'a Progress,
}

/// What training came to.
#[derive(Clone)]
pub(super) struct Trained {
    pub(super) dense: Graph<Affine>,
    pub(super) pruned: Pruned,
    pub(super) network: Graph<Affine>,
    pub(super) quantized: Option<Quantized>,
}

/// What the points of a front have in common.
pub(super) struct Base {
    pub(super) dense: Graph<Affine>,
    pub(super) pruned: Pruned,
    pub(super) network: Graph<Affine>,
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

impl TrainingContext<'_> {
    /// Where a new job starts: with pre-training, or from given weights.
    pub(super) fn start(&self) -> Result<JobState, Error> {
        if let Some(network) = self.pretrained {
            let file = self.job.network.model.as_deref().unwrap_or(Path::new(""));
            pretrained::tell(self, network, &format!("model: {}", file.display()));
            return self.bayesian(network.clone());
        }
        if let Some(path) = &self.job.network.weights {
            return self.bayesian(pretrained::network(self, path)?);
        }
        let seed = self.seed(Stream::Initialize);
        let network = initialize::deterministic(self.structure, seed);
        Ok(JobState::Pretrain(deterministic::State::new(network)))
    }

    /// Trains from `reached` to the end.
    pub(super) fn train(&self, job_state: JobState, watch: &mut Watch) -> Result<Trained, Error> {
        self.until(job_state, watch, |job_state| match job_state {
            JobState::Trained { dense, pruned, network, quantized } => {
                Ok(Trained { dense, pruned, network, quantized })
            }
            other => Err(Box::new(other)),
        })
    }

    /// Trains from `reached` to where the Bayesian stage begins.
    pub(super) fn train_dense(
        &self,
        job_state: JobState,
        watch: &mut Watch,
    ) -> Result<JobState, Error> {
        // With given weights nothing is trained, and nothing else would save that it has begun.
        watch.save(job_state.clone())?;
        self.until(job_state, watch, |job_state| match job_state {
            JobState::Pretrain(_) => Err(Box::new(job_state)),
            other => Ok(other),
        })
    }

    /// Trains from `reached` to what the points of a front have in common.
    pub(super) fn train_base(&self, job_state: JobState, watch: &mut Watch) -> Result<Base, Error> {
        self.until(job_state, watch, |job_state| match job_state {
            JobState::Finetuned { dense, pruned, network }
            // A job with a front never goes on in its own folder; it can't do harm, either.
            | JobState::Trained { dense, pruned, network, .. } => {
                Ok(Base { dense, pruned, network })
            }
            other => Err(Box::new(other)),
        })
    }

    /// Trains stage by stage until `done` takes what was reached.
    fn until<T>(
        &self,
        mut job_state: JobState,
        watch: &mut Watch,
        done: impl Fn(JobState) -> Result<T, Box<JobState>>,
    ) -> Result<T, Error> {
        loop {
            job_state = match done(job_state) {
                Ok(result) => return Ok(result),
                Err(job_state) => self.stage(*job_state, watch)?,
            };
            watch.save(job_state.clone())?;
        }
    }

    /// One stage.
    fn stage(&self, job_state: JobState, watch: &mut Watch) -> Result<JobState, Error> {
        match job_state {
            JobState::Pretrain(state) => self.pretrain(state, watch),
            JobState::Variational { dense, state } => self.variational(dense, state, watch),
            JobState::Finetune { dense, pruned, state } => {
                self.finetune(dense, pruned, state, watch)
            }
            JobState::Finetuned { dense, pruned, network } => {
                self.start_integers(dense, pruned, network)
            }
            JobState::Quantize { dense, pruned, state } => {
                self.quantize(dense, pruned, state, watch)
            }
            done @ JobState::Trained { .. } => Ok(done),
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
    ) -> Result<JobState, Error> {
        let (config, examples) = (&self.job.pretrain, self.train.len());
        let plan = deterministic::Plan::pretrain(config, examples, self.seed(Stream::Pretrain));
        let steps = plan.pace.steps(examples);
        let mut observer = watch
            .stage("pretrain", steps, |s: &deterministic::State| JobState::Pretrain(s.clone()));
        deterministic::train(
            &mut state,
            &plan,
            &mut self.batches(plan.pace.epochs),
            self.validation,
            self.device,
            &mut observer,
        )?;
        observer.finish();
        self.bayesian(state.into_best())
    }

    /// A posterior around a trained network.
    fn bayesian(&self, network: Graph<Affine>) -> Result<JobState, Error> {
        let dense = initialize::without_dropout(fold_batch_norm(network)?);
        let posterior = initialize::posterior(&dense, &self.job.variational);
        if !self.job.variational.is_bayesian() {
            let pruned = uncut(bayes::posterior(&posterior))?;
            let state = deterministic::State::new(dense.clone());
            return Ok(JobState::Finetune { dense, pruned, state });
        }
        Ok(JobState::Variational { dense, state: variational::State::new(posterior) })
    }

    fn variational(
        &self,
        dense: Graph<Affine>,
        mut state: variational::State,
        watch: &mut Watch,
    ) -> Result<JobState, Error> {
        let config = &self.job.variational;
        let steps = config.pace(self.train.len()).steps(self.train.len());
        let kept = dense.clone();
        let mut observer = watch.stage("variational", steps, move |s: &variational::State| {
            JobState::Variational { dense: kept.clone(), state: s.clone() }
        });
        let (seed, target) = (self.seed(Stream::Variational), self.target());
        let plan = variational::Plan { config, seed, target: &target };
        variational::train(
            &mut state,
            plan,
            &Material::new(self.train, self.job.data.rare_class_share),
            self.validation,
            self.device,
            &mut observer,
        )?;
        observer.finish();
        if let Some(found) = state.missed(plan)? {
            self.progress.note(&format!(
                "warning: shrinking ended at {found} instructions as predicted, above [variational.shrink] \
                 target_instructions = {}; train for more `epochs`, or shrink more often (`every`)",
                config.shrink.target_instructions
            ));
        }
        let (pruned, network) = self.prune(state)?;
        self.progress.note(&format!(
            "pruned: {} of {} weights left",
            weight_count(&network),
            weight_count(&dense)
        ));
        Ok(JobState::Finetune { dense, pruned, state: deterministic::State::new(network) })
    }

    /// What groups' costs follow from. Without training in integers, widths are the posterior's.
    pub(super) fn target(&self) -> Target {
        let quantize = &self.job.quantize;
        let stated = quantize.bits.clone().filter(|_| quantize.is_on());
        let bits = stated.unwrap_or(WeightBits::POSTERIOR);
        Target {
            core: self.job.target.core,
            weights_ram_bytes: self.job.target.weights_ram_bytes,
            head: self.job.network.output.into(),
            bits,
            limits: self.job.bits.clone(),
            per_channel: quantize.per_channel,
        }
    }

    /// Cuts at the threshold that validation allows, then folds constants.
    fn prune(&self, state: variational::State) -> Result<(Pruned, Graph<Affine>), Error> {
        let order = self.job.variational.shrink.order;
        let posterior = order.applied(bayes::posterior(&state.network))?;
        let scores = prune_score(&posterior)?;
        let mean = posterior_mean(&posterior)?;
        let config = &self.job.prune;
        let loss = |dead: &[Vec<bool>]| -> Result<f64, PruneError> {
            let step = Shrinkage::plan_ranked(&posterior.graph, dead, &scores)?;
            Ok(score(&step.apply(&mean)?, self.validation, self.device).loss)
        };
        let (given, rise) = (config.threshold, config.loss_rise);
        let thresholds = choose_threshold(&scores, order, given, rise, loss)?;
        let grown = Grown { posterior, lineage: state.lineage, removed: state.removed };
        // Thresholds are tried on all layers at once, and the last try was taken.
        let taken = thresholds.trials.last().map(|trial| trial.loss - thresholds.loss_before);
        let effects = taken.map_or(Vec::new(), |rise| vec![rise as f32; scores.len()]);
        grown.cut(&mean, thresholds, &effects, "pruning")
    }

    fn finetune(
        &self,
        dense: Graph<Affine>,
        pruned: Pruned,
        mut state: deterministic::State,
        watch: &mut Watch,
    ) -> Result<JobState, Error> {
        let (config, examples) = (&self.job.finetune, self.train.len());
        let plan = deterministic::Plan::finetune(config, examples, self.seed(Stream::Finetune));
        let steps = plan.pace.steps(examples);
        let (kept_dense, kept_pruned) = (dense.clone(), pruned.clone());
        let mut observer =
            watch.stage("finetune", steps, move |s: &deterministic::State| JobState::Finetune {
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
        Ok(JobState::Finetuned { dense, pruned, network: state.into_best() })
    }

    /// What comes after fine-tuning.
    fn start_integers(
        &self,
        dense: Graph<Affine>,
        pruned: Pruned,
        network: Graph<Affine>,
    ) -> Result<JobState, Error> {
        if !self.job.quantize.is_on() {
            return Ok(JobState::Trained { dense, pruned, network, quantized: None });
        }
        let start = self.start_of_integers(&pruned, &network)?;
        let layers = network.layers().zip(&start.bits).enumerate();
        let widths = layers.map(|(layer, (node, bits))| {
            format!("{} {bits} bits, step {:.2e}", node.name, start.coarsest(layer))
        });
        let widths: Vec<String> = widths.collect();
        self.progress.note(&format!("training in integers begins with {}", widths.join("; ")));
        let calibration = self.calibration();
        let context = self.in_integers(&calibration);
        let state = quantized::State::new(network, pruned.lineage.clone(), start, &context)?;
        Ok(JobState::Quantize { dense, pruned, state })
    }

    fn quantize(
        &self,
        dense: Graph<Affine>,
        mut pruned: Pruned,
        mut state: quantized::State,
        watch: &mut Watch,
    ) -> Result<JobState, Error> {
        let pace = self.job.quantize.pace(self.train.len());
        let calibration = self.calibration();
        let steps = pace.steps(self.train.len());
        let (kept_dense, kept_pruned) = (dense.clone(), pruned.clone());
        let mut observer =
            watch.stage("quantize", steps, move |s: &quantized::State| JobState::Quantize {
                dense: kept_dense.clone(),
                pruned: kept_pruned.clone(),
                state: s.clone(),
            });
        let mut batches = self.taught(pace.epochs, &dense).in_integers(self.input);
        let context = self.in_integers(&calibration);
        quantized::train(&mut state, &context, &mut batches, &mut observer)?;
        observer.finish();
        pruned.lineage = state.lineage.clone();
        let (gone, left) = overruled(pruned.groups, std::mem::take(&mut state.removed));
        pruned.groups = left;
        pruned.groups.extend(gone);
        sort(&mut pruned.groups, &dense);
        let quantized = state.into_best();
        let network = quantized.network.clone();
        Ok(JobState::Trained { dense, pruned, network, quantized: Some(quantized) })
    }

    fn in_integers<'a>(&'a self, calibration: &'a [f32]) -> quantized::TrainingContext<'a> {
        quantized::TrainingContext {
            config: &self.job.quantize,
            calibration,
            method: self.job.calibration.method,
            input: self.input,
            validation: self.validation,
            seed: self.seed(Stream::Quantize),
            device: self.device,
        }
    }

    /// Widths and steps that training in integers starts with.
    fn start_of_integers(&self, pruned: &Pruned, network: &Graph<Affine>) -> Result<Start, Error> {
        let config = &self.job.quantize;
        let given = config.bits.as_ref().and_then(|bits| bits.given(network.layers().count()));
        if let Some(bits) = given {
            return Ok(Start::at_widths(network, bits, config.per_channel));
        }
        let variance = posterior_variance(&pruned.posterior)?;
        let (limits, narrower) = (&self.job.bits, config.narrower);
        Ok(Start::from_posterior(network, &variance, limits, narrower, config.per_channel))
    }

    fn calibration(&self) -> Vec<f32> {
        self.train.sample(self.job.calibration.examples, self.job.seed).inputs
    }

    /// The material of a stage.
    fn batches(&self, epochs: u32) -> TrainingBatches<'_> {
        let seed = self.seed(Stream::Augment);
        let batches =
            TrainingBatches::new(self.train, &self.job.augment, seed, epochs, self.device);
        batches.balanced(self.job.data.rare_class_share)
    }

    /// The material of a stage after pruning, with smoothed labels and the dense network as the
    /// teacher, if the job wants them.
    fn taught<'a>(&'a self, epochs: u32, dense: &'a Graph<Affine>) -> TrainingBatches<'a> {
        let FinetuneConfig { distill: weight, temperature, smoothing, .. } = self.job.finetune;
        let distillation =
            (weight > 0.0).then_some(Distillation { teacher: dense, weight, temperature });
        self.batches(epochs).taught(distillation).smoothed(smoothing)
    }
}
