//! A graph without the units that have left.

use super::classes::{Classes, Reader};
use super::leave::Kept;
use super::spans::Facts;
use crate::graph::known::stays;
use crate::graph::{self, IntegerGraph, IntegerNode, Matrix, Origin};

/// Takes the units that don't stay out of all values and nodes.
pub(super) fn rebuild(graph: &mut IntegerGraph, facts: &Facts, classes: &Classes, kept: &Kept) {
    if kept.iter().flatten().all(|&kept| kept) {
        return;
    }
    for at in 0..graph.nodes.len() {
        let node = graph.nodes[at].clone();
        graph.nodes[at] = without(graph, facts, (node, classes.reader(at)), kept);
    }
    let storages: Vec<_> = (0..graph.values.len()).map(|id| graph.storage(id).0).collect();
    let units: Vec<_> = storages.iter().map(|&storage| facts.units(storage).max(1)).collect();
    for ((value, storage), units) in graph.values.iter_mut().zip(storages).zip(units) {
        let Some(kept) = kept.get(storage) else { continue };
        let left = kept.iter().filter(|&&kept| kept).count();
        if left == kept.len() {
            continue;
        }
        if let Some(last) = value.dims.last_mut() {
            *last = *last / units * left;
        }
        match &mut value.origin {
            Origin::View(_, behind) => *behind = *behind / units * left,
            Origin::Constant(bytes) => *bytes = those(bytes, kept),
            Origin::Computed => {}
        }
    }
}

/// A node without the units that don't stay.
fn without(
    graph: &IntegerGraph,
    facts: &Facts,
    (node, reader): (IntegerNode, Option<&Reader>),
    kept: &Kept,
) -> IntegerNode {
    let input = node.inputs.first().map_or(node.output, |&id| graph.storage(id).0);
    let both = graph::Kept { input: &kept[input], output: &kept[node.output] };
    let op = node.op.on_kept(both).unwrap_or(node.op);
    let parameters = node.parameters.map(|matrix| match reader {
        Some(reader) => {
            let operand = node.inputs.first().copied().unwrap_or(input);
            let zero_point = graph.values[operand].quantization.zero_point;
            let matrix = fold(matrix, facts, (reader, i64::from(zero_point)), &kept[reader.reads]);
            rows(matrix, &kept[node.output])
        }
        None => rows(matrix, &kept[node.output]),
    });
    IntegerNode { op, parameters, ..node }
}

/// The columns that stay; what the others add is in the biases.
fn fold(
    matrix: Matrix,
    facts: &Facts,
    (reader, zero_point): (&Reader, i64),
    kept: &[bool],
) -> Matrix {
    if kept.iter().all(|&kept| kept) {
        return matrix;
    }
    let units = kept.len().max(1);
    let (mut values, mut bias) = (Vec::new(), Vec::with_capacity(matrix.rows));
    for (row, weights) in matrix.values.chunks_exact(matrix.columns).enumerate() {
        let mut sum = matrix.bias.get(row).map_or(0, |&bias| i64::from(bias));
        for (column, &weight) in weights.iter().enumerate() {
            if stays(kept, column) {
                values.push(weight);
            } else if weight != 0 {
                // A row that stays has weights for constants alone.
                let byte = facts.of(reader.reads, column % units).low;
                sum += i64::from(weight) * (i64::from(byte) - zero_point);
            }
        }
        // Of a row that stays it fits: `Reader::folds`.
        bias.push(sum as i32);
    }
    let columns = values.len() / matrix.rows.max(1);
    let nothing = bias.iter().all(|&bias| bias == 0) && matrix.bias.is_empty();
    let bias = if nothing { Vec::new() } else { bias };
    Matrix { values, columns, bias, ..matrix }
}

/// The rows that stay.
fn rows(matrix: Matrix, kept: &[bool]) -> Matrix {
    if kept.iter().all(|&kept| kept) {
        return matrix;
    }
    let count = (0..matrix.rows).filter(|&row| stays(kept, row)).count();
    let each = matrix.values.chunks_exact(matrix.columns).enumerate();
    let values = each.filter(|(row, _)| stays(kept, *row)).flat_map(|(_, row)| row).copied();
    let values = values.collect();
    let (bias, scales) = (those(&matrix.bias, kept), matrix.scales);
    let alone = |len: usize| len != matrix.rows;
    let scales = if alone(scales.len()) { scales } else { those(&scales, kept) };
    let multipliers = match alone(matrix.multipliers.len()) {
        true => matrix.multipliers,
        false => those(&matrix.multipliers, kept),
    };
    Matrix { rows: count, values, bias, scales, multipliers, ..matrix }
}

/// Those of several numbers whose units stay.
fn those<T: Copy>(all: &[T], kept: &[bool]) -> Vec<T> {
    let all = all.iter().enumerate();
    all.filter(|(at, _)| stays(kept, *at)).map(|(_, &number)| number).collect()
}
