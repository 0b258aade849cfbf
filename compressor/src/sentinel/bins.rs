//! What an inference is counted as: where bins end, and which of many classes have bets.

use bitsback_runtime::sentinel::{Answers, BINS, Draft, MAPPED_CLASSES, MAX_CLASSES, ORDINALS};

use super::SentinelProfile;
use super::bounds::EDGES;
use super::reference::{Form, Seen};
use super::seed::SeedError;

/// Borders of the bins of leads, as shares of the reference, from the smallest lead: doubt is what matters.
const LEADS: [f64; EDGES] = [0.01, 0.04, 0.1, 0.2, 0.35, 0.55, 0.8];
/// The same of everything else, where both ends matter.
const SYMMETRIC: [f64; EDGES] = [0.004, 0.05, 0.2, 0.5, 0.8, 0.95, 0.996];

/// Symbols of the statistics that are watched.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bins {
    /// By how many bits sums over the input are shifted.
    pub(super) shift: u8,
    /// Whether answers are values.
    pub(super) values: bool,
    /// Edges of answer, brightness and roughness, of those that are watched.
    pub(super) edges: [Option<[i16; EDGES]>; ORDINALS],
    /// Classes that have bets.
    pub(super) classes: Vec<u16>,
    /// The same, where there are others.
    pub(super) map: Option<[u16; MAPPED_CLASSES]>,
}

/// How many inferences had which symbol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// All inferences.
    pub(crate) all: u64,
    /// By bin of answer, brightness and roughness; 0 of statistics that aren't watched.
    pub(crate) ordinals: [[u64; BINS]; ORDINALS],
    /// By class, of those that have bets.
    pub(crate) classes: [u64; MAX_CLASSES],
}

impl Bins {
    /// By shares of these examples.
    ///
    /// # Errors
    /// [`SeedError::NothingToWatch`].
    pub(super) fn of(
        form: &Form,
        profile: SentinelProfile,
        examples: &[Seen],
    ) -> Result<Self, SeedError> {
        let is_watched = |statistic: usize| match statistic {
            0 => matches!(form.answers, Answers::Scores | Answers::Values),
            _ => profile != SentinelProfile::Quiet,
        };
        let edges = [0, 1, 2].map(|statistic| {
            let values = || examples.iter().map(|seen| seen.values[statistic]).collect();
            is_watched(statistic).then(|| match (statistic, form.answers) {
                (0, Answers::Values) => edges(values(), &SYMMETRIC, (1, u8::MAX.into())),
                (0, _) => edges(values(), &LEADS, (1, u8::MAX.into())),
                _ => edges(values(), &SYMMETRIC, (i16::MIN + 1, i16::MAX)),
            })
        });
        let has_classes = matches!(form.answers, Answers::Scores | Answers::Class)
            && profile == SentinelProfile::All;
        let map = has_classes.then(|| map(form, examples)).flatten();
        let classes = match (has_classes, map) {
            (false, _) => Vec::new(),
            (true, Some(map)) => map.to_vec(),
            (true, None) => (0..form.classes.min(MAX_CLASSES) as u16).collect(),
        };
        let values = form.answers == Answers::Values;
        Self { shift: form.shift(), values, edges, classes, map }.watching()
    }

    /// Those of a section, as far as the profile watches what it does.
    ///
    /// # Errors
    /// [`SeedError::NothingToWatch`].
    pub(super) fn of_section(draft: &Draft, profile: SentinelProfile) -> Result<Self, SeedError> {
        let inputs = draft.inputs.filter(|_| profile != SentinelProfile::Quiet);
        let [brightness, roughness] = inputs.map_or([None; 2], |inputs| inputs.map(Some));
        let has_classes = profile == SentinelProfile::All;
        let map = draft.map.filter(|_| has_classes);
        let classes = match map {
            Some(map) => map.to_vec(),
            None if has_classes => (0..draft.classes.len() as u16).collect(),
            None => Vec::new(),
        };
        let edges = [draft.answer, brightness, roughness].map(|of| of.map(|of| of.edges));
        Self { shift: draft.shift, values: draft.values, edges, classes, map }.watching()
    }

    /// These, if they watch anything.
    fn watching(self) -> Result<Self, SeedError> {
        let watches = self.edges.iter().any(Option::is_some) || !self.classes.is_empty();
        if watches { Ok(self) } else { Err(SeedError::NothingToWatch) }
    }

    /// The symbols of an inference, of each statistic that is watched: bins, and the place of the class among
    /// those that have bets, or one more.
    pub(super) fn symbols(&self, seen: &Seen) -> [Option<usize>; ORDINALS + 1] {
        let [answer, brightness, roughness] = self.edges;
        let of = |edges: Option<[i16; EDGES]>, statistic: usize| {
            edges.map(|edges| bin(&edges, seen.values[statistic]))
        };
        let class = (!self.classes.is_empty()).then(|| {
            let place = self.classes.iter().position(|&class| class == seen.class);
            place.unwrap_or(self.classes.len())
        });
        [of(answer, 0), of(brightness, 1), of(roughness, 2), class]
    }

    /// Counts of inferences.
    pub(super) fn count(&self, seen: &[Seen]) -> Counts {
        let mut counts = Counts { all: seen.len() as u64, ..Counts::default() };
        for one in seen {
            let [answer, brightness, roughness, class] = self.symbols(one);
            let ordinals = counts.ordinals.iter_mut().zip([answer, brightness, roughness]);
            for (counts, symbol) in ordinals {
                symbol.into_iter().for_each(|bin| counts[bin] += 1);
            }
            if let Some(count) = class.and_then(|class| counts.classes.get_mut(class)) {
                *count += 1;
            }
        }
        counts
    }
}

/// The bin of a value: how many edges it has reached.
pub(super) fn bin(edges: &[i16; EDGES], value: i16) -> usize {
    edges.iter().filter(|&&edge| edge <= value).count()
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
