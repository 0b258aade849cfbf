//! A sentinel in figures, for the table, the report and `summary.json`.

use serde::{Deserialize, Serialize};

use super::seed::Seeded;
use super::{SentinelConfig, SentinelProfile};

/// What is promised of a sentinel, and what is expected of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentinelSummary {
    /// Which statistics it watches.
    pub profile: SentinelProfile,
    /// Bytes of its section in the file.
    pub bytes: u64,
    /// Reference examples.
    pub examples: u64,
    /// Confidence that their law is within the bounds.
    pub confidence: f64,
    /// Share of the inferences that may be anything, in percent.
    pub tolerance_percent: f64,
    /// The chance of a false alarm within `inferences`, at the most.
    pub false_alarms: f64,
    /// Inferences in which that is the chance.
    pub inferences: u64,
    /// Every how many inferences one is fed.
    pub decimate: u32,
    /// Evidence from which on it is an alarm, in bits.
    pub threshold_bits: f64,
    /// Bets that can alarm.
    pub bets: u64,
    /// What is predicted of changes of the reference, nothing changed first.
    pub delays: Vec<Delay>,
}

/// What is predicted of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delay {
    /// The change.
    pub change: String,
    /// Inferences until the alarm, on average, at the most; none where it isn't noticed.
    pub inferences: Option<f64>,
    /// The bet that notices it, such as `brightness hi2`.
    pub bet: Option<String>,
    /// By how many points the model's error rises; none where nobody says what is right.
    pub error_points: Option<f64>,
}

impl SentinelSummary {
    pub(super) fn new(
        config: &SentinelConfig,
        seeded: &Seeded,
        bytes: usize,
        delays: Vec<Delay>,
    ) -> Self {
        Self {
            profile: config.profile,
            bytes: bytes as u64,
            examples: seeded.examples as u64,
            confidence: config.confidence,
            tolerance_percent: config.tolerance_percent,
            false_alarms: config.false_alarms,
            inferences: config.inferences,
            decimate: seeded.draft.decimate.into(),
            threshold_bits: f64::from(seeded.draft.threshold) / 16.0,
            bets: seeded.bets as u64,
            delays,
        }
    }

    /// The changes that it doesn't notice. Nothing changed, the first, isn't among them.
    pub(crate) fn unnoticed(&self) -> impl Iterator<Item = &Delay> {
        self.delays.iter().skip(1).filter(|delay| delay.inferences.is_none())
    }
}
