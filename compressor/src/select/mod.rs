//! Requirements in, model out: the most compressed point of a Pareto front that meets everything a job
//! demands, with the confidence that it demands.
//!
//! - [`plan`]: which points a front has, fixed before anything is measured;
//! - [`point`]: what was measured of each;
//! - [`confidence`]: what a count of errors allows to promise;
//! - [`unseen`]: what it allows to say of as many examples to come;
//! - [`margin`]: below which lead a model abstains;
//! - [`resample`](mod@resample): whether such a promise is kept, by trying;
//! - [`chance`]: whether a model is better than chance at all;
//! - [`choose`](mod@choose): the test and the choice;
//! - [`summary`]: the front in figures.

pub(crate) mod chance;
pub(crate) mod choose;
pub(crate) mod confidence;
pub(crate) mod margin;
pub(crate) mod plan;
pub(crate) mod point;
pub(crate) mod resample;
pub(crate) mod summary;
pub(crate) mod unseen;

use serde::{Deserialize, Serialize};

pub use chance::Standing;
pub(crate) use choose::{Choice, Outcome, choose};
use margin::Promise;
pub use margin::{Accepted, DecisionSummary};
pub use plan::FrontConfig;
pub(crate) use plan::Plan;
pub(crate) use point::Point;
pub use point::{Check, Shortage};
pub use summary::{FrontSummary, PointSummary};

/// `[requirements]`: what the model must meet; otherwise the job ends with an exit code of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// How many percentage points of error the integer model may be above the dense float network,
    /// as counted on validation examples; unset: 1, or one example if that is more.
    pub error_rise_points: Option<f64>,
    /// Ceiling on the error rate, in percent, to be promised.
    pub error_percent: Option<f64>,
    /// Ceilings on the error rate of each class, in percent, to be promised: one for all or one per
    /// class; none if empty.
    pub class_error_percent: Vec<f64>,
    /// Ceiling on the error among what the model is sure of, in percent, to be promised: it gets a
    /// margin below which it abstains.
    pub accepted_error_percent: Option<f64>,
    /// Most bytes of the model file.
    pub flash_bytes: Option<u64>,
    /// Most bytes of the arena.
    pub arena_bytes: Option<u64>,
    /// Most instructions of an inference on the target: with as many weights unpacked as its RAM takes.
    pub instructions: Option<u64>,
    /// Most milliseconds of an inference at `[report] megahertz`, an instruction a cycle.
    pub milliseconds: Option<f64>,
    /// Confidence of the promises about errors.
    pub confidence: f64,
    /// Share of the validation examples that decide nothing before the promises are looked at.
    pub hold_out: f64,
    /// The classes' names, by which messages call them once the data are known.
    #[serde(skip)]
    pub class_names: Vec<String>,
}

impl Default for Requirements {
    fn default() -> Self {
        Self {
            error_rise_points: None,
            error_percent: None,
            class_error_percent: Vec::new(),
            accepted_error_percent: None,
            flash_bytes: None,
            arena_bytes: None,
            instructions: None,
            milliseconds: None,
            confidence: 0.95,
            hold_out: 0.5,
            class_names: Vec::new(),
        }
    }
}

/// Points that the error may rise by, unless the job says otherwise.
const ERROR_RISE: f64 = 1.0;

/// Digits after the point to which percents are compared: what is printed alike is equal.
const ROUNDED: f64 = 100.0;

/// Whether `found` is within `limit`, both in percent or points of it.
pub(crate) fn within(found: f64, limit: f64) -> bool {
    (found * ROUNDED).round() <= (limit * ROUNDED).round()
}

/// How the name of a class's requirement begins.
const CLASS: &str = "class_error_percent (class ";

impl Requirements {
    /// How many points the error may rise by.
    pub(crate) fn error_rise(&self) -> f64 {
        self.error_rise_points.unwrap_or(ERROR_RISE)
    }

    /// The same for a model that is judged on so many examples: everything stated.
    pub(crate) fn resolve(&self, judged: usize) -> Self {
        // As it is printed, but not less.
        let one = (100.0 * ROUNDED / judged.max(1) as f64).ceil() / ROUNDED;
        let rise = ERROR_RISE.max(one.min(100.0));
        Self { error_rise_points: self.error_rise_points.or(Some(rise)), ..self.clone() }
    }

    /// Whether anything about errors is to be promised, which takes examples that decided nothing.
    pub(crate) fn promises(&self) -> bool {
        self.error_percent.is_some() || !self.class_error_percent.is_empty()
    }

    /// What is promised of the error among what the model is sure of.
    pub(crate) fn abstaining(&self) -> Option<Promise> {
        let confidence = self.confidence;
        self.accepted_error_percent.map(|percent| Promise { percent, confidence })
    }

    /// How many of so many validation examples of a class each decision has: those that decide anything
    /// else, those that a front's promises are tested on, and those that choose a margin.
    pub(crate) fn shares(&self, validation: usize) -> [usize; 3] {
        let held = (validation as f64 * self.hold_out) as usize;
        match (self.promises(), self.abstaining().is_some()) {
            (false, false) => [validation, 0, 0],
            (true, false) => [validation - held, held, 0],
            (false, true) => [validation - held, 0, held],
            (true, true) => [validation - held, held - held / 2, held / 2],
        }
    }

    /// Whether there is something to search a front for, beyond the one model that a job makes.
    pub(crate) fn need_front(&self) -> bool {
        self.promises()
            || self.flash_bytes.is_some()
            || self.arena_bytes.is_some()
            || self.limit_time()
    }

    /// Whether instructions matter.
    pub(crate) fn limit_time(&self) -> bool {
        self.instructions.is_some() || self.milliseconds.is_some()
    }

    /// The confidence at which each of `sweeps` independent sequences of tests is made, so that all
    /// together have the one asked for (Bonferroni).
    pub(crate) fn confidence_of_each(&self, sweeps: usize) -> f64 {
        1.0 - (1.0 - self.confidence) / sweeps.max(1) as f64
    }

    /// What the ceiling of a class is called.
    pub(crate) fn class_requirement(&self, class: usize) -> String {
        match self.class_names.get(class) {
            Some(name) => format!("{CLASS}{name})"),
            None => format!("{CLASS}{class})"),
        }
    }

    /// The ceiling of a class, in percent.
    pub(crate) fn class_ceiling(&self, class: usize) -> Option<f64> {
        match self.class_error_percent[..] {
            [all] => Some(all),
            _ => self.class_error_percent.get(class).copied(),
        }
    }
}
