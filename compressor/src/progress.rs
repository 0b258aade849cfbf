//! Progress for people and machines, and the request to stop.
//!
//! - In a terminal: bars with the time left.
//! - Elsewhere (a log file, CI): dated lines, often at first and then every half minute.
//! - With `--json`: one JSON object a line on *standard output*, each with the key `event`; the
//!   command's result is the last line and has no such key.
//! - With `--quiet`: none, whatever else is asked for.
//!
//! Bars and plain lines go to standard error, so that standard output holds only results.

mod cancel;
mod clock;
mod sink;

use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::MultiProgress;

use crate::text::printable;
pub use cancel::Cancel;
pub(crate) use clock::date;
use sink::{Advance, Sink};

/// Where progress goes and whether somebody asked to stop. Cheap to clone.
#[derive(Clone, Default)]
pub struct Progress {
    sink: Arc<Sink>,
    cancel: Cancel,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("sink", &self.sink.name()).finish_non_exhaustive()
    }
}

impl Progress {
    /// Chooses by what standard error is: bars in a terminal, else plain lines; `json` chooses
    /// objects on standard output; `quiet` silences all of them.
    pub fn auto(json: bool, quiet: bool) -> Self {
        let sink = if quiet {
            Sink::Silent
        } else if json {
            Sink::Json
        } else if std::io::stderr().is_terminal() {
            Sink::Bars(MultiProgress::new())
        } else {
            Sink::Lines
        };
        Self::with_sink(sink)
    }

    /// Plain lines even in a terminal: what `--verbose` wants, because bars and traces would
    /// overwrite one another.
    pub fn lines() -> Self {
        Self::with_sink(Sink::Lines)
    }

    /// Shows nothing.
    pub fn silent() -> Self {
        Self::default()
    }

    /// The same progress, stopping when `cancel` says so.
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    fn with_sink(sink: Sink) -> Self {
        Self { sink: Arc::new(sink), cancel: Cancel::default() }
    }

    /// Starts a stage of `steps` steps; it is shown until [`Stage::finish`]. With 0 steps nobody
    /// knows how long it takes: what it does and the time gone by are shown.
    pub(crate) fn stage(&self, name: &str, steps: u64) -> Stage {
        tracing::debug!(stage = name, steps, "begins");
        let bar = self.sink.start(name, steps);
        Stage {
            sink: Arc::clone(&self.sink),
            name: name.to_owned(),
            steps,
            bar,
            started: Instant::now(),
            pace: Mutex::new(Pace::default()),
        }
    }

    /// One line of log.
    pub(crate) fn note(&self, text: &str) {
        tracing::debug!("{text}");
        self.sink.note(text);
    }

    /// Whether the user asked to stop. Polled by every loop that can save its state; it then saves
    /// and returns [`crate::error::Error::Interrupted`].
    pub(crate) fn cancelled(&self) -> bool {
        self.cancel.requested()
    }
}

/// One running stage. Dropped without [`Stage::finish`] (an error, an interruption), its bar goes
/// away without a summary.
#[derive(Debug)]
pub(crate) struct Stage {
    sink: Arc<Sink>,
    name: String,
    steps: u64,
    bar: Option<indicatif::ProgressBar>,
    started: Instant,
    pace: Mutex<Pace>,
}

impl Stage {
    /// `done` of the steps are done; `detail` is a short remark such as `loss 0.031, 5,480 weights`.
    /// May be called as often as one likes: what is shown is thinned out.
    pub(crate) fn set(&self, done: u64, detail: &str) {
        tracing::debug!(stage = self.name, done, "{detail}");
        let elapsed = self.started.elapsed();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = pace.first.is_none();
        let first = *pace.first.get_or_insert((done, elapsed));
        if let Some(bar) = &self.bar {
            if is_first {
                // A resumed stage begins in the middle; what was done before took no time here.
                bar.set_position(done);
                bar.reset_eta();
            }
            bar.set_position(done);
            bar.set_message(printable(detail).into_owned());
            return;
        }
        if pace.is_due(elapsed, self.sink.interval(elapsed)) {
            let advance = Advance { done, steps: self.steps, elapsed, first };
            self.sink.advance(&self.name, advance, detail);
        }
    }

    /// The stage is over.
    pub(crate) fn finish(self, summary: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        tracing::debug!(stage = self.name, "ends: {summary}");
        self.sink.finish(&self.name, self.steps, self.started.elapsed(), summary);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// When a stage last showed something, and where it began.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Duration>,
    /// Steps done and time elapsed at the first report.
    first: Option<(u64, Duration)>,
}

impl Pace {
    /// Whether `interval` has gone by since the last time this returned true. The first interval
    /// counts from the start of the stage, so that short stages show only their summary.
    fn is_due(&mut self, elapsed: Duration, interval: Option<Duration>) -> bool {
        let Some(interval) = interval else { return false };
        let due = elapsed.saturating_sub(self.last.unwrap_or_default()) >= interval;
        if due {
            self.last = Some(elapsed);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_thins_out_and_counts_from_the_start() {
        let mut pace = Pace::default();
        let five = Some(Duration::from_secs(5));
        assert!(!pace.is_due(Duration::from_secs(1), five));
        assert!(pace.is_due(Duration::from_secs(5), five));
        assert!(!pace.is_due(Duration::from_secs(9), five));
        assert!(pace.is_due(Duration::from_secs(10), five));
        assert!(!pace.is_due(Duration::from_secs(100), None));
    }

    #[test]
    fn a_request_to_stop_reaches_every_clone() {
        let cancel = Cancel::default();
        let progress = Progress::silent().with_cancel(cancel.clone());
        let copy = progress.clone();
        assert!(!copy.cancelled());
        cancel.request();
        assert!(copy.cancelled());
    }

    #[test]
    fn quiet_takes_precedence_over_json() {
        assert_eq!(Progress::auto(true, true).sink.name(), "silent");
        assert_eq!(Progress::auto(true, false).sink.name(), "json");
        assert_eq!(Progress::auto(false, true).sink.name(), "silent");
    }
}
