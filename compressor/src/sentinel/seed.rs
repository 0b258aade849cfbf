//! From reference examples to a sentinel's section.
//!
//! A fifth of the examples, drawn by chance with a fixed seed, says where bins end and which of many classes
//! have bets. The others are counted; what their counts let be said of the law that they were drawn from holds
//! with the confidence asked for, all of it at once, since nothing in it depends on them. Bets are then
//! chosen by the same counts: whatever is chosen, its proof rests on the bounds alone.

use bitsback_runtime::sentinel::{CLASSES_AT, ClassBet, Draft, ORDINALS, Ordinal, TAILS_AT, TILTS};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use super::SentinelConfig;
use super::bins::{Bins, Counts};
use super::bounds::{Bounds, EDGES, ONE, upper};
use super::events::{class_alternative, event, tail_alternative};
use super::frames::{LEAST_FRAMES, apart};
use super::reference::{Form, Seen};
use super::tables::{SLOPES, law, table, tilted};
use super::threshold::{Steps, threshold};

/// Fewest reference examples: of fewer, bounds are so wide that no bet gains.
pub(crate) const LEAST_EXAMPLES: usize = 300;
/// One of so many examples says where bins end.
const EDGE_EXAMPLES: usize = 5;
/// Statements about an ordinal statistic: two for each border of bins.
const STATEMENTS: usize = 2 * EDGES;
/// Sets which examples they are.
const SEED: u64 = 1;
/// What the tails have more under their alternatives: small leads, and others.
const SMALL_LEADS: f64 = 0.12;
const OTHER_TAILS: f64 = 0.06;

/// Why there is no sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SeedError {
    /// There aren't enough examples.
    #[error(
        "a sentinel needs {LEAST_EXAMPLES} reference examples at least, and there are {found}: give \
         more (of a job by [data] validation_count), or leave the sentinel out"
    )]
    TooFew {
        /// Examples that there are.
        found: usize,
    },
    /// The profile watches nothing that the model has.
    #[error(
        "profile `quiet` watches by how much the largest output leads, and the model gives the class \
         alone: take profile `all` or `no-prior`"
    )]
    NothingToWatch,
    /// There aren't enough frames.
    #[error(
        "a recording needs {LEAST_FRAMES} frames at least, and there are {found}: give more, or --decimate"
    )]
    FewFrames {
        /// Frames that there are.
        found: usize,
    },
    /// No distance will do.
    #[error(
        "the recording shows one scene alone, or frames that depend on one another even where they are \
         255 apart: infer once an event, such as a person or a part, and record that"
    )]
    Dependent,
}

/// A section, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seeded {
    /// All that the section says.
    pub(crate) draft: Draft,
    /// Reference examples, all of them.
    pub(crate) examples: usize,
    /// Bets that can rise.
    pub(crate) bets: usize,
}

/// Chooses bets and threshold by inferences on examples like those of the field; and by a recording's frames,
/// in their order, every how many inferences one is fed.
///
/// # Errors
/// [`SeedError`].
pub(super) fn seed(
    form: &Form,
    reference: &[Seen],
    recording: Option<&[Seen]>,
    config: &SentinelConfig,
) -> Result<Seeded, SeedError> {
    enough(reference.len())?;
    let mut examples = reference.to_vec();
    examples.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
    let (edges, counted) = examples.split_at(examples.len() / EDGE_EXAMPLES);
    let bins = Bins::of(form, config.profile, edges)?;
    let decimate = match recording {
        None => config.decimate,
        Some(frames) if frames.len() < LEAST_FRAMES => {
            return Err(SeedError::FewFrames { found: frames.len() });
        }
        Some(frames) => {
            let apart = apart(&bins, frames, config.tolerance());
            apart.ok_or(SeedError::Dependent)?.into()
        }
    };
    let config = SentinelConfig { decimate, ..config.clone() };
    Ok(Seeded { examples: reference.len(), ..bet(&bins, &bins.count(counted), &config) })
}

/// Chooses bets and threshold anew, by what devices have counted with the bets of a section: bins stay. The
/// reference is the field itself then.
///
/// # Errors
/// [`SeedError`].
pub(super) fn reseed(
    section: &Draft,
    counts: &Counts,
    config: &SentinelConfig,
) -> Result<Seeded, SeedError> {
    enough(counts.all as usize)?;
    Ok(bet(&Bins::of_section(section, config.profile)?, counts, config))
}

fn enough(found: usize) -> Result<(), SeedError> {
    if found < LEAST_EXAMPLES { Err(SeedError::TooFew { found }) } else { Ok(()) }
}

