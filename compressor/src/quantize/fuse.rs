//! Which limits are part of the operator before them.

use std::collections::BTreeMap;

use crate::calibrate::Quantization;
use crate::graph::{Graph, Op, ValueId};

/// A node and the limits that are fused into it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// Position among the graph's nodes.
    pub(super) node: usize,
    /// Limits of the output.
    pub(super) limits: Option<(f32, f32)>,
    /// The value that is written: behind the limits.
    pub(super) output: ValueId,
}

/// All nodes but those that are fused into the one before: limits of what a product, sum or
/// pooling alone gives them, unless the value between has a scale of its own.
pub(super) fn steps<P>(graph: &Graph<P>, has_scale: impl Fn(ValueId) -> bool) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(graph.nodes.len());
    for (at, node) in graph.nodes.iter().enumerate() {
        if let Some(limits) = node.op.limits() {
            let input = node.inputs.first().copied().unwrap_or_default();
            let only = graph.only_reader(input) == Some(at) && !has_scale(input);
            let before = steps.iter_mut().find(|step| step.output == input);
            if let Some(step) = before
                && only
                && step.limits.is_none()
                && takes_limits(&graph.nodes[step.node].op)
            {
                step.limits = Some(limits);
                step.output = node.output;
                continue;
            }
        }
        steps.push(Step { node: at, limits: None, output: node.output });
    }
    steps
}

fn takes_limits(op: &Op) -> bool {
    let alone =
        matches!(op, Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::Mean(_) | Op::Add(_) | Op::Mul(_));
    alone || op.is_affine()
}

/// Operands of a join take the join's scale where nothing else reads them and their operator can
/// give any: bytes are then copied as they are.
pub(super) fn align_joins<P>(graph: &Graph<P>, scales: &mut BTreeMap<ValueId, Quantization>) {
    for (at, node) in graph.nodes.iter().enumerate() {
        let (Op::Concat(_), Some(&joined)) = (&node.op, scales.get(&node.output)) else {
            continue;
        };
        for &operand in &node.inputs {
            let writer = graph.nodes.iter().find(|node| node.output == operand);
            let free = writer.is_some_and(|node| {
                takes_limits(&node.op) && !matches!(node.op, Op::MaxPool2d(_) | Op::AvgPool2d(_))
                    || matches!(node.op, Op::Clip(_) | Op::LeakyRelu(_))
            });
            if free && graph.only_reader(operand) == Some(at) {
                scales.insert(operand, joined);
            }
        }
    }
}
