//! What can be wrong with a job file.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::data::{DataError, NormalizationKind};
use crate::files::FileError;
use crate::network::NetworkError;
use crate::numbers::Range;
use crate::report::number::significant;

/// Where in a job file: shown as `jobs/digits.toml:12`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file; empty for a job that comes from no file.
    pub path: Box<Path>,
    /// The line, from 1, if the key is in the file at all.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str().is_empty() {
            f.write_str("job")?;
        } else {
            write!(f, "{}", self.path.display())?;
        }
        match self.line {
            Some(line) => write!(f, ":{line}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a job file, and what to do.
#[derive(Debug, Error)]
pub enum JobError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is no text.
    #[error("{}: byte {byte} is no UTF-8; save the file as UTF-8 text", path.display())]
    Encoding {
        /// Which file.
        path: PathBuf,
        /// Where.
        byte: usize,
    },
    /// The text is no TOML.
    #[error("{place}, column {column}: no TOML: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// Column, from 1.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that doesn't exist.
    #[error("{place}: there is no key `{key}`{}{}", mean(nearest), known_keys(known))]
    UnknownKey {
        /// Where.
        place: Place,
        /// Its full path.
        key: String,
        /// The full path of the nearest key, if one is near.
        nearest: Option<String>,
        /// The keys that may stand there.
        known: Vec<String>,
    },
    /// A key that has another name now.
    #[error("{place}: `{key}` is `{now}` now: {why}")]
    Renamed {
        /// Where.
        place: Place,
        /// The old key's full path.
        key: String,
        /// The new one's.
        now: &'static str,
        /// What the new name says.
        why: &'static str,
    },
    /// A word that the key doesn't take.
    #[error(
        "{place}: `{key}` can't be \"{value}\"{}; allowed are {}",
        mean(nearest),
        words(allowed)
    )]
    UnknownValue {
        /// Where.
        place: Place,
        /// The key's full path.
        key: String,
        /// What is there.
        value: String,
        /// The nearest allowed word, if one is near.
        nearest: Option<String>,
        /// The allowed words.
        allowed: Vec<String>,
    },
    /// A key that must be there.
    #[error("{place}: `{key}` is missing; add it")]
    MissingKey {
        /// Where it should be.
        place: Place,
        /// Its full path.
        key: String,
    },
    /// A value of the wrong type.
    #[error("{place}: `{key}`: {message}")]
    Type {
        /// Where.
        place: Place,
        /// The key's full path.
        key: String,
        /// What is there and what is expected.
        message: String,
    },
    /// A number outside its limits.
    #[error("{place}: `{key}` is {value}, but must be {allowed}")]
    Range {
        /// Where.
        place: Place,
        /// The key's full path.
        key: String,
        /// What it is.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// A name that makes no file name.
    #[error(
        "{place}: `name` is {name:?}; use letters, digits, `-`, `_` and `.`, beginning with a \
         letter or digit, at most {} in all",
        super::MAX_NAME
    )]
    Name {
        /// Where.
        place: Place,
        /// What it is.
        name: String,
    },
    /// Bounds the wrong way round.
    #[error(
        "{place}: `bits.least` is {least}, but `bits.most` only {most}; raise `bits.most` or \
         lower `bits.least`"
    )]
    Bits {
        /// Where.
        place: Place,
        /// Narrowest width.
        least: u8,
        /// Widest width.
        most: u8,
    },
    /// A limit on what is made small anyway.
    #[error(
        "{place}: `{key}` limits what `size.goal` makes as small as it gets; leave it out, set the \
         other goal, or ask for it in [requirements]"
    )]
    Limit {
        /// Where.
        place: Place,
        /// The limit's key.
        key: String,
    },
    /// Points out of order.
    #[error(
        "{place}: `{key}[{index}]` begins with a smaller epoch than the point before it; list the \
         points by ascending epoch"
    )]
    NotAscending {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
        /// The point, from 0.
        index: usize,
    },
    /// No temperature, or too many.
    #[error("{place}: `{key}` has {found} factors; give 1 to {}", super::limits::MAX_TEMPERATURES)]
    TemperatureCount {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
        /// Factors given.
        found: usize,
    },
    /// Temperatures out of order, or one of them twice.
    #[error("{place}: `{key}[{index}]` isn't above the factor before it; list them ascending")]
    TemperatureOrder {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
        /// The factor, from 0.
        index: usize,
    },
    /// Temperatures of a KL that isn't there.
    #[error(
        "{place}: `{key}` varies the KL of the Bayesian stage, but there is none: \
         `variational.epochs` or every `variational.temperature` is 0; leave `{key}` out, or train one"
    )]
    NoTemperature {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
    },
    /// Prices of removal by layer, where groups are weighed by what they cost.
    #[error(
        "{place}: `{key}` has a value for each layer, but with `variational.cost` one price holds for all: \
         give one value"
    )]
    OnePrice {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
    },
    /// A promise about what the model is sure of, or a sentinel by that alone, of a model that gives no
    /// scores.
    #[error(
        "{place}: `{key}` compares the scores of classes, and `network.output = \"argmax\"` gives none: \
         set it to \"logits\" or \"softmax\""
    )]
    NoScores {
        /// Where.
        place: Place,
        /// The requirement's key.
        key: String,
    },
    /// A list of one value per layer that has another length.
    #[error(
        "{place}: `{key}` has {found} values, but the network has {layers} layers with weights"
    )]
    PerLayer {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
        /// Values given.
        found: usize,
        /// Dense layers and convolutions.
        layers: usize,
    },
    /// A list of one value per class that has another length.
    #[error(
        "{place}: `{key}` has {found} values, but the data have {classes} classes; give one per \
         class, or one for all"
    )]
    PerClass {
        /// Where.
        place: Place,
        /// The list's key.
        key: String,
        /// Values given.
        found: usize,
        /// Classes of the data.
        classes: usize,
    },
    /// A network that can't be.
    #[error("{place}: `{key}`: {source}")]
    Network {
        /// Where.
        place: Place,
        /// The layer's key, if the job file lists layers.
        key: String,
        /// What is wrong.
        source: Box<NetworkError>,
    },
    /// A model file that can't be trained.
    #[error("{place}: `network.model`: {source}")]
    Model {
        /// Where.
        place: Place,
        /// What is wrong.
        source: Box<crate::weights::ModelError>,
    },
    /// Data that are normalised otherwise than the given model was trained on.
    #[error(
        "{place}: the model's inputs were {} to {} when it was quantised, but the data as they are \
         normalised run from {} to {}; {}",
        significant(model.low.into()), significant(model.high.into()),
        significant(found.low.into()), significant(found.high.into()), advice(fitting)
    )]
    Inputs {
        /// Where.
        place: Place,
        /// What the model's inputs can be.
        model: Range,
        /// What the data are.
        found: Range,
        /// Normalisations that would do.
        fitting: Vec<NormalizationKind>,
    },
    /// Data that can't be read or used.
    #[error("{place}: {source}")]
    Data {
        /// Where.
        place: Place,
        /// What is wrong.
        source: DataError,
    },
    /// A job that can't be written.
    #[error("the job can't be written as TOML: {source}; are all paths Unicode text?")]
    Write {
        /// Why.
        source: toml::ser::Error,
    },
}

