//! The job, from a data set to a folder with everything that came of it.
//!
//! [`run`] loads the data, trains (`stages`), and finishes (`finish`): bit widths, lowering,
//! verification, golden vectors, ledger, report. The output folder holds a `checkpoint.bin` from
//! the first seconds on, so that a job may be stopped at any moment, by any means.

pub(crate) mod checkpoint;
mod cut;
mod decide;
mod dense;
mod figures;
mod finish;
mod left_out;
mod pareto_front;
mod pretrained;
mod sentinel;
mod stages;
#[cfg(test)]
mod tests;
mod verdict;
mod warnings;
mod watch;

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::compile::{InputQuantization, Instructions};
use crate::data::{self, Dataset, Normalization, NormalizationKind, Split, Values};
use crate::files;
use crate::job::{Job, Requirements, ResolvedJob};
use crate::metrics::Metrics;
use crate::numbers::Range;
use crate::select::point::shortage;
use crate::train::batch::Examples;
use crate::weights::PretrainedModel;
use checkpoint::{CHECKPOINT_FILE, Checkpoint, JobState};
use pareto_front::Tracer;
use stages::TrainingContext;
use watch::Watch;

pub use crate::compile::widths::BitWidthError;
pub use crate::device::{DeviceError, DeviceName};
pub use crate::error::{CheckpointError, CliError, Error, Kind, PipelineError, Unmet};
pub use crate::metrics::MetricsError;
pub use crate::posterior::Prior;
pub use crate::progress::{Cancel, Progress};
pub use crate::prune::PruneError;
pub use crate::select::{
    Accepted, Check, DecisionSummary, FrontSummary, PointSummary, Shortage, Standing,
};
pub use crate::sentinel::{Delay, SeedError, SentinelError, SentinelSummary};
pub use crate::summary::{ChanceSummary, Control, Figures, LayerSummary, ResultRow, Summary};
pub use crate::train::TrainError;
pub use pareto_front::FRONT_FOLDER;

/// The fully resolved job, in the output folder.
pub const JOB_FILE: &str = "job.toml";
/// The compressed model, in the output folder.
pub const MODEL_FILE: &str = "model.bbk";
/// Inputs and expected outputs for conformance, in the output folder.
pub const GOLDEN_FOLDER: &str = "golden";
/// Folder of the dense network in plain 8 bits, as a model with golden vectors of its own.
pub const DENSE_FOLDER: &str = "dense";
/// What training measured, in the output folder.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// Held while a process works in an output folder.
const LOCK_FILE: &str = ".lock";

/// How a job is run; nothing of it changes the result, bar the device.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Go on from the last checkpoint, if there is one.
    pub resume: bool,
    /// What trains.
    pub device: DeviceName,
    /// The command line, for the record.
    pub command: String,
}

/// Examples as training sees them, and how to make more of them.
pub(crate) struct Prepared {
    dataset: Dataset,
    split: Split,
    normalization: Normalization,
    train: Examples,
    validation: Examples,
    /// Validation examples that decide nothing until a front's promises are tested.
    held_out: Option<Examples>,
    /// Validation examples that choose the model's margin and nothing else.
    deciding: Option<Examples>,
    /// What was done to the data before they were read, for the record.
    note: Option<String>,
}

impl Prepared {
    fn new(
        dataset: Dataset,
        mut split: Split,
        job: &Job,
        pretrained: Option<&mut PretrainedModel>,
    ) -> Result<Self, Error> {
        let (origin, _) = data::origins(&job.data);
        let note = data::cifar::note(&job.data).map_err(|error| job.data_error(error))?;
        dataset.check_inputs_differ(origin, &split.train).map_err(|error| job.data_error(error))?;
        let kind = job.data.normalization.unwrap_or_else(|| {
            NormalizationKind::default_for(&dataset.inputs, job.network.is_given())
        });
        let normalization =
            Normalization::fit(kind, &dataset, &split.train).map_err(|e| job.data_error(e))?;
        if let Some(model) = pretrained {
            job.fit_inputs(model, &dataset, &normalization, &split.train)?;
        }
        let train = examples(&dataset, &normalization, &split.train);
        let [held_out, deciding] = hold_outs(&mut split.validation, &dataset, &job.requirements)
            .map(|held| held.map(|held| examples(&dataset, &normalization, &held)));
        let validation = examples(&dataset, &normalization, &split.validation);
        let prepared =
            Self { dataset, split, normalization, train, validation, held_out, deciding, note };
        prepared.check_promises(job)?;
        Ok(prepared)
    }

    /// Checks that enough examples are held out for what the job promises.
    fn check_promises(&self, job: &Job) -> Result<(), Error> {
        let confidence = job.requirements.confidence;
        if self.held_out.is_some() {
            let of_each = job.requirements.confidence_of_each(job.front.temperatures.len());
            let classes = self.judged().per_class();
            if let Some(shortage) = shortage(&job.requirements, of_each, &classes) {
                return Err(PipelineError::TooFewExamples { shortage, confidence, of_each }.into());
            }
        }
        if let (Some(promise), Some(deciding)) = (job.requirements.abstaining(), &self.deciding)
            && let Some(shortage) = promise.shortage(deciding.len() as u64)
        {
            let of_each = confidence;
            return Err(PipelineError::TooFewExamples { shortage, confidence, of_each }.into());
        }
        sentinel::check(job, self)
    }

