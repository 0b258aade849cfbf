//! What the ledger says of weights that were trained in integers.

use super::Quantized;
use crate::compile::widths::mean;
use crate::graph::Rows;
use crate::ledger::BitRecord;

impl Quantized {
    /// One record a layer: the posterior's variance, the step and the width that follow from it or were
    /// given, and what training made of the step. `weights` are [`Quantized::integers`]; `variance` is the
    /// posterior's, of the weights that pruning left.
    pub(crate) fn records(&self, weights: &[Rows], variance: &[Vec<f32>]) -> Vec<BitRecord> {
        let layers =
            self.network.layers().filter_map(|node| Some((node, node.parameters.as_ref()?)));
        let layers = layers.zip(weights.iter().zip(variance)).enumerate();
        let records = layers.map(|(layer, ((node, affine), (integers, variance)))| BitRecord {
            layer: node.name.clone(),
            weights: affine.weight.len(),
            mean_variance: mean(variance),
            rounding_noise: integers.rounding_noise(),
            largest: affine.weight.iter().fold(0.0, |most, w| most.max(w.abs())),
            start_step: Some(self.start.coarsest(layer)),
            step: integers.coarsest(),
            fraction: -integers.coarsest().log2().floor() as i32,
            bits: integers.bits,
            rule: format!("{}; {} learned", self.start.describe(layer), steps(integers)),
            effect: None,
            description_bits: None,
        });
        records.collect()
    }
}

/// The step of a layer, or the range of its rows'.
fn steps(rows: &Rows) -> String {
    match rows.scales.as_slice() {
        [step] => format!("step {step:.2e}"),
        each => {
            let (finest, coarsest) = (rows.finest(), rows.coarsest());
            format!("{} steps of {finest:.2e} to {coarsest:.2e}, one per channel,", each.len())
        }
    }
}
