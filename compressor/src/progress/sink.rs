//! The four ways of showing progress.

use std::io::Write;
use std::time::{Duration, SystemTime};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

/// How often plain lines appear in a stage's first minute.
const LINE_INTERVAL_FIRST: Duration = Duration::from_secs(5);
/// How often later: a night's job leaves a log that can be read in a minute.
const LINE_INTERVAL_LATER: Duration = Duration::from_secs(30);
/// How often objects appear: enough for a dashboard.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// How a bar looks.
const BAR_TEMPLATE: &str = "{prefix:<12} {bar:24.cyan/dim} {pos}/{len}  {msg}  {eta} left";

/// Where progress goes.
#[derive(Debug, Default)]
pub(super) enum Sink {
    /// Nowhere.
    #[default]
    Silent,
    /// Bars on standard error.
    Bars(MultiProgress),
    /// Dated lines on standard error.
    Lines,
    /// Objects on standard output.
    Json,
}

/// An object on standard output.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    /// A stage begins.
    Start { stage: &'a str, steps: u64 },
    /// A stage advances.
    Progress { stage: &'a str, done: u64, steps: u64, seconds: f64, detail: &'a str },
    /// A stage is over.
    Finish { stage: &'a str, steps: u64, seconds: f64, summary: &'a str },
    /// A remark.
    Note { text: &'a str },
}

impl Sink {
    /// For `Debug` and tests.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Bars(_) => "bars",
            Self::Lines => "lines",
            Self::Json => "json",
        }
    }

    /// A stage begins; with bars, its bar.
    pub(super) fn start(&self, stage: &str, steps: u64) -> Option<ProgressBar> {
        match self {
            Self::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(steps).with_prefix(stage.to_owned()));
                bar.set_style(style());
                bar.enable_steady_tick(Duration::from_millis(250));
                Some(bar)
            }
            Self::Json => {
                emit(&Event::Start { stage, steps });
                None
            }
            Self::Silent | Self::Lines => None,
        }
    }

    /// How long to wait between two signs of life; `None`: there are none.
    pub(super) fn interval(&self, elapsed: Duration) -> Option<Duration> {
        match self {
            Self::Silent | Self::Bars(_) => None,
            Self::Lines if elapsed < Duration::from_secs(60) => Some(LINE_INTERVAL_FIRST),
            Self::Lines => Some(LINE_INTERVAL_LATER),
            Self::Json => Some(JSON_INTERVAL),
        }
    }

    /// A stage advances.
    pub(super) fn advance(&self, stage: &str, done: u64, of: u64, elapsed: Duration, detail: &str) {
        match self {
            Self::Silent | Self::Bars(_) => {}
            Self::Lines => line(&advance_line(stage, done, of, elapsed, detail)),
            Self::Json => {
                let seconds = elapsed.as_secs_f64();
                emit(&Event::Progress { stage, done, steps: of, seconds, detail });
            }
        }
    }

    /// A stage is over.
    pub(super) fn finish(&self, stage: &str, steps: u64, elapsed: Duration, summary: &str) {
        let text = format!("{stage}: {summary} ({})", short(elapsed));
        match self {
            Self::Silent => {}
            Self::Bars(bars) => print_above(bars, &text),
            Self::Lines => line(&text),
            Self::Json => {
                emit(&Event::Finish { stage, steps, seconds: elapsed.as_secs_f64(), summary });
            }
        }
    }

    /// A remark.
    pub(super) fn note(&self, text: &str) {
        match self {
            Self::Silent => {}
            Self::Bars(bars) => print_above(bars, text),
            Self::Lines => line(text),
            Self::Json => emit(&Event::Note { text }),
        }
    }
}

/// `name ━━━━╸ 312/469 loss 0.031 12 s left`.
fn style() -> ProgressStyle {
    ProgressStyle::with_template(BAR_TEMPLATE)
        .map(|style| style.progress_chars("━╸─"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What a plain line says of a running stage, with the time left once it can be guessed.
fn advance_line(stage: &str, done: u64, of: u64, elapsed: Duration, detail: &str) -> String {
    let mut text = format!("{stage}: {done}/{of}");
    if !detail.is_empty() {
        text.push_str(", ");
        text.push_str(detail);
    }
    if done > 0 && done < of {
        let left = elapsed.mul_f64((of - done) as f64 / done as f64);
        text.push_str(&format!(", {} left", short(left)));
    }
    text
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A dated line on standard error.
fn line(text: &str) {
    write_line(&mut std::io::stderr().lock(), SystemTime::now(), text);
}

/// Errors are dropped: nobody is there to read about them.
fn write_line(out: &mut impl Write, now: SystemTime, text: &str) {
    let _ = writeln!(out, "{} {text}", humantime::format_rfc3339_seconds(now));
}

/// A line above the bars.
fn print_above(bars: &MultiProgress, text: &str) {
    bars.suspend(|| {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    });
}

/// An object on standard output, flushed so that a reader sees it now.
fn emit(event: &Event<'_>) {
    let Ok(text) = serde_json::to_string(event) else { return };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_are_dated_and_say_what_is_left() {
        let mut out = Vec::new();
        let text = advance_line("variational", 100, 400, Duration::from_secs(60), "loss 0.031");
        write_line(&mut out, SystemTime::UNIX_EPOCH, &text);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00Z variational: 100/400, loss 0.031, 3 min 00 s left\n"
        );
    }

    #[test]
    fn nothing_is_left_to_guess_at_the_ends() {
        assert_eq!(advance_line("s", 0, 4, Duration::from_secs(1), ""), "s: 0/4");
        assert_eq!(advance_line("s", 4, 4, Duration::from_secs(1), ""), "s: 4/4");
    }

    #[test]
    fn times_read_well() {
        let of = |millis| short(Duration::from_millis(millis));
        assert_eq!(of(430), "0.4 s");
        assert_eq!(of(12_900), "12 s");
        assert_eq!(of(185_000), "3 min 05 s");
        assert_eq!(of(7_800_000), "2 h 10 min");
    }

    #[test]
    fn objects_carry_their_event() {
        let event = Event::Progress { stage: "a", done: 1, steps: 2, seconds: 0.5, detail: "d" };
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            r#"{"event":"progress","stage":"a","done":1,"steps":2,"seconds":0.5,"detail":"d"}"#
        );
    }

    #[test]
    fn the_bars_template_is_valid() {
        assert!(ProgressStyle::with_template(BAR_TEMPLATE).is_ok());
    }
}
