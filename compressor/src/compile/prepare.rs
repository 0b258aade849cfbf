//! Before anything is laid out: only what the output needs, in order, without constants and wide joins.

use bitsback_runtime::format::{Clamp, MAX_ARENA_LEN, MAX_RANK, Window};
use bitsback_runtime::ops::MAX_CONCAT;
use bitsback_runtime::requantize::Multiplier;

use super::CompileError;
use crate::graph::ops::{IntegerConcat, IntegerDepthwiseConv2d};
use crate::graph::{
    IntegerGraph, IntegerNode, IntegerOp, IntegerValue, Matrix, Origin, Storage, ValueId,
};

/// Most values of a constant that is read as an operand: it becomes the channels of a convolution.
pub(super) const MAX_CONSTANT_LEN: usize = u16::MAX as usize;

/// The graph without what isn't needed; its last node writes the output, and no operand is a
/// constant.
pub(super) fn prepare(mut graph: IntegerGraph) -> Result<IntegerGraph, CompileError> {
    drop_unused(&mut graph);
    check_order(&graph)?;
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        make_constants(&mut graph, &mut node, &mut nodes)?;
        split_join(&mut graph, node, &mut nodes);
    }
    graph.nodes = nodes;
    check_values(&graph)?;
    Ok(graph)
}

/// Drops nodes that the output doesn't depend on.
pub(super) fn drop_unused(graph: &mut IntegerGraph) {
    let mut needed = vec![false; graph.values.len()];
    let mark = |graph: &IntegerGraph, id: ValueId, needed: &mut Vec<bool>| {
        if let Some(flag) = needed.get_mut(graph.storage(id).0) {
            *flag = true;
        }
    };
    mark(graph, graph.output, &mut needed);
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for node in std::mem::take(&mut graph.nodes).into_iter().rev() {
        if needed.get(node.output) == Some(&true) {
            node.inputs.iter().for_each(|&id| mark(graph, id, &mut needed));
            kept.push(node);
        }
    }
    kept.reverse();
    graph.nodes = kept;
}

fn name(graph: &IntegerGraph, id: ValueId) -> String {
    graph.values.get(id).map(|value| value.name.clone()).unwrap_or_default()
}

/// Everything is written once, before it is read, and the last node writes the output.
pub(super) fn check_order(graph: &IntegerGraph) -> Result<(), CompileError> {
    if graph.input >= graph.values.len() {
        return Err(CompileError::NothingComputed { value: name(graph, graph.output) });
    }
    let mut known = vec![false; graph.values.len()];
    for (known, value) in known.iter_mut().zip(&graph.values) {
        *known = matches!(value.origin, Origin::Constant(_));
    }
    if let Some(input) = known.get_mut(graph.input) {
        *input = true;
    }
    for node in &graph.nodes {
        for &id in &node.inputs {
            if known.get(graph.storage(id).0) != Some(&true) {
                let (node, value) = (node.name.clone(), name(graph, id));
                return Err(CompileError::Order { node, value });
            }
        }
        let computed = graph.values.get(node.output).map(|value| &value.origin);
        match known.get_mut(node.output) {
            Some(known) if !*known && computed == Some(&Origin::Computed) => *known = true,
            _ => {
                let (node, value) = (node.name.clone(), name(graph, node.output));
                return Err(CompileError::Twice { node, value });
            }
        }
    }
    let last = graph.nodes.last().map(|node| (node.output, 0));
    if last == Some(graph.storage(graph.output)) {
        return Ok(());
    }
    Err(CompileError::NothingComputed { value: name(graph, graph.output) })
}

