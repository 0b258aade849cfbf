//! What an inference costs on a microcontroller, and how that is known.
//!
//! - [`prediction`]: instructions of each operator on each core, and [`estimate`], what is said of them;
//! - [`certified`]: instructions counted by QEMU, by way of the checkout's `cargo xtask certify`;
//! - [`power`]: energy and battery life, from named data sheets;
//! - [`radio`]: what it takes to send a file to a device.

#[cfg(feature = "training")]
pub(crate) mod certified;
pub(crate) mod estimate;
#[cfg(feature = "training")]
pub(crate) mod power;
#[cfg_attr(not(feature = "training"), allow(dead_code))]
// the program and `cargo xtask` ask for more
pub(crate) mod prediction;
#[cfg(feature = "training")]
pub(crate) mod radio;

use serde::{Deserialize, Serialize};

pub use prediction::cores::Core;

/// How a figure is known. No table or sum mixes them without saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provenance {
    /// Instructions counted in a simulator or on the device, by running this model.
    Measured,
    /// Computed exactly from the model's shapes and bytes.
    Counted,
    /// Computed from a figure of another model, or of a data sheet.
    Estimated,
}

impl Provenance {
    /// The word on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Counted => "counted",
            Self::Estimated => "estimated",
        }
    }
}

/// Instructions of one inference on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instructions {
    /// How many.
    pub count: u64,
    /// How they are known.
    pub from: Provenance,
    /// The same with weights that are unpacked once, where that was counted, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<Unpacked>,
}

/// An inference with weights that were unpacked, into RAM beside the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Instructions.
    pub count: u64,
    /// Bytes of that RAM.
    pub weights_bytes: u64,
}
