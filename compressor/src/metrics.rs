//! `metrics.jsonl`: what training measured, one JSON object a line, in the order of time.
//!
//! A job that is killed has written rows for steps that it will run again. [`Metrics::resume`]
//! drops those, so that the file of a resumed job has each step once, as an uninterrupted job's.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{self, FileError};

/// Longest file that is read back: far above any job's (a row an epoch), so that a wrong path
/// can't exhaust memory.
pub(crate) const MAX_METRICS_BYTES: u64 = 256 << 20;

/// One measurement. What a stage doesn't have stays away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct MetricRow {
    /// `pretrain`, `variational`, `finetune`, …
    pub stage: String,
    /// Passes over the training set that are complete, in this stage.
    pub epoch: u32,
    /// Optimiser steps in this stage.
    pub step: u64,
    /// Seconds since the job began, without the time in which it was stopped.
    pub seconds: f64,
    /// Mean training loss since the last row, in nats an example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// KL divergence from the prior, nats, untempered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// What the KL is multiplied by at this step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_weight: Option<f64>,
    /// Learning rate (of the means).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Error on the validation split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_error_percent: Option<f64>,
    /// Weights that are still in the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_left: Option<u64>,
    /// Groups that are still in each affine layer, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups_left: Vec<u32>,
}

/// What can go wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// It can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A line in the middle isn't a row.
    #[error("{}, line {line}: {source}; delete the line, or the file", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The decoder's word.
        source: serde_json::Error,
    },
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Metrics {
    file: File,
    path: PathBuf,
}