/// Gives each constant operand of `node` an operator that writes it: a depthwise convolution whose
/// weights are zero and whose biases are the constant. It needs some image to read, and whatever
/// else the node reads will do.
fn make_constants(
    graph: &mut IntegerGraph,
    node: &mut IntegerNode,
    nodes: &mut Vec<IntegerNode>,
) -> Result<(), CompileError> {
    for place in 0..node.inputs.len() {
        let (id, _) = graph.storage(node.inputs[place]);
        let Some(IntegerValue { name, quantization, origin: Origin::Constant(constant), .. }) =
            graph.values.get(id)
        else {
            continue;
        };
        let (name, quantization) = (name.clone(), *quantization);
        if constant.len() > MAX_CONSTANT_LEN {
            let (len, limit) = (constant.len(), MAX_CONSTANT_LEN);
            return Err(CompileError::Values { value: name, len, limit });
        }
        let zero_point = i32::from(quantization.zero_point);
        let bias: Vec<i32> = constant.iter().map(|&q| i32::from(q) - zero_point).collect();
        let rows = bias.len();
        let matrix = Matrix {
            rows,
            columns: 1,
            bits: 1,
            values: vec![0; rows],
            scales: Vec::new(),
            bias,
            multipliers: vec![Multiplier::ONE],
            clamp: Clamp::NONE,
            storage: Storage::Packed,
        };
        let computed = |id: &&ValueId| {
            let value = graph.values.get(graph.storage(**id).0);
            value.is_some_and(|value| value.origin == Origin::Computed)
        };
        let read = node.inputs.iter().find(computed).copied().unwrap_or(graph.input);
        let pixel = IntegerValue {
            name: name.clone(),
            dims: vec![1; 3],
            quantization,
            origin: Origin::View(read, 0),
            real: None,
        };
        let (dims, origin) = (vec![1, 1, rows], Origin::Computed);
        let written = IntegerValue { dims, origin, ..pixel.clone() };
        graph.values.extend([pixel, written]);
        let output = graph.values.len() - 1;
        graph.values[id].origin = Origin::View(output, 0);
        let window = Window { size: [1, 1], stride: [1, 1], padding: [0, 0] };
        let op = IntegerDepthwiseConv2d { window, dilation: [1, 1] }.into();
        let (inputs, parameters) = (vec![output - 1], Some(matrix));
        nodes.push(IntegerNode { name, op, inputs, output, parameters });
    }
    Ok(())
}

/// Appends `node`; a join of more operands than the runtime takes at a time becomes several.
fn split_join(graph: &mut IntegerGraph, mut node: IntegerNode, nodes: &mut Vec<IntegerNode>) {
    let IntegerOp::Concat(IntegerConcat { axis }) = node.op else { return nodes.push(node) };
    while node.inputs.len() > MAX_CONCAT {
        let rest = node.inputs.split_off(MAX_CONCAT);
        let along = |&id: &ValueId| graph.values.get(id).and_then(|value| value.dims.get(axis));
        let sum = node.inputs.iter().filter_map(along).sum();
        let Some(mut joined) = graph.values.get(node.output).cloned() else { break };
        if let Some(dim) = joined.dims.get_mut(axis) {
            *dim = sum;
        }
        graph.values.push(joined);
        let output = graph.values.len() - 1;
        let inputs = std::mem::replace(&mut node.inputs, vec![output]);
        node.inputs.extend(rest);
        let (name, op) = (node.name.clone(), node.op.clone());
        nodes.push(IntegerNode { name, op, inputs, output, parameters: None });
    }
    nodes.push(node);
}

/// What lives in the arena has a rank and a size that the format holds.
pub(super) fn check_values(graph: &IntegerGraph) -> Result<(), CompileError> {
    let outputs = graph.nodes.iter().map(|node| node.output);
    let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
    let inputs = inputs.flat_map(|&id| [id, graph.storage(id).0]);
    for id in outputs.chain(inputs).chain([graph.input]) {
        let Some(value) = graph.values.get(id) else { continue };
        let (len, limit) = (value.len(), MAX_ARENA_LEN as usize);
        if len == 0 || len > limit {
            return Err(CompileError::Values { value: value.name.clone(), len, limit });
        }
        if !(1..=MAX_RANK).contains(&value.dims.len()) {
            let (value, rank) = (value.name.clone(), value.dims.len());
            return Err(CompileError::Rank { value, rank });
        }
    }
    Ok(())
}
