//! Which units leave: those that every layer behind them can do without.

use std::collections::BTreeMap;

use super::classes::{Classes, Reader};
use super::spans::Facts;
use crate::graph::known::stays;
use crate::graph::{IntegerGraph, ValueId};

/// By value: which of its units stay; empty of views.
pub(super) type Kept = Vec<Vec<bool>>;

/// Lets classes leave until none can any more: without the rows of one, another may have no reader left.
pub(super) fn leave(graph: &IntegerGraph, facts: &Facts, classes: &Classes) -> Kept {
    let values = 0..graph.values.len();
    let mut leaving = Leaving {
        graph,
        facts,
        readers: BTreeMap::new(),
        kept: values.map(|value| vec![true; facts.units(value)]).collect(),
    };
    for reader in &classes.readers {
        leaving.readers.entry(reader.reads).or_default().push(reader);
    }
    let mut left: Vec<&[(ValueId, usize)]> = classes.groups.iter().map(Vec::as_slice).collect();
    loop {
        let before = left.len();
        left.retain(|group| !leaving.leave(group));
        if left.len() == before {
            return leaving.kept;
        }
    }
}

struct Leaving<'g> {
    graph: &'g IntegerGraph,
    facts: &'g Facts,
    /// By the value that they read.
    readers: BTreeMap<ValueId, Vec<&'g Reader>>,
    kept: Kept,
}

impl Leaving<'_> {
    /// Lets a class leave, if it can.
    fn leave(&mut self, group: &[(ValueId, usize)]) -> bool {
        let can = group.iter().all(|&(value, unit)| {
            let mut readers = self.readers.get(&value).into_iter().flatten();
            readers.all(|reader| self.does_without(reader, unit))
        });
        if !can || !self.leaves_some(group) {
            return false;
        }
        for &(value, unit) in group {
            self.kept[value][unit] = false;
        }
        true
    }

    /// Whether each value keeps a unit.
    fn leaves_some(&self, group: &[(ValueId, usize)]) -> bool {
        let mut leaving: BTreeMap<ValueId, usize> = BTreeMap::new();
        group.iter().for_each(|&(value, _)| *leaving.entry(value).or_default() += 1);
        let kept = |value: ValueId| self.kept[value].iter().filter(|&&kept| kept).count();
        leaving.into_iter().all(|(value, count)| count < kept(value))
    }

    /// Whether a layer can do without a unit that it reads.
    fn does_without(&self, reader: &Reader, unit: usize) -> bool {
        let node = &self.graph.nodes[reader.node];
        let zero_point =
            node.inputs.first().map(|&id| self.graph.values[id].quantization.zero_point);
        let constant = self.facts.of(reader.reads, unit).constant();
        let folds = reader.folds && (!reader.padded || constant == zero_point);
        constant.is_some() && folds || self.has_no_weight(reader, unit)
    }

    /// Whether no row that is left has a weight for a unit.
    fn has_no_weight(&self, reader: &Reader, unit: usize) -> bool {
        let node = &self.graph.nodes[reader.node];
        let Some(matrix) = &node.parameters else { return false };
        let rows = matrix.values.chunks_exact(matrix.columns).enumerate();
        let units = self.facts.units(reader.reads).max(1);
        let mut rows = rows.filter(|(row, _)| stays(&self.kept[node.output], *row));
        rows.all(|(_, weights)| weights[unit..].iter().step_by(units).all(|&w| w == 0))
    }
}
