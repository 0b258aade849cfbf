//! From reference examples to a sentinel's section.
//!
//! A fifth of the examples, drawn by chance with a fixed seed, says where bins end and which of many classes
//! have bets. The others are counted; what their counts let be said of the law that they were drawn from holds
//! with the confidence asked for, all of it at once, since nothing in it depends on them. Bets are then
//! chosen by the same counts: whatever is chosen, its proof rests on the bounds alone.

use bitsback_runtime::sentinel::{
    Answers, BINS, CLASSES_AT, ClassBet, Draft, MAPPED_CLASSES, MAX_CLASSES, ORDINALS, Ordinal,
    TAILS_AT, TILTS,
};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use super::bounds::{Bounds, EDGES, ONE, upper};
use super::events::{class_alternative, event, tail_alternative};
use super::reference::{Form, Seen, bin};
use super::tables::{SLOPES, law, table, tilted};
use super::threshold::{Steps, threshold};
use super::{SentinelConfig, SentinelProfile};

/// Fewest reference examples: of fewer, bounds are so wide that no bet gains.
pub(crate) const LEAST_EXAMPLES: usize = 300;
/// One of so many examples says where bins end.
const EDGE_EXAMPLES: usize = 5;
/// Statements about an ordinal statistic: two for each border of bins.
const STATEMENTS: usize = 2 * EDGES;
/// Sets which examples they are.
const SEED: u64 = 1;
/// Borders of the bins of leads, as shares of the reference, from the smallest lead: doubt is what matters.
const LEADS: [f64; EDGES] = [0.01, 0.04, 0.1, 0.2, 0.35, 0.55, 0.8];
/// The same of everything else, where both ends matter.
const SYMMETRIC: [f64; EDGES] = [0.004, 0.05, 0.2, 0.5, 0.8, 0.95, 0.996];
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

/// Chooses bets and threshold by inferences on examples like those of the field.
///
/// # Errors
/// [`SeedError`].
pub(super) fn seed(
    form: &Form,
    reference: &[Seen],
    config: &SentinelConfig,
) -> Result<Seeded, SeedError> {
    if reference.len() < LEAST_EXAMPLES {
        return Err(SeedError::TooFew { found: reference.len() });
    }
    let mut examples = reference.to_vec();
    examples.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
    let (edges, counted) = examples.split_at(examples.len() / EDGE_EXAMPLES);
    let of = Parts::of(form, config.profile);
    if !of.answer && !of.inputs && !of.classes {
        return Err(SeedError::NothingToWatch);
    }
    let map = of.classes.then(|| map(form, edges)).flatten();
    let classes = match (of.classes, map) {
        (false, _) => Vec::new(),
        (true, Some(map)) => map.to_vec(),
        (true, None) => (0..form.classes.min(MAX_CLASSES) as u16).collect(),
    };
    let tolerance = config.tolerance();
    let ordinals = usize::from(of.answer) + 2 * usize::from(of.inputs);
    let statements = STATEMENTS * ordinals + classes.len();
    let doubt = (1.0 - config.confidence) / statements as f64;
    let bets = Bets { edges, counted, doubt, tolerance };
    let answer = of.answer.then(|| {
        let quantiles = if form.answers == Answers::Values { &SYMMETRIC } else { &LEADS };
        bets.ordinal(0, quantiles, (1, u8::MAX.into()))
    });
    let inputs = of.inputs.then(|| {
        [1, 2].map(|statistic| bets.ordinal(statistic, &SYMMETRIC, (i16::MIN + 1, i16::MAX)))
    });
    let mut draft = Draft {
        threshold: 1,
        shift: form.shift(),
        decimate: config.decimate.clamp(1, u8::MAX.into()) as u8,
        tolerance,
        values: of.answer && form.answers == Answers::Values,
        answer,
        inputs,
        classes: classes.iter().map(|&class| bets.class(class)).collect(),
        map,
    };
    let steps: Vec<Steps> = steps(&draft).into_iter().map(|(_, steps)| steps).collect();
    draft.threshold = threshold(&steps, config.promise());
    let bets = steps.iter().filter(|steps| steps.rises()).count();
    Ok(Seeded { draft, examples: reference.len(), bets })
}