    /// The examples that a front is judged by: those held out, if promises are made.
    fn judged(&self) -> &Examples {
        self.held_out.as_ref().unwrap_or(&self.validation)
    }

    /// How the device gets its input; ranges of real features come from the training sample that
    /// calibration watches.
    fn input_quantization(&self, job: &Job) -> InputQuantization {
        match self.dataset.inputs {
            Values::Bytes(_) => InputQuantization::bytes(&self.normalization),
            Values::Floats(_) => {
                let sample = self.train.sample(job.calibration.examples, job.seed).inputs;
                let low = sample.iter().copied().fold(f32::INFINITY, f32::min);
                let high = sample.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                InputQuantization::floats(Range { low, high }, Some(&self.normalization))
            }
        }
    }

    /// The test split. It is made at the end, when nothing is left to decide.
    fn test(&self) -> Examples {
        examples(&self.dataset, &self.normalization, &self.split.test)
    }

    /// In words.
    fn describe(&self, job: &Job) -> String {
        let kind = match self.dataset.inputs {
            Values::Bytes(_) => "bytes",
            Values::Floats(_) => "floats",
        };
        let held = match self.held_out.iter().chain(&self.deciding).map(Examples::len).sum() {
            0 => String::new(),
            held => format!(" and {held} held-out"),
        };
        let note = self.note.iter().flat_map(|note| note.lines());
        let note: String = note.map(|line| format!("; {line}")).collect();
        format!(
            "{} ({kind}): {} training, {} validation{held}, {} test examples in {} classes{note}",
            job.data.kind.name(),
            self.split.train.len(),
            self.split.validation.len(),
            self.split.test.len(),
            self.dataset.classes.len()
        )
    }
}

/// Takes those out of `validation` that a front's promises are tested on, and those that choose a margin:
/// of each class as many as [`Requirements::shares`] says.
fn hold_outs(
    validation: &mut Vec<u32>,
    dataset: &Dataset,
    requirements: &Requirements,
) -> [Option<Vec<u32>>; 2] {
    let (promises, abstains) = (requirements.promises(), requirements.abstaining().is_some());
    if !promises && !abstains {
        return [None, None];
    }
    let mut held = hold_out(validation, dataset, requirements.hold_out);
    match (promises, abstains) {
        (true, true) => {
            let deciding = hold_out(&mut held, dataset, 0.5);
            [Some(held), Some(deciding)]
        }
        (true, false) => [Some(held), None],
        _ => [None, Some(held)],
    }
}

/// Takes a share of each class out of `validation`.
fn hold_out(validation: &mut Vec<u32>, dataset: &Dataset, share: f64) -> Vec<u32> {
    let mut seen = vec![0u32; dataset.classes.len()];
    let (mut kept, mut held) = (Vec::new(), Vec::new());
    for &index in validation.iter() {
        let Some(count) = seen.get_mut(dataset.labels[index as usize] as usize) else { continue };
        // Evenly over the class: whenever its share passes a whole number.
        let before = (f64::from(*count) * share).floor();
        *count += 1;
        let takes = (f64::from(*count) * share).floor() > before;
        if takes { held.push(index) } else { kept.push(index) }
    }
    *validation = kept;
    held
}

fn examples(dataset: &Dataset, normalization: &Normalization, indices: &[u32]) -> Examples {
    Examples {
        shape: dataset.shape,
        inputs: dataset.batch(normalization, indices),
        labels: indices.iter().map(|i| dataset.labels[*i as usize]).collect(),
        classes: dataset.classes.len(),
    }
}

/// Counts the instructions of an inference of a network in an output folder, once its golden vectors are
/// there; `None` where that can't be done.
pub type Counter<'a> = &'a dyn Fn(Counted, &Path) -> Option<Instructions>;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// The job's model, in the output folder.
    Model,
    /// The dense network in plain 8 bits, in a folder of its own.
    Dense,
}

/// Says what the job begins with, and what was assumed of it.
fn note_beginning(
    progress: &Progress,
    prepared: &Prepared,
    job: &Job,
    pretrained: Option<&PretrainedModel>,
) {
    progress.note(&format!("data: {}", prepared.describe(job)));
    let assumed = pretrained.and_then(|model| model.layout?.assumption("network.input_layout = "));
    if let Some(text) = assumed {
        progress.note(&text);
    }
}

/// What came of a job.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The bytes of the model.
    pub model: Vec<u8>,
    /// Its figures.
    pub summary: Summary,
    /// Whether it is good enough, and if not, why.
    pub verdict: Result<(), Unmet>,
}

