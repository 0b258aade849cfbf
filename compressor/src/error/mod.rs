//! Every way in which a command can fail, and the exit code that tells scripts about it.
//!
//! | code | [`Kind`] | meaning |
//! |---|---|---|
//! | 0 | | done |
//! | 2 | usage | the command line or the job file is wrong; nothing was done |
//! | 3 | data | a data set can't be read or doesn't fit the network |
//! | 4 | model | a model file is damaged, of another version, or doesn't meet its own check |
//! | 5 | requirement | everything worked, but no candidate meets the job's requirements |
//! | 6 | unproven | there are too few validation examples to promise what the job demands |
//! | 70 | internal | a defect of bitsback: please report it |
//! | 74 | io | a file is missing or can't be read, the disk or a program that was called failed |
//! | 130 | interrupted | stopped by Ctrl-C, SIGTERM or SIGHUP; `--resume` continues |
//!
//! Codes from 70 up are those of `sysexits.h` and of the shell.

mod checkpoint;
mod cli;
mod pipeline;
mod unmet;
mod update;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

pub use checkpoint::CheckpointError;
pub use cli::CliError;
pub use pipeline::PipelineError;
pub use unmet::Unmet;

use crate::compile::CompileError;
use crate::compile::calibrate::CalibrateError;
use crate::compile::serialize::SerializeError;
use crate::compile::widths::BitWidthError;
use crate::data::DataError;
use crate::device::DeviceError;
use crate::export::ExportError;
use crate::files::FileError;
use crate::golden::GoldenError;
use crate::graph::LowerError;
use crate::job::JobError;
use crate::metrics::MetricsError;
use crate::package::UpdateError;
use crate::prune::PruneError;
use crate::quantize::QuantizeError;
use crate::sentinel::{SeedError, SentinelError};
use crate::text::{json_printable, one_line};
use crate::train::TrainError;
use crate::verify::VerifyError;
use crate::weights::WeightsError;

/// Exit code after Ctrl-C: 128 + SIGINT, as shells report it.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// What a failure means to the caller, as distinct from where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The command line or the job file is wrong.
    Usage,
    /// A data set can't be read or doesn't fit.
    Data,
    /// A model file can't be used.
    Model,
    /// No candidate meets the job's requirements.
    Requirement,
    /// There are too few validation examples to promise it.
    Unproven,
    /// A defect of this program.
    Internal,
    /// The disk or a called program failed.
    Io,
    /// Stopped on request.
    Interrupted,
}

impl Kind {
    /// The process's exit code (see the table above).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Data => 3,
            Self::Model => 4,
            Self::Requirement => 5,
            Self::Unproven => 6,
            Self::Internal => 70,
            Self::Io => 74,
            Self::Interrupted => EXIT_INTERRUPTED,
        }
    }

    /// What usually helps, where the message itself doesn't say it.
    fn hint(self) -> Option<&'static str> {
        match self {
            Self::Usage => Some("`bitsback help COMMAND` has examples; docs/JOB.md has every key"),
            Self::Data => Some("docs/JOB.md lists the readable formats and their layouts"),
            Self::Model => Some("`bitsback compress` writes the model anew"),
            Self::Internal => Some("please report this, with the command and the job file"),
            Self::Requirement | Self::Unproven | Self::Io | Self::Interrupted => None,
        }
    }
}

/// Declares [`Error`]: one line a part, which gives the variant, the conversion (`?` works) and
/// the [`Kind`].
macro_rules! errors {
    ($($(#[$doc:meta])* $variant:ident($source:ty) => $kind:expr;)+) => {
        /// Any failure of a command.
        #[derive(Debug, thiserror::Error)]
        #[non_exhaustive]
        pub enum Error {
            // Boxed, so that the good case of every `Result` doesn't carry the largest error's
            // room.
            $($(#[$doc])* #[error(transparent)] $variant(Box<$source>),)+
            /// A file or folder can't be read or written.
            #[error("can't {action} {}: {source}", path.display())]
            Io {
                /// What was tried: `read`, `write`, `create`, …
                action: &'static str,
                /// On what.
                path: PathBuf,
                /// The system's word.
                source: io::Error,
            },
            /// Stopped by a signal after the state was saved.
            #[error("interrupted; the state is saved, continue with: {resume}")]
            Interrupted {
                /// The command that goes on from here.
                resume: String,
            },
        }

        $(impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Self::$variant(Box::new(source))
            }
        })+

        impl Error {
            /// What this failure means to the caller.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(source) => {
                        let classify: fn(&$source) -> Kind = $kind;
                        classify(source)
                    })+
                    Self::Io { .. } => Kind::Io,
                    Self::Interrupted { .. } => Kind::Interrupted,
                }
            }
        }
    };
}

