//! Time of one inference, and how it is known.

use serde::{Deserialize, Serialize};

use crate::cost::{Instructions, Provenance, estimate};
use crate::summary::LayerSummary;

/// Milliseconds an inference on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Such as `Cortex-M4 at 64 MHz`.
    pub target: String,
    /// Milliseconds of the dense network.
    pub before_ms: f64,
    /// Milliseconds of the compressed model.
    pub after_ms: f64,
    /// How instructions of the dense network are known.
    pub before_from: Provenance,
    /// How those of the model are.
    pub after_from: Provenance,
    /// The calculation, in words.
    pub basis: String,
}

impl Latency {
    /// Both networks on a Cortex-M4 at one instruction a cycle: the dense one, taken as int8, by a
    /// rule of thumb, the model by its own count or estimate.
    pub(crate) fn on_cortex_m4(
        layers: &[LayerSummary],
        model: Instructions,
        megahertz: f64,
    ) -> Self {
        let before = layers.iter().map(|l| instructions(&l.shape_before, l.macs_before)).sum();
        let milliseconds = |instructions: u64| instructions as f64 / (megahertz * 1e3);
        let how = match model.from {
            Provenance::Measured => {
                format!("the model's {} instructions were counted under QEMU", model.count)
            }
            Provenance::Counted | Provenance::Estimated => {
                format!("the model's {} instructions are estimated", model.count)
            }
        };
        Self {
            target: format!("Cortex-M4, {megahertz} MHz"),
            before_ms: milliseconds(before),
            after_ms: milliseconds(model.count),
            before_from: Provenance::Estimated,
            after_from: model.from,
            basis: format!(
                "{how}, those of the dense network as int8 are estimated, both at one instruction a \
                 cycle. Estimates: {}. Instructions are not cycles, so expect more on silicon",
                estimate::basis()
            ),
        }
    }
}

/// Instructions of one dense layer before compression; its outputs follow from its
/// multiply-accumulates and the weights that each output takes.
fn instructions(shape: &[usize], macs: u64) -> u64 {
    let per_output = shape.iter().skip(1).product::<usize>().max(1) as u64;
    estimate::layer(macs, macs / per_output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_counts_macs_and_outputs_and_says_what_it_is() {
        assert_eq!(instructions(&[300, 784], 235_200), 3 * 235_200 + 280 * 300);
        // 8 × 8 positions of 7 filters over 3 × 3 × 1.
        assert_eq!(instructions(&[7, 3, 3, 1], 4_032), 3 * 4_032 + 280 * 448);
        let model = Instructions { count: 64_000, from: Provenance::Estimated };
        let latency = Latency::on_cortex_m4(&crate::summary::tests::example().layers, model, 64.0);
        let before = (3 * 19_200 + 280 * 300) as f64 / 64_000.0;
        assert!((latency.before_ms - before).abs() < 1e-9, "{}", latency.before_ms);
        assert!((latency.after_ms - 1.0).abs() < 1e-9);
        assert_eq!((latency.before_from, latency.after_from), (Provenance::Estimated, model.from));
        assert!(latency.basis.contains("QEMU"));
    }
}
