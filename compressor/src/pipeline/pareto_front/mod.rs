//! The Pareto front: from what fine-tuning left, several points are compressed further, each in a folder of
//! its own, measured on validation, and one is chosen by the requirements.
//!
//! Pre-training is done once; the Bayesian stage, pruning and fine-tuning once for every temperature
//! (`sweep`). A point that keeps all groups goes on from there; one that keeps fewer goes on down the
//! posterior's order, on the fine-tuned network (`prune_further`). What each point pays is its training in
//! integers.
//!
//! A folder `front/point-N` holds model, ledger, metrics, checkpoint and, once the point is done,
//! `point.json`: a job that is resumed takes points that are done as they are, and goes on in the
//! middle of the one it was at.

mod measure;
mod prune_further;
mod sweep;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checkpoint::{CHECKPOINT_FILE, Checkpoint, JobState};
use super::finish;
use super::stages::{Base, Trained, TrainingContext};
use super::watch::Watch;
use super::{METRICS_FILE, MODEL_FILE, RunContext};
use crate::error::{Error, PipelineError, Unmet};
use crate::files;
use crate::job::{Job, WeightBits};
use crate::metrics::Metrics;
use crate::select::{Choice, FrontSummary, Outcome, Plan, Point, choose};
use crate::train::deterministic;
use crate::verify;

/// The front's folder, in the output folder.
pub const FRONT_FOLDER: &str = "front";
/// A point's figures, in its folder.
const POINT_FILE: &str = "point.json";
/// Largest model that is read back (64 MiB).
const MAX_MODEL_BYTES: u64 = 1 << 26;
/// Largest [`POINT_FILE`] that is read back (1 MiB): a count for each of the most classes.
const MAX_POINT_BYTES: u64 = 1 << 20;

/// What tracing needs.
pub(super) struct Tracer<'a> {
    /// Of the job as it stands.
    pub(super) context: TrainingContext<'a>,
    pub(super) run: RunContext<'a>,
}

/// What a point was made of in this run.
pub(super) struct Computed {
    trained: Trained,
    model: Vec<u8>,
}

/// A point, and what it was made of if that was in this run.
type Traced = (Point, Option<Computed>);

/// A traced front.
pub(super) struct ParetoFront {
    pub(super) points: Vec<Point>,
    pub(super) choice: Choice,
    /// Seconds of work on everything.
    pub(super) seconds: f64,
    /// By the number in the plan; an earlier run's points are in their folders alone.
    computed: BTreeMap<usize, Computed>,
}

/// The chosen point, to be finished as the job's model.
pub(super) struct Chosen {
    pub(super) job: Job,
    pub(super) trained: Trained,
    pub(super) narrower: u8,
    /// Files of metrics, in the order of time.
    pub(super) metrics: Vec<PathBuf>,
}

/// Removes the points of an earlier run.
pub(super) fn clear(out: &Path) -> Result<(), Error> {
    super::remove(&out.join(FRONT_FOLDER))
}

