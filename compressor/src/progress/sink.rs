//! The four ways of showing progress.

use std::io::Write;
use std::time::{Duration, SystemTime};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::clock::date;
use crate::text::{json_printable, one_line};

/// How often plain lines appear in a stage's first minute.
const LINE_INTERVAL_FIRST: Duration = Duration::from_secs(5);
/// How often later: a night's job leaves a log that can be read in a minute.
const LINE_INTERVAL_LATER: Duration = Duration::from_secs(30);
/// How often objects appear: enough for a dashboard.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// How a stage looks whose steps nobody knows.
const OPEN_TEMPLATE: &str = "{prefix:<12} {spinner:.cyan}  {msg}  {elapsed}";
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

/// How far a stage has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Advance {
    /// Steps done, of all.
    pub(super) done: u64,
    pub(super) steps: u64,
    /// Since the stage began in this process.
    pub(super) elapsed: Duration,
    /// Steps done and time elapsed at its first report: more than zero steps if it was resumed.
    pub(super) first: (u64, Duration),
}

impl Advance {
    /// Time left at the pace so far; `None` before there is a pace, and at the end.
    fn left(&self) -> Option<Duration> {
        let (first_done, first_elapsed) = self.first;
        let steps = self.done.checked_sub(first_done).filter(|&n| n > 0)?;
        let left = self.steps.checked_sub(self.done).filter(|&n| n > 0)?;
        Some(self.elapsed.saturating_sub(first_elapsed).mul_f64(left as f64 / steps as f64))
    }
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
                bar.set_style(style(steps));
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
    pub(super) fn advance(&self, stage: &str, advance: Advance, detail: &str) {
        match self {
            Self::Silent | Self::Bars(_) => {}
            Self::Lines => line(&advance_line(stage, advance, detail)),
            Self::Json => {
                let Advance { done, steps, elapsed, .. } = advance;
                let seconds = elapsed.as_secs_f64();
                emit(&Event::Progress { stage, done, steps, seconds, detail });
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
fn style(steps: u64) -> ProgressStyle {
    ProgressStyle::with_template(if steps == 0 { OPEN_TEMPLATE } else { BAR_TEMPLATE })
        .map(|style| style.progress_chars("━╸─"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What a plain line says of a running stage, with the time left once it can be guessed.
fn advance_line(stage: &str, advance: Advance, detail: &str) -> String {
    if advance.steps == 0 {
        return format!("{stage}: {detail} ({})", short(advance.elapsed));
    }
    let mut text = format!("{stage}: {}/{}", advance.done, advance.steps);
    if !detail.is_empty() {
        text.push_str(", ");
        text.push_str(detail);
    }
    if let Some(left) = advance.left() {
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
    let _ = writeln!(out, "{} {}", date(now), one_line(text));
}

/// A line above the bars.
fn print_above(bars: &MultiProgress, text: &str) {
    bars.suspend(|| {
        let _ = writeln!(std::io::stderr().lock(), "{}", one_line(text));
    });
}

/// An object on standard output, flushed so that a reader sees it now.
fn emit(event: &Event<'_>) {
    let Ok(text) = serde_json::to_string(event) else { return };
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", json_printable(&text)).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance(done: u64, steps: u64, seconds: u64, first: u64) -> Advance {
        let elapsed = Duration::from_secs(seconds);
        Advance { done, steps, elapsed, first: (first, Duration::ZERO) }
    }

    #[test]
    fn plain_lines_are_dated_and_say_what_is_left() {
        let mut out = Vec::new();
        let text = advance_line("variational", advance(100, 400, 60, 0), "loss 0.031");
        write_line(&mut out, SystemTime::UNIX_EPOCH, &text);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01T00:00:00Z variational: 100/400, loss 0.031, 3 min 00 s left\n"
        );
    }

    #[test]
    fn nothing_is_left_to_guess_at_the_ends() {
        assert_eq!(advance_line("s", advance(0, 4, 1, 0), ""), "s: 0/4");
        assert_eq!(advance_line("s", advance(4, 4, 1, 0), ""), "s: 4/4");
    }

    #[test]
    fn nothing_is_left_to_guess_of_what_nobody_knows() {
        let text = advance_line("cortex-m4", advance(0, 0, 12, 0), "building the firmware");
        assert_eq!(text, "cortex-m4: building the firmware (12 s)");
        assert!(ProgressStyle::with_template(OPEN_TEMPLATE).is_ok());
    }

    #[test]
    fn a_resumed_stage_counts_its_own_steps_only() {
        let text = advance_line("s", advance(350, 400, 10, 300), "");
        assert_eq!(text, "s: 350/400, 10 s left");
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
