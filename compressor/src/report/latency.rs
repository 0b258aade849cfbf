//! Time of one inference, and how it is known.

use serde::{Deserialize, Serialize};

/// How a figure is known. The page never mixes them without saying so.
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

/// Milliseconds an inference on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Such as `Cortex-M4 at 64 MHz`.
    pub target: String,
    /// Milliseconds of the dense network.
    pub before_ms: f64,
    /// Milliseconds of the compressed model.
    pub after_ms: f64,
    /// How they are known.
    pub provenance: Provenance,
    /// The calculation, in words.
    pub basis: String,
}

/// Instructions a multiply-accumulate of the portable int8 kernels on a Cortex-M4, several rows
/// at a time. Measured on a 300 × 784 dense layer under QEMU with `-icount shift=0`; convolutions
/// with few channels cost more.
const M4_INSTRUCTIONS_PER_MAC: f64 = 2.8;
/// A common clock of a Cortex-M4 (nRF52).
const M4_MEGAHERTZ: f64 = 64.0;

impl Latency {
    /// What the counts of multiply-accumulates let expect of a Cortex-M4, for both networks as
    /// int8 and at one instruction a cycle. Only the ratio is exact; the scale is a rule of thumb.
    pub fn estimate_cortex_m4(macs_before: u64, macs_after: u64) -> Self {
        let milliseconds = |macs: u64| macs as f64 * M4_INSTRUCTIONS_PER_MAC / (M4_MEGAHERTZ * 1e3);
        Self {
            target: format!("Cortex-M4, {M4_MEGAHERTZ} MHz"),
            before_ms: milliseconds(macs_before),
            after_ms: milliseconds(macs_after),
            provenance: Provenance::Estimated,
            basis: format!(
                "multiply-accumulates × {M4_INSTRUCTIONS_PER_MAC} instructions (portable int8 \
                 kernel, a 300 × 784 dense layer under QEMU) at one instruction a cycle, the dense \
                 network taken as int8, too; instructions are not cycles, so expect more on silicon"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_keeps_the_ratio_and_says_what_it_is() {
        let latency = Latency::estimate_cortex_m4(266_200, 26_620);
        assert!((latency.before_ms / latency.after_ms - 10.0).abs() < 1e-9);
        assert!((latency.before_ms - 11.646).abs() < 1e-3, "{}", latency.before_ms);
        assert_eq!(latency.provenance.name(), "estimated");
        assert!(latency.basis.contains("QEMU"));
    }
}
