//! The graph that is left when only the live units remain.
//!
//! Selections stand right behind what they select from, a flatten or the input; those of features that
//! something else still reads stand in front of their reader. So do crops of an image of which its reader
//! needs fewer rows and columns than others, or than the network's input has.

use super::areas::Areas;
use super::spaces::{Spaces, is_selection};
use crate::graph::ops::{Op, Reshape, Select, Slice};
use crate::graph::{Area, Graph, Groups, Node, Places, Units, Value, ValueId};

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
        areas: Areas::new(spaces, alive, kept_inputs),
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
            (Units::Taken(from), ..) => rebuild.taken((at, node), from),
            (_, _, Some((layer, kept))) if layer.weights.groups == Groups::Inputs => {
                let input = rebuild.narrowed((at, node), kept);
                rebuild.left.nodes.push(Node { inputs: vec![input], ..node.clone() });
            }
            _ => {
                let (op, inputs) = rebuild.on_parts((at, node), &node.op);
                rebuild.left.nodes.push(Node { op, inputs, ..node.clone() });
            }
        }
    }
    rebuild.resized()
}

/// A graph while it is made anew.
struct Rebuild<'s> {
    spaces: &'s Spaces,
    areas: Areas,
    /// Per value of the graph before: the units that those that read it get.
    kept: Vec<Vec<bool>>,
    /// Per value of the graph before: what is read instead.
    instead: Vec<ValueId>,
    /// Per value of the graph that is left: the units that it holds, of those of its size before.
    holds: Vec<Vec<bool>>,
    left: Graph<()>,
}

