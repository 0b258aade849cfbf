//! What can be wrong with keys and packages.

use std::path::{Path, PathBuf};

use super::CheckError;
use crate::files::FileError;

/// A key or a package that can't be used or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file holds something else than a key.
    #[error("{} holds no key that `bitsback keygen` wrote", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A file holds the other half.
    #[error("{} is a {found} key, and a {wanted} one is needed", path.display())]
    WrongHalf {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
    /// A key's digits are damaged, or give no key that a signature can be trusted with.
    #[error("{}: the {what} key on line 2 is damaged", path.display())]
    DamagedKey {
        /// The file.
        path: PathBuf,
        /// Which half.
        what: &'static str,
    },
    /// The system has no random bytes to give.
    #[error("the system gives no random bytes for a key: {0}")]
    Random(String),
    /// Less RAM is stated than the model's arena takes.
    #[error("--ram {stated} is less than the {arena} bytes of the model's arena")]
    Ram {
        /// As asked for.
        stated: u32,
        /// What inference takes.
        arena: u32,
    },
    /// A package isn't accepted.
    #[error("{}: {source}", path.display())]
    Refused {
        /// The package.
        path: PathBuf,
        /// Why.
        source: RefusedBecause,
    },
}

/// Why a package isn't accepted.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct RefusedBecause(#[from] pub(crate) CheckError);

impl UpdateError {
    /// A package that isn't accepted.
    pub(crate) fn refused(path: &Path) -> impl FnOnce(CheckError) -> Self {
        let path = path.to_owned();
        |source| Self::Refused { path, source: source.into() }
    }
}
