//! Fixed-point bit widths from the posterior's variance.

use serde::{Deserialize, Serialize};

/// `[bits]`: how precisely weights are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BitWidthConfig {
    /// Narrowest width allowed.
    pub least: u8,
    /// Widest width allowed: 1 to 8, or 16.
    pub most: u8,
}

impl Default for BitWidthConfig {
    fn default() -> Self {
        Self { least: 2, most: 8 }
    }
}
