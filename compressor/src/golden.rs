//! Golden vectors: inputs and the outputs that every device must give for them, bit for bit.
//!
//! A folder holds `inputs.i8` and `outputs.i8` (raw int8, vector after vector) and `golden.json`
//! ([`Golden`]), which is written last: without it the folder holds nothing. Of a model with a margin,
//! `decisions.u16` holds what it decides for each vector, two bytes, the low one first: the class, or 65,535
//! where it isn't sure.

use std::path::Path;

use bitsback_runtime::format::ParseError;
use bitsback_runtime::{Header, Model};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files::{self, FileError};
use crate::verify::{VerifyError, run_batch};

/// Quantised inputs.
pub const INPUTS_FILE: &str = "inputs.i8";
/// Outputs.
pub const OUTPUTS_FILE: &str = "outputs.i8";
/// What a model with a margin decides.
pub const DECISIONS_FILE: &str = "decisions.u16";
/// Bytes of a decision.
const DECISION_LEN: usize = 2;
/// The description.
pub const GOLDEN_FILE: &str = "golden.json";
/// Most bytes of any of the files: 65,536 vectors of a 1024-value input.
pub const MAX_GOLDEN_BYTES: u64 = 64 << 20;

/// `golden.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Number of vectors.
    pub vectors: usize,
    /// Values of an input.
    pub input_len: usize,
    /// Values of an output.
    pub output_len: usize,
    /// The checksum in the model's header: golden vectors belong to one model.
    pub model_crc32: u32,
}

/// Why golden vectors can't be written, or don't hold.
#[derive(Debug, Error)]
pub enum GoldenError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The model can't run.
    #[error(transparent)]
    Run(#[from] VerifyError),
    /// The bytes are no model.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// `golden.json` can't be read.
    #[error("{file}: {source}; write the golden vectors anew")]
    Json {
        /// Which file.
        file: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The vectors belong to another model.
    #[error(
        "the golden vectors are of the model with checksum {stated:#010x}, but this one has \
         {found:#010x}; write them anew"
    )]
    OtherModel {
        /// As the description says.
        stated: u32,
        /// The model's.
        found: u32,
    },
    /// A file's length isn't what the description says.
    #[error("{file} has {found} bytes, but golden.json says {expected}; write them anew")]
    Length {
        /// Which file.
        file: &'static str,
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The model decides otherwise.
    #[error("vector {vector}: the model decides otherwise than {DECISIONS_FILE} says")]
    Decision {
        /// Which vector, from 0.
        vector: usize,
    },
    /// The model gives another output.
    #[error("vector {vector}, output {position}: expected {expected}, but the model gives {found}")]
    Mismatch {
        /// Which vector, from 0.
        vector: usize,
        /// Which of its outputs, from 0.
        position: usize,
        /// The golden value.
        expected: i8,
        /// The model's.
        found: i8,
    },
}

/// Runs the model on quantised `inputs` and writes the folder's files; the folder must exist.
///
/// # Errors
/// When the model can't run or a file can't be written.
pub fn write(folder: &Path, model_bytes: &[u8], inputs: &[i8]) -> Result<Golden, GoldenError> {
    let outputs = run_batch(model_bytes, inputs)?;
    let golden = describe(model_bytes, inputs.len())?;
    let file = folder.join(GOLDEN_FILE);
    // An old description must not stand beside new vectors, nor decisions beside a model without a margin.
    for old in [&file, &folder.join(DECISIONS_FILE)] {
        if old.exists() {
            std::fs::remove_file(old)
                .map_err(|source| FileError::Write { path: old.clone(), source })?;
        }
    }
    files::write_atomic(&folder.join(INPUTS_FILE), &as_bytes(inputs))?;
    files::write_atomic(&folder.join(OUTPUTS_FILE), &as_bytes(&outputs))?;
    let decisions = decisions(model_bytes, &outputs)?;
    if !decisions.is_empty() {
        files::write_atomic(&folder.join(DECISIONS_FILE), &decisions)?;
    }
    let mut json = serde_json::to_vec_pretty(&golden)
        .map_err(|source| GoldenError::Json { file: file.display().to_string(), source })?;
    json.push(b'\n');
    files::write_atomic(&file, &json)?;
    Ok(golden)
}

/// Runs the model on the folder's inputs and compares every byte.
///
/// # Errors
/// The first difference, or what is wrong with the files.
pub fn check(folder: &Path, model_bytes: &[u8]) -> Result<Golden, GoldenError> {
    let file = folder.join(GOLDEN_FILE);
    let json = files::read(&file, MAX_GOLDEN_BYTES)?;
    let golden: Golden = serde_json::from_slice(&json)
        .map_err(|source| GoldenError::Json { file: file.display().to_string(), source })?;
    let found = describe(model_bytes, 0)?;
    if golden.model_crc32 != found.model_crc32 {
        let (stated, found) = (golden.model_crc32, found.model_crc32);
        return Err(GoldenError::OtherModel { stated, found });
    }
    let inputs = vectors(folder, INPUTS_FILE, golden.vectors, found.input_len)?;
    let expected = vectors(folder, OUTPUTS_FILE, golden.vectors, found.output_len)?;
    let outputs = run_batch(model_bytes, &inputs)?;
    for (index, (&expected, &found)) in expected.iter().zip(&outputs).enumerate() {
        if expected != found {
            let (vector, position) = (index / golden.output_len, index % golden.output_len);
            return Err(GoldenError::Mismatch { vector, position, expected, found });
        }
    }
    let found = decisions(model_bytes, &outputs)?;
    if !found.is_empty() {
        let expected = vectors(folder, DECISIONS_FILE, golden.vectors, DECISION_LEN)?;
        let differs = as_bytes(&expected).iter().zip(&found).position(|(a, b)| a != b);
        if let Some(byte) = differs {
            return Err(GoldenError::Decision { vector: byte / DECISION_LEN });
        }
    }
    Ok(golden)
}

fn describe(model_bytes: &[u8], input_bytes: usize) -> Result<Golden, GoldenError> {
    let model = Model::parse(model_bytes)?;
    let header: &Header = model.header();
    let input_len = model.input().len();
    Ok(Golden {
        vectors: input_bytes / input_len.max(1),
        input_len,
        output_len: model.output().len(),
        model_crc32: header.crc,
    })
}

/// What a model with a margin decides by these outputs; nothing of one without.
fn decisions(model_bytes: &[u8], outputs: &[i8]) -> Result<Vec<u8>, GoldenError> {
    let model = Model::parse(model_bytes)?;
    if model.margin() == 0 {
        return Ok(Vec::new());
    }
    let decide = |row: &[i8]| {
        let class = model.decision_of(row).class().and_then(|class| u16::try_from(class).ok());
        class.unwrap_or(u16::MAX).to_le_bytes()
    };
    Ok(outputs.chunks_exact(model.output().len().max(1)).flat_map(decide).collect())
}

fn vectors(
    folder: &Path,
    file: &'static str,
    vectors: usize,
    len: usize,
) -> Result<Vec<i8>, GoldenError> {
    let bytes = files::read(&folder.join(file), MAX_GOLDEN_BYTES)?;
    let (expected, found) = (vectors.saturating_mul(len), bytes.len());
    if expected != found {
        return Err(GoldenError::Length { file, expected, found });
    }
    Ok(bytes.into_iter().map(|byte| byte as i8).collect())
}

fn as_bytes(values: &[i8]) -> Vec<u8> {
    values.iter().map(|&v| v as u8).collect()
}
