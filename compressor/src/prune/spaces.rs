//! Which values hold the same units (channels of an image, features of a vector).
//!
//! A *space* is a set of units that several values share: activations, poolings and depthwise
//! convolutions keep it, and the operands of a sum or of a product and its result are one. A unit of a
//! space can only leave all of its values at once.

use crate::graph::{Graph, Groups, Op, Units, ValueId, Weights};

use super::PruneError;
use super::parameters::no_batch_norm;

/// A layer's place and sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    /// Position among the nodes.
    pub(super) node: usize,
    /// What it reads.
    pub(super) input: ValueId,
    /// What it writes.
    pub(super) output: ValueId,
    /// Sizes of its weights.
    pub(super) weights: Weights,
    /// Whether its outputs are made of all of its inputs, as they aren't in depthwise convolutions.
    pub(super) mixed: bool,
}

impl Layer {
    /// Whether its groups are what it writes, not what it reads.
    pub(super) fn owns_outputs(&self) -> bool {
        self.weights.groups != Groups::Inputs
    }
}

/// A graph's values by their spaces.
#[derive(Clone, Debug)]
pub(super) struct Spaces {
    /// What is computed.
    pub(super) graph: Graph<()>,
    /// How the units of each node's output come from those of its operands.
    pub(super) relations: Vec<Units>,
    /// The layers with weights, in order.
    pub(super) layers: Vec<Layer>,
    /// The space of each value: the position of one of its values.
    pub(super) of: Vec<usize>,
    /// As `of`, but a product isn't one with its factors.
    pub(super) terms: Vec<usize>,
    /// Per space: the layers that write it and the depthwise ones within.
    pub(super) members: Vec<Vec<usize>>,
    /// Per space: whether all units have to stay.
    pub(super) pinned: Vec<bool>,
}

impl Spaces {
    /// Spaces of a graph.
    ///
    /// # Errors
    /// When the graph is inconsistent, or holds batch normalisation.
    pub(super) fn new<P>(graph: &Graph<P>) -> Result<Self, PruneError> {
        graph.check_structure()?;
        no_batch_norm(graph)?;
        let graph = graph.structure();
        let count = graph.values.len();
        let units = graph.nodes.iter().map(|node| node.op.units(&graph.site(node)));
        let relations: Vec<Units> = units.collect();
        let mut layers = Vec::new();
        for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op.is_affine()) {
            if let Some(weights) = node.op.weights(&graph.site(node)) {
                let (input, output, mixed) =
                    (node.inputs[0], node.output, relations[at] == Units::Mixed);
                layers.push(Layer { node: at, input, output, weights, mixed });
            }
        }
        let mut spaces = Self {
            graph,
            relations,
            layers,
            of: (0..count).collect(),
            terms: (0..count).collect(),
            members: vec![Vec::new(); count],
            pinned: vec![false; count],
        };
        spaces.join();
        for (at, layer) in spaces.layers.iter().enumerate() {
            spaces.members[spaces.of[layer.output]].push(at);
        }
        spaces.pin();
        Ok(spaces)
    }

    /// Number of units of a value.
    pub(super) fn units(&self, value: ValueId) -> usize {
        self.graph.values[value].channels()
    }

    /// Whether a value is a vector, of which features can be selected.
    pub(super) fn is_vector(&self, value: ValueId) -> bool {
        self.graph.values[value].dims.len() == 1
    }

    /// Whether an operand of a node has the units of the node's output, and not one number for all.
    pub(super) fn is_aligned(&self, node: usize, operand: ValueId) -> bool {
        self.units(operand) == self.units(self.graph.nodes[node].output)
    }

    /// Whether a node makes zeros of zeros.
    pub(super) fn keeps_zero(&self, node: usize) -> bool {
        let node = &self.graph.nodes[node];
        node.op.constant(&vec![0.0; node.inputs.len()]) == Some(0.0)
    }

    /// Whether a space has a product in it.
    pub(super) fn has_product(&self, space: usize) -> bool {
        let mut nodes = self.graph.nodes.iter().zip(&self.relations);
        nodes.any(|(node, units)| *units == Units::Product && self.of[node.output] == space)
    }

    /// The layers that a unit of a space comes from, and as which of their outputs.
    pub(super) fn producers(&self, space: usize, unit: usize) -> Vec<(usize, usize)> {
        let (mut space, mut unit) = (space, unit);
        // No way back through selections and flattenings is longer than there are nodes.
        for _ in 0..=self.graph.nodes.len() {
            if !self.members[space].is_empty() {
                return self.members[space].iter().map(|&layer| (layer, unit)).collect();
            }
            let source =
                self.graph.nodes.iter().zip(&self.relations).find_map(
                    |(node, units)| match units {
                        Units::Taken(from) if self.of[node.output] == space => {
                            let &(operand, unit) = from.get(unit)?;
                            Some((self.of[node.inputs[operand]], unit))
                        }
                        _ => None,
                    },
                );
            match source {
                Some(source) => (space, unit) = source,
                None => break,
            }
        }
        Vec::new()
    }

    /// Makes one space of what elementwise operators read and write.
    fn join(&mut self) {
        for at in 0..self.graph.nodes.len() {
            let product = self.relations[at] == Units::Product;
            if !product && self.relations[at] != Units::Alike {
                continue;
            }
            let output = self.graph.nodes[at].output;
            for operand in self.graph.nodes[at].inputs.clone() {
                if self.is_aligned(at, operand) {
                    unite(&mut self.of, operand, output);
                    if !product {
                        unite(&mut self.terms, operand, output);
                    }
                }
            }
        }
    }

    /// Marks the spaces that can't lose a unit.
    fn pin(&mut self) {
        let graph = &self.graph;
        let mut values = vec![graph.output];
        if !self.is_vector(graph.input) {
            values.push(graph.input);
        }
        for (at, (node, units)) in graph.nodes.iter().zip(&self.relations).enumerate() {
            match units {
                Units::Fixed => values.extend(node.inputs.iter().chain([&node.output])),
                Units::Alike | Units::Product => {
                    let odd = node.inputs.iter().filter(|&&operand| !self.is_aligned(at, operand));
                    for &operand in odd {
                        values.push(operand);
                        // More than one number for all, laid over the other operand in another shape.
                        values.extend((graph.values[operand].len() > 1).then_some(node.output));
                    }
                }
                // A layer may write an image, several of its outputs to a channel.
                Units::Mixed => {
                    let weights = node.op.weights(&graph.site(node));
                    let outputs = weights.map_or(0, |weights| weights.outputs);
                    values.extend((outputs != self.units(node.output)).then_some(node.output));
                }
                Units::Taken(_) => {}
            }
        }
        for value in values {
            self.pinned[self.of[value]] = true;
        }
    }
}

/// Whether a node is a selection: what pruning itself puts in.
pub(super) fn is_selection(op: &Op) -> bool {
    matches!(op, Op::Select(_))
}

/// Makes one set of those of `a` and `b`.
fn unite(sets: &mut [usize], a: usize, b: usize) {
    let (from, to) = (sets[a], sets[b]);
    sets.iter_mut().filter(|set| **set == from).for_each(|set| *set = to);
}
