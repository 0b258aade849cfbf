//! What left a graph, and why.

use std::collections::BTreeMap;

use super::classes::Classes;
use super::leave::Kept;
use super::spans::Facts;
use crate::graph::known::stays;
use crate::graph::{
    IntegerGraph, IntegerNode, LeftOut, LeftOutLayer, LeftOutUnit, Matrix, ValueId, Why,
};

/// What leaves a graph when these units stay.
pub(super) fn record(
    graph: &IntegerGraph,
    facts: &Facts,
    classes: &Classes,
    kept: &Kept,
) -> LeftOut {
    let mut found = LeftOut::default();
    let reasons = Reasons::new(graph, facts, classes);
    for (at, node) in graph.nodes.iter().enumerate() {
        let written = &kept[node.output];
        if let (Some(real), true) = (graph.values[node.output].real, written.contains(&false)) {
            found.kept.insert(real, written.clone());
        }
        let matrix = node.parameters.as_ref().filter(|matrix| matrix.is_whole());
        let Some(matrix) = matrix else { continue };
        let reads = classes.reader(at).map(|reader| reader.reads);
        let layer = reasons.layer((node, matrix), reads, kept);
        found.channels += layer.left_out.len();
        found.of_channels += layer.of_channels;
        found.products = found.products.saturating_add(layer.products);
        found.of_products = found.of_products.saturating_add(layer.of_products);
        if layer.products > 0 {
            found.layers.push(layer);
        }
    }
    found
}

/// What units are known by.
struct Reasons<'g> {
    graph: &'g IntegerGraph,
    facts: &'g Facts,
    groups: &'g [Vec<(ValueId, usize)>],
    /// The group of a unit.
    of: BTreeMap<(ValueId, usize), usize>,
}

impl<'g> Reasons<'g> {
    fn new(graph: &'g IntegerGraph, facts: &'g Facts, classes: &'g Classes) -> Self {
        let groups = classes.groups.as_slice();
        let units = groups.iter().enumerate();
        let of = units.flat_map(|(at, group)| group.iter().map(move |&unit| (unit, at))).collect();
        Self { graph, facts, groups, of }
    }

    fn layer(
        &self,
        (node, matrix): (&IntegerNode, &Matrix),
        reads: Option<ValueId>,
        kept: &Kept,
    ) -> LeftOutLayer {
        let written = &kept[node.output];
        let read = reads.map_or(&[][..], |reads| kept[reads].as_slice());
        let left = |all: usize, kept: &[bool]| (0..all).filter(|&at| stays(kept, at)).count();
        let gone = |value: ValueId, all: usize| -> Vec<LeftOutUnit> {
            let gone = (0..all).filter(|&at| !stays(&kept[value], at));
            let units = kept[value].len().max(1);
            gone.map(|channel| LeftOutUnit { channel, reason: self.why(value, channel % units) })
                .collect()
        };
        let value = &self.graph.values[node.output];
        let positions = value.len() as u64 / matrix.rows.max(1) as u64;
        let products = |rows: usize, columns: usize| {
            positions.saturating_mul(rows as u64).saturating_mul(columns as u64)
        };
        let of_products = products(matrix.rows, matrix.columns);
        let after = products(left(matrix.rows, written), left(matrix.columns, read));
        let known = self.facts.known(self.graph, node);
        let real = node.op.real(value.quantization);
        let weights = real.and_then(|(op, _)| known.on_floats(|site| op.weights(site)));
        let inputs = weights.map_or(0, |weights| weights.inputs);
        LeftOutLayer {
            name: node.name.clone(),
            of_channels: matrix.rows,
            products: of_products - after,
            of_products,
            left_out: gone(node.output, matrix.rows),
            inputs_left_out: reads.map_or_else(Vec::new, |reads| gone(reads, inputs)),
        }
    }

    /// Why a unit that left did.
    fn why(&self, value: ValueId, unit: usize) -> Why {
        let Some(byte) = self.facts.of(value, unit).constant() else {
            let group = self.of.get(&(value, unit)).and_then(|&group| self.groups.get(group));
            let mut units = group.into_iter().flatten();
            let later = units.any(|&(value, unit)| self.facts.of(value, unit).constant().is_some());
            return if later { Why::Later } else { Why::Unread };
        };
        let writer = self.graph.nodes.iter().find(|node| node.output == value);
        let matrix = writer.and_then(|node| node.parameters.as_ref());
        let units = self.facts.units(value).max(1);
        let rows = matrix.into_iter().flat_map(|m| m.values.chunks(m.columns.max(1)).enumerate());
        let mut own = rows.filter(|(row, _)| row % units == unit).map(|(_, row)| row).peekable();
        if own.peek().is_some() && own.all(|row| row.iter().all(|&w| w == 0)) {
            return Why::NoWeight;
        }
        // Without weights there is no clamp of a layer: the byte is all that is known.
        let Some(clamp) = matrix.map(|matrix| matrix.clamp) else { return Why::Always(byte) };
        let zero_point = self.graph.values[value].quantization.zero_point;
        match byte {
            byte if byte == clamp.max => Why::Saturated(byte),
            byte if byte == clamp.min || byte == zero_point => Why::Dead,
            byte => Why::Always(byte),
        }
    }
}