errors! {
    /// The command line.
    Cli(CliError) => CliError::kind;
    /// Files that can't be read or written.
    File(FileError) => |e| file_kind(e, Kind::Io);
    /// The job file.
    Job(JobError) => job_kind;
    /// Data sets.
    Data(DataError) => data_kind;
    /// The device.
    Device(DeviceError) => |_| Kind::Usage;
    /// `metrics.jsonl`.
    Metrics(MetricsError) => |_| Kind::Io;
    /// Training.
    Train(TrainError) => |e| match e {
        TrainError::Interrupted => Kind::Interrupted,
        TrainError::Observer(_) => Kind::Io,
        TrainError::Diverged { .. } => Kind::Requirement,
        TrainError::Lower(_) | TrainError::Compile(_) => Kind::Model,
        TrainError::Prune(_) | TrainError::Shard { .. } | TrainError::Calibrate(_) => {
            Kind::Internal
        }
    };
    /// Pruning.
    Prune(PruneError) => |_| Kind::Internal;
    /// Checkpoints.
    Checkpoint(CheckpointError) => |e| match e {
        CheckpointError::File(_) | CheckpointError::Damaged { .. } => Kind::Io,
        CheckpointError::Other { .. } => Kind::Usage,
        CheckpointError::Encode(_) => Kind::Internal,
    };
    /// Bit widths.
    BitWidth(BitWidthError) => |e| match e {
        BitWidthError::Limits { .. } => Kind::Usage,
        BitWidthError::Network(_) => Kind::Internal,
    };
    /// Calibration.
    Calibrate(CalibrateError) => |_| Kind::Internal;
    /// Lowering.
    Lower(LowerError) => |_| Kind::Model;
    /// Given weights.
    Weights(WeightsError) => |e| match e {
        WeightsError::File(source) => file_kind(source, Kind::Usage),
        WeightsError::Format { .. } | WeightsError::Assign { .. } => Kind::Usage,
    };
    /// Serialisation.
    Serialize(SerializeError) => |_| Kind::Internal;
    /// Writing a graph of integers.
    Compile(CompileError) => |_| Kind::Model;
    /// Verification.
    Verify(VerifyError) => |_| Kind::Internal;
    /// Golden vectors.
    Golden(GoldenError) => |_| Kind::Io;
    /// Post-training quantisation.
    Quantize(QuantizeError) => |e| match e {
        QuantizeError::NoExamples => Kind::Data,
        QuantizeError::NotFinite { .. } => Kind::Data,
        QuantizeError::Verify(_) => Kind::Internal,
        _ => Kind::Model,
    };
    /// Export.
    Export(ExportError) => |_| Kind::Model;
    /// Sentinels.
    Sentinel(SentinelError) => sentinel_kind;
    /// Keys and update packages.
    Update(UpdateError) => update::kind;
    /// A model that isn't good enough.
    Unmet(Unmet) => |e| match e {
        Unmet::Requirement { .. }
        | Unmet::Chance { .. }
        | Unmet::NotMet { .. }
        | Unmet::Accepted { enough: None, .. }
        | Unmet::Size { .. } => Kind::Requirement,
        Unmet::TooFewToTell { .. }
        | Unmet::NotProven { .. }
        | Unmet::Accepted { enough: Some(_), .. } => Kind::Unproven,
    };
    /// The job as a whole.
    Pipeline(PipelineError) => |e| match e {
        PipelineError::Busy { .. } => Kind::Usage,
        PipelineError::TooFewExamples { .. } => Kind::Unproven,
        PipelineError::NoPoint => Kind::Io,
        PipelineError::Parse(_) | PipelineError::Json(_) | PipelineError::Simulation { .. } => {
            Kind::Internal
        }
    };
}

/// A file that isn't there, or can't be read, is that whatever it would have held; one that is too
/// large is wrong for what it was to be.
fn file_kind(error: &FileError, otherwise: Kind) -> Kind {
    match error {
        FileError::TooLarge { .. } => otherwise,
        FileError::Exists { .. } => Kind::Usage,
        FileError::Read { .. }
        | FileError::NoFile { .. }
        | FileError::NoFolder { .. }
        | FileError::Write { .. } => Kind::Io,
    }
}

fn data_kind(error: &DataError) -> Kind {
    match error {
        DataError::File(source) => file_kind(source, Kind::Data),
        _ => Kind::Data,
    }
}

/// A promise that can't be made is a wish too many, or takes more examples.
fn sentinel_kind(error: &SentinelError) -> Kind {
    match error {
        SentinelError::Seed(SeedError::NothingToWatch) => Kind::Usage,
        SentinelError::Seed(_) => Kind::Unproven,
        SentinelError::Parse(_) | SentinelError::Fault(_) => Kind::Model,
    }
}

/// A job file that names unreadable data is right as far as it goes.
fn job_kind(error: &JobError) -> Kind {
    match error {
        JobError::Data { source, .. } => data_kind(source),
        JobError::File(source) => file_kind(source, Kind::Usage),
        JobError::Write { .. } => Kind::Io,
        _ => Kind::Usage,
    }
}

/// How a missing data set is fetched, if the repository's tools know it.
fn fetching(path: &Path) -> Option<&'static str> {
    let is_of = |folder: &str| path.ancestors().any(|path| path.ends_with(folder));
    if is_of("data/mnist") {
        Some("`cargo xtask data mnist` fetches it")
    } else if is_of("data/fashion-mnist") {
        Some("`cargo xtask data fashion-mnist` fetches it")
    } else {
        None
    }
}