impl Tracer<'_> {
    /// Traces every point, from wherever the job is, and chooses.
    pub(super) fn trace(
        &self,
        job_state: JobState,
        watch: &mut Watch,
    ) -> Result<ParetoFront, Error> {
        let job = self.context.job;
        let progress = self.context.progress;
        let (traced, seconds) = self.sweeps(job_state, watch)?;
        let mut computed = BTreeMap::new();
        let mut points = Vec::with_capacity(traced.len());
        for (point, of_this_run) in traced {
            computed.extend(of_this_run.map(|of_this_run| (point.plan.index, of_this_run)));
            points.push(point);
        }
        measure::same_basis(&mut points);
        for (left_out, same) in measure::drop_repeated(&mut points) {
            progress.note(&format!("point {left_out} is the model of point {same}: left out"));
        }
        let seconds = seconds + points.iter().map(|p| p.seconds).sum::<f64>();
        let choice = choose(&points, &job.requirements, job.report.megahertz);
        let choice = choice.ok_or(PipelineError::NoPoint)?;
        progress.note(&choice.why(&points, &job.requirements));
        Ok(ParetoFront { points, choice, seconds, computed })
    }

    /// The chosen point as it was trained.
    pub(super) fn chosen(&self, front: &ParetoFront) -> Result<Chosen, Error> {
        let point = front.points.get(front.choice.point).ok_or(PipelineError::NoPoint)?;
        let folder = self.folder(&point.plan);
        let trained = match front.computed.get(&point.plan.index) {
            Some(computed) => computed.trained.clone(),
            None => self.trained(&point.plan)?,
        };
        let job = point_job(self.context.job, &point.plan);
        let common = self.run.out.join(METRICS_FILE);
        let sweep = self.sweep_folder(point.plan.temperature).map(|sweep| sweep.join(METRICS_FILE));
        let own = folder.join(METRICS_FILE);
        Ok(Chosen {
            job,
            trained,
            narrower: point.plan.narrower,
            metrics: [common].into_iter().chain(sweep).chain([own]).collect(),
        })
    }

    /// What an earlier run left of a point.
    fn trained(&self, plan: &Plan) -> Result<Trained, Error> {
        let path = self.folder(plan).join(CHECKPOINT_FILE);
        let text = self.point_toml(plan);
        let checkpoint = Checkpoint::load(&path, &text, self.run.options.device.name())?;
        let JobState::Trained { dense, pruned, network, quantized } = checkpoint.state else {
            return Err(PipelineError::NoPoint.into());
        };
        Ok(Trained { dense, pruned, network, quantized })
    }

    fn folder(&self, plan: &Plan) -> PathBuf {
        folder(self.run.out, plan.index + 1)
    }

    /// What a point's checkpoint belongs to.
    fn point_toml(&self, plan: &Plan) -> String {
        format!("{}\n# point {} of {}\n", self.run.job_toml, plan.index + 1, plan.of)
    }

    /// One point: as it was found done, or trained from wherever it is, and measured.
    fn point(&self, base: &Base, plan: &Plan) -> Result<Traced, Error> {
        let folder = self.folder(plan);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        if let Some(point) = done(&folder, plan)? {
            return Ok((point, None));
        }
        let job = point_job(self.context.job, plan);
        let context = TrainingContext { job: &job, ..self.context };
        let text = self.point_toml(plan);
        let label = format!("point {} of {}: ", plan.index + 1, plan.of);
        let start = || self.start(&job, base, plan);
        let (job_state, mut watch) = self.go_on(&folder, &text, label, start)?;
        let trained = context.train(job_state, &mut watch).map_err(|e| self.run.interrupted(e))?;
        let seconds = watch.seconds();
        let input = finish::Input {
            run: RunContext { job_toml: &text, out: &folder, ..self.run },
            job: &job,
            trained: &trained,
            seconds,
            narrower: plan.narrower,
            metrics: &[],
            front: None,
        };
        let mut model = input.model()?;
        input.watch(&mut model)?;
        files::write_atomic(&folder.join(MODEL_FILE), &model.bytes)?;
        model.ledger(&trained).write_csv(&folder)?;
        let measured = self.measure(&job, &trained, &model, &folder)?;
        let bits = model.bits.iter().map(|layer| layer.bits).collect();
        let point =
            Point { plan: plan.clone(), rate: job.quantize.rate(), bits, seconds, measured };
        let json = serde_json::to_vec_pretty(&point).map_err(PipelineError::Json)?;
        files::write_atomic(&folder.join(POINT_FILE), &json)?;
        Ok((point, Some(Computed { trained, model: model.bytes })))
    }

    /// Goes on in a folder whose checkpoint belongs to `text`: from that, or from `start`.
    fn go_on(
        &self,
        folder: &Path,
        text: &str,
        label: String,
        start: impl FnOnce() -> Result<JobState, Error>,
    ) -> Result<(JobState, Watch<'_>), Error> {
        let device = self.run.options.device.name();
        let path = folder.join(CHECKPOINT_FILE);
        let metrics = folder.join(METRICS_FILE);
        let (job_state, metrics, earlier) = if path.exists() {
            let checkpoint = Checkpoint::load(&path, text, device)?;
            let (stage, step) = checkpoint.state.position();
            let (metrics, _) = Metrics::resume(&metrics, stage, step)?;
            (checkpoint.state, metrics, checkpoint.seconds)
        } else {
            (start()?, Metrics::create(&metrics)?, 0.0)
        };
        let (progress, text) = (self.context.progress, text.to_owned());
        let watch = Watch::new(progress, metrics, folder, text, device.to_owned(), earlier);
        Ok((job_state, watch.labelled(label)))
    }

    /// Where a point starts.
    fn start(&self, job: &Job, base: &Base, plan: &Plan) -> Result<JobState, Error> {
        let dense = base.dense.clone();
        if plan.keep >= 1.0 {
            let (pruned, network) = (base.pruned.clone(), base.network.clone());
            return Ok(JobState::Finetuned { dense, pruned, network });
        }
        let (pruned, network) = self.pruned_further(base, plan)?;
        if job.quantize.is_on() {
            // Training in integers mends what the removal did.
            return Ok(JobState::Finetuned { dense, pruned, network });
        }
        Ok(JobState::Finetune { dense, pruned, state: deterministic::State::new(network) })
    }
}

