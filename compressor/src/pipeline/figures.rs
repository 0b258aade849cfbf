//! Figures of a network before and after, layer by layer.

use crate::compile::Compiled;
use crate::graph::{Affine, Graph, LeftOutLayer, Op, Weights};
use crate::ledger::BitRecord;
use crate::summary::LayerSummary;

/// 4 bytes a weight and bias.
pub(super) fn float_bytes(network: &Graph<Affine>) -> u64 {
    network.parameters().map(bytes).sum()
}

fn bytes(affine: &Affine) -> u64 {
    4 * (affine.weight.len() + affine.bias.len()) as u64
}

/// The shape of a layer's weights, outputs first.
fn shape(op: &Op, weights: Weights) -> Vec<usize> {
    let Weights { outputs, inputs, .. } = weights;
    match op {
        Op::Conv2d(conv) => vec![outputs, conv.window.size[0], conv.window.size[1], inputs],
        Op::DepthwiseConv2d(conv) => vec![outputs, conv.window.size[0], conv.window.size[1]],
        _ => vec![outputs, inputs],
    }
}

/// Sizes of a layer without what the integers leave out, and the products that they don't make.
fn in_integers(weights: Weights, left_out: Option<&LeftOutLayer>) -> (Weights, u64) {
    let Some(left_out) = left_out else { return (weights, 0) };
    let outputs = weights.outputs.saturating_sub(left_out.left_out.len());
    let inputs = weights.inputs.saturating_sub(left_out.inputs_left_out.len());
    (Weights { outputs, inputs, ..weights }, left_out.products)
}

/// Every layer with weights, before and after.
pub(super) fn layers(
    dense: &Graph<Affine>,
    network: &Graph<Affine>,
    parsed: &bitsback_runtime::Model,
    compiled: &Compiled,
    bits: &[BitRecord],
) -> Vec<LayerSummary> {
    let sizes = dense.weights().into_iter().zip(network.weights());
    let macs = dense.macs().into_iter().zip(network.macs());
    let nodes = dense.layers().zip(network.layers());
    let mut all = Vec::new();
    for (i, ((old, new), (sizes, macs))) in nodes.zip(sizes.zip(macs)).enumerate() {
        let steps = parsed.ops().zip(&compiled.notes);
        let file_bytes = steps
            .filter(|(_, note)| note.node == old.name)
            .map(|(step, _)| {
                let p = step.parameters();
                (p.weight_bytes + p.bias_bytes + p.requantization_bytes) as u64
            })
            .sum();
        let (weights, products) = in_integers(sizes.1, compiled.left_out.layer(&old.name));
        all.push(LayerSummary {
            op: old.op.name().to_owned(),
            shape_before: shape(&old.op, sizes.0),
            shape_after: shape(&new.op, weights),
            groups_before: sizes.0.group_count(),
            groups_after: weights.group_count(),
            bits: bits.get(i).map_or(0, |b| b.bits),
            float_bytes: old.parameters.as_ref().map_or(0, bytes),
            file_bytes,
            macs_before: macs.0,
            macs_after: macs.1.saturating_sub(products),
            name: old.name.clone(),
        });
    }
    all
}
