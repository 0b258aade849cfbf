//! What can go wrong between the parts of a job.

use std::path::PathBuf;

use crate::select::confidence::percent;
use crate::select::point::Shortage;

/// What can go wrong between the parts.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Another process works in the folder.
    #[error("another bitsback is working in {}; wait for it, or choose another --out", folder.display())]
    Busy {
        /// The output folder.
        folder: PathBuf,
    },
    /// The runtime refuses the model that was just written.
    #[error("the runtime refuses the model: {0}")]
    Parse(bitsback_runtime::ParseError),
    /// The summary can't be written as JSON.
    #[error("the summary can't be encoded: {0}")]
    Json(serde_json::Error),
    /// The simulation that training used and the runtime disagree: a defect of this program.
    #[error(
        "the simulated integer network's validation error is {simulated} %, the runtime's \
         {found} %: they must be equal; please report this with the job file"
    )]
    Simulation {
        /// As training saw it.
        simulated: f64,
        /// As the runtime computes it.
        found: f64,
    },
    /// There are too few validation examples for what a job wants promised, whatever the model.
    #[error(
        "not enough validation data to promise this: [requirements] {} = {} % with {} % confidence{} \
         takes at least {} examples without one error, and {} are held out; raise [data] \
         validation_count or [requirements] hold_out, or ask for less",
        shortage.requirement, shortage.ceiling, percent(*confidence),
        if of_each > confidence {
            format!(" (with several [front] temperatures {} % each)", percent(*of_each))
        } else {
            String::new()
        },
        shortage.needed,
        shortage.examples
    )]
    TooFewExamples {
        /// What can't be promised.
        shortage: Shortage,
        /// The confidence asked for.
        confidence: f64,
        /// That of each temperature's test.
        of_each: f64,
    },
    /// A front without a finished point: a defect of this program, or its folder was changed.
    #[error("the front has no point that is whole; start again with --force")]
    NoPoint,
}
