//! The sentinel that the device's program may ask whether the field has changed: seeded by all validation
//! examples, which no gradient came from.

use bitsback_runtime::sentinel::MAX_SECTION_LEN;

use super::Prepared;
use super::finish::{Input, Model};
use crate::compile::storage::SizeConfig;
use crate::error::Error;
use crate::job::{Job, SentinelProfile};
use crate::sentinel::attach::{Examples, attach};
use crate::sentinel::seed::LEAST_EXAMPLES;
use crate::sentinel::{SeedError, SentinelError, SentinelSummary};
use crate::verify;

/// Validation examples below which a sentinel sees little.
const FEW_EXAMPLES: usize = 1_000;

/// Checks that a job that asks for a sentinel has enough validation examples for one.
pub(super) fn check(job: &Job, prepared: &Prepared) -> Result<(), Error> {
    let found: usize = reference(prepared).map(|examples| examples.len()).sum();
    if job.sentinel.profile == SentinelProfile::None || found >= LEAST_EXAMPLES {
        return Ok(());
    }
    Err(SentinelError::from(SeedError::TooFew { found }).into())
}

/// What a job that asks for a sentinel should be told before it trains.
pub(super) fn warning(job: &Job, prepared: &Prepared) -> Option<String> {
    let found: usize = reference(prepared).map(|examples| examples.len()).sum();
    let asked = job.sentinel.profile != SentinelProfile::None;
    (asked && found < FEW_EXAMPLES).then(|| {
        format!(
            "[sentinel] has {found} validation examples for its reference; under {FEW_EXAMPLES}, moderate \
             changes are noticed late or never (the report says which)"
        )
    })
}

/// All validation examples, whatever else they decided.
fn reference(prepared: &Prepared) -> impl Iterator<Item = &crate::train::batch::Examples> {
    let held = prepared.held_out.iter().chain(&prepared.deciding);
    std::iter::once(&prepared.validation).chain(held)
}

impl Input<'_> {
    /// How weights are stored, with room left for a sentinel where the job asks for one.
    pub(super) fn size(&self) -> SizeConfig {
        let size = self.job.size;
        match self.job.sentinel.profile {
            SentinelProfile::None => size,
            _ => SizeConfig {
                flash_bytes: size
                    .flash_bytes
                    .map(|bytes| bytes.saturating_sub(MAX_SECTION_LEN as u64).max(1)),
                ..size
            },
        }
    }

    /// Puts a sentinel into the model's bytes, if the job asks for one.
    ///
    /// # Errors
    /// When what is asked for can't be promised.
    pub(super) fn watch(&self, model: &mut Model) -> Result<Option<SentinelSummary>, Error> {
        if self.job.sentinel.profile == SentinelProfile::None {
            return Ok(None);
        }
        let prepared = self.run.prepared;
        let (mut inputs, mut labels) = (Vec::new(), Vec::new());
        for examples in reference(prepared) {
            inputs.extend(model.compiled.input_quantization.quantize(&examples.inputs));
            labels.extend_from_slice(&examples.labels);
        }
        let classes = prepared.dataset.classes.len();
        let examples =
            Examples { inputs: &inputs, labels: &labels, classes, values: false, recording: None };
        let summary =
            attach::<Error>(&mut model.bytes, &examples, &self.job.sentinel, |model, inputs| {
                Ok(verify::run_model(model, inputs)?)
            })?;
        Ok(Some(summary))
    }
}
