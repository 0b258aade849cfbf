//! Instructions of one inference on a Cortex-M4, from what the operators do: a rule of thumb for
//! where no emulator is.
//!
//! The figures were fitted to counts of `cargo xtask certify --per-layer` on the models of the
//! shipped jobs and of tests/golden. Whole models came out between 0.75 and 1.26 of the count, those
//! of jobs between 0.81 and 1.02; a single plainly stored layer may take half of its estimate.
//! Kernels that become faster make an estimate too high.

use bitsback_runtime::{Model, Op, Step};

use super::{Instructions, Provenance};

/// A multiply-accumulate of a layer that is stored plainly or packed.
pub(crate) const PER_MAC: u64 = 3;
/// An output of such a layer: finding its row, requantising, storing.
pub(crate) const PER_OUTPUT: u64 = 280;
/// A weight of a coded layer: its decisions' contexts.
const PER_CODED_WEIGHT: u64 = 60;
/// An instruction more for each decision of a weight beyond the first ones, which that is for.
const PER_DECISION: u64 = 62;
/// Decisions of a weight beyond the first, in tenths, by the bits of its stream: a weight's size is told
/// step by step up to 14, and of Laplace's distribution with an entropy of b bits the mean size is
/// m = 2^b / 2e, and that up to 14 is m(1 − exp(−14/m)).
const DECISIONS: [u64; 9] = [0, 0, 0, 5, 19, 44, 72, 96, 112];
/// A byte of its stream: the decoder takes bits as they come, and likely decisions take few.
const PER_CODED_BYTE: u64 = 320;
/// A multiply-accumulate of a coded convolution, apart from decoding its filters.
const PER_CODED_MAC: u64 = 2;
/// An output of one: requantising, storing.
const PER_CODED_OUTPUT: u64 = 25;
/// An output of pooling and other operators without weights.
const PER_OTHER_OUTPUT: u64 = 70;
/// A value that is selected.
const PER_SELECTED: u64 = 26;

/// Estimates an inference of a model.
pub(crate) fn instructions(model: &Model<'_>) -> Instructions {
    let count = model.ops().map(|step| operator(&step)).fold(0, u64::saturating_add);
    Instructions { count, from: Provenance::Estimated }
}

/// Estimates one operator.
pub(crate) fn operator(step: &Step) -> u64 {
    let parameters = step.parameters();
    let outputs = step.output().len() as u64;
    let decoding = decoding(parameters.weights as u64, parameters.weight_bytes as u64);
    let convolving = parameters
        .macs
        .saturating_mul(PER_CODED_MAC)
        .saturating_add(outputs.saturating_mul(PER_CODED_OUTPUT));
    match &step.op {
        // A coded dense layer is multiplied while it is decoded.
        Op::CodedDense(_) => decoding,
        Op::CodedConv2d(_) | Op::CodedDepthwiseConv2d(_) => decoding.saturating_add(convolving),
        Op::Select(_) => outputs * PER_SELECTED,
        _ if parameters.macs > 0 => layer(parameters.macs, outputs),
        _ => outputs * PER_OTHER_OUTPUT,
    }
}

/// Decoding a layer's weights once.
fn decoding(weights: u64, bytes: u64) -> u64 {
    (weights * PER_CODED_WEIGHT)
        .saturating_add(bytes * PER_CODED_BYTE)
        .saturating_add(weights * decisions(weights, bytes) * PER_DECISION / 160)
}

/// Decisions of each weight beyond the first, in tenths of sixteenths: what [`DECISIONS`] says of as many
/// bits, and between.
fn decisions(weights: u64, bytes: u64) -> u64 {
    let sixteenths = bytes * 8 * 16 / weights.max(1);
    let most = DECISIONS[DECISIONS.len() - 1];
    let of = |bits: u64| DECISIONS.get(bits as usize).copied().unwrap_or(most);
    let (bits, part) = (sixteenths / 16, sixteenths % 16);
    of(bits) * (16 - part) + of(bits + 1) * part
}

/// Estimates a layer that is stored plainly or packed.
pub(crate) fn layer(macs: u64, outputs: u64) -> u64 {
    macs.saturating_mul(PER_MAC).saturating_add(outputs.saturating_mul(PER_OUTPUT))
}

/// The estimate in words.
#[cfg(feature = "training")]
pub(crate) fn basis() -> String {
    format!(
        "{PER_MAC} instructions a multiply-accumulate and {PER_OUTPUT} an output of a layer that is \
         stored plainly; of a coded one {PER_CODED_WEIGHT} a weight and {PER_CODED_BYTE} a byte of \
         its stream, and of coded convolutions {PER_CODED_MAC} a multiply-accumulate and \
         {PER_CODED_OUTPUT} an output: fitted to counts under QEMU on other models"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU counted of the models that are in tests/golden.
    #[test]
    fn golden_models_are_estimated_within_a_half() {
        for (name, counted) in GOLDEN {
            let path = format!("{}/../tests/golden/{name}/model.bbk", env!("CARGO_MANIFEST_DIR"));
            let bytes = std::fs::read(&path).unwrap();
            let model = Model::parse(&bytes).unwrap();
            let estimate = instructions(&model).count as f64;
            let ratio = estimate / counted as f64;
            assert!((0.6..1.6).contains(&ratio), "{name}: {estimate} for {counted}");
        }
    }

    const GOLDEN: [(&str, u64); 6] = [
        ("digits", 272_800),
        ("coded", 2_897_040),
        ("coded-lenet", 2_978_200),
        ("conv-w4", 244_120),
        ("conv-w8", 185_000),
        ("operators", 864_320),
    ];

    /// Weights and bytes of streams of models that `cargo xtask bench storage` counts, all of them coded.
    #[test]
    fn coded_weights_of_eight_bits_are_estimated_within_a_tenth() {
        for (weights, bytes, counted) in
            [(266_200, 222_299, 248_223_920), (430_000, 393_240, 462_388_960)]
        {
            let estimate = decoding(weights, bytes) as f64;
            let ratio = estimate / f64::from(counted);
            assert!((0.9..1.1).contains(&ratio), "{estimate} for {counted}");
        }
        assert_eq!(decisions(1000, 250), 0);
        assert_eq!(decisions(1000, 9000), decisions(1000, 1000));
    }

    #[test]
    fn a_layer_has_macs_and_outputs() {
        assert_eq!(layer(235_200, 300), 3 * 235_200 + 280 * 300);
        assert!(basis().contains("QEMU"));
    }
}
