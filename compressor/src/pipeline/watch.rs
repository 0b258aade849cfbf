//! Watches training: progress for people, rows for `metrics.jsonl`, checkpoints, and the stop.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::checkpoint::{CHECKPOINT_FILE, Checkpoint, JobState};
use crate::metrics::{MetricRow, Metrics};
use crate::progress::{Progress, Stage};
use crate::train::{Observer, StepReport, TrainError};

/// Least time between two checkpoints.
const SAVE_INTERVAL: Duration = Duration::from_millis(500);

/// Saving may take this share of the time at most: the interval grows with what a save costs.
const SAVE_SHARE: u32 = 40;

/// What all stages of a job share.
pub(super) struct Watch<'a> {
    progress: &'a Progress,
    metrics: Metrics,
    folder: PathBuf,
    job: String,
    device: String,
    /// What the names of stages begin with, for people.
    label: String,
    /// Seconds of work before this process began.
    earlier: f64,
    began: Instant,
    saved: Instant,
    interval: Duration,
}

impl<'a> Watch<'a> {
    /// Begins to watch; `earlier` seconds of work were done by processes before this one.
    pub(super) fn new(
        progress: &'a Progress,
        metrics: Metrics,
        folder: &Path,
        job: String,
        device: String,
        earlier: f64,
    ) -> Self {
        let now = Instant::now();
        Self {
            progress,
            metrics,
            folder: folder.to_owned(),
            job,
            device,
            label: String::new(),
            earlier,
            began: now,
            saved: now,
            interval: SAVE_INTERVAL,
        }
    }

    /// The same with a label before the names of stages.
    pub(super) fn labelled(mut self, label: String) -> Self {
        self.label = label;
        self
    }

    /// Seconds of work on this job.
    pub(super) fn seconds(&self) -> f64 {
        self.earlier + self.began.elapsed().as_secs_f64()
    }

    /// Writes the checkpoint.
    pub(super) fn save(&mut self, job_state: JobState) -> Result<(), TrainError> {
        let start = Instant::now();
        let checkpoint = Checkpoint {
            job: self.job.clone(),
            device: self.device.clone(),
            seconds: self.seconds(),
            state: job_state,
        };
        let path = self.folder.join(CHECKPOINT_FILE);
        checkpoint.save(&path).map_err(|e| TrainError::Observer(Box::new(e)))?;
        self.saved = Instant::now();
        self.interval = SAVE_INTERVAL.max(start.elapsed() * SAVE_SHARE);
        Ok(())
    }

    /// Watches one stage, whose state `reached` turns into a checkpoint.
    pub(super) fn stage<'b, S>(
        &'b mut self,
        name: &'static str,
        steps: u64,
        job_state: impl Fn(&S) -> JobState + 'b,
    ) -> StageWatch<'a, 'b, S> {
        let bar = self.progress.stage(&format!("{}{name}", self.label), steps);
        StageWatch { watch: self, name, bar, job_state: Box::new(job_state), last: None }
    }

    fn row(&mut self, stage: &str, report: &StepReport) -> Result<(), TrainError> {
        let row = MetricRow {
            stage: stage.to_owned(),
            epoch: u32::try_from(report.epoch + 1).unwrap_or(u32::MAX),
            step: report.step,
            seconds: self.seconds(),
            loss: Some(report.loss),
            kl: report.kl,
            kl_weight: report.kl_weight,
            learning_rate: Some(f64::from(report.learning_rate)),
            validation_error_percent: report.validation.map(|(_, error)| error),
            weights_left: u64::try_from(report.weights).ok(),
            groups_left: report.groups.clone(),
        };
        self.metrics.append(&row).map_err(|e| TrainError::Observer(Box::new(e)))
    }
}

/// Watches one stage.
pub(super) struct StageWatch<'a, 'b, S> {
    watch: &'b mut Watch<'a>,
    name: &'static str,
    bar: Stage,
    job_state: Box<dyn Fn(&S) -> JobState + 'b>,
    last: Option<String>,
}

impl<S> StageWatch<'_, '_, S> {
    /// The stage is over.
    pub(super) fn finish(self) {
        self.bar.finish(self.last.as_deref().unwrap_or("nothing to do"));
    }
}

impl<S> Observer<S> for StageWatch<'_, '_, S> {
    fn step(&mut self, state: &S, report: &StepReport) -> Result<(), TrainError> {
        let mut detail = format!("loss {:.4}", report.loss);
        if let Some(error) = report.validation.map(|(_, error)| error) {
            self.watch.row(self.name, report)?;
            detail = format!("{detail}, validation error {error:.2} %");
        }
        if report.kl_weight.is_some() {
            detail = format!("{detail}, {} weights", report.weights);
        }
        if let Some(instructions) = report.instructions {
            detail = format!("{detail}, {instructions} instructions");
        }
        self.bar.set(report.step, &detail);
        if report.validation.is_some() {
            self.last = Some(detail);
        }
        let stopped = self.watch.progress.cancelled();
        if stopped || self.watch.saved.elapsed() >= self.watch.interval {
            self.watch.save((self.job_state)(state))?;
        }
        if stopped { Err(TrainError::Interrupted) } else { Ok(()) }
    }
}