/// The statistics that are watched.
struct Parts {
    answer: bool,
    inputs: bool,
    classes: bool,
}

impl Parts {
    fn of(form: &Form, profile: SentinelProfile) -> Self {
        let answer = matches!(form.answers, Answers::Scores | Answers::Values);
        let classes = matches!(form.answers, Answers::Scores | Answers::Class);
        Self {
            answer,
            inputs: profile != SentinelProfile::Quiet,
            classes: classes && profile == SentinelProfile::All,
        }
    }
}

/// The commonest of more than ten classes, ascending.
fn map(form: &Form, examples: &[Seen]) -> Option<[u16; MAPPED_CLASSES]> {
    if form.classes <= MAX_CLASSES {
        return None;
    }
    let mut counts: Vec<(usize, u16)> = (0..form.classes as u16).map(|class| (0, class)).collect();
    for seen in examples {
        if let Some((count, _)) = counts.get_mut(usize::from(seen.class)) {
            *count += 1;
        }
    }
    // Of equals the first.
    counts.sort_by_key(|&(count, _)| std::cmp::Reverse(count));
    let mut map: Vec<u16> = counts.iter().take(MAPPED_CLASSES).map(|&(_, class)| class).collect();
    map.sort_unstable();
    map.try_into().ok()
}

/// What bets are made of.
struct Bets<'a> {
    /// Examples that say where bins end.
    edges: &'a [Seen],
    /// Examples that are counted.
    counted: &'a [Seen],
    /// The chance that a statement is wrong.
    doubt: f64,
    tolerance: u16,
}

impl Bets<'_> {
    /// Everything about an ordinal statistic, with edges in `range`.
    fn ordinal(&self, statistic: usize, shares: &[f64; EDGES], range: (i16, i16)) -> Ordinal {
        let values = self.edges.iter().map(|seen| seen.values[statistic]).collect();
        let mut of = Ordinal { edges: edges(values, shares, range), ..Ordinal::default() };
        let mut counts = [0; BINS];
        for seen in self.counted {
            counts[bin(&of, seen.values[statistic])] += 1;
        }
        let (reference, bounds) = (law(&counts), Bounds::of(&counts, self.doubt));
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

    /// The bet on a class.
    fn class(&self, class: u16) -> ClassBet {
        let count = self.counted.iter().filter(|seen| seen.class == class).count();
        let up = upper(count as u64, self.counted.len() as u64, self.doubt);
        let likely = count as f64 / self.counted.len() as f64;
        let alternative = class_alternative(likely, up, self.tolerance);
        ClassBet { event: event(up, self.tolerance, alternative), up }
    }
}

/// The most that the tails of a statistic have: its lowest bin, or two of the answer, and its highest.
fn tails(statistic: usize, of: &Ordinal) -> [u16; 2] {
    let below = if statistic == 0 { of.lo[1] } else { of.lo[0] };
    [ONE - below, of.up[EDGES - 1]]
}

/// Edges at shares of what is seen, ascending, each within `range`.
fn edges(mut values: Vec<i16>, shares: &[f64; EDGES], range: (i16, i16)) -> [i16; EDGES] {
    values.sort_unstable();
    let at = |share: f64| values.get((share * values.len() as f64) as usize).copied();
    let (mut least, most) = (i32::from(range.0), i32::from(range.1));
    let mut edges = shares.map(|share| {
        let edge = i32::from(at(share).unwrap_or_default()).max(least);
        least = edge + 1;
        edge
    });
    let mut most = most;
    for edge in edges.iter_mut().rev() {
        *edge = (*edge).min(most);
        most = *edge - 1;
    }
    edges.map(|edge| edge as i16)
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
