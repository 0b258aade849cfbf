//! The model slot: a range of flash, apart from the code, that a model file is written to.
//!
//! On a real board the flash tool writes the file there (`probe-rs download --base-address`);
//! under QEMU `-device loader` does. The model runs from where it lies: nothing is copied to RAM.

use core::fmt;
use core::slice;

use crate::{MODEL_SLOT_BYTES, MODEL_SLOT_ORIGIN};

/// The model does not fit the board's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSlotError {
    /// The length that was asked for, in bytes.
    pub length: u64,
}

impl fmt::Display for ModelSlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the model has {} bytes, but this board's model slot holds {MODEL_SLOT_BYTES}",
            self.length
        )
    }
}

impl core::error::Error for ModelSlotError {}

/// The first `length` bytes of the model slot.
///
/// What is in them is the flash tool's business; `Model::parse` checks every byte before use.
///
/// # Errors
/// When the slot is shorter than `length`.
pub fn model_slot(length: u64) -> Result<&'static [u8], ModelSlotError> {
    let bytes = usize::try_from(length)
        .ok()
        .filter(|&bytes| bytes <= MODEL_SLOT_BYTES)
        .ok_or(ModelSlotError { length })?;
    // SAFETY: the slot is its own MEMORY region in memory.x, so the linker places nothing of ours
    // in it; the board has memory at every address of it (boards.rs), `bytes` is at most its
    // length, any bit pattern is a u8, and nothing in the firmware writes to it: `flash`, which would, isn't
    // built beside this.
    Ok(unsafe { slice::from_raw_parts(MODEL_SLOT_ORIGIN as *const u8, bytes) })
}
