//! The graph that is left when only the live units remain.
//!
//! Selections stand right behind what they select from, a flatten or the input; those of features that
//! something else still reads stand in front of their reader.

use super::spaces::{Spaces, is_selection};
use crate::graph::ops::{Op, Reshape, Select};
use crate::graph::{Graph, Groups, Node, Units, ValueId};

/// The graph that is left of `spaces`; `kept_inputs` are those of each layer.
pub(super) fn rebuild(
    spaces: &Spaces,
    alive: &[Vec<bool>],
    kept_inputs: &[Vec<usize>],
) -> Graph<()> {
    let values = 0..spaces.graph.values.len();
    let kept: Vec<_> = values.clone().map(|value| alive[spaces.of[value]].clone()).collect();
    let mut rebuild = Rebuild {
        spaces,
        holds: kept.clone(),
        kept,
        instead: values.collect(),
        left: Graph { nodes: Vec::with_capacity(spaces.graph.nodes.len()), ..spaces.graph.clone() },
    };
    rebuild.select_behind(spaces.graph.input, vec![true; spaces.units(spaces.graph.input)]);
    let mut layers = spaces.layers.iter().zip(kept_inputs).peekable();
    for (at, node) in spaces.graph.nodes.iter().enumerate() {
        let layer = layers.next_if(|(layer, _)| layer.node == at);
        match (&spaces.relations[at], &node.op, layer) {
            (Units::Taken(from), Op::Select(_), _) => rebuild.selection(node, from),
            (Units::Taken(from), ..) => rebuild.taken(node, from),
            (_, _, Some((layer, kept))) if layer.weights.groups == Groups::Inputs => {
                let input = rebuild.narrowed(node, kept);
                rebuild.left.nodes.push(Node { inputs: vec![input], ..node.clone() });
            }
            _ => rebuild.push_as_it_is(node, &node.inputs),
        }
    }
    rebuild.resized()
}

/// A graph while it is made anew.
struct Rebuild<'s> {
    spaces: &'s Spaces,
    /// Per value of the graph before: the units that those that read it get.
    kept: Vec<Vec<bool>>,
    /// Per value of the graph before: what is read instead.
    instead: Vec<ValueId>,
    /// Per value of the graph that is left: the units that it holds, of those of its size before.
    holds: Vec<Vec<bool>>,
    left: Graph<()>,
}

impl Rebuild<'_> {
    /// Adds a node that writes a new value, which holds what `holds` says of its units.
    fn push(&mut self, name: &str, op: impl Into<Op>, input: ValueId, holds: Vec<bool>) -> ValueId {
        let dims = vec![holds.len()];
        self.holds.push(holds);
        self.left.push(name, op, vec![input], dims, None)
    }

    /// A node that reads what is left of some of its operands.
    fn push_as_it_is(&mut self, node: &Node<()>, inputs: &[ValueId]) {
        let inputs = inputs.iter().map(|&input| self.instead[input]).collect();
        self.left.nodes.push(Node { inputs, ..node.clone() });
    }

    /// Selects the units of `value` that are alive among those that it is `made` with, unless it is
    /// all. A selection that reads it takes that over.
    fn select_behind(&mut self, value: ValueId, made: Vec<bool>) {
        let wanted = &self.kept[value];
        if *wanted == made || !self.spaces.is_vector(value) {
            return;
        }
        let graph = &self.spaces.graph;
        self.holds[value].clone_from(&made);
        let reader = graph.only_reader(value).map(|reader| &graph.nodes[reader].op);
        if reader.is_some_and(is_selection) {
            self.kept[value] = made;
            return;
        }
        let select = Select { keep: places(&made, wanted) };
        let name = format!("{}_kept", graph.values[value].name);
        self.instead[value] = self.push(&name, select, value, wanted.clone());
    }

    /// A selection, from what is left of what it selects from; nothing where that is all.
    fn selection(&mut self, node: &Node<()>, from: &[(usize, usize)]) {
        let input = node.inputs[0];
        let made = &self.kept[input];
        let mut wanted = vec![false; made.len()];
        let living = from.iter().zip(&self.kept[node.output]).filter(|(_, alive)| **alive);
        living.for_each(|(&(_, unit), _)| wanted[unit] = true);
        if wanted == *made && node.output != self.spaces.graph.output {
            self.instead[node.output] = self.instead[input];
            self.holds[node.output].fill(false);
            return;
        }
        let op = Select { keep: places(made, &wanted) }.into();
        self.push_as_it_is(&Node { op, ..node.clone() }, &node.inputs);
    }

    /// A flatten, join or slice, of which a vector may have more than is needed.
    fn taken(&mut self, node: &Node<()>, from: &[(usize, usize)]) {
        let made = from.iter().map(|&(operand, unit)| self.kept[node.inputs[operand]][unit]);
        let made: Vec<bool> = made.collect();
        let constant = |input: ValueId| self.spaces.graph.values[input].constant.is_some();
        let gone = |input: ValueId| constant(input) && count(&self.kept[input]) == 0;
        let inputs: Vec<_> = node.inputs.iter().copied().filter(|&input| !gone(input)).collect();
        let first = node.inputs.first().map(|&input| &self.kept[input]);
        let op = first.and_then(|kept| node.op.on_kept(kept)).unwrap_or_else(|| node.op.clone());
        self.push_as_it_is(&Node { op, ..node.clone() }, &inputs);
        self.select_behind(node.output, made);
    }

    /// What a dense layer reads: its operand, or the `kept` ones of its features if there are more.
    fn narrowed(&mut self, node: &Node<()>, kept: &[usize]) -> ValueId {
        let value = node.inputs[0];
        let mut input = self.instead[value];
        let features = self.spaces.graph.values[value].len();
        let units = self.kept[value].iter().copied();
        let made: Vec<bool> = units.cycle().take(features).collect();
        let mut wanted = vec![false; features];
        kept.iter().for_each(|&feature| wanted[feature] = true);
        if wanted == made {
            return input;
        }
        if !self.spaces.is_vector(value) {
            input = self.push(&format!("{}_flat", node.name), Reshape {}, input, made.clone());
        }
        let select = Select { keep: places(&made, &wanted) };
        self.push(&format!("{}_kept", node.name), select, input, wanted)
    }

    /// The graph with the sizes, and the constants, that its values have now.
    fn resized(self) -> Graph<()> {
        let Self { holds, mut left, .. } = self;
        left.output = self.spaces.graph.output;
        for (value, kept) in left.values.iter_mut().zip(&holds) {
            let count = count(kept);
            // Nothing is left of a value that nothing reads any more.
            if count == 0 || count == kept.len() {
                continue;
            }
            if let Some(numbers) = &mut value.constant {
                let mut kept = kept.iter().cycle();
                numbers.retain(|_| kept.next() == Some(&true));
            }
            if let Some(last) = value.dims.last_mut() {
                *last = count;
            }
        }
        left
    }
}

/// Where the `wanted` ones are among those that are `made`.
fn places(made: &[bool], wanted: &[bool]) -> Vec<u32> {
    let made = wanted.iter().zip(made).filter(|(_, made)| **made).enumerate();
    made.filter(|(_, (wanted, _))| **wanted).map(|(place, _)| place as u32).collect()
}

fn count(kept: &[bool]) -> usize {
    kept.iter().filter(|&&kept| kept).count()
}
