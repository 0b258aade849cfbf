//! Sentinels: bets by which a device notices that the field no longer looks like the reference, and what is
//! promised of them.
//!
//! - [`reference`](mod@reference): inferences as a sentinel sees them;
//! - [`bins`]: what they are counted as;
//! - [`frames`]: how far apart they must be;
//! - [`bounds`]: what counts let be said of their law;
//! - [`tables`], [`events`]: the bets;
//! - [`threshold`]: how much evidence is an alarm;
//! - [`seed`](mod@seed): all of it, to a section;
//! - [`changes`]: what may become of inputs;
//! - [`delay`]: how soon a change is noticed;
//! - [`attach`](mod@attach): a sentinel for a finished model;
//! - [`summary`]: it in figures.
//!
//! The proofs are those of `bitsback_runtime::sentinel`.

pub(crate) mod attach;
mod bins;
mod bounds;
mod changes;
mod delay;
mod events;
mod frames;
mod reference;
pub(crate) mod seed;
mod summary;
mod tables;
mod threshold;

use bitsback_runtime::sentinel::Draft;
use serde::{Deserialize, Serialize};

pub use attach::SentinelError;
pub(crate) use bins::Counts;
use bounds::ONE;
pub use seed::SeedError;
pub use summary::{Delay, SentinelSummary};
use threshold::Promise;

/// Which statistics a sentinel watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentinelProfile {
    /// No sentinel.
    #[default]
    None,
    /// Answers, inputs and classes.
    All,
    /// Answers alone: where looks may change without harm.
    Quiet,
    /// Answers and inputs: where each site has its own mixture of classes.
    NoPrior,
}

impl SentinelProfile {
    /// What of it a section watches: at most what it says.
    fn within(self, section: &Draft) -> Self {
        match self {
            Self::None | Self::Quiet => self,
            _ if section.inputs.is_none() => Self::Quiet,
            Self::All if section.classes.is_empty() && !section.values => Self::NoPrior,
            _ => self,
        }
    }
}

/// `[sentinel]`: whether the model gets a sentinel, and what is promised of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SentinelConfig {
    /// Which statistics it watches.
    pub profile: SentinelProfile,
    /// Share of the inferences that may be anything, in percent.
    pub tolerance_percent: f64,
    /// Confidence that the reference's law is within the bounds that its counts give.
    pub confidence: f64,
    /// The chance of a false alarm within `inferences`.
    pub false_alarms: f64,
    /// Inferences in which that is the chance.
    pub inferences: u64,
    /// Every how many inferences one is fed.
    pub decimate: u32,
}

impl Default for SentinelConfig {
    fn default() -> Self {
        Self {
            profile: SentinelProfile::None,
            tolerance_percent: 2.0,
            confidence: 0.99,
            false_alarms: 0.001,
            inferences: 10_000,
            decimate: 1,
        }
    }
}

impl SentinelConfig {
    /// The tolerance in 4096ths, rounded up.
    fn tolerance(&self) -> u16 {
        ((self.tolerance_percent / 100.0 * f64::from(ONE)).ceil() as u16).min(ONE)
    }

    /// What is promised of what is fed.
    fn promise(&self) -> Promise {
        let feeds = self.inferences.div_ceil(self.decimate.max(1).into()).max(1);
        Promise { chance: self.false_alarms, feeds }
    }
}

#[cfg(test)]
mod tests;
