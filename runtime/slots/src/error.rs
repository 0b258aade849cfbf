//! What can go wrong.

use core::fmt;

use bitsback_runtime::ParseError;

/// A write or an erasure that didn't do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault<E> {
    Flash(E),
    Worn { offset: u32 },
}

/// Why a call failed. None leaves the device without the model that it runs.
///
/// `E` is the flash's error, `R` the gate's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E, R> {
    /// The flash refused a read, a write or an erasure.
    Flash(E),
    /// What was written reads back otherwise: the page is worn out.
    Worn {
        /// Where in the flash.
        offset: u32,
    },
    /// The layout doesn't fit the flash, or its parts overlap.
    Layout,
    /// The gate refuses the head, or the model behind it.
    Refused(R),
    /// The model can't run in this program.
    Parse(ParseError),
    /// The model's version isn't above all that this device has tried: an old package, or one that was
    /// here before.
    Version {
        /// The model's version.
        found: u32,
        /// The highest that was tried.
        floor: u32,
    },
    /// The head is longer than [`crate::HEAD_LEN`], or the model than the slot has room, or empty.
    Length {
        /// The length in bytes.
        len: u32,
        /// The most that fits.
        room: u32,
    },
    /// More bytes than the head announced, or fewer when staging was to end.
    Incomplete {
        /// Bytes of the model that arrived.
        received: u32,
        /// Bytes that the head announced.
        len: u32,
    },
    /// Nothing is being staged: [`crate::Slots::begin`] comes first.
    NothingStaged,
    /// The other slot is taken: a trial hasn't ended, or this start runs the model in it.
    InUse,
    /// The model that runs isn't on trial.
    NotOnTrial,
    /// There is no model to go back to.
    NoWayBack,
}

impl<E, R> From<Fault<E>> for Error<E, R> {
    fn from(fault: Fault<E>) -> Self {
        match fault {
            Fault::Flash(error) => Self::Flash(error),
            Fault::Worn { offset } => Self::Worn { offset },
        }
    }
}

impl<E: fmt::Debug, R: fmt::Display> fmt::Display for Error<E, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "the flash failed: {error:?}"),
            Self::Worn { offset } => {
                write!(f, "flash at {offset:#x}: what was written reads back otherwise: worn out")
            }
            Self::Layout => f.write_str(
                "layout: state and slots must be whole pages, apart, within the flash, and a slot longer \
                 than a head",
            ),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Parse(error) => error.fmt(f),
            Self::Version { found, floor } => write!(
                f,
                "version {found}, but version {floor} was here already: a new package needs a higher one"
            ),
            Self::Length { len, room } => write!(f, "{len} bytes, where 1 to {room} fit"),
            Self::Incomplete { received, len } => {
                write!(f, "{received} bytes of the model's {len}: send all of them, and no more")
            }
            Self::NothingStaged => f.write_str("nothing is being staged: begin with a head"),
            Self::InUse => f.write_str(
                "the other slot is in use: confirm the trial or roll it back, and start again",
            ),
            Self::NotOnTrial => f.write_str("the model that runs isn't on trial"),
            Self::NoWayBack => f.write_str("there is no model to go back to"),
        }
    }
}

impl<E: fmt::Debug, R: fmt::Debug + fmt::Display> core::error::Error for Error<E, R> {}
