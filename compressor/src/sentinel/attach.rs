//! A sentinel for a finished model: seeded by the integer model's own answers to the reference, put into its
//! bytes, and what is to be expected of it.

use bitsback_runtime::sentinel::{Answers, Bet, Draft, Fault, Sentinel};
use bitsback_runtime::writer::set_sentinel;
use bitsback_runtime::{Model, OpKind, ParseError};
use thiserror::Error;

use super::SentinelConfig;
use super::bins::Counts;
use super::changes::{Change, Shape};
use super::delay::{frozen, predicted};
use super::reference::{Form, Seen};
use super::seed::{SeedError, reseed, seed};
use super::summary::{Delay, SentinelSummary};

/// Reference examples that are changed, at the most, to say what is noticed: enough for a mean.
const CHANGED: usize = 1_000;
/// Classes that half of all inferences come from when mixtures change.
const PREFERRED: usize = 2;

/// Why a model gets no sentinel.
#[derive(Debug, Error)]
pub enum SentinelError {
    /// The reference or what is asked for.
    #[error(transparent)]
    Seed(#[from] SeedError),
    /// The bytes are no model.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The section isn't one that a device takes (it is made by its own code, so never).
    #[error("{0}")]
    Fault(Fault),
}

/// Reference examples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Examples<'a> {
    /// Quantised inputs, one after the other.
    pub(crate) inputs: &'a [i8],
    /// Their classes; empty where nobody says.
    pub(crate) labels: &'a [u32],
    /// Number of classes, of a model that gives a class alone; others say it themselves.
    pub(crate) classes: usize,
    /// Whether outputs are numbers, not scores.
    pub(crate) values: bool,
    /// Quantised frames in the order in which they came, which say how far apart inferences must be.
    pub(crate) recording: Option<&'a [i8]>,
}

/// Puts a sentinel into a model's bytes, in the place of one that was there. `run` gives a model's outputs of
/// quantised inputs, vector after vector.
///
/// # Errors
/// [`SentinelError`], or what `run` gives; the bytes are as before.
pub(crate) fn attach<E: From<SentinelError>>(
    bytes: &mut Vec<u8>,
    examples: &Examples,
    config: &SentinelConfig,
    run: impl Fn(&Model, &[i8]) -> Result<Vec<i8>, E>,
) -> Result<SentinelSummary, E> {
    let model = Model::parse(bytes).map_err(SentinelError::from)?;
    let outputs = run(&model, examples.inputs)?;
    let form = form(&model, examples);
    let seen = form.see(examples.inputs, &outputs);
    let recording = match examples.recording {
        Some(frames) => Some(form.see(frames, &run(&model, frames)?)),
        None => None,
    };
    let seeded = seed(&form, &seen, recording.as_deref(), config).map_err(SentinelError::from)?;
    let section = seeded.draft.to_bytes().map_err(SentinelError::Fault)?;
    let of = Changed { model: &model, form, draft: &seeded.draft, examples };
    let delays = of.delays(&seen, |inputs| run(&model, inputs))?;
    *bytes = with_section(bytes, &section)?;
    Ok(SentinelSummary::new(config, &seeded, section.len(), delays))
}

/// A model's bytes with a sentinel by its own inferences on a reference: quantised inputs and outputs, one after
/// the other. For benchmarks, which want no prediction.
///
/// # Errors
/// [`SentinelError`].
pub fn watched(
    bytes: &[u8],
    inputs: &[i8],
    outputs: &[i8],
    config: &SentinelConfig,
) -> Result<Vec<u8>, SentinelError> {
    let model = Model::parse(bytes)?;
    let examples = Examples { inputs, labels: &[], classes: 0, values: false, recording: None };
    let form = form(&model, &examples);
    let seeded = seed(&form, &form.see(inputs, outputs), None, config)?;
    with_section(bytes, &seeded.draft.to_bytes().map_err(SentinelError::Fault)?)
}

/// A model's bytes with its sentinel's bets made anew, by what devices have counted with it.
///
/// # Errors
/// [`SentinelError`].
pub(crate) fn reseeded(
    bytes: &[u8],
    sentinel: &Sentinel,
    counts: &Counts,
    config: &SentinelConfig,
) -> Result<(Vec<u8>, SentinelSummary), SentinelError> {
    let section = Draft::of(sentinel);
    let profile = config.profile.within(&section);
    let config = &SentinelConfig { profile, ..config.clone() };
    let seeded = reseed(&section, counts, config)?;
    let section = seeded.draft.to_bytes().map_err(SentinelError::Fault)?;
    let summary = SentinelSummary::new(config, &seeded, section.len(), Vec::new());
    Ok((with_section(bytes, &section)?, summary))
}

