//! What is in a model's sentinel, for `inspect`.

use std::path::Path;

use bitsback_runtime::Model;
use bitsback_runtime::sentinel::{Draft, Sentinel};
use serde::Serialize;

use super::sentinel::expected;
use crate::error::{CliError, Error};
use crate::report::number::significant;
use crate::report::sentinel::promise;
use crate::sentinel::{SentinelError, SentinelSummary};
use crate::summary;

/// What a sentinel's section says.
#[derive(Debug, Serialize)]
pub(super) struct Watching {
    /// Of the weight section, at its end.
    bytes: u64,
    bets: usize,
    /// Evidence from which on it is an alarm.
    threshold_bits: f64,
    /// How far laws may be from the reference's bounds, in total variation.
    tolerance_percent: f64,
    /// Every how many inferences one is looked at.
    decimate: u8,
    /// Whether answers are watched, and inputs, and classes.
    answers: bool,
    inputs: bool,
    classes: bool,
    /// What the job that made it promised and expects; null without that job's summary.
    summary: Option<SentinelSummary>,
}

impl Watching {
    /// The sentinel of a model, if it has one, and what the summary beside it says.
    pub(super) fn read(
        path: &Path,
        model: &Model<'_>,
        bytes: &[u8],
    ) -> Result<Option<Self>, Error> {
        let sentinel = Sentinel::new(model).map_err(|fault| {
            let source = Box::new(SentinelError::Fault(fault));
            CliError::Sentinel { path: path.to_owned(), source }
        })?;
        let Some(sentinel) = sentinel else { return Ok(None) };
        let threshold_bits = f64::from(sentinel.threshold()) / 16.0;
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Some(Self {
            bytes: Draft::of(&sentinel).to_bytes().map_or(0, |section| section.len() as u64),
            bets: sentinel.bets(),
            threshold_bits,
            tolerance_percent: 100.0 * f64::from(sentinel.tolerance()) / 4096.0,
            decimate: sentinel.decimate(),
            answers: sentinel.has_answer(),
            inputs: sentinel.has_inputs(),
            classes: sentinel.has_classes(),
            summary: summary::read_sentinel(folder, bytes, threshold_bits),
        }))
    }

    /// In words, lines of `inspect`.
    pub(super) fn text(&self) -> String {
        let statistics =
            [("answers", self.answers), ("inputs", self.inputs), ("classes", self.classes)];
        let statistics: Vec<&str> =
            statistics.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
        let mut text = format!(
            "watched {} by {} bets in {} bytes; alarm at {} bits, {} % tolerated{}\n",
            statistics.join(", "),
            self.bets,
            self.bytes,
            significant(self.threshold_bits),
            significant(self.tolerance_percent),
            match self.decimate {
                0 | 1 => String::new(),
                every => format!(", one inference in {every}"),
            }
        );
        if let Some(summary) = &self.summary {
            text += &format!("        {}\n        {}\n", promise(summary), expected(summary));
        }
        text
    }
}
