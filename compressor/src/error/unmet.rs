//! Why a job's model isn't good enough; it is there all the same.

use crate::select::confidence::percent;
use crate::select::margin::{ACCEPTED, Accepted, ChosenMargin, Promise, sufficient_examples};

/// What a model doesn't keep to.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unmet {
    /// No point of the front meets the requirements.
    #[error("{why}")]
    NotMet {
        /// Which requirement binds, and what the nearest point gives.
        why: String,
    },
    /// No point of the front can be promised to meet the requirements.
    #[error("{why}")]
    NotProven {
        /// Which promise fails, and how many examples would be enough.
        why: String,
    },
    /// No way of storing the weights keeps within `[size]`.
    #[error(
        "[size] {what} = {limit} can't be kept: however the weights are stored, it takes {found}; \
         allow more, or compress more ([variational.shrink] target_weights, target_macs or target_instructions)"
    )]
    Size {
        /// The key.
        what: &'static str,
        /// Its value.
        limit: u64,
        /// What the nearest choice takes.
        found: u64,
    },
    /// A network that is no better than chance.
    #[error("no better than chance, so this is no compressed network. {why}. What helps: {remedy}")]
    Chance {
        /// Which network, and its answers beside those of chance.
        why: String,
        /// What to change.
        remedy: String,
    },
    /// Too few validation examples to tell any model from chance.
    #[error(
        "too few validation examples to say whether the model is better than chance. {why}; collect \
         more, or raise [data] validation_count"
    )]
    TooFewToTell {
        /// What was seen.
        why: String,
    },
    /// No margin keeps the promise about what the model is sure of.
    #[error(
        "no margin keeps {requirement} = {} % with {} % confidence: of {} examples held out for it, the \
         model is surest of {}, and {} of {} are wrong; {}",
        percent, self::percent(*confidence), found.examples, found.accepted, found.errors, found.accepted,
        help(*enough)
    )]
    Accepted {
        /// The key.
        requirement: &'static str,
        /// What should be promised, in percent.
        percent: f64,
        /// With which confidence.
        confidence: f64,
        /// What was seen where there is most room.
        found: Accepted,
        /// How many examples held out would be enough at that rate; none where the error is too high.
        enough: Option<u64>,
    },
    /// The model is worse than the job allows.
    #[error(
        "the integer model's validation error is {found:.2} %, {rise:.2} points above the dense \
         network's; [requirements] error_rise_points allows {allowed:.2} (one of {examples} \
         validation examples is {:.2}). What helps: {remedy}, or allow more",
        100.0 / (*examples).max(1) as f64
    )]
    Requirement {
        /// Error of the integer model on validation.
        found: f64,
        /// Points above the dense network.
        rise: f64,
        /// Points allowed.
        allowed: f64,
        /// Validation examples.
        examples: usize,
        /// What keeps more of the dense network.
        remedy: String,
    },
}

impl Unmet {
    /// Whether a margin keeps the promise, and if none does, why.
    pub(crate) fn check_margin(chosen: &ChosenMargin, promise: Promise) -> Result<(), Self> {
        match chosen.margin {
            Some(_) => Ok(()),
            None => Err(Self::Accepted {
                requirement: ACCEPTED,
                percent: promise.percent,
                confidence: promise.confidence,
                found: chosen.held_out,
                enough: sufficient_examples(chosen.held_out, promise),
            }),
        }
    }
}

/// What to do where no margin keeps a promise.
fn help(enough: Option<u64>) -> String {
    match enough {
        Some(examples) => format!("some {examples} examples held out would do at this rate"),
        None => "promise less, or train a better model".to_owned(),
    }
}