/// The bytes with a section, as a device takes them.
fn with_section(bytes: &[u8], section: &[u8]) -> Result<Vec<u8>, SentinelError> {
    let mut watched = bytes.to_vec();
    set_sentinel(&mut watched, section);
    let read = Model::parse(&watched)?;
    Sentinel::new(&read).map_err(SentinelError::Fault)?;
    Ok(watched)
}

/// What a model's inputs and outputs are.
fn form(model: &Model, examples: &Examples) -> Form {
    let outputs = model.output().len();
    let is_class = model.last_kind() == OpKind::Argmax;
    let (answers, classes) = match (is_class, examples.values || outputs < 2) {
        (true, _) => (Answers::Class, examples.classes),
        (false, true) => (Answers::Values, 0),
        (false, false) => (Answers::Scores, outputs),
    };
    Form { inputs: model.input().len(), outputs, answers, classes }
}

/// The reference and a section, to be asked what is noticed.
struct Changed<'a> {
    model: &'a Model<'a>,
    form: Form,
    draft: &'a Draft,
    examples: &'a Examples<'a>,
}

impl Changed<'_> {
    /// What is predicted of every change.
    fn delays<E>(
        &self,
        seen: &[Seen],
        run: impl Fn(&[i8]) -> Result<Vec<i8>, E>,
    ) -> Result<Vec<Delay>, E> {
        let len = self.form.inputs.max(1);
        let step = seen.len().div_ceil(CHANGED).max(1);
        let chosen = || (0..seen.len()).step_by(step);
        let inputs: Vec<i8> =
            self.examples.inputs.chunks_exact(len).step_by(step).flatten().copied().collect();
        let labels: Vec<u32> =
            chosen().filter_map(|at| self.examples.labels.get(at).copied()).collect();
        let input = self.model.input();
        let dimensions: Vec<usize> =
            input.shape.dims().iter().map(|&length| usize::from(length)).collect();
        let shape = Shape::of(&dimensions, input.zero_point);
        let mut delays = Vec::new();
        let mut before = None;
        for &change in shape.changes() {
            let changed = change.apply(&inputs, &shape);
            let outputs = run(&changed)?;
            let error = self.error_percent(&outputs, &labels);
            if change == Change::Nothing {
                before = error;
            }
            let found = predicted(self.draft, &self.form.see(&changed, &outputs));
            let points =
                error.zip(before).map(|(after, before)| (100.0 * (after - before)).round() / 100.0);
            delays.push(self.delay(change.name(), found, points));
        }
        let few: Vec<Seen> = chosen().filter_map(|at| seen.get(at).copied()).collect();
        delays.push(self.delay("one input again and again".into(), frozen(self.draft, &few), None));
        if let Some(mixed) = mixed(&few, self.form.classes) {
            let found = predicted(self.draft, &mixed);
            delays.push(self.delay("half of all of two classes".into(), found, None));
        }
        Ok(delays)
    }

    fn delay(&self, change: String, found: Option<(f64, Bet)>, error_points: Option<f64>) -> Delay {
        let decimate = f64::from(self.draft.decimate.max(1));
        Delay {
            change,
            inferences: found.map(|(feeds, _)| (feeds * decimate).ceil()),
            bet: found.map(|(_, bet)| bet.to_string()),
            error_points,
        }
    }

    /// Errors in percent; `None` where there are no classes or labels.
    fn error_percent(&self, outputs: &[i8], labels: &[u32]) -> Option<f64> {
        if self.form.answers == Answers::Values || labels.is_empty() {
            return None;
        }
        let rows = outputs.chunks_exact(self.form.outputs.max(1));
        let wrong =
            rows.zip(labels).filter(|(row, label)| self.model.class_of(row) != **label as usize);
        Some(100.0 * wrong.count() as f64 / labels.len() as f64)
    }
}

/// As many inferences of the two rarest classes that there are as of all; `None` with fewer than three.
fn mixed(seen: &[Seen], classes: usize) -> Option<Vec<Seen>> {
    let mut counts = vec![0usize; classes];
    for one in seen {
        *counts.get_mut(usize::from(one.class))? += 1;
    }
    let mut there: Vec<u16> =
        (0u16..).take(classes).filter(|&c| counts[usize::from(c)] > 0).collect();
    if there.len() <= PREFERRED {
        return None;
    }
    there.sort_by_key(|&class| counts[usize::from(class)]);
    there.truncate(PREFERRED);
    let of_these: Vec<Seen> =
        seen.iter().filter(|one| there.contains(&one.class)).copied().collect();
    let preferred = of_these.iter().cycle().take(seen.len());
    Some(seen.iter().chain(preferred).copied().collect())
}
