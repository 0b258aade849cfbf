//! One operator of two, where that takes fewer instructions or bytes.

use bitsback_runtime::format::{Window, row_len};
use bitsback_runtime::ops::FILTER_MAX;

use crate::graph::ops::{IntegerConv2d, IntegerConv2dMaxPool2d, IntegerMaxPool2d};
use crate::graph::{IntegerGraph, IntegerNode, IntegerOp, Matrix, Storage};

/// Bytes of a select record in the graph: tag, source, a tensor of one dimension, a mask offset.
const SELECT_BYTES: usize = 12;

/// A convolution and the maximum pooling behind it become one operator, which makes one output of a
/// pooling window instead of all, and stores no image between the two: wherever the runtime's operator
/// takes it, nothing else reads the convolution's output, windows don't overlap, weights are stored for
/// speed at 8 bits, and no multiplier shifts to the left.
pub(super) fn take_poolings(graph: &mut IntegerGraph) {
    let mut readers = vec![0u32; graph.values.len()];
    for id in graph.nodes.iter().flat_map(|node| &node.inputs) {
        readers[graph.storage(*id).0] += 1;
    }
    let mut nodes: Vec<IntegerNode> = Vec::with_capacity(graph.nodes.len());
    for node in std::mem::take(&mut graph.nodes) {
        let read = node.inputs.first().map(|&id| graph.storage(id));
        let at = nodes.iter().position(|before| read == Some((before.output, 0)));
        let at = at.filter(|&at| readers[nodes[at].output] == 1);
        match at.and_then(|at| Some((at, pooled(graph, &nodes[at], &node)?))) {
            Some((at, (op, parameters))) => {
                // Where the pooling was: what lies between doesn't read the convolution.
                let IntegerNode { name, inputs, .. } = nodes.remove(at);
                let (op, parameters) = (op.into(), Some(parameters));
                nodes.push(IntegerNode { name, op, inputs, output: node.output, parameters });
            }
            None => nodes.push(node),
        }
    }
    graph.nodes = nodes;
}

/// Both as one; `conv` writes what `pool` reads.
fn pooled(
    graph: &IntegerGraph,
    conv: &IntegerNode,
    pool: &IntegerNode,
) -> Option<(IntegerConv2dMaxPool2d, Matrix)> {
    let (IntegerOp::Conv2d(of), IntegerOp::MaxPool2d(IntegerMaxPool2d { window: pool_by, clamp })) =
        (&conv.op, &pool.op)
    else {
        return None;
    };
    let IntegerConv2d { window, dilation } = *of;
    let matrix = conv.parameters.as_ref()?;
    let [from, read, to] = [
        graph.values.get(conv.output)?,
        graph.values.get(*pool.inputs.first()?)?,
        graph.values.get(pool.output)?,
    ];
    let same_zero = from.quantization.zero_point == to.quantization.zero_point;
    if from.dims != read.dims || !same_zero || !takes(matrix, pool_by) {
        return None;
    }
    let &[height, width, _] = from.dims.as_slice() else { return None };
    let positions = [u16::try_from(height).ok()?, u16::try_from(width).ok()?];
    let matrix = Matrix { clamp: matrix.clamp.and(*clamp)?, ..matrix.clone() };
    Some((IntegerConv2dMaxPool2d { window, dilation, positions, pool: *pool_by }, matrix))
}

fn takes(matrix: &Matrix, pool: &Window) -> bool {
    let shifts_left = matrix.multipliers.iter().any(|multiplier| multiplier.shift > 0);
    let fast = matrix.storage == Storage::Fastest && matrix.bits <= 8;
    pool.is_apart() && fast && matrix.columns <= FILTER_MAX && !shifts_left
}

/// A selection that a dense layer alone reads becomes columns of zeros in it, where these take no more
/// bytes than the selection's operator and mask.
pub(super) fn take_selections(graph: &mut IntegerGraph) {
    let mut at = 0;
    while at < graph.nodes.len() {
        match take_selection(graph, at) {
            Some(()) => {
                graph.nodes.remove(at);
            }
            None => at += 1,
        }
    }
}

/// Takes the selection at a node in; none if it is no selection, or doesn't pay.
fn take_selection(graph: &mut IntegerGraph, at: usize) -> Option<()> {
    let IntegerOp::Select(select) = &graph.nodes[at].op else { return None };
    let (keep, read, output) = (&select.keep, graph.nodes[at].inputs[0], graph.nodes[at].output);
    let width = graph.values[read].len();
    let reads = |node: &IntegerNode| node.inputs.iter().any(|&id| graph.storage(id).0 == output);
    let mut readers = graph.nodes.iter().enumerate().filter(|(_, node)| reads(node));
    let (reader, node) = readers.next()?;
    let dense = matches!(node.op, IntegerOp::Dense(_));
    if !dense || readers.next().is_some() || graph.storage(graph.output).0 == output {
        return None;
    }
    let matrix = node.parameters.as_ref()?;
    let bytes = |columns| matrix.rows * row_len(matrix.bits, columns);
    if bytes(width) - bytes(keep.len()) > width.div_ceil(8) + SELECT_BYTES {
        return None;
    }
    let mut values = Vec::with_capacity(matrix.rows * width);
    for row in matrix.values.chunks_exact(keep.len().max(1)) {
        let start = values.len();
        values.resize(start + width, 0);
        for (&column, &value) in keep.iter().zip(row) {
            values[start + column as usize] = value;
        }
    }
    let matrix = Matrix { values, columns: width, ..matrix.clone() };
    graph.nodes[reader].parameters = Some(matrix);
    graph.nodes[reader].inputs = vec![read];
    Some(())
}
