//! The lines of a front: one for each temperature of the KL, with a Bayesian stage, pruning and
//! fine-tuning that all its points have in common.
//!
//! With one temperature they are done in the job's own folder. With several, that one ends with
//! pre-training, and each goes on from there in a folder `front/temperature-FACTOR`, with metrics
//! and a checkpoint.

use std::path::{Path, PathBuf};

use super::{FRONT_FOLDER, Tracer};
use crate::error::Error;
use crate::job::Job;
use crate::pipeline::checkpoint::Reached;
use crate::pipeline::stages::{Base, Setting};
use crate::pipeline::watch::Watch;
use crate::select::{Plan, Point};

impl Tracer<'_> {
    /// Every point, in the order of the plan, and the seconds of what points have in common.
    pub(super) fn lines(
        &self,
        reached: Reached,
        watch: &mut Watch,
    ) -> Result<(Vec<Point>, f64), Error> {
        let plans = self.plans();
        let mut points = Vec::with_capacity(plans.len());
        let interrupted = |error| self.site.interrupted(error);
        if let [factor] = self.setting.job.front.temperatures[..] {
            let job = tempered(self.setting.job, factor);
            let setting = Setting { job: &job, ..self.setting };
            let base = setting.train_base(reached, watch).map_err(interrupted)?;
            let seconds = watch.seconds();
            for plan in &plans {
                points.push(self.point(&base, plan)?);
            }
            return Ok((points, seconds));
        }
        let dense = self.setting.train_dense(reached, watch).map_err(interrupted)?;
        let mut seconds = watch.seconds();
        for line in plans.chunk_by(|a, b| a.temperature == b.temperature) {
            let Some(first) = line.first() else { continue };
            let (base, took) = self.base(&dense, first.temperature)?;
            seconds += took;
            for plan in line {
                points.push(self.point(&base, plan)?);
            }
        }
        Ok((points, seconds))
    }

    /// What the points differ by.
    fn plans(&self) -> Vec<Plan> {
        let job = self.setting.job;
        let mut plans = job.front.plans(job.points(), job.quantize.has_rate());
        if !job.variational.is_bayesian() {
            // Nothing is known that could order a removal.
            plans.iter_mut().for_each(|plan| plan.keep = 1.0);
        }
        plans
    }

    /// What the points of one of several temperatures start from, and the seconds of work on it.
    fn base(&self, dense: &Reached, factor: f64) -> Result<(Base, f64), Error> {
        let folder = folder(self.site.out, factor);
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let text = format!("{}\n# temperature {factor}\n", self.site.job_toml);
        let label = format!("temperature × {factor}: ");
        let (reached, mut watch) = self.go_on(&folder, &text, label, || Ok(dense.clone()))?;
        let job = tempered(self.setting.job, factor);
        let setting = Setting { job: &job, ..self.setting };
        let base = setting.train_base(reached, &mut watch);
        Ok((base.map_err(|error| self.site.interrupted(error))?, watch.seconds()))
    }

    /// The folder of a temperature's common stages, unless that is the job's own.
    pub(super) fn line_folder(&self, factor: f64) -> Option<PathBuf> {
        let several = self.setting.job.front.temperatures.len() > 1;
        several.then(|| folder(self.site.out, factor))
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
