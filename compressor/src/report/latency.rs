//! Time of one inference, and how it is known.

use std::iter;

use serde::{Deserialize, Serialize};

use super::number::thousands;
use crate::cost::{Core, Instructions, Provenance, Unpacked, estimate};
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
    /// Of the model as it is, and with its weights unpacked where that was counted, too.
    pub(crate) fn all(
        core: Core,
        layers: &[LayerSummary],
        model: Instructions,
        megahertz: f64,
    ) -> Vec<Self> {
        let unpacked = model.unpacked.map(|Unpacked { count, weights_bytes }| {
            let model = Instructions { count, from: model.from, unpacked: None };
            let latency = Self::on(core, layers, model, megahertz);
            let ram = thousands(weights_bytes);
            Self { target: format!("{}, weights in {ram} bytes of RAM", latency.target), ..latency }
        });
        iter::once(Self::on(core, layers, model, megahertz)).chain(unpacked).collect()
    }

    /// Both networks on a core at one instruction a cycle: the dense one, taken as int8, as estimated, the
    /// model by its own count or estimate.
    pub(super) fn on(
        core: Core,
        layers: &[LayerSummary],
        model: Instructions,
        megahertz: f64,
    ) -> Self {
        let before = dense(core, layers);
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
            target: format!("{core}, {megahertz} MHz"),
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

/// Instructions of an inference of the dense network, taken as int8, as estimated.
pub(super) fn dense(core: Core, layers: &[LayerSummary]) -> u64 {
    let layers = layers.iter().map(|l| estimate::layer(core, &l.shape_before, l.macs_before));
    layers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_in_ram_are_a_latency_of_their_own() {
        let layers = crate::summary::tests::example().layers;
        let unpacked = Some(Unpacked { count: 16_000, weights_bytes: 1_427 });
        let model = Instructions { count: 64_000, from: Provenance::Measured, unpacked };
        let found = Latency::all(Core::CortexM4, &layers, model, 64.0);
        assert_eq!(found.iter().map(|latency| latency.after_ms).collect::<Vec<_>>(), [1.0, 0.25]);
        assert!(found[1].target.ends_with("weights in 1,427 bytes of RAM"), "{}", found[1].target);
        assert!(found[1].basis.contains("16000 instructions"), "{}", found[1].basis);
        let model = Instructions { unpacked: None, ..model };
        assert_eq!(Latency::all(Core::CortexM4, &layers, model, 64.0), found[..1]);
    }

    #[test]
    fn the_estimate_is_of_all_layers_and_says_what_it_is() {
        let layers = crate::summary::tests::example().layers;
        let model = Instructions { count: 64_000, from: Provenance::Estimated, unpacked: None };
        let latency = Latency::on(Core::CortexM4, &layers, model, 64.0);
        let of = |l: &LayerSummary| estimate::layer(Core::CortexM4, &l.shape_before, l.macs_before);
        let before = layers.iter().map(of).sum::<u64>() as f64 / 64_000.0;
        assert!(before > 0.1, "{before}");
        assert!(latency.target.starts_with("Cortex-M4"));
        assert!((latency.before_ms - before).abs() < 1e-9, "{}", latency.before_ms);
        assert!((latency.after_ms - 1.0).abs() < 1e-9);
        assert_eq!((latency.before_from, latency.after_from), (Provenance::Estimated, model.from));
        assert!(latency.basis.contains("QEMU"));
    }
}