impl Metrics {
    /// Starts an empty file.
    ///
    /// # Errors
    /// [`MetricsError::File`].
    pub(crate) fn create(path: &Path) -> Result<Self, MetricsError> {
        Self::open(path, OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Reopens the file of a job whose checkpoint was taken in `stage` after `step` steps: later
    /// rows of that stage, rows of later stages and a line that was cut off are dropped. Returns
    /// the kept rows, too; the last one's `seconds` is where the clock goes on.
    ///
    /// # Errors
    /// [`MetricsError`] if the file can't be rewritten or isn't a metrics file. A file that isn't
    /// there is an empty one.
    pub(crate) fn resume(
        path: &Path,
        stage: &str,
        step: u64,
    ) -> Result<(Self, Vec<MetricRow>), MetricsError> {
        let mut rows = if path.exists() { read(path)? } else { Vec::new() };
        rows.truncate(rows_up_to(&rows, stage, step));
        // Being killed here must not lose what is kept.
        files::write_atomic_with(path, |file| rows.iter().try_for_each(|row| put(file, row)))?;
        Ok((Self::open(path, OpenOptions::new().append(true))?, rows))
    }

    fn open(path: &Path, options: &OpenOptions) -> Result<Self, MetricsError> {
        match options.open(path) {
            Ok(file) => Ok(Self { file, path: path.to_owned() }),
            Err(source) => Err(FileError::Write { path: path.to_owned(), source }.into()),
        }
    }

    /// Adds a row in one write, so that a kill leaves at most one cut line, at the end.
    ///
    /// # Errors
    /// [`MetricsError::File`].
    pub(crate) fn append(&mut self, row: &MetricRow) -> Result<(), MetricsError> {
        let mut line = Vec::new();
        put(&mut line, row)
            .and_then(|()| self.file.write_all(&line))
            .map_err(|source| FileError::Write { path: self.path.clone(), source }.into())
    }
}

/// One row as a line.
fn put(out: &mut (impl Write + ?Sized), row: &MetricRow) -> io::Result<()> {
    serde_json::to_writer(&mut *out, row)?;
    out.write_all(b"\n")
}

/// All rows of a file; a last line without its line break was cut off and doesn't count.
///
/// # Errors
/// [`MetricsError`].
pub(crate) fn read(path: &Path) -> Result<Vec<MetricRow>, MetricsError> {
    let text = files::read(path, MAX_METRICS_BYTES)?;
    let whole = text.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let mut rows = Vec::new();
    for (i, line) in text[..whole].split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let row = serde_json::from_slice(line).map_err(|source| MetricsError::Row {
            path: path.to_owned(),
            line: i + 1,
            source,
        })?;
        rows.push(row);
    }
    Ok(rows)
}

/// How many rows were written before the checkpoint at (`stage`, `step`).
fn rows_up_to(rows: &[MetricRow], stage: &str, step: u64) -> usize {
    let Some(begin) = rows.iter().position(|row| row.stage == stage) else {
        // The checkpoint is from the start of a stage that hasn't reported yet.
        return rows.len();
    };
    let later = rows[begin..].iter().position(|row| row.stage != stage || row.step > step);
    later.map_or(rows.len(), |n| begin + n)
}

/// The rows of files that follow one another, each with a clock of its own, on one clock.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<MetricRow>, MetricsError> {
    let mut rows: Vec<MetricRow> = Vec::new();
    for path in paths {
        let before = rows.last().map_or(0.0, |row| row.seconds);
        let later = |row: MetricRow| MetricRow { seconds: before + row.seconds, ..row };
        rows.extend(read(path)?.into_iter().map(later));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(stage: &str, step: u64) -> MetricRow {
        MetricRow { stage: stage.into(), step, loss: Some(0.5), ..MetricRow::default() }
    }

    fn file_with(rows: &[MetricRow]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = Metrics::create(&path).unwrap();
        for row in rows {
            metrics.append(row).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn a_resumed_file_has_each_step_once() {
        let all = [row("pretrain", 100), row("pretrain", 200), row("v", 50), row("v", 100)];
        let (_folder, path) = file_with(&all);
        let (mut metrics, kept) = Metrics::resume(&path, "v", 50).unwrap();
        assert_eq!(kept, all[..3]);
        metrics.append(&all[3]).unwrap();
        assert_eq!(read(&path).unwrap(), all);
    }

    #[test]
    fn going_back_a_stage_drops_the_later_ones() {
        let all = [row("pretrain", 100), row("pretrain", 200), row("v", 50)];
        let (_folder, path) = file_with(&all);
        let (_metrics, kept) = Metrics::resume(&path, "pretrain", 100).unwrap();
        assert_eq!(kept, all[..1]);
        assert_eq!(read(&path).unwrap(), all[..1]);
    }

    #[test]
    fn a_stage_without_rows_keeps_what_came_before() {
        let all = [row("pretrain", 100)];
        let (_folder, path) = file_with(&all);
        let (_metrics, kept) = Metrics::resume(&path, "v", 0).unwrap();
        assert_eq!(kept, all);
    }

    #[test]
    fn a_cut_line_is_dropped_and_a_missing_file_is_empty() {
        let (folder, path) = file_with(&[row("a", 1)]);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"stage":"a","st"#).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        let other = folder.path().join("none.jsonl");
        let (_metrics, kept) = Metrics::resume(&other, "a", 1).unwrap();
        assert!(kept.is_empty());
    }

    #[test]
    fn files_that_follow_one_another_share_a_clock() {
        let at = |stage: &str, seconds| MetricRow { seconds, ..row(stage, 1) };
        let (_a, first) = file_with(&[at("pretrain", 2.0), at("finetune", 5.0)]);
        let (_b, second) = file_with(&[at("quantize", 0.5), at("quantize", 1.0)]);
        let rows = read_all(&[first, second]).unwrap();
        let seconds: Vec<f64> = rows.iter().map(|row| row.seconds).collect();
        assert_eq!(seconds, [2.0, 5.0, 5.5, 6.0]);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let (folder, path) = file_with(&[row("a", 1)]);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"nonsense\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, MetricsError::Row { line: 2, .. }), "{error}");
        let error = Metrics::create(&folder.path().join("no/such")).unwrap_err();
        assert!(matches!(error, MetricsError::File(FileError::Write { .. })), "{error}");
        file.set_len(MAX_METRICS_BYTES + 1).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, MetricsError::File(FileError::TooLarge { .. })), "{error}");
    }
}
