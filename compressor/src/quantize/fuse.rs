//! Which limits are part of the operator before them.

use std::collections::BTreeMap;

use crate::calibrate::Quantization;
use crate::float_graph::{FloatGraph, Kind, ValueId};

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
pub(super) fn steps(graph: &FloatGraph, has_scale: impl Fn(ValueId) -> bool) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(graph.nodes.len());
    for (at, node) in graph.nodes.iter().enumerate() {
        if let Kind::Clip(low, high) = node.kind {
            let input = node.inputs.first().copied().unwrap_or_default();
            let only = graph.only_reader(input) == Some(at) && !has_scale(input);
            let before = steps.iter_mut().find(|step| step.output == input);
            if let Some(step) = before
                && only
                && step.limits.is_none()
                && takes_limits(&graph.nodes[step.node].kind)
            {
                step.limits = Some((low, high));
                step.output = node.output;
                continue;
            }
        }
        steps.push(Step { node: at, limits: None, output: node.output });
    }
    steps
}

fn takes_limits(kind: &Kind) -> bool {
    match kind {
        Kind::Dense(_)
        | Kind::Conv2d(..)
        | Kind::DepthwiseConv2d(..)
        | Kind::MaxPool2d(_)
        | Kind::AvgPool2d(_)
        | Kind::Mean
        | Kind::Add
        | Kind::Mul => true,
        Kind::Concat(_)
        | Kind::Pad(..)
        | Kind::Reshape
        | Kind::Clip(..)
        | Kind::LeakyRelu(_)
        | Kind::HardSwish
        | Kind::Sigmoid
        | Kind::Tanh
        | Kind::Softmax
        | Kind::LogSoftmax => false,
    }
}

/// Operands of a join take the join's scale where nothing else reads them and their operator can
/// give any: bytes are then copied as they are.
pub(super) fn align_joins(graph: &FloatGraph, scales: &mut BTreeMap<ValueId, Quantization>) {
    for (at, node) in graph.nodes.iter().enumerate() {
        let (Kind::Concat(_), Some(&joined)) = (&node.kind, scales.get(&node.output)) else {
            continue;
        };
        for &operand in &node.inputs {
            let writer = graph.nodes.iter().find(|node| node.output == operand);
            let free = writer.is_some_and(|node| {
                takes_limits(&node.kind)
                    && !matches!(node.kind, Kind::MaxPool2d(_) | Kind::AvgPool2d(_))
                    || matches!(node.kind, Kind::Clip(..) | Kind::LeakyRelu(_))
            });
            if free && graph.only_reader(operand) == Some(at) {
                scales.insert(operand, joined);
            }
        }
    }
}