/// Where a point, counted from 1, is kept.
fn folder(out: &Path, point: usize) -> PathBuf {
    out.join(FRONT_FOLDER).join(format!("point-{point}"))
}

/// The job of one point.
fn point_job(job: &Job, plan: &Plan) -> Job {
    let mut job = sweep::tempered(job, plan.temperature);
    job.quantize.rate = Some(job.quantize.rate() * plan.rate as f32);
    match &mut job.quantize.bits {
        Some(WeightBits::Given(bits)) => *bits = plan.widths(bits),
        Some(WeightBits::FromPosterior(_)) | None => job.quantize.narrower = plan.narrower,
    }
    job.bits.most = match job.bits.most {
        16 if plan.narrower > 0 => 16,
        most => most.saturating_sub(plan.narrower).max(job.bits.least),
    };
    job
}

/// The point that a folder holds, if it is done and is this one.
fn done(folder: &Path, plan: &Plan) -> Result<Option<Point>, Error> {
    let path = folder.join(POINT_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, MAX_POINT_BYTES)?;
    let point: Option<Point> = serde_json::from_slice(&bytes).ok();
    // Which job it is of, the checkpoint in the output folder has said.
    Ok(point.filter(|point| (point.plan.index, point.plan.of) == (plan.index, plan.of)))
}

impl ParetoFront {
    /// The chosen point.
    pub(super) fn point(&self) -> Option<&Point> {
        self.points.get(self.choice.point)
    }

    /// For the summary and the report; now that the choice is made, the test set is counted, too.
    pub(super) fn summary(&self, job: &Job, run: &RunContext<'_>) -> Result<FrontSummary, Error> {
        let megahertz = job.report.megahertz;
        let mut summary =
            FrontSummary::new(&self.points, &self.choice, &job.requirements, megahertz);
        let (dataset, labels) = (&run.prepared.dataset, run.prepared.test().labels);
        for point in &mut summary.points {
            let read = || {
                let path = folder(run.out, point.point).join(MODEL_FILE);
                files::read(&path, MAX_MODEL_BYTES)
            };
            let computed = point.point.checked_sub(1).and_then(|index| self.computed.get(&index));
            let model = match computed {
                Some(computed) => Cow::Borrowed(computed.model.as_slice()),
                None => Cow::Owned(read()?),
            };
            let inputs = verify::quantized_inputs(&model, dataset, &run.prepared.split.test)?;
            let found = verify::evaluate(&model, &inputs, &labels)?;
            point.test_error_percent = Some(found.error_percent());
        }
        Ok(summary)
    }

    /// Whether the requirements are met, and if not, why.
    pub(super) fn verdict(&self, job: &Job) -> Result<(), Unmet> {
        let why = || self.choice.why(&self.points, &job.requirements);
        match self.choice.outcome {
            Outcome::Met => Ok(()),
            Outcome::NotMet(_) => Err(Unmet::NotMet { why: why() }),
            Outcome::NotProven(_) => Err(Unmet::NotProven { why: why() }),
        }
    }
}
