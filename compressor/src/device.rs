//! What trains: burn's devices, by name.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// A device of burn's, as `--device` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    /// burn's pure-Rust CPU backend
    #[default]
    Flex,
    /// burn's former CPU backend, for comparison (needs the cargo feature `ndarray`)
    Ndarray,
}

/// A device that this program was built without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this bitsback was built without the device `{name}`: cargo run --release --features {name}"
)]
pub struct DeviceError {
    /// Its name, which is also its cargo feature's.
    pub name: &'static str,
}

impl DeviceName {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Flex, Self::Ndarray];

    /// As in `--device`, and the cargo feature that builds it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
        }
    }

    /// Whether this program was built with it.
    pub fn is_built(self) -> bool {
        match self {
            Self::Flex => cfg!(feature = "flex"),
            Self::Ndarray => cfg!(feature = "ndarray"),
        }
    }

    /// The device, without automatic differentiation.
    ///
    /// # Errors
    /// [`DeviceError`] if this program was built without it.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated, reason = "kept working as long as burn has it")]
            Self::Ndarray => Ok(Device::ndarray()),
            #[allow(unreachable_patterns, reason = "reached in builds without a feature")]
            _ => Err(DeviceError { name: self.name() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_opens_exactly_if_it_was_built() {
        for name in DeviceName::ALL {
            match name.open() {
                Ok(_) => assert!(name.is_built()),
                Err(error) => {
                    assert!(!name.is_built());
                    assert!(error.to_string().contains(&format!("--features {}", name.name())));
                }
            }
        }
    }
}
