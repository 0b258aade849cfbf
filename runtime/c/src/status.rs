//! What every function returns.

use core::ffi::CStr;

use bitsback_runtime::sentinel::Fault;
use bitsback_runtime::{ArenaTooSmall, InputError, ParseError};

/// Done, or why not. The values never change their meaning; later versions may add some.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitsbackStatus {
    /// Done.
    Ok = 0,
    /// An argument is a null pointer.
    Null = 1,
    /// The model doesn't begin at a multiple of BITSBACK_MODEL_ALIGNMENT, or another argument not
    /// at a multiple of what its type asks for.
    Misaligned = 2,
    /// Nothing is loaded: bitsback_load wasn't called, or failed.
    NotLoaded = 3,
    /// Model, arena, network and data must not overlap.
    Overlap = 4,
    /// The arena is shorter than bitsback_arena_len says.
    ArenaTooSmall = 5,
    /// The data have another length than the network's input.
    InputLength = 6,
    /// The model doesn't say how raw bytes become inputs: use bitsback_set_input.
    InputNotBytes = 7,
    /// There is no such class, or the model has no names of classes.
    NoSuchClass = 8,
    /// The bytes are no .bbk file.
    NotAModel = 9,
    /// The model's format or arithmetic is of another version: update this library.
    ModelVersion = 10,
    /// The model is truncated, or followed by other bytes.
    ModelLength = 11,
    /// The model's checksum is wrong: it was damaged on its way.
    ModelDamaged = 12,
    /// The checksum is right, but what it protects is no sound model.
    ModelInvalid = 13,
    /// This library was built without an operator that the model uses.
    ModelOperators = 14,
    /// One inference would take more steps than the caller of bitsback_load_within allows, or than
    /// BITSBACK_STEPS_MOST.
    ModelSteps = 15,
    /// The model isn't sure: no output is as far above all others as its file's margin says.
    Unsure = 16,
    /// The model's file has no sentinel.
    NoSentinel = 17,
    /// The model's sentinel is of no use: a bet in it isn't proved, or it is of another model.
    SentinelInvalid = 18,
    /// The sentinel is in alarm: the field doesn't look like the reference any more.
    Alarm = 19,
}

impl BitsbackStatus {
    /// Every status, in the order of their numbers.
    const ALL: [Self; 20] = [
        Self::Ok,
        Self::Null,
        Self::Misaligned,
        Self::NotLoaded,
        Self::Overlap,
        Self::ArenaTooSmall,
        Self::InputLength,
        Self::InputNotBytes,
        Self::NoSuchClass,
        Self::NotAModel,
        Self::ModelVersion,
        Self::ModelLength,
        Self::ModelDamaged,
        Self::ModelInvalid,
        Self::ModelOperators,
        Self::ModelSteps,
        Self::Unsure,
        Self::NoSentinel,
        Self::SentinelInvalid,
        Self::Alarm,
    ];

    /// The status with this number.
    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| *status as u32 == code)
    }

    /// What happened, and what to do about it.
    pub(crate) fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"done",
            Self::Null => c"an argument is a null pointer",
            Self::Misaligned => c"an argument is not aligned: models to BITSBACK_MODEL_ALIGNMENT",
            Self::NotLoaded => c"nothing is loaded: bitsback_load comes first, and must succeed",
            Self::Overlap => c"model, arena, network and data must not overlap",
            Self::ArenaTooSmall => c"the arena is shorter than bitsback_arena_len says",
            Self::InputLength => c"the data have another length than the network's input",
            Self::InputNotBytes => c"the model doesn't say how bytes become inputs: quantise them",
            Self::NoSuchClass => c"no such class, or the model has no names",
            Self::NotAModel => c"these bytes are no .bbk model",
            Self::ModelVersion => c"the model is of another version: update this library",
            Self::ModelLength => c"the model is truncated, or followed by other bytes",
            Self::ModelDamaged => c"the model's checksum is wrong: it was damaged",
            Self::ModelInvalid => c"the model is not sound",
            Self::ModelOperators => c"this library was built without operators of the model",
            Self::ModelSteps => c"one inference would take more steps than are allowed",
            Self::Unsure => c"the model isn't sure: no output is far enough above all others",
            Self::NoSentinel => c"the model's file has no sentinel: `bitsback sentinel` adds one",
            Self::SentinelInvalid => c"the model's sentinel is not proved, or of another model",
            Self::Alarm => c"the field doesn't look like the sentinel's reference any more",
        }
    }

    /// The status of a result.
    pub(crate) fn of(result: Result<(), Self>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(status) => status,
        }
    }
}

impl From<ParseError> for BitsbackStatus {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Magic => Self::NotAModel,
            ParseError::FormatVersion { .. } | ParseError::NumericsVersion { .. } => {
                Self::ModelVersion
            }
            ParseError::TooShort { .. } | ParseError::FileLength { .. } => Self::ModelLength,
            ParseError::Crc { .. } => Self::ModelDamaged,
            ParseError::KindsLeftOut { .. } => Self::ModelOperators,
            ParseError::TooMuchWork { .. } => Self::ModelSteps,
            _ => Self::ModelInvalid,
        }
    }
}

impl From<ArenaTooSmall> for BitsbackStatus {
    fn from(_: ArenaTooSmall) -> Self {
        Self::ArenaTooSmall
    }
}

impl From<InputError> for BitsbackStatus {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Length { .. } => Self::InputLength,
            InputError::NotBytes => Self::InputNotBytes,
        }
    }
}

impl From<Fault> for BitsbackStatus {
    fn from(_: Fault) -> Self {
        Self::SentinelInvalid
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_numbered_in_order_and_texts_differ() {
        let mut texts = BTreeSet::new();
        for (code, status) in BitsbackStatus::ALL.into_iter().enumerate() {
            assert_eq!(status as usize, code);
            assert_eq!(BitsbackStatus::from_code(code as u32), Some(status));
            assert!(texts.insert(status.text()), "{status:?}");
        }
        assert_eq!(BitsbackStatus::from_code(BitsbackStatus::ALL.len() as u32), None);
    }
}
