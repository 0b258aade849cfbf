//! What can be wrong with a command line.

use std::path::PathBuf;

use super::Kind;

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
    /// A file whose ending says nothing.
    #[error("can't tell what {} is by its ending; known: {known}", path.display())]
    UnknownInput {
        /// The file.
        path: PathBuf,
        /// Endings that are known.
        known: &'static str,
    },
    /// An input file that can't be decoded.
    #[error("can't decode {}: {reason}", path.display())]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// Why, in the decoder's words.
        reason: String,
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
    /// A file larger than a command is willing to read.
    #[error("{} has {bytes} bytes; the limit is {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        limit: u64,
    },
    /// A called program gave an answer that can't be understood.
    #[error("`{program}` answered in a way that can't be understood: {answer}")]
    Answer {
        /// The program and its arguments.
        program: String,
        /// The beginning of what it said.
        answer: String,
    },
    /// The handler for Ctrl-C can't be installed.
    #[error("can't listen for Ctrl-C: {0}")]
    Signal(ctrlc::Error),
    /// A result can't be turned into JSON.
    #[error("can't write the result as JSON: {0}")]
    Json(serde_json::Error),
}

impl CliError {
    /// What this means to the caller.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OutputExists { .. } | Self::UnknownInput { .. } => Kind::Usage,
            Self::Undecodable { .. } | Self::InputShape { .. } | Self::TooLarge { .. } => {
                Kind::Data
            }
            Self::Answer { .. } | Self::Signal(_) => Kind::Io,
            Self::Json(_) => Kind::Internal,
        }
    }

    /// What helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OutputExists { .. } => {
                Some("--resume continues it, --force starts over, --out DIR writes elsewhere")
            }
            Self::UnknownInput { .. } => Some("rename the file to its real format"),
            Self::Undecodable { .. } => Some("open the file in another program: it may be damaged"),
            Self::InputShape { .. } => Some("`bitsback inspect MODEL` shows the model's input"),
            Self::TooLarge { .. } => Some("split it into several files"),
            Self::Answer { .. } => Some("run that command by hand; `bitsback doctor` may help"),
            Self::Signal(_) => None,
            Self::Json(_) => Some("please report this, with the command"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let path = || PathBuf::from("x");
        let json = serde_json::from_str::<u8>("x").unwrap_err();
        let table = [
            (CliError::OutputExists { path: path() }, Kind::Usage),
            (CliError::UnknownInput { path: path(), known: ".npy" }, Kind::Usage),
            (CliError::Undecodable { path: path(), reason: "no".into() }, Kind::Data),
            (
                CliError::InputShape { path: path(), found: "a".into(), wanted: "b".into() },
                Kind::Data,
            ),
            (CliError::TooLarge { path: path(), bytes: 2, limit: 1 }, Kind::Data),
            (CliError::Answer { program: "p".into(), answer: "a".into() }, Kind::Io),
            (CliError::Signal(ctrlc::Error::MultipleHandlers), Kind::Io),
            (CliError::Json(json), Kind::Internal),
        ];
        for (error, kind) in table {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