/// Runs a job into `out`. Without [`RunOptions::resume`] it begins again, whatever the folder holds.
/// A model that isn't good enough is written and reported all the same; [`Outcome::verdict`] says so.
///
/// # Errors
/// Anything that [`Error`] names; [`Error::Interrupted`] when its [`Cancel`] was seen and the
/// state is saved.
pub fn run(
    job: &Job,
    out: &Path,
    options: &RunOptions,
    progress: &Progress,
) -> Result<Outcome, Error> {
    run_counting(job, out, options, progress, &|_, _| None)
}

/// As [`run`], with the report's times from what `count` says.
///
/// # Errors
/// As [`run`].
pub fn run_counting(
    job: &Job,
    out: &Path,
    options: &RunOptions,
    progress: &Progress,
    count: Counter<'_>,
) -> Result<Outcome, Error> {
    let dataset = data::load(&job.data).map_err(|e| job.data_error(e))?;
    let ResolvedJob { mut job, structure, mut pretrained, split } = job.resolve(&dataset)?;
    let text = job.to_toml()?;
    job.requirements.class_names.clone_from(&dataset.classes);
    let prepared = Prepared::new(dataset, split, &job, pretrained.as_mut())?;
    let device = options.device.name();
    std::fs::create_dir_all(out).map_err(Error::io("create", out))?;
    let _lock = lock(out)?;
    files::remove_leftovers(out)?;
    let job_state = position(out, options, &text)?;
    if job_state.is_none() {
        pareto_front::clear(out)?;
    }
    note_beginning(progress, &prepared, &job, pretrained.as_ref());
    for warning in warnings::warnings(&job, &structure, &prepared) {
        progress.note(&format!("warning: {warning}"));
    }
    files::write_atomic(&out.join(JOB_FILE), text.as_bytes())?;

    let burn = options.device.open()?.autodiff();
    let input = prepared.input_quantization(&job);
    let context = TrainingContext {
        job: &job,
        structure: &structure,
        pretrained: pretrained.as_ref().map(|model| &model.network),
        train: &prepared.train,
        input: &input,
        validation: &prepared.validation,
        device: &burn,
        progress,
    };
    let own_metrics = out.join(METRICS_FILE);
    let (job_state, metrics, earlier) = match job_state {
        Some(checkpoint) => {
            let (stage, step) = checkpoint.state.position();
            progress.note(&format!("resuming in stage {stage}"));
            let (metrics, _) = Metrics::resume(&own_metrics, stage, step)?;
            (checkpoint.state, metrics, checkpoint.seconds)
        }
        None => (context.start()?, Metrics::create(&own_metrics)?, 0.0),
    };
    let mut watch = Watch::new(progress, metrics, out, text.clone(), device.to_owned(), earlier);
    let (job_toml, device) = (text.as_str(), &burn);
    let run = RunContext { job_toml, prepared: &prepared, device, options, out, progress, count };
    if job.traces_front() {
        return from_front(Tracer { context, run }, job_state, &mut watch);
    }
    let trained = context.train(job_state, &mut watch).map_err(|e| run.interrupted(e))?;
    finish::finish(&finish::Input {
        run,
        job: &job,
        trained: &trained,
        seconds: watch.seconds(),
        narrower: 0,
        metrics: std::slice::from_ref(&own_metrics),
        front: None,
    })
}

/// Traces the job's front, and finishes the point that is chosen from it.
fn from_front(
    tracer: Tracer<'_>,
    job_state: JobState,
    watch: &mut Watch<'_>,
) -> Result<Outcome, Error> {
    let front = tracer.trace(job_state, watch)?;
    let chosen = tracer.chosen(&front)?;
    finish::finish(&finish::Input {
        run: tracer.run,
        job: &chosen.job,
        trained: &chosen.trained,
        seconds: front.seconds,
        narrower: chosen.narrower,
        metrics: &chosen.metrics,
        front: Some(&front),
    })
}

/// Where a job runs, on what, and who watches.
#[derive(Clone, Copy)]
struct RunContext<'a> {
    job_toml: &'a str,
    prepared: &'a Prepared,
    device: &'a burn::tensor::Device,
    options: &'a RunOptions,
    out: &'a Path,
    progress: &'a Progress,
    count: Counter<'a>,
}

impl RunContext<'_> {
    /// An interruption of training, as the job's.
    fn interrupted(&self, error: Error) -> Error {
        match error {
            Error::Train(e) if matches!(*e, TrainError::Interrupted) => {
                Error::Interrupted { resume: self.options.command.clone() }
            }
            other => other,
        }
    }
}

/// Removes a file or a folder of an earlier job, if it is there.
fn remove(path: &Path) -> Result<(), Error> {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Holds the folder for this process until the file is dropped, or the process dies.
fn lock(out: &Path) -> Result<File, Error> {
    let path = out.join(LOCK_FILE);
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PipelineError::Busy { folder: out.to_owned() }.into()),
        Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
    }
}

/// The checkpoint to go on from; `None` to begin.
fn position(out: &Path, options: &RunOptions, job: &str) -> Result<Option<Checkpoint>, Error> {
    let path = out.join(CHECKPOINT_FILE);
    if !options.resume || !path.exists() {
        return Ok(None);
    }
    Ok(Some(Checkpoint::load(&path, job, options.device.name())?))
}
