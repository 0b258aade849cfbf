//! `report.html`: one file that a manager reads from the top and an engineer to the end.
//!
//! The page holds no script and fetches nothing: style and pictures are inline, so that it can be
//! mailed, archived and printed. Every string from outside (a job file, a class name, a path) is
//! escaped on its way in.

mod cards;
mod chart;
mod communication;
mod config;
mod curves;
mod decision;
mod energy;
mod front;
mod histogram;
mod html;
mod latency;
pub(crate) mod number;
mod page;
mod rules;
pub(crate) mod sentinel;
mod tables;

use std::path::Path;

pub use config::ReportConfig;
pub(crate) use latency::Latency;

use crate::files::{self, FileError};
use crate::ledger::Ledger;
use crate::metrics::MetricRow;
use crate::posterior::Prior;
use crate::summary::{Control, Summary};

/// File name in a job's output folder.
pub(crate) const REPORT_FILE: &str = "report.html";

/// Everything that the page shows, as plain data.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Figures before and after, and the table of layers.
    pub summary: Summary,
    /// Time of one inference, per target; may be empty.
    pub latencies: Vec<Latency>,
    /// What figures of time and energy are for.
    pub config: ReportConfig,
    /// Rows of `metrics.jsonl`, in order; may be empty.
    pub curves: Vec<MetricRow>,
    /// Groups and bits with the numbers behind them.
    pub ledger: Ledger,
    /// The fully resolved job file.
    pub job_toml: String,
    /// Circumstances.
    pub meta: Meta,
}

/// The circumstances of a job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta {
    /// What was learned from, in words: `bundled 8×8 digits, 1,437 / 180 / 180 examples`.
    pub data: String,
    /// burn's device, such as `flex`.
    pub device: String,
    /// Operating system and architecture, number of threads.
    pub machine: String,
    /// Seconds of work, without the time in which the job was stopped.
    pub seconds: f64,
    /// KL divergence from the prior, untempered: the bits-back description length. `None` where
    /// the training tempered it.
    pub description_length_nats: Option<f64>,
    /// What was compared before the model was written, in words; empty when nothing was.
    pub verification: String,
    /// The requirement that the model doesn't meet, in words; empty when it meets all.
    pub unmet: String,
    /// Files in the output folder and what they hold.
    pub files: Vec<(String, String)>,
}

impl Meta {
    /// The machine that this runs on.
    pub(crate) fn this_machine() -> String {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        format!("{} {}, {threads} threads", std::env::consts::OS, std::env::consts::ARCH)
    }
}

/// Writes the page; a reader sees all of it or the one before.
///
/// # Errors
/// [`FileError::Write`] names the file.
pub(crate) fn write(report: &Report, path: &Path) -> Result<(), FileError> {
    files::write_atomic(path, render(report).as_bytes())
}

/// The page's text.
pub(crate) fn render(report: &Report) -> String {
    page::render(report)
}

/// What importance is read from, as people write it.
fn measure(summary: &Summary) -> &'static str {
    match (summary.control, summary.row.prior) {
        (Some(Control::OrderByMagnitude), _) => "−ln of the root mean square of its weights",
        (_, Prior::NormalJeffreys) => "log α",
        (_, Prior::Horseshoe) => "v − m (negative log-mode of the scale)",
    }
}

/// The prior's name for people.
fn prior_name(prior: Prior) -> &'static str {
    match prior {
        Prior::NormalJeffreys => "group normal-Jeffreys",
        Prior::Horseshoe => "group horseshoe",
    }
}

#[cfg(test)]
pub(crate) mod tests;
