//! The sweeps of a Pareto front: one for each temperature of the KL, with a Bayesian stage, pruning and
//! fine-tuning that all its points have in common.
//!
//! With one temperature they are done in the job's own folder. With several, that one ends with
//! pre-training, and each goes on from there in a folder `front/temperature-FACTOR`, with metrics
//! and a checkpoint.

use std::path::{Path, PathBuf};

use super::{FRONT_FOLDER, Traced, Tracer};
use crate::error::Error;
use crate::job::Job;
use crate::pipeline::checkpoint::JobState;
use crate::pipeline::stages::{Base, TrainingContext};
use crate::pipeline::watch::Watch;
use crate::select::Plan;

impl Tracer<'_> {
    /// Every point, in the order of the plan, and the seconds of what points have in common.
    pub(super) fn sweeps(
        &self,
        job_state: JobState,
        watch: &mut Watch,
    ) -> Result<(Vec<Traced>, f64), Error> {
        let plans = self.plans();
        let mut points = Vec::with_capacity(plans.len());
        let interrupted = |error| self.run.interrupted(error);
        if let [factor] = self.context.job.front.temperatures[..] {
            let job = tempered(self.context.job, factor);
            let context = TrainingContext { job: &job, ..self.context };
            let base = context.train_base(job_state, watch).map_err(interrupted)?;
            let seconds = watch.seconds();
            for plan in &plans {
                points.push(self.point(&base, plan)?);
            }
            return Ok((points, seconds));
        }
        let dense = self.context.train_dense(job_state, watch).map_err(interrupted)?;
        let mut seconds = watch.seconds();
        for sweep in plans.chunk_by(|a, b| a.temperature == b.temperature) {
            let Some(first) = sweep.first() else { continue };
            let (base, took) = self.base(&dense, first.temperature)?;
            seconds += took;
            for plan in sweep {
                points.push(self.point(&base, plan)?);
            }
        }
        Ok((points, seconds))
    }

    /// What the points differ by.
    fn plans(&self) -> Vec<Plan> {
        let job = self.context.job;
        let mut plans = job.front.plans(job.points(), job.quantize.has_rate());
        if !job.variational.is_bayesian() {
            // Nothing is known that could order a removal.
            plans.iter_mut().for_each(|plan| plan.keep = 1.0);
        }
        plans
    }

    /// What the points of one of several temperatures start from, and the seconds of work on it.
    fn base(&self, dense: &JobState, factor: f64) -> Result<(Base, f64), Error> {
        let folder = folder(self.run.out, factor);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let text = format!("{}\n# temperature {factor}\n", self.run.job_toml);
        let label = format!("temperature × {factor}: ");
        let (job_state, mut watch) = self.go_on(&folder, &text, label, || Ok(dense.clone()))?;
        let job = tempered(self.context.job, factor);
        let context = TrainingContext { job: &job, ..self.context };
        let base = context.train_base(job_state, &mut watch);
        Ok((base.map_err(|error| self.run.interrupted(error))?, watch.seconds()))
    }

    /// The folder of a temperature's common stages, unless that is the job's own.
    pub(super) fn sweep_folder(&self, factor: f64) -> Option<PathBuf> {
        let several = self.context.job.front.temperatures.len() > 1;
        several.then(|| folder(self.run.out, factor))
    }
}

/// Where one of several temperatures is kept.
fn folder(out: &Path, factor: f64) -> PathBuf {
    out.join(FRONT_FOLDER).join(format!("temperature-{factor}"))
}

/// The job at another temperature.
pub(super) fn tempered(job: &Job, factor: f64) -> Job {
    Job { variational: job.variational.tempered(factor), ..job.clone() }
}
