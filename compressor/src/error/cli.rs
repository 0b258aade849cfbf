//! What can be wrong with a command line.

use std::path::PathBuf;

use bitsback_runtime::ArenaTooSmall;
use bitsback_runtime::format::ParseError;

use super::Kind;
use crate::import::ImportError;
use crate::sentinel::SentinelError;

/// A command that can't be carried out as it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The output folder already holds a job's results.
    #[error("{} already holds a job's output", path.display())]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// The output is a file that is read.
    #[error("{} is an input, which the output would replace", input.display())]
    Overwrites {
        /// The file.
        input: PathBuf,
    },
    /// Limits on the storage of weights that don't go with the goal.
    #[error("{reason}")]
    Storing {
        /// What is wrong.
        reason: String,
    },
    /// More examples choose a margin than are left to look at its promise.
    #[error("--choosing {choosing} of {examples} examples leaves fewer to look at the promise")]
    Choosing {
        /// As many should choose.
        choosing: usize,
        /// As many there are.
        examples: usize,
    },
    /// A file whose ending says nothing.
    #[error("can't tell what {} is by its ending; known: {known}", path.display())]
    UnknownInput {
        /// The file.
        path: PathBuf,
        /// Endings that are known.
        known: &'static str,
    },
    /// A file that isn't a model.
    #[error("{} is not a usable model: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: ParseError,
    },
    /// A sentinel that can't be made of these data, or is none.
    #[error("{}: {source}", path.display())]
    Sentinel {
        /// The data, or the model.
        path: PathBuf,
        /// What is wrong, and what to do.
        source: Box<SentinelError>,
    },
    /// A model of another tool that can't be imported.
    #[error("{}: {source}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        source: Box<ImportError>,
    },
    /// The arena's size isn't what the model itself asks for.
    #[error("{0}")]
    Arena(ArenaTooSmall),
    /// `--raw` with something else than the model's own values.
    #[error("{} doesn't hold int8 values, which --raw takes as they are", path.display())]
    NotInt8 {
        /// The file.
        path: PathBuf,
    },
    /// Data without labels, where nothing else is to be done with them.
    #[error("{} has no labels that the model's outputs could be held against", path.display())]
    Unlabelled {
        /// The data.
        path: PathBuf,
    },
    /// What outputs are said to mean, they can't.
    #[error("{reason}")]
    Meaning {
        /// What is wrong.
        reason: String,
    },
    /// A folder without data, but with a folder of data.
    #[error(
        "{} holds no data itself; did you mean {}?",
        path.display(),
        inner.display()
    )]
    FolderOfData {
        /// The folder.
        path: PathBuf,
        /// A folder inside.
        inner: PathBuf,
    },
    /// A model where its input should be.
    #[error("{} is a model and {} is none: the model comes first", model.display(), first.display())]
    Swapped {
        /// What was given first.
        first: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// An input that doesn't fit the model.
    #[error("{} holds {found}, but the model takes {wanted}", path.display())]
    InputShape {
        /// The file.
        path: PathBuf,
        /// Its shape and type.
        found: String,
        /// The model's input.
        wanted: String,
    },
    /// A called program gave an answer that can't be understood.
    #[error("`{program}` answered in a way that can't be understood: {answer}")]
    Answer {
        /// The program and its arguments.
        program: String,
        /// The beginning of what it said.
        answer: String,
    },
    /// A model costs more than its budget.
    #[error("{reason}")]
    OverBudget {
        /// What is exceeded.
        reason: String,
    },
    /// A model doesn't meet what was required of it.
    #[error("{reason}")]
    Unmet {
        /// What isn't met, and by how much.
        reason: String,
    },
    /// A model without a sentinel, or with one that can't be used, where one is needed.
    #[error("{}: no sentinel to go by: {reason}", path.display())]
    NoSentinel {
        /// The model.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No record of a model among all that was read.
    #[error("there is no usable record of model {model}, the one that was given")]
    NoRecords {
        /// Its id.
        model: String,
    },
    /// The field, as devices report it, differs from the reference.
    #[error("{reason}")]
    Drifted {
        /// Where.
        reason: String,
    },
    /// The scaling of inputs makes no sense.
    #[error("{reason}")]
    Scaling {
        /// What is wrong.
        reason: String,
    },
    /// A certificate was asked for in a way that can't be.
    #[error("{reason}")]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// A program that builds or runs firmware isn't there.
    #[error("{reason}")]
    Tools {
        /// What is missing.
        reason: String,
    },
    /// Firmware is built in a checkout, and this is none.
    #[error("the current folder is in no checkout of bitsback, where the firmware is")]
    NoCheckout,
    /// The folder that was given is no checkout.
    #[error("--checkout {} is no checkout of bitsback: it has no xtask/ and compressor/", folder.display())]
    NotCheckout {
        /// Which folder.
        folder: PathBuf,
    },
    /// The emulated core computed something else than the host.
    #[error("{core} differs from the host in {mismatches} bytes over {vectors} golden vectors")]
    Mismatches {
        /// The core.
        core: &'static str,
        /// Bytes that differ.
        mismatches: u64,
        /// Vectors that were run.
        vectors: u64,
    },
    /// The handler of signals can't be installed.
    #[error("can't listen for Ctrl-C: {0}")]
    Signal(std::io::Error),
    /// This program is wrong.
    #[error("a defect of bitsback stopped it")]
    Panicked,
    /// A result can't be turned into JSON.
    #[error("can't write the result as JSON: {0}")]
    Json(serde_json::Error),
}

impl CliError {
    /// What this means to the caller.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OutputExists { .. }
            | Self::Overwrites { .. }
            | Self::Storing { .. }
            | Self::Choosing { .. }
            | Self::UnknownInput { .. }
            | Self::Certificate { .. }
            | Self::Scaling { .. }
            | Self::Meaning { .. }
            | Self::FolderOfData { .. }
            | Self::Swapped { .. }
            | Self::NoCheckout
            | Self::NotCheckout { .. } => Kind::Usage,
            Self::OverBudget { .. } | Self::Unmet { .. } | Self::Drifted { .. } => {
                Kind::Requirement
            }
            Self::InputShape { .. }
            | Self::NotInt8 { .. }
            | Self::Unlabelled { .. }
            | Self::NoRecords { .. } => Kind::Data,
            Self::Model { .. }
            | Self::Import { .. }
            | Self::Mismatches { .. }
            | Self::NoSentinel { .. } => Kind::Model,
            Self::Sentinel { source, .. } => super::sentinel_kind(source),
            Self::Answer { .. } | Self::Signal(_) | Self::Tools { .. } => Kind::Io,
            Self::Json(_) | Self::Arena(_) | Self::Panicked => Kind::Internal,
        }
    }

    /// What helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OutputExists { .. } => {
                Some("--resume continues it, --force starts over, --out DIR writes elsewhere")
            }
            Self::Overwrites { .. } => Some("give another file as --output"),
            Self::Choosing { .. } => Some("at most half of the examples may choose"),
            Self::Storing { .. } => {
                Some("`bitsback help import` explains --goal, --flash-bytes and --instructions")
            }
            Self::UnknownInput { .. } => Some("rename the file to its real format"),
            Self::Model { .. } => Some("copy it again, or write it anew with `bitsback compress`"),
            Self::NotInt8 { .. } => Some("leave out --raw, or save the array as int8"),
            Self::Unlabelled { .. } => Some(
                "give the array y, a label's column, or a folder for each class; for an autoencoder, \
                 y is x",
            ),
            Self::Meaning { .. } => Some("`bitsback help evaluate` explains --task and --classes"),
            Self::FolderOfData { .. } => None,
            Self::Swapped { .. } => Some("change the order of the two"),
            Self::InputShape { .. } => Some("`bitsback inspect MODEL` shows the model's input"),
            Self::Answer { .. } => Some("run that command by hand; `bitsback doctor` may help"),
            // These say themselves what is supported, or needed.
            Self::Import { .. } | Self::Sentinel { .. } | Self::Signal(_) => None,
            Self::OverBudget { .. } => Some("`bitsback certify --per-layer` shows where it goes"),
            Self::Unmet { .. } => Some("more bits or less tolerance; `bitsback compress` trains"),
            Self::Drifted { .. } => Some("docs/field.md says what each bet means, and what to do"),
            Self::NoSentinel { .. } => Some("give the very file that the devices run"),
            Self::NoRecords { .. } => {
                Some("a record is 58 bytes; give the model that the devices run")
            }
            Self::Scaling { .. } => Some("`bitsback help quantize` has examples"),
            Self::Certificate { .. } => Some("`bitsback help certify` has examples"),
            Self::Tools { .. } => Some("`bitsback doctor` shows what is there"),
            Self::NotCheckout { .. } => Some("give the folder that the repository was cloned to"),
            Self::NoCheckout => {
                Some("clone the repository, and run this inside or give it as --checkout DIR")
            }
            Self::Mismatches { .. } => {
                Some("please report this, with the model and its golden vectors")
            }
            Self::Json(_) | Self::Arena(_) | Self::Panicked => {
                Some("please report this, with the command")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentinel::SeedError;

    #[test]
    fn kinds() {
        let path = || PathBuf::from("x");
        let json = serde_json::from_str::<u8>("x").unwrap_err();
        let table = [
            (CliError::OutputExists { path: path() }, Kind::Usage),
            (CliError::Overwrites { input: path() }, Kind::Usage),
            (CliError::Storing { reason: "r".into() }, Kind::Usage),
            (CliError::Choosing { choosing: 6, examples: 10 }, Kind::Usage),
            (CliError::UnknownInput { path: path(), known: ".npy" }, Kind::Usage),
            (CliError::Model { path: path(), source: ParseError::Magic }, Kind::Model),
            (
                CliError::Import { path: path(), source: Box::new(ImportError::UnknownFormat) },
                Kind::Model,
            ),
            (
                CliError::Sentinel {
                    path: path(),
                    source: Box::new(SeedError::TooFew { found: 9 }.into()),
                },
                Kind::Unproven,
            ),
            (CliError::Mismatches { core: "cortex-m4", mismatches: 1, vectors: 2 }, Kind::Model),
            (CliError::Arena(ArenaTooSmall { needed: 2, given: 1 }), Kind::Internal),
            (CliError::NotInt8 { path: path() }, Kind::Data),
            (CliError::Unlabelled { path: path() }, Kind::Data),
            (CliError::Meaning { reason: "r".into() }, Kind::Usage),
            (CliError::FolderOfData { path: path(), inner: path() }, Kind::Usage),
            (CliError::Swapped { first: path(), model: path() }, Kind::Usage),
            (
                CliError::InputShape { path: path(), found: "a".into(), wanted: "b".into() },
                Kind::Data,
            ),
            (CliError::Answer { program: "p".into(), answer: "a".into() }, Kind::Io),
            (CliError::Signal(std::io::Error::other("full")), Kind::Io),
            (CliError::OverBudget { reason: "r".into() }, Kind::Requirement),
            (CliError::Certificate { reason: "r".into() }, Kind::Usage),
            (CliError::Scaling { reason: "r".into() }, Kind::Usage),
            (CliError::Unmet { reason: "r".into() }, Kind::Requirement),
            (CliError::Drifted { reason: "r".into() }, Kind::Requirement),
            (CliError::NoSentinel { path: path(), reason: "r".into() }, Kind::Model),
            (CliError::NoRecords { model: "m".into() }, Kind::Data),
            (CliError::Tools { reason: "r".into() }, Kind::Io),
            (CliError::NoCheckout, Kind::Usage),
            (CliError::Panicked, Kind::Internal),
            (CliError::Json(json), Kind::Internal),
        ];
        for (error, kind) in table {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
