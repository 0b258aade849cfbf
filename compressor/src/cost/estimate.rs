//! Instructions of one inference where nothing was counted: what [`prediction`](super::prediction) says.

use bitsback_runtime::Model;

#[cfg(feature = "training")]
use super::prediction::layer::Layer;
use super::{Core, Instructions, Provenance, prediction};

/// Estimates an inference of a model on a core.
pub(crate) fn instructions(core: Core, model: &Model<'_>) -> Instructions {
    Instructions {
        count: prediction::model(core, model),
        from: Provenance::Estimated,
        unpacked: None,
    }
}

/// Estimates a layer before compression, as int8: its weights' shape, outputs × inputs or filters × height
/// × width × channels, and its multiply-accumulates.
#[cfg(feature = "training")]
pub(crate) fn layer(core: Core, shape: &[usize], macs: u64) -> u64 {
    let weights = shape.iter().fold(1u64, |all, &side| all.saturating_mul(side as u64)).max(1);
    let positions = usize::try_from(macs / weights).unwrap_or(usize::MAX);
    prediction::instructions(core, &Layer::plain(core, shape, positions))
}

/// The estimate in words.
#[cfg(feature = "training")]
pub(crate) fn basis() -> &'static str {
    "each layer by how often its kernels' loops turn, and what a turn took on layers drawn by chance, counted \
     under QEMU"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/../tests/golden/{name}/model.bbk", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    #[test]
    fn every_core_has_an_estimate_and_the_fastest_the_least() {
        for name in ["digits", "operators", "coded", "depthwise", "pairs", "widths"] {
            let bytes = golden(name);
            let model = Model::parse(&bytes).unwrap();
            let of = |core| instructions(core, &model).count;
            assert!(Core::ALL.into_iter().all(|core| of(core) > 1000), "{name}");
            assert!(of(Core::CortexM4) < of(Core::CortexM0), "{name}");
        }
    }

    #[cfg(feature = "training")]
    #[test]
    fn a_layer_before_compression_has_rows_and_positions() {
        let core = Core::CortexM4;
        let dense = layer(core, &[300, 784], 235_200);
        assert!((150_000..700_000).contains(&dense), "{dense}");
        // 24 × 24 positions of 20 filters over 5 × 5 × 1.
        let conv = layer(core, &[20, 5, 5, 1], 288_000);
        assert!((150_000..1_500_000).contains(&conv), "{conv}");
        assert!(layer(Core::CortexM0, &[300, 784], 235_200) > dense);
        assert_eq!(layer(core, &[0, 784], 0), layer(core, &[0, 784], 0));
        assert!(basis().contains("QEMU"));
    }
}
