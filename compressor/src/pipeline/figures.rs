//! Figures of a network before and after, layer by layer.

use crate::error::Error;
use crate::ledger::BitRecord;
use crate::lower::Graph;
use crate::network::{FloatNetwork, Topology};
use crate::prune::PruneError;
use crate::shapes;
use crate::summary::LayerSummary;

/// 4 bytes a weight and bias.
pub(super) fn float_bytes(network: &FloatNetwork) -> u64 {
    network.affine.iter().map(|a| 4 * (a.weight.len() + a.bias.len()) as u64).sum()
}

/// Multiply-accumulates of each affine layer.
pub(super) fn macs(topology: &Topology) -> Result<Vec<u64>, Error> {
    Ok(shapes::macs(topology).map_err(PruneError::from)?)
}

/// Every affine layer, before and after.
pub(super) fn layers(
    dense: &FloatNetwork,
    network: &FloatNetwork,
    parsed: &bitsback_runtime::Model,
    graph: &Graph,
    bits: &[BitRecord],
) -> Result<Vec<LayerSummary>, Error> {
    let (before, after) = (macs(&dense.topology)?, macs(&network.topology)?);
    let shapes = dense.topology.affine_layers().zip(network.topology.affine_layers());
    let mut all = Vec::new();
    for (i, (old, new)) in shapes.enumerate() {
        let name = dense.topology.affine_name(i);
        let steps = parsed.ops().zip(&graph.notes);
        let file_bytes = steps
            .filter(|(_, note)| note.name == name)
            .map(|(step, _)| {
                let p = step.parameters();
                (p.weight_bytes + p.bias_bytes + p.requantization_bytes) as u64
            })
            .sum();
        all.push(LayerSummary {
            op: shapes::kind(old).to_owned(),
            shape_before: shapes::weight_shape(old),
            shape_after: shapes::weight_shape(new),
            groups_before: crate::bayes::group_count(old),
            groups_after: crate::bayes::group_count(new),
            bits: bits.get(i).map_or(0, |b| b.bits),
            float_bytes: dense
                .affine
                .get(i)
                .map_or(0, |a| 4 * (a.weight.len() + a.bias.len()) as u64),
            file_bytes,
            macs_before: before.get(i).copied().unwrap_or(0),
            macs_after: after.get(i).copied().unwrap_or(0),
            name,
        });
    }
    Ok(all)
}
