//! The margin below which a model abstains: the smallest that keeps a promise about the error among what
//! it answers.
//!
//! Margins are tested on examples held out, which decide nothing else, by the exact test of [`unseen`],
//! from a large margin downwards in single steps; testing stops at the first that fails, and the last that
//! stood is taken. That is a fixed-sequence test: however many margins are tried, the chance that a
//! promise is made and then broken is at most 1 − confidence (Maurer, Hothorn and Lehmacher, 1995; of
//! thresholds for abstaining, Angelopoulos and others, *Learn then Test*, 2021).
//!
//! Where the sequence begins must not depend on the labels of those examples. A margin that hardly anything
//! reaches would fail for want of examples, so other examples say where there is most room (the
//! *planning* ones, which may have decided anything else): a bad beginning costs answers, never the promise.
//!
//! [`unseen`]: super::unseen

use serde::{Deserialize, Serialize};

use super::confidence::MAX_EXAMPLES;
use super::point::Shortage;
use super::unseen::{Seen, breaks, chance, least_examples, most_errors};

/// Margins that there are: differences of two int8.
const MARGINS: usize = 256;

/// The key in `[requirements]`.
pub(crate) const ACCEPTED: &str = "accepted_error_percent";

/// Examples by how far their largest output leads.
#[derive(Clone, Debug)]
pub(crate) struct Leads {
    examples: u64,
    /// By lead: those that lead by so much, and the wrong ones of them.
    counts: [(u64, u64); MARGINS],
}

impl Leads {
    /// Counts examples: how far each leads, and whether it is wrong.
    pub(crate) fn count(examples: impl IntoIterator<Item = (u8, bool)>) -> Self {
        let mut leads = Self { examples: 0, counts: [(0, 0); MARGINS] };
        for (lead, wrong) in examples {
            leads.examples += 1;
            let count = &mut leads.counts[usize::from(lead)];
            *count = (count.0 + 1, count.1 + u64::from(wrong));
        }
        leads
    }

    /// What is accepted at a margin.
    pub(crate) fn at(&self, margin: u8) -> Accepted {
        let all = &self.counts[usize::from(margin)..];
        let sum = |(n, x): (u64, u64), &(examples, errors): &(u64, u64)| (n + examples, x + errors);
        let (accepted, errors) = all.iter().fold((0, 0), sum);
        Accepted::new(self.examples, accepted, errors)
    }
}

/// What a model answers at a margin, and how often that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// Examples.
    pub examples: u64,
    /// Those of which the model is sure.
    pub accepted: u64,
    /// The same in percent.
    pub coverage_percent: f64,
    /// Those of which it is sure and wrong.
    pub errors: u64,
    /// The same in percent of those of which it is sure; 0 of none.
    pub error_percent: f64,
}

impl Accepted {
    /// Of counts.
    pub(crate) fn new(examples: u64, accepted: u64, errors: u64) -> Self {
        let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        Self {
            examples,
            accepted,
            coverage_percent: percent(accepted, examples),
            errors,
            error_percent: percent(errors, accepted),
        }
    }
}

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Promise {
    /// Most errors among what is accepted, in percent.
    pub(crate) percent: f64,
    /// The confidence.
    pub(crate) confidence: f64,
}

impl Promise {
    /// What is missing where there are too few examples held out for it, whatever the model.
    pub(crate) fn shortage(self, examples: u64) -> Option<Shortage> {
        let (requirement, ceiling) = (ACCEPTED.to_owned(), self.percent);
        let needed = least_examples(self.percent, self.confidence);
        (examples < needed).then_some(Shortage { requirement, ceiling, examples, needed })
    }
}

/// One margin's test; a row of the ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TestedMargin {
    pub(crate) margin: u8,
    /// Examples held out that are accepted.
    pub(crate) accepted: u64,
    /// The wrong ones of them.
    pub(crate) errors: u64,
    /// The most that may be wrong; none if there are too few.
    pub(crate) most_errors: Option<u64>,
    /// The chance of so few, if as many to come break the promise.
    pub(crate) chance: f64,
    /// Whether the promise stands with it.
    pub(crate) kept: bool,
}

