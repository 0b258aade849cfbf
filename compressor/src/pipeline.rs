//! A job, from data to model file and report.

use std::path::Path;

use crate::device::DeviceName;
use crate::error::{CliError, Error};
use crate::job::Job;
use crate::progress::Progress;
use crate::summary::Summary;

/// The model, in a job's output folder.
pub const MODEL_FILE: &str = "model.bbk";
/// The folder of golden vectors, in a job's output folder.
pub const GOLDEN_FOLDER: &str = "golden";
/// The job with every default filled in, in its output folder.
pub const JOB_FILE: &str = "job.toml";

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

/// Runs a job and writes everything into `out`, which exists.
///
/// # Errors
/// Whatever part fails; [`Error::Interrupted`] when [`Progress::cancelled`] was seen and the state
/// is saved.
pub fn run(
    _job: &Job,
    out: &Path,
    _options: &RunOptions,
    _progress: &Progress,
) -> Result<Summary, Error> {
    Err(CliError::Unfinished { path: out.to_owned() }.into())
}
