//! Why a conformance run failed.

use core::fmt;

use bitsback_runtime::sentinel::Fault;
use bitsback_runtime::{ArenaTooSmall, ParseError};
use board::ModelSlotError;

pub enum Failure {
    /// A file that the host lends is missing or ends too early.
    File(&'static str),
    /// A file holds no whole number of vectors, or another number than its pair.
    Length(&'static str),
    /// The board can't hold the model. `cargo xtask qemu` reports these as "did not run".
    Slot(ModelSlotError),
    Arena(ArenaTooSmall),
    /// The model file is damaged.
    Model(ParseError),
    /// Its sentinel is of no use.
    Sentinel(Fault),
    /// So many output bytes differ.
    Mismatches(u64),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name) => write!(f, "cannot read {name} (semihosting, QEMU's folder)"),
            Self::Length(name) => write!(f, "{name} doesn't hold the expected number of vectors"),
            Self::Slot(error) => write!(f, "too large: {error}"),
            Self::Arena(error) => {
                write!(f, "too large: {error}, which is what {} offers", board::CORE)
            }
            Self::Model(error) => write!(f, "model.bbk: {error}"),
            Self::Sentinel(error) => write!(f, "model.bbk: {error}"),
            Self::Mismatches(count) => write!(f, "{count} output bytes differ"),
        }
    }
}

impl From<ModelSlotError> for Failure {
    fn from(error: ModelSlotError) -> Self {
        Self::Slot(error)
    }
}

impl From<ArenaTooSmall> for Failure {
    fn from(error: ArenaTooSmall) -> Self {
        Self::Arena(error)
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::Model(error)
    }
}

impl From<Fault> for Failure {
    fn from(error: Fault) -> Self {
        Self::Sentinel(error)
    }
}