/// A margin, and how it was chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChosenMargin {
    /// The smallest that keeps the promise; none if not even the first does.
    pub(crate) margin: Option<u8>,
    /// Every margin that was tested, in order: at least one.
    pub(crate) tested: Vec<TestedMargin>,
    /// What is accepted of the examples held out, at the margin or at the first that was tested.
    pub(crate) held_out: Accepted,
}

/// Chooses the margin on `held_out`, beginning where `planning` has most room.
pub(crate) fn choose_margin(planning: &Leads, held_out: &Leads, promise: Promise) -> ChosenMargin {
    let first = beginning(planning, held_out, promise);
    let mut tested = Vec::new();
    let mut chosen = None;
    for margin in (0..=first).rev() {
        let Accepted { accepted, errors, .. } = held_out.at(margin);
        let chance = chance(Seen { examples: accepted, errors }, promise.percent);
        let kept = chance <= 1.0 - promise.confidence;
        let most_errors = most_errors(accepted, promise.percent, promise.confidence);
        tested.push(TestedMargin { margin, accepted, errors, most_errors, chance, kept });
        if !kept {
            break;
        }
        chosen = Some(margin);
    }
    ChosenMargin { margin: chosen, tested, held_out: held_out.at(chosen.unwrap_or(first)) }
}

/// How many examples held out would be enough for a promise at the rates that were seen; `None` where the
/// error isn't below it, or beyond any data set.
pub(crate) fn sufficient_examples(at: Accepted, promise: Promise) -> Option<u64> {
    const STEP: f64 = 1.25;
    if at.accepted == 0 || breaks(at.accepted, at.errors, promise.percent) {
        return None;
    }
    let mut factor = STEP;
    loop {
        let scaled = |count: u64| (count as f64 * factor).ceil() as u64;
        if scaled(at.examples) > MAX_EXAMPLES >> 10 {
            return None;
        }
        let seen = Seen { examples: scaled(at.accepted), errors: scaled(at.errors) };
        if chance(seen, promise.percent) <= 1.0 - promise.confidence {
            return Some(scaled(at.examples));
        }
        factor *= STEP;
    }
}

/// The margin with the most room between the errors that are expected of the examples held out and those
/// that are allowed, in standard deviations; the largest of equals.
fn beginning(planning: &Leads, held_out: &Leads, promise: Promise) -> u8 {
    let room = |margin: u8| {
        let Accepted { accepted, errors, .. } = planning.at(margin);
        // As many as are accepted there, which needs no label.
        let examples = held_out.at(margin).accepted;
        let Some(allowed) = most_errors(examples, promise.percent, promise.confidence) else {
            // Too few for any promise: the more, the nearer.
            return (false, examples as f64);
        };
        // One more than were seen: none seen is not none expected.
        let expected = (errors + 1) as f64 / (accepted + 1) as f64 * examples as f64;
        (true, (allowed as f64 + 0.5 - expected) / expected.sqrt())
    };
    let mut best = (u8::MAX, (false, f64::NEG_INFINITY));
    for margin in (0..=u8::MAX).rev() {
        let room = room(margin);
        if room > best.1 {
            best = (margin, room);
        }
    }
    best.0
}

/// A margin in figures, as `summary.json` and `inspect` have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionSummary {
    /// By how many steps of the output the largest must lead; none where no margin keeps the promise,
    /// and 0 where every answer does.
    pub margin: Option<u8>,
    /// What is promised of the error among what is accepted, in percent.
    pub accepted_error_percent: f64,
    /// The confidence.
    pub confidence: f64,
    /// On the validation examples that chose the margin, and nothing else; without a margin, at the one
    /// that was tested first.
    pub held_out: Accepted,
    /// On the test examples, which played no part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Accepted>,
    /// How the margin was tested.
    pub method: String,
}

