//! Time of one inference, and how it is known.

use serde::{Deserialize, Serialize};

use crate::summary::LayerSummary;

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

/// Instructions a multiply-accumulate on a Cortex-M4, and instructions an output value besides
/// (finding the row, requantising, storing). Together they give the counts of the golden models
/// `dense-w8` and `conv-w8` and of the demo's model within a tenth; widths other than 8 cost up to
/// half more, a softmax some thousands. `cargo xtask qemu --core cortex-m4` measures them.
const M4_INSTRUCTIONS_PER_MAC: u64 = 3;
const M4_INSTRUCTIONS_PER_OUTPUT: u64 = 280;
/// A common clock of a Cortex-M4 (nRF52).
const M4_MEGAHERTZ: u64 = 64;

impl Latency {
    /// What the shapes let expect of a Cortex-M4, for both networks as int8 and at one instruction
    /// a cycle: a rule of thumb.
    pub fn estimate_cortex_m4(layers: &[LayerSummary]) -> Self {
        let before = layers.iter().map(|l| instructions(&l.shape_before, l.macs_before)).sum();
        let after = layers.iter().map(|l| instructions(&l.shape_after, l.macs_after)).sum();
        Self {
            target: format!("Cortex-M4, {M4_MEGAHERTZ} MHz"),
            before_ms: milliseconds(before),
            after_ms: milliseconds(after),
            provenance: Provenance::Estimated,
            basis: format!(
                "{M4_INSTRUCTIONS_PER_MAC} instructions a multiply-accumulate and \
                 {M4_INSTRUCTIONS_PER_OUTPUT} an output of a dense layer or convolution, as counted \
                 under QEMU on small models of 8 bits, at one instruction a cycle; the dense network \
                 taken as int8, too. Instructions are not cycles, so expect more on silicon"
            ),
        }
    }
}

/// Instructions of one layer; its outputs follow from its multiply-accumulates and the weights
/// that each output takes.
fn instructions(shape: &[usize], macs: u64) -> u64 {
    let per_output = shape.iter().skip(1).product::<usize>().max(1) as u64;
    macs.saturating_mul(M4_INSTRUCTIONS_PER_MAC)
        .saturating_add((macs / per_output).saturating_mul(M4_INSTRUCTIONS_PER_OUTPUT))
}

fn milliseconds(instructions: u64) -> f64 {
    instructions as f64 / (M4_MEGAHERTZ * 1000) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_counts_macs_and_outputs_and_says_what_it_is() {
        assert_eq!(instructions(&[300, 784], 235_200), 3 * 235_200 + 280 * 300);
        // 8 × 8 positions of 7 filters over 3 × 3 × 1.
        assert_eq!(instructions(&[7, 3, 3, 1], 4_032), 3 * 4_032 + 280 * 448);
        let latency = Latency::estimate_cortex_m4(&crate::summary::tests::example().layers);
        let before = (3 * 19_200 + 280 * 300) as f64 / 64_000.0;
        assert!((latency.before_ms - before).abs() < 1e-9, "{}", latency.before_ms);
        assert_eq!(latency.provenance.name(), "estimated");
        assert!(latency.basis.contains("QEMU"));
    }
}
