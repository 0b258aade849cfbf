//! A convolution and the maximum pooling behind it become one operator, which makes one output of a
//! pooling window instead of all, and stores no image between the two.

use bitsback_runtime::format::Window;
use bitsback_runtime::ops::FILTER_MAX;

use super::{IntegerGraph, Kind, Matrix, Node};

/// Fuses wherever the runtime's operator takes it: nothing else reads the convolution's output,
/// windows don't overlap, weights have 8 bits, and no multiplier shifts to the left.
pub(super) fn fuse(graph: &mut IntegerGraph) {
    let mut readers = vec![0u32; graph.values.len()];
    for id in graph.nodes.iter().flat_map(|node| &node.inputs) {
        readers[graph.storage(*id)] += 1;
    }
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    for node in std::mem::take(&mut graph.nodes) {
        let at = nodes.iter().position(|before| {
            node.inputs.first().is_some_and(|&id| graph.storage(id) == before.output)
        });
        let at = at.filter(|&at| readers[nodes[at].output] == 1);
        match at.and_then(|at| Some((at, pooled(graph, &nodes[at], &node)?))) {
            Some((at, kind)) => {
                // Where the pooling was: what lies between doesn't read the convolution.
                let conv = nodes.remove(at);
                nodes.push(Node { kind, output: node.output, ..conv });
            }
            None => nodes.push(node),
        }
    }
    graph.nodes = nodes;
}

/// Both as one; `conv` writes what `pool` reads.
fn pooled(graph: &IntegerGraph, conv: &Node, pool: &Node) -> Option<Kind> {
    let (Kind::Conv2d(window, dilation, matrix), Kind::MaxPool2d(then, clamp)) =
        (&conv.kind, &pool.kind)
    else {
        return None;
    };
    let [from, read, to] = [
        graph.values.get(conv.output)?,
        graph.values.get(*pool.inputs.first()?)?,
        graph.values.get(pool.output)?,
    ];
    let alike = from.dims == read.dims && from.zero_point == to.zero_point;
    if !alike || !takes(matrix, then) {
        return None;
    }
    let &[height, width, _] = from.dims.as_slice() else { return None };
    let positions = [u16::try_from(height).ok()?, u16::try_from(width).ok()?];
    let matrix = Matrix { clamp: matrix.clamp.and(*clamp)?, ..matrix.clone() };
    Some(Kind::Conv2dMaxPool2d(*window, *dilation, positions, matrix, *then))
}

fn takes(matrix: &Matrix, pool: &Window) -> bool {
    let shifts_left = matrix.multipliers.iter().any(|multiplier| multiplier.shift > 0);
    pool.is_apart() && matrix.bits == 8 && matrix.columns <= FILTER_MAX && !shifts_left
}