impl Rebuild<'_> {
    /// Adds a node that writes a new vector, which holds what `holds` says of its units.
    fn push(&mut self, name: &str, op: impl Into<Op>, input: ValueId, holds: Vec<bool>) -> ValueId {
        let dims = vec![holds.len()];
        self.holds.push(holds);
        self.left.push(name, op, vec![input], dims, None)
    }

    /// What a node reads, and itself, an `op` by now, on that: of each operand what is left of the rows and
    /// columns that it needs.
    fn on_parts(&mut self, (at, node): (usize, &Node<()>), op: &Op) -> (Op, Vec<ValueId>) {
        let reach = match op.places(&self.spaces.graph.site(node)) {
            Places::Within(reach) => Some(reach.start(self.areas.held[node.output])),
            Places::Alike | Places::Fixed => None,
        };
        let operands: Vec<(ValueId, Area)> =
            node.inputs.iter().copied().zip(self.areas.read[at].iter().copied()).collect();
        let on_part = |held: Area, read: Area| {
            let start = reach?;
            let begin = [0, 1].map(|axis| start[axis].saturating_sub_unsigned(held.begin[axis]));
            let behind = [0, 1].map(|axis| held.end[axis] - read.end[axis]);
            op.on_part(begin, behind)
        };
        let Some(&(first, read)) = operands.first() else { return (op.clone(), Vec::new()) };
        let held = self.areas.held[first];
        if let Some(op) = on_part(held, read) {
            return (op, vec![self.instead[first]]);
        }
        let op = on_part(read, read).unwrap_or_else(|| op.clone());
        (op, operands.into_iter().map(|(value, read)| self.cropped(node, value, read)).collect())
    }

    /// What is left of some rows and columns of a value, for a node to read.
    fn cropped(&mut self, node: &Node<()>, value: ValueId, read: Area) -> ValueId {
        let (held, input) = (self.areas.held[value], self.instead[value]);
        if held == read {
            return input;
        }
        let before = &self.spaces.graph.values[value];
        let mut dims = before.dims.clone();
        resize(&mut dims, read);
        let mut begin = vec![0; dims.len()];
        let offset = [0, 1].map(|axis| read.begin[axis] - held.begin[axis]);
        let axes = begin.split_last_mut().into_iter().flat_map(|(_, axes)| axes.iter_mut().rev());
        axes.zip(offset.into_iter().rev()).for_each(|(begin, offset)| *begin = offset);
        let stride = vec![1; dims.len()];
        self.holds.push(self.kept[value].clone());
        let name = format!("{}_crop", node.name);
        self.left.push(&name, Slice { begin, stride }, vec![input], dims, None)
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
        self.left.nodes.push(Node { op, inputs: vec![self.instead[input]], ..node.clone() });
    }

    /// A flatten, join or slice, of which a vector may have more than is needed.
    fn taken(&mut self, (at, node): (usize, &Node<()>), from: &[(usize, usize)]) {
        let values = &self.spaces.graph.values;
        let flat = self.spaces.is_vector(node.output) && !self.spaces.is_vector(node.inputs[0]);
        let made = from.iter().enumerate().map(|(feature, &(operand, unit))| {
            let read = node.inputs[operand];
            // Of an image, those rows and columns that are read.
            let there = !flat || self.areas.reads(at, &values[read], feature);
            self.kept[read][unit] && there
        });
        let made: Vec<bool> = made.collect();
        let constant = |input: ValueId| self.spaces.graph.values[input].constant.is_some();
        let gone = |input: ValueId| constant(input) && count(&self.kept[input]) == 0;
        let stays: Vec<bool> = node.inputs.iter().map(|&input| !gone(input)).collect();
        let first = node.inputs.first().map(|&input| &self.kept[input]);
        let op = first.and_then(|kept| node.op.on_kept(kept)).unwrap_or_else(|| node.op.clone());
        let (op, mut inputs) = self.on_parts((at, node), &op);
        let mut stays = stays.into_iter();
        inputs.retain(|_| stays.next() == Some(true));
        self.left.nodes.push(Node { op, inputs, ..node.clone() });
        self.select_behind(node.output, made);
    }

    /// What a dense layer reads: its operand, or the `kept` ones of its features if there are more.
    fn narrowed(&mut self, (at, node): (usize, &Node<()>), kept: &[usize]) -> ValueId {
        let value = node.inputs[0];
        let before = &self.spaces.graph.values[value];
        let features = before.len();
        let units = self.kept[value].iter().copied().cycle().take(features).enumerate();
        let made = units.map(|(feature, kept)| kept && self.areas.reads(at, before, feature));
        let made: Vec<bool> = made.collect();
        let mut input = self.instead[value];
        if let Some(&area) = self.areas.read[at].first() {
            input = self.cropped(node, value, area);
        }
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
        let Self { holds, areas, mut left, .. } = self;
        left.output = self.spaces.graph.output;
        for (value, area) in left.values.iter_mut().zip(areas.held) {
            cut(value, area);
        }
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

/// Leaves an area of a value.
fn cut(value: &mut Value, area: Area) {
    if area == Area::whole(value) {
        return;
    }
    let [_, columns, channels] = value.image().unwrap_or([1, 1, value.len()]);
    if let Some(numbers) = &mut value.constant {
        let rows = (area.begin[0]..area.end[0]).flat_map(|row| {
            let from = (row * columns + area.begin[1]) * channels;
            numbers.iter().skip(from).take(area.size()[1] * channels).copied()
        });
        *numbers = rows.collect();
    }
    resize(&mut value.dims, area);
}

/// The dimensions of a value of which an area is left.
fn resize(dims: &mut [usize], area: Area) {
    let axes = dims.split_last_mut().into_iter().flat_map(|(_, axes)| axes.iter_mut().rev());
    axes.zip(area.size().into_iter().rev()).for_each(|(dim, size)| *dim = size);
}

/// Where the `wanted` ones are among those that are `made`.
fn places(made: &[bool], wanted: &[bool]) -> Vec<u32> {
    let made = wanted.iter().zip(made).filter(|(_, made)| **made).enumerate();
    made.filter(|(_, (wanted, _))| **wanted).map(|(place, _)| place as u32).collect()
}

fn count(kept: &[bool]) -> usize {
    kept.iter().filter(|&&kept| kept).count()
}
