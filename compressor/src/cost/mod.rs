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
    /// The same with weights unpacked once, where some are coded or packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<Unpacked>,
    /// Whether the device has that RAM: requirements are then for weights unpacked.
    #[serde(default)]
    pub is_given: bool,
}

/// An inference with weights that were unpacked, into RAM beside the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Instructions.
    pub count: u64,
    /// Bytes of that RAM.
    pub weights_ram_bytes: u64,
}

#[cfg(feature = "training")]
impl Unpacked {
    /// The RAM that figures are for, where so many bytes are given and all weights take `whole`: what is
    /// given, and without any all that they take; `None` where nothing is to be unpacked.
    pub(crate) fn ram(given: u64, whole: u64) -> Option<u64> {
        let wanted = if given == 0 { whole } else { given.min(whole) };
        (whole > 0).then_some(wanted)
    }
}

impl Instructions {
    /// Of a model as it is stored, so known.
    #[cfg(test)]
    pub(crate) fn stored(count: u64, from: Provenance) -> Self {
        Self { count, from, unpacked: None, is_given: false }
    }

    /// Those that requirements are for: with weights unpacked where the device has RAM for that.
    pub fn required(&self) -> u64 {
        match self.unpacked {
            Some(unpacked) if self.is_given => unpacked.count,
            _ => self.count,
        }
    }

    /// The RAM for weights that [`Self::required`] is with.
    #[cfg(feature = "training")]
    pub(crate) fn required_ram(&self) -> u64 {
        self.unpacked.filter(|_| self.is_given).map_or(0, |unpacked| unpacked.weights_ram_bytes)
    }
}
