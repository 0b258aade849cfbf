//! `[report]`: what the page's figures of time and energy are for.

use serde::{Deserialize, Serialize};

/// `[report]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportConfig {
    /// Clock of the core that times are given for.
    pub megahertz: f64,
    /// How often the device infers.
    pub inferences_per_hour: f64,
    /// Charge of the device's battery.
    pub battery_mah: f64,
    /// Whether the model's instructions are counted under QEMU, where that can be done, even if no
    /// requirement asks for it.
    pub measure: bool,
}

impl Default for ReportConfig {
    /// A sensor that looks once a minute, on a coin cell (CR2032).
    fn default() -> Self {
        Self { megahertz: 64.0, inferences_per_hour: 60.0, battery_mah: 225.0, measure: false }
    }
}
