//! Why a package is refused.

use core::fmt;

use bitsback_runtime::ParseError;

use super::delta::DeltaError;
use super::features::FeatureSet;
use super::isa::Isa;
use super::key::KeyId;

/// Why a package, or the model that came of it, is refused; in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageError {
    /// There are fewer bytes than there must be.
    Truncated {
        /// Bytes there are.
        len: u64,
        /// Bytes there must be.
        needed: u64,
    },
    /// The bytes don't begin as a package does: they are something else.
    Magic,
    /// Written in a version of the package format that this code doesn't know (byte 4).
    Format {
        /// The package's version.
        found: u8,
    },
    /// A field of the header has a value that no package has.
    Field {
        /// Which byte of the package it begins at.
        offset: usize,
    },
    /// Signed with another key.
    Key {
        /// Which, as the header says.
        signed_by: KeyId,
    },
    /// The signature isn't one of this header with that key: one of the two was changed.
    Signature,
    /// The model isn't newer than the one that runs: an old package comes again, or one comes twice.
    NotNewer {
        /// The package's version.
        offered: u32,
        /// The version that runs.
        installed: u32,
    },
    /// Laid out for other kernels.
    Isa {
        /// For which.
        needed: Isa,
        /// What the device has.
        here: Isa,
    },
    /// The model is of a format that the runtime doesn't know.
    ModelFormat {
        /// The model's version.
        needed: u8,
    },
    /// The model needs arithmetic that the runtime doesn't have.
    Numerics {
        /// The model's version.
        needed: u8,
    },
    /// The model uses parts of the runtime that the firmware was built without.
    Features {
        /// The set of these.
        missing: FeatureSet,
    },
    /// The model uses operators that the firmware was built without.
    Kinds {
        /// The set of these.
        missing: u32,
    },
    /// The model needs more RAM than the device gives.
    Ram {
        /// Bytes that it needs.
        needed: u32,
        /// Bytes that there are.
        given: u32,
    },
    /// The model is longer than a slot.
    Flash {
        /// Its bytes.
        needed: u32,
        /// The slot's.
        given: u32,
    },
    /// The delta was made from another model than the one that runs.
    Base,
    /// The payload is no delta of that base.
    Delta(DeltaError),
    /// The model's bytes are others than those that were signed.
    Digest,
    /// The bytes that were signed are no sound model.
    Model(ParseError),
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { len, needed } => write!(f, "{len} bytes of {needed}: truncated"),
            Self::Magic => f.write_str("no update package: it doesn't begin with BBKP"),
            Self::Format { found } => write!(f, "package format {found} is unknown (byte 4)"),
            Self::Field { offset } => write!(f, "the header's field at byte {offset} is wrong"),
            Self::Key { signed_by } => write!(f, "signed with another key, {signed_by}"),
            Self::Signature => {
                f.write_str("the signature doesn't fit: header or signature were changed")
            }
            Self::NotNewer { offered, installed } => {
                write!(f, "version {offered} isn't newer than {installed}, which is installed")
            }
            Self::Isa { needed, here } => write!(f, "laid out for {needed}, not for {here}"),
            Self::ModelFormat { needed } => write!(f, "needs model format {needed}"),
            Self::Numerics { needed } => write!(f, "needs numerics version {needed}"),
            Self::Features { missing } => {
                write!(f, "needs features that the firmware lacks: {missing}")
            }
            Self::Kinds { missing } => {
                write!(f, "needs operators that the firmware lacks (set {missing:#x})")
            }
            Self::Ram { needed, given } => write!(f, "needs {needed} bytes of RAM, not {given}"),
            Self::Flash { needed, given } => {
                write!(f, "needs {needed} bytes of flash, not {given}")
            }
            Self::Base => f.write_str("the delta was made from another model"),
            Self::Delta(error) => write!(f, "the delta is damaged: {error}"),
            Self::Digest => f.write_str("the model isn't the one that was signed"),
            Self::Model(error) => write!(f, "what was signed is no sound model: {error}"),
        }
    }
}

impl core::error::Error for PackageError {}

impl From<DeltaError> for PackageError {
    fn from(error: DeltaError) -> Self {
        Self::Delta(error)
    }
}