/// The bets on what is counted, by counts.
fn bet(bins: &Bins, counts: &Counts, config: &SentinelConfig) -> Seeded {
    let statements = STATEMENTS * bins.edges.iter().flatten().count() + bins.classes.len();
    let doubt = (1.0 - config.confidence) / statements as f64;
    let tolerance = config.tolerance();
    let bets = Bets { counts, doubt, tolerance };
    let [answer, brightness, roughness] = bins.edges;
    let inputs = brightness.zip(roughness);
    let classes = counts.classes.iter().take(bins.classes.len());
    let mut draft = Draft {
        threshold: 1,
        shift: bins.shift,
        decimate: config.decimate.clamp(1, u8::MAX.into()) as u8,
        tolerance,
        values: bins.values && answer.is_some(),
        answer: answer.map(|edges| bets.ordinal(0, edges)),
        inputs: inputs.map(|(first, second)| [bets.ordinal(1, first), bets.ordinal(2, second)]),
        classes: classes.map(|&count| bets.class(count)).collect(),
        map: bins.map,
    };
    let steps: Vec<Steps> = steps(&draft).into_iter().map(|(_, steps)| steps).collect();
    draft.threshold = threshold(&steps, config.promise());
    let bets = steps.iter().filter(|steps| steps.rises()).count();
    Seeded { draft, examples: counts.all as usize, bets }
}

/// What bets are made of.
struct Bets<'a> {
    counts: &'a Counts,
    /// The chance that a statement is wrong.
    doubt: f64,
    tolerance: u16,
}

impl Bets<'_> {
    /// Everything about an ordinal statistic with these edges.
    fn ordinal(&self, statistic: usize, edges: [i16; EDGES]) -> Ordinal {
        let mut of = Ordinal { edges, ..Ordinal::default() };
        let counts = &self.counts.ordinals[statistic];
        let (reference, bounds) = (law(counts), Bounds::of(counts, self.doubt));
        for (tilt, slope) in SLOPES.into_iter().enumerate() {
            let alternative = tilted(&reference, slope);
            let table = table(&reference, &alternative, &bounds, self.tolerance);
            for (row, score) in of.table.iter_mut().zip(table) {
                row[tilt] = score;
            }
        }
        (of.up, of.lo) = (bounds.up, bounds.lo);
        let more = if statistic == 0 { SMALL_LEADS } else { OTHER_TAILS };
        let [low, high] = tails(statistic, &of);
        of.low = event(low, self.tolerance, tail_alternative(more, low, self.tolerance));
        of.high = event(high, self.tolerance, tail_alternative(OTHER_TAILS, high, self.tolerance));
        of
    }

    /// The bet on a class that came so often.
    fn class(&self, count: u64) -> ClassBet {
        let up = upper(count, self.counts.all, self.doubt);
        let likely = count as f64 / self.counts.all as f64;
        let alternative = class_alternative(likely, up, self.tolerance);
        ClassBet { event: event(up, self.tolerance, alternative), up }
    }
}

/// The most that the tails of a statistic have: its lowest bin, or two of the answer, and its highest.
fn tails(statistic: usize, of: &Ordinal) -> [u16; 2] {
    let below = if statistic == 0 { of.lo[1] } else { of.lo[0] };
    [ONE - below, of.up[EDGES - 1]]
}

/// The largest laws of all bets of a section, each with its place.
pub(super) fn steps(draft: &Draft) -> Vec<(usize, Steps)> {
    let tolerance = draft.tolerance;
    let mut steps = Vec::new();
    let ordinals = ordinals(draft);
    for (statistic, of) in &ordinals {
        let bounds = Bounds { up: of.up, lo: of.lo };
        for tilt in 0..TILTS {
            let table = of.table.map(|row| row[tilt]);
            steps.push((TILTS * statistic + tilt, Steps::of_table(&table, &bounds, tolerance)));
        }
    }
    for (statistic, of) in ordinals {
        let [low, high] = tails(statistic, of);
        let place = TAILS_AT + 2 * statistic;
        steps.push((place, Steps::of_event(of.low, low, tolerance)));
        steps.push((place + 1, Steps::of_event(of.high, high, tolerance)));
    }
    for (place, class) in (CLASSES_AT..).zip(&draft.classes) {
        steps.push((place, Steps::of_event(class.event, class.up, tolerance)));
    }
    steps
}

/// The ordinal statistics of a section, each with its number.
pub(super) fn ordinals(draft: &Draft) -> Vec<(usize, &Ordinal)> {
    let inputs = draft.inputs.iter().flatten();
    let answer = draft.answer.iter().map(|of| (0, of));
    let inputs = (1..ORDINALS).zip(inputs);
    answer.chain(inputs).collect()
}