/// `{"error":{"kind","message","hint"}}`, one line.
#[derive(Debug, Serialize)]
struct ErrorObject<'a> {
    error: ErrorBody<'a>,
}

/// The inside of [`ErrorObject`].
#[derive(Debug, Serialize)]
struct ErrorBody<'a> {
    kind: Kind,
    message: &'a str,
    hint: Option<&'a str>,
    exit_code: u8,
}

impl Error {
    /// For `map_err` on file operations: `fs::read(p).map_err(Error::io("read", p))`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind().exit_code())
    }

    /// What usually helps.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Cli(error) => error.hint(),
            Self::Update(error) => update::hint(error).or_else(|| self.kind().hint()),
            Self::Export(_) => Some("`--to c-header` and `--to rust` take every model"),
            _ => self.missing().and_then(fetching).or_else(|| self.kind().hint()),
        }
    }

    /// The path that isn't there, if that is what is wrong.
    fn missing(&self) -> Option<&Path> {
        let file = match self {
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                return Some(path);
            }
            Self::File(error) => error,
            Self::Data(error) => match &**error {
                DataError::File(error) => error,
                _ => return None,
            },
            Self::Job(error) => match &**error {
                JobError::Data { source: DataError::File(error), .. } => error,
                _ => return None,
            },
            _ => return None,
        };
        match file {
            FileError::Read { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(path)
            }
            _ => None,
        }
    }

    /// The message with every cause that it doesn't mention itself.
    pub fn message(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }

    /// For people: `error: …`, and a hint on a line of its own.
    pub fn to_text(&self) -> String {
        let message = self.message();
        // A name with a line break can't pass for a line of this program's.
        let message = one_line(&message);
        match self.hint() {
            Some(hint) => format!("error: {message}\n hint: {hint}"),
            None => format!("error: {message}"),
        }
    }

    /// For machines: one line.
    pub fn to_json(&self) -> String {
        error_object(self.kind(), &self.message(), self.hint())
    }
}

/// The line that `--json` writes to standard error.
pub(crate) fn error_object(kind: Kind, message: &str, hint: Option<&str>) -> String {
    let body = ErrorBody { kind, message, hint, exit_code: kind.exit_code() };
    let line = serde_json::to_string(&ErrorObject { error: body });
    line.map(|line| json_printable(&line).into_owned()).unwrap_or_else(|_| {
        // Strings and numbers always serialise; this keeps the promise of an object all the same.
        String::from(r#"{"error":{"kind":"internal","message":"","hint":null,"exit_code":70}}"#)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io_error() -> Error {
        Error::io("read", Path::new("a.bbk"))(io::Error::from(io::ErrorKind::NotFound))
    }

    #[test]
    fn each_kind_has_its_documented_code() {
        let table = [
            (Kind::Usage, 2),
            (Kind::Data, 3),
            (Kind::Model, 4),
            (Kind::Requirement, 5),
            (Kind::Unproven, 6),
            (Kind::Internal, 70),
            (Kind::Io, 74),
            (Kind::Interrupted, 130),
        ];
        for (kind, code) in table {
            assert_eq!(kind.exit_code(), code);
            let row =
                format!("| {code} | {} |", serde_json::to_value(kind).unwrap().as_str().unwrap());
            assert!(include_str!("mod.rs").contains(&row), "{row}");
        }
    }

    #[test]
    fn io_names_the_file_and_the_action() {
        let error = io_error();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.message().starts_with("can't read a.bbk: "), "{}", error.message());
    }

    #[test]
    fn a_missing_data_set_says_how_it_is_fetched() {
        let read = |path: &str, kind: io::ErrorKind| {
            let source = io::Error::from(kind);
            Error::from(DataError::File(FileError::Read { path: path.into(), source })).hint()
        };
        let missing = io::ErrorKind::NotFound;
        let fetch = Some("`cargo xtask data mnist` fetches it");
        assert_eq!(read("../data/mnist/train-images-idx3-ubyte", missing), fetch);
        assert_eq!(Error::io("read", Path::new("data/mnist"))(missing.into()).hint(), fetch);
        let fashion = read("data/fashion-mnist", missing);
        assert_eq!(fashion, Some("`cargo xtask data fashion-mnist` fetches it"));
        for (path, kind) in [("data/mnist", io::ErrorKind::PermissionDenied), ("mnist", missing)] {
            assert_eq!(read(path, kind), Kind::Io.hint(), "{path}");
        }
    }

    #[test]
    fn interruption_tells_how_to_resume() {
        let resume = String::from("bitsback compress job.toml --resume");
        let error = Error::Interrupted { resume };
        assert_eq!(error.kind().exit_code(), 130);
        assert!(error.to_text().contains("bitsback compress job.toml --resume"));
    }

    #[test]
    fn objects_have_stable_keys() {
        let value: serde_json::Value = serde_json::from_str(&io_error().to_json()).unwrap();
        let error = value["error"].as_object().unwrap();
        let mut keys: Vec<_> = error.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["exit_code", "hint", "kind", "message"]);
        assert_eq!(error["kind"], "io");
        assert_eq!(error["exit_code"], 74);
    }
}
