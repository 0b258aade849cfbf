//! Time of one inference, and how it is known.

use serde::{Deserialize, Serialize};

use super::number::thousands;
use crate::cost::{Instructions, Provenance, estimate};
use crate::summary::Speed;

/// Milliseconds an inference on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Such as `Cortex-M4 at 64 MHz`.
    pub target: String,
    /// Milliseconds of the dense network, and how its instructions are known; none where it has no integer
    /// form.
    pub before: Option<(f64, Provenance)>,
    /// Milliseconds of the compressed model.
    pub after_ms: f64,
    /// How its instructions are known.
    pub after_from: Provenance,
    /// The calculation, in words.
    pub basis: String,
}

impl Latency {
    /// Of the model as it is stored, and with its weights unpacked.
    pub(crate) fn all(speed: &Speed, megahertz: f64) -> Vec<Self> {
        let Speed { core, compressed, .. } = speed;
        let target = format!("{core}, {megahertz} MHz");
        let mut all = vec![Self::of(speed, target.clone(), compressed.count, megahertz)];
        if let Some(unpacked) = compressed.unpacked {
            let ram = thousands(unpacked.weights_ram_bytes);
            let target = format!("{target}, {ram} bytes of RAM for weights");
            all.push(Self::of(speed, target, unpacked.count, megahertz));
        }
        all
    }

    /// Both networks on a core at one instruction a cycle, the model with `count` of them.
    fn of(speed: &Speed, target: String, count: u64, megahertz: f64) -> Self {
        let milliseconds = |instructions: u64| instructions as f64 / (megahertz * 1e3);
        let dense = speed.dense.map(|Instructions { count, from, .. }| (count, from));
        let mut basis =
            format!("the model's {} instructions {}", count, known(speed.compressed.from));
        if let Some((count, from)) = dense {
            basis += &format!(
                ", the {count} of the dense network, in plain 8 bits by the same runtime, {}",
                known(from)
            );
        }
        basis += &format!(
            "; at one instruction a cycle. Estimates: {}. Instructions are not cycles, so expect more on \
             silicon",
            estimate::basis()
        );
        Self {
            target,
            before: dense.map(|(count, from)| (milliseconds(count), from)),
            after_ms: milliseconds(count),
            after_from: speed.compressed.from,
            basis,
        }
    }
}

/// How instructions are known.
fn known(from: Provenance) -> &'static str {
    match from {
        Provenance::Measured => "were counted under QEMU",
        Provenance::Counted | Provenance::Estimated => "are estimated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Core;
    use crate::summary::tests::speed;

    #[test]
    fn both_ways_have_a_latency_of_their_own() {
        let mut speed = speed(Provenance::Measured, Provenance::Measured);
        let found = Latency::all(&speed, 64.0);
        assert_eq!(found.iter().map(|latency| latency.after_ms).collect::<Vec<_>>(), [1.0, 0.25]);
        assert!(found.iter().all(|of| of.before == Some((0.75, Provenance::Measured))));
        let target = &found[1].target;
        assert!(target.ends_with("1,427 bytes of RAM for weights"), "{target}");
        assert!(found[1].basis.contains("16000 instructions were counted"), "{}", found[1].basis);
        speed.compressed.unpacked = None;
        assert_eq!(Latency::all(&speed, 64.0), found[..1]);
    }

    #[test]
    fn the_basis_says_how_each_is_known() {
        let mut speed = speed(Provenance::Estimated, Provenance::Measured);
        let latency = &Latency::all(&speed, 64.0)[0];
        assert!(latency.target.starts_with(Core::CortexM4.title()));
        for part in ["64000 instructions were counted", "48000 of the dense network", "QEMU"] {
            assert!(latency.basis.contains(part), "{}", latency.basis);
        }
        assert!(latency.basis.contains("runtime, are estimated"), "{}", latency.basis);
        speed.dense = None;
        let latency = &Latency::all(&speed, 64.0)[0];
        assert!(latency.before.is_none() && !latency.basis.contains("dense"), "{}", latency.basis);
    }
}
