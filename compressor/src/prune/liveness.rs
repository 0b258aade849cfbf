//! Which units still matter, propagated both ways through the graph.
//!
//! A unit of a value is *zero* when everything that writes it is dead, through operators that make
//! zeros of zeros; a product is zero as soon as one factor is. A unit of a space is *alive* when one of
//! its values is not zero and something outside of the space reads it there: a layer, a flatten or
//! selection or join whose unit is alive, the network's output. Taking all others out at once changes
//! nothing that is computed.

use crate::graph::{Groups, Units};

use super::shrinkage::GroupId;
use super::spaces::{Layer, Spaces};

/// What is known to be dead at each layer, by its inputs (channels or features) and its outputs
/// (filters or neurons): `true` is dead.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dead {
    /// Per layer: inputs that need not be read; of depthwise convolutions none.
    pub(super) inputs: Vec<Vec<bool>>,
    /// Per layer: outputs that are zero.
    pub(super) outputs: Vec<Vec<bool>>,
    /// Units that stay although they are not needed: (space, unit).
    pub(super) staying: Vec<(usize, usize)>,
}

impl Dead {
    /// Nothing dead.
    pub(super) fn nothing(spaces: &Spaces) -> Self {
        let mask = |len: fn(&Layer) -> usize| -> Vec<Vec<bool>> {
            spaces.layers.iter().map(|layer| vec![false; len(layer)]).collect()
        };
        let inputs = |layer: &Layer| if layer.mixed { layer.weights.inputs } else { 0 };
        Self {
            inputs: mask(inputs),
            outputs: mask(|layer| layer.weights.outputs),
            staying: Vec::new(),
        }
    }

    /// Live units of every space. Groups that are called dead but have to stay, as something needs
    /// their units though they are zero, are alive from then on, and `spared`.
    pub(super) fn settle(&mut self, spaces: &Spaces, spared: &mut Vec<GroupId>) -> Vec<Vec<bool>> {
        loop {
            let alive = self.alive(spaces);
            let before = spared.len();
            for (at, (layer, dead)) in spaces.layers.iter().zip(&mut self.outputs).enumerate() {
                let alive = dead.iter_mut().zip(&alive[spaces.of[layer.output]]);
                for (group, (dead, _)) in alive.enumerate().filter(|(_, (d, a))| **d && **a) {
                    *dead = false;
                    spared.push(GroupId { layer: at, group });
                }
            }
            if spared.len() == before {
                return alive;
            }
        }
    }

    /// Live units of every space.
    ///
    /// Deaths don't spread through layers, only between them, because a layer that keeps one output
    /// reads all its live inputs.
    pub(super) fn alive(&self, spaces: &Spaces) -> Vec<Vec<bool>> {
        let nonzero = self.nonzero(spaces);
        let pinned = |value| spaces.pinned[value];
        let values = 0..spaces.graph.values.len();
        let mut alive: Vec<_> =
            values.map(|value| vec![pinned(value); spaces.units(value)]).collect();
        self.staying.iter().for_each(|&(space, unit)| alive[space][unit] = true);
        let layers = spaces.layers.iter().zip(&self.inputs);
        for (layer, dead) in layers.filter(|(layer, _)| layer.mixed) {
            let (read, units) = (&nonzero[layer.input], spaces.units(layer.input));
            let alive = &mut alive[spaces.of[layer.input]];
            for (input, _) in dead.iter().enumerate().filter(|(_, dead)| !**dead) {
                alive[input % units] |= read[input % units];
            }
        }
        while take(spaces, &mut alive) {}
        alive
    }

    /// Units of each value that may differ from zero.
    fn nonzero(&self, spaces: &Spaces) -> Vec<Vec<bool>> {
        let graph = &spaces.graph;
        // Constants, too: those that are zero are for `fold_constants` to see.
        let values = 0..graph.values.len();
        let mut nonzero: Vec<_> = values.map(|value| vec![true; spaces.units(value)]).collect();
        let mut layers = spaces.layers.iter().zip(&self.outputs).peekable();
        for (at, (node, relation)) in graph.nodes.iter().zip(&spaces.relations).enumerate() {
            let layer = layers.next_if(|(layer, _)| layer.node == at);
            let units = spaces.units(node.output);
            let of = |operand: usize, unit: usize| {
                let operand = &nonzero[operand];
                if operand.len() == units { operand[unit] } else { operand.contains(&true) }
            };
            let open = !spaces.keeps_zero(at);
            let written: Vec<bool> = match (relation, layer) {
                (Units::Fixed, _) => vec![true; units],
                (_, Some((_, dead))) if dead.len() == units => dead.iter().map(|d| !d).collect(),
                (Units::Mixed, _) | (_, Some(_)) => vec![true; units],
                (Units::Alike, None) => {
                    let any = |unit| open || node.inputs.iter().any(|&id| of(id, unit));
                    (0..units).map(any).collect()
                }
                (Units::Product, None) => {
                    (0..units).map(|unit| node.inputs.iter().all(|&id| of(id, unit))).collect()
                }
                (Units::Taken(from), None) => {
                    let taken = |&(operand, unit): &(usize, usize)| {
                        open || nonzero[node.inputs[operand]][unit]
                    };
                    from.iter().map(taken).collect()
                }
            };
            nonzero[node.output] = written;
        }
        nonzero
    }
}

/// Makes alive what living units are taken from, and where nothing can be selected what is taken from
/// living units. Tells whether something changed.
fn take(spaces: &Spaces, alive: &mut [Vec<bool>]) -> bool {
    let mut changed = false;
    for (node, relation) in spaces.graph.nodes.iter().zip(&spaces.relations).rev() {
        let Units::Taken(from) = relation else { continue };
        let to = spaces.of[node.output];
        let selects = spaces.is_vector(node.output);
        for (unit, &(operand, source)) in from.iter().enumerate() {
            let operand = spaces.of[node.inputs[operand]];
            match (alive[operand][source], alive[to][unit]) {
                (false, true) => alive[operand][source] = true,
                (true, false) if !selects => alive[to][unit] = true,
                _ => continue,
            }
            changed = true;
        }
    }
    changed
}

/// The inputs that a layer still reads, ascending.
pub(super) fn kept_inputs(
    spaces: &Spaces,
    alive: &[Vec<bool>],
    dead: &Dead,
    layer: usize,
) -> Vec<usize> {
    let Layer { input, weights, .. } = spaces.layers[layer];
    let alive = &alive[spaces.of[input]];
    match weights.groups {
        Groups::Channels => vec![0],
        Groups::Filters => (0..weights.inputs).filter(|&input| alive[input]).collect(),
        Groups::Inputs => {
            let reads = |&input: &usize| alive[input % alive.len()] && !dead.inputs[layer][input];
            (0..weights.inputs).filter(reads).collect()
        }
    }
}
