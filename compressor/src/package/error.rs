//! What can be wrong with keys and packages.

use std::path::{Path, PathBuf};

use bitsback_slots::package::PackageError;

use super::CheckError;
use crate::error::{Kind, file_kind};
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
pub struct RefusedBecause(#[from] pub(super) CheckError);

impl UpdateError {
    /// A package that isn't accepted.
    pub(crate) fn refused(path: &Path) -> impl FnOnce(CheckError) -> Self {
        let path = path.to_owned();
        |source| Self::Refused { path, source: source.into() }
    }

    /// What this means to the caller.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::File(error) => file_kind(error, Kind::Usage),
            Self::Random(_) => Kind::Io,
            Self::NoKey { .. }
            | Self::WrongHalf { .. }
            | Self::DamagedKey { .. }
            | Self::Ram { .. } => Kind::Usage,
            Self::Refused { source, .. } => match &source.0 {
                CheckError::NoBase => Kind::Usage,
                CheckError::Refused(error) if is_requirement(error) => Kind::Requirement,
                CheckError::Refused(_) | CheckError::Excess { .. } => Kind::Model,
            },
        }
    }

    /// What helps.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::File(FileError::Exists { .. }) => {
                Some("a key is never replaced: give another name, or move the old one away")
            }
            Self::NoKey { .. } => Some("`bitsback keygen -o KEY` writes KEY and KEY.pub"),
            Self::WrongHalf { .. } => Some("KEY signs, and KEY.pub checks what it signed"),
            Self::DamagedKey { .. } => Some("take it from your backup"),
            Self::Ram { .. } => Some("leave out --ram for what the arena takes"),
            Self::File(_) | Self::Random(_) => None,
            Self::Refused { source, .. } => match &source.0 {
                CheckError::NoBase => Some("give it as --base OLD.bbk"),
                CheckError::Excess { .. } => Some("copy the package again"),
                CheckError::Refused(error) => hint(error),
            },
        }
    }
}

/// Whether a package is sound, but not for this device.
fn is_requirement(error: &PackageError) -> bool {
    matches!(
        error,
        PackageError::NotNewer { .. }
            | PackageError::Isa { .. }
            | PackageError::ModelFormat { .. }
            | PackageError::Numerics { .. }
            | PackageError::Features { .. }
            | PackageError::Kinds { .. }
            | PackageError::Ram { .. }
            | PackageError::Flash { .. }
    )
}

fn hint(error: &PackageError) -> Option<&'static str> {
    match error {
        PackageError::Truncated { .. } | PackageError::Delta(_) => Some("copy the package again"),
        PackageError::Magic => Some("`bitsback package` writes update packages"),
        PackageError::Key { .. } => Some("give the public key that belongs to the one that signed"),
        PackageError::Field { .. } | PackageError::Signature | PackageError::Digest => {
            Some("don't install it; copy it again, or ask who signed it")
        }
        PackageError::NotNewer { .. } => Some("a new package needs a higher --version"),
        PackageError::Base => Some("give the model that runs on the device, as it was released"),
        PackageError::Isa { .. } => Some("`bitsback package` without --target is for any core"),
        _ => None,
    }
}