/// What the promise rests on, in words.
const METHOD: &str = "margins tested on held-out examples from a large one down, each at the full \
                      confidence, until one fails (fixed-sequence test); each by the exact \
                      hypergeometric chance of so few errors, if among as many accepted examples to \
                      come more were wrong than is promised";

impl DecisionSummary {
    /// Puts the figures together.
    pub(crate) fn new(chosen: &ChosenMargin, promise: Promise, test: Option<Accepted>) -> Self {
        Self {
            margin: chosen.margin,
            accepted_error_percent: promise.percent,
            confidence: promise.confidence,
            held_out: chosen.held_out,
            test,
            method: METHOD.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Promise = Promise { percent: 0.5, confidence: 0.95 };

    /// So many examples of a lead, of which some are wrong.
    fn leads(of: &[(u8, u64, u64)]) -> Leads {
        let of = of.iter().flat_map(|&(lead, right, wrong)| {
            let right = std::iter::repeat_n((lead, false), right as usize);
            right.chain(std::iter::repeat_n((lead, true), wrong as usize))
        });
        Leads::count(of)
    }

    #[test]
    fn what_is_accepted_leads_by_the_margin_or_more() {
        let leads = leads(&[(0, 1, 1), (7, 6, 2), (255, 10, 0)]);
        let at = |margin| (leads.at(margin).accepted, leads.at(margin).errors);
        assert_eq!(
            [at(0), at(1), at(7), at(8), at(255)],
            [(20, 3), (18, 2), (18, 2), (10, 0), (10, 0)]
        );
        assert_eq!(leads.at(8).coverage_percent, 50.0);
        assert!((leads.at(7).error_percent - 100.0 / 9.0).abs() < 1e-9);
        assert_eq!(Leads::count([]).at(0), Accepted::new(0, 0, 0));
    }

    #[test]
    fn testing_ends_at_the_first_margin_that_fails() {
        // 1,000 of 1,000 right above 40; wrong ones from there on, and none of 500 below 20.
        let held = leads(&[(60, 1_000, 0), (40, 20, 9), (10, 500, 0)]);
        let chosen = choose_margin(&held, &held, HALF);
        assert_eq!(chosen.margin, Some(41));
        let last = chosen.tested.last().unwrap();
        assert_eq!((last.margin, last.kept), (40, false));
        assert!(chosen.tested[..chosen.tested.len() - 1].iter().all(|tested| tested.kept));
        assert_eq!((chosen.held_out.accepted, chosen.held_out.errors), (1_000, 0));
    }

    #[test]
    fn a_model_that_is_never_wrong_needs_no_margin() {
        let held = leads(&[(0, 100, 0), (60, 2_000, 0)]);
        assert_eq!(choose_margin(&held, &held, HALF).margin, Some(0));
    }

    #[test]
    fn no_margin_keeps_what_too_few_examples_or_too_many_errors_forbid() {
        let few = leads(&[(60, 799, 0)]);
        let chosen = choose_margin(&few, &few, HALF);
        assert_eq!((chosen.margin, chosen.tested.len()), (None, 1));
        assert_eq!((chosen.held_out.accepted, chosen.tested[0].most_errors), (799, None));
        let wrong = leads(&[(60, 1_000, 100), (0, 1_000, 500)]);
        let chosen = choose_margin(&wrong, &wrong, HALF);
        assert_eq!((chosen.margin, chosen.held_out.errors), (None, 100));
        assert_eq!(choose_margin(&Leads::count([]), &Leads::count([]), HALF).margin, None);
    }

    #[test]
    fn the_beginning_is_where_there_is_room_by_the_planning_examples() {
        // The surest are wrong as often as not: a sequence from the top would end at once.
        let held = leads(&[(255, 10, 10), (100, 4_000, 3), (5, 300, 300)]);
        let chosen = choose_margin(&held, &held, Promise { percent: 1.0, ..HALF });
        assert_eq!(chosen.margin, Some(6), "{:?}", chosen.tested);
        assert!(chosen.tested[0].margin <= 100);
    }
}
