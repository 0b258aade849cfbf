//! Checkpoints that can't be used.

use std::path::PathBuf;

use crate::files::FileError;

/// Why a checkpoint can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// It isn't one, or is damaged.
    #[error(
        "{} is not a whole checkpoint ({why}); delete it, or run without --resume to start again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// It belongs to another job.
    #[error(
        "{} is of another {what}: resume with the job, seed, prior and device that it was made \
         with, choose another --out, or start again with --force",
        path.display()
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// `job` or `device`.
        what: &'static str,
    },
    /// It can't be put into bytes.
    #[error("the checkpoint can't be encoded: {0}")]
    Encode(postcard::Error),
}