impl JobError {
    /// The full path of the key to blame, where there is one.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, .. }
            | Self::Renamed { key, .. }
            | Self::UnknownValue { key, .. }
            | Self::MissingKey { key, .. }
            | Self::Type { key, .. }
            | Self::Range { key, .. }
            | Self::Limit { key, .. }
            | Self::NotAscending { key, .. }
            | Self::TemperatureCount { key, .. }
            | Self::TemperatureOrder { key, .. }
            | Self::NoTemperature { key, .. }
            | Self::NoScores { key, .. }
            | Self::OnePrice { key, .. }
            | Self::PerLayer { key, .. }
            | Self::PerClass { key, .. }
            | Self::Network { key, .. } => Some(key.clone()),
            Self::Name { .. } => Some("name".to_owned()),
            Self::Bits { .. } => Some("bits.least".to_owned()),
            Self::Model { .. } => Some("network.model".to_owned()),
            Self::Inputs { .. } => Some("data.normalization".to_owned()),
            Self::Data { source, .. } => source.key().map(|key| format!("data.{key}")),
            Self::File(_) | Self::Encoding { .. } | Self::Syntax { .. } | Self::Write { .. } => {
                None
            }
        }
    }
}

fn advice(fitting: &[NormalizationKind]) -> String {
    let words: Vec<String> = fitting.iter().map(|kind| format!("\"{}\"", kind.name())).collect();
    match words.as_slice() {
        [] => {
            "no `normalization` gives that: scale the data as in the model's training, save them \
               as floats (.npz), and set `normalization = \"none\"` in [data]"
                .to_owned()
        }
        words => format!("set `normalization = {}` in [data]", words.join(" or ")),
    }
}

fn mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default()
}

fn known_keys(known: &[String]) -> String {
    match known {
        [] => "; no key may stand there: delete it".to_owned(),
        known => format!(" (known there: {})", known.join(", ")),
    }
}

fn words(allowed: &[String]) -> String {
    allowed.iter().map(|a| format!("\"{a}\"")).collect::<Vec<_>>().join(", ")
}
