//! Which boundaries hold the same channels, and which layers' groups therefore go together.
//!
//! A *space* is a set of channels (or features) that several boundaries share: activations, poolings
//! and depthwise convolutions keep it, and the two operands of an addition and its sum are one. A
//! channel of a space can only leave all of its boundaries at once. So the filters that write it,
//! and the depthwise kernels that it passes, are one joint group: it is as unimportant as the *most
//! needed* of them ([`unimportance`]), and it goes when all of them may go.

use std::collections::BTreeMap;

use crate::network::{Layer, Shape, Topology};

use super::PruneError;
use super::liveness::affine_shapes;
use crate::posterior::Posterior;
use crate::shapes;

/// Boundaries by their spaces.
#[derive(Clone, Debug)]
pub(super) struct Spaces {
    /// The space of each boundary.
    pub(super) of: Vec<usize>,
    /// Per space: its affine layers, those that write it and the depthwise ones within.
    pub(super) members: Vec<Vec<usize>>,
    /// Per space: the flatten or selection that makes it, by its position.
    pub(super) source: Vec<Option<usize>>,
    /// Per space: whether its units have to stay, as they are the network's input or output.
    pub(super) fixed: Vec<bool>,
    /// Per space: whether values take no other way than from layer to layer.
    pub(super) straight: Vec<bool>,
}

impl Spaces {
    /// Spaces of a topology whose boundaries have `shapes`.
    pub(super) fn new(topology: &Topology, shapes: &[Shape]) -> Self {
        let count = topology.layers.len() + 1;
        let mut of = vec![0; count];
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, layer) in topology.layers.iter().enumerate() {
            let here = of[at];
            of[at + 1] = match layer {
                Layer::Dense { .. } | Layer::Conv2d { .. } | Layer::Select { .. } => at + 1,
                Layer::Flatten if matches!(shapes[at], Shape::Image { .. }) => at + 1,
                Layer::Mark { name } => {
                    named.insert(name, at);
                    here
                }
                Layer::From { name } => named.get(name.as_str()).map_or(here, |&mark| of[mark]),
                Layer::Add { name } => {
                    let other = named.get(name.as_str()).map_or(here, |&mark| of[mark]);
                    // One space from now on, and for the boundaries so far.
                    of[..=at].iter_mut().filter(|s| **s == other).for_each(|s| *s = here);
                    here
                }
                Layer::Flatten
                | Layer::DepthwiseConv2d { .. }
                | Layer::BatchNorm { .. }
                | Layer::MaxPool2d { .. }
                | Layer::AvgPool2d { .. }
                | Layer::Crop { .. }
                | Layer::Relu
                | Layer::Relu6
                | Layer::Dropout { .. } => here,
            };
        }
        let mut spaces = Self {
            of,
            members: vec![Vec::new(); count],
            source: vec![None; count],
            fixed: vec![false; count],
            straight: vec![true; count],
        };
        spaces.describe(topology, shapes);
        spaces
    }

    fn describe(&mut self, topology: &Topology, shapes: &[Shape]) {
        for (affine, shape) in affine_shapes(topology).iter().enumerate() {
            self.members[self.of[shape.position + 1]].push(affine);
        }
        for (at, layer) in topology.layers.iter().enumerate() {
            if matches!(layer, Layer::Mark { .. } | Layer::From { .. } | Layer::Add { .. }) {
                self.straight[self.of[at]] = false;
                self.straight[self.of[at + 1]] = false;
            }
            let rearranges = matches!(layer, Layer::Flatten | Layer::Select { .. });
            if rearranges && self.of[at] != self.of[at + 1] {
                self.source[self.of[at + 1]] = Some(at);
            }
        }
        if matches!(shapes[0], Shape::Image { .. }) {
            self.fixed[self.of[0]] = true;
        }
        // The output, and what a flatten makes it of.
        let mut at = topology.layers.len();
        self.fixed[self.of[at]] = true;
        while let Some(layer) = at.checked_sub(1).map(|before| &topology.layers[before]) {
            if layer.is_affine() && !matches!(layer, Layer::DepthwiseConv2d { .. }) {
                break;
            }
            at -= 1;
            self.fixed[self.of[at]] = true;
        }
    }
}

/// Layers whose groups go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
    /// Affine layers, ascending; a dense layer, whose groups are its inputs, is always alone.
    pub layers: Vec<usize>,
    /// Whether its groups can leave the tensors at all.
    pub removable: bool,
}

/// The ties of a topology, by their first layers. In a network without branches each layer is alone.
///
/// # Errors
/// When the topology is inconsistent.
pub fn ties(topology: &Topology) -> Result<Vec<Tie>, PruneError> {
    let spaces = Spaces::new(topology, &shapes::infer(topology)?);
    let affine = affine_shapes(topology);
    let mut ties: Vec<Tie> = Vec::with_capacity(affine.len());
    for (layer, shape) in affine.iter().enumerate() {
        if shape.dense {
            ties.push(Tie { layers: vec![layer], removable: true });
            continue;
        }
        let space = spaces.of[shape.position + 1];
        let convolutions = spaces.members[space].iter().copied().filter(|&l| !affine[l].dense);
        let layers: Vec<usize> = convolutions.collect();
        if layers.first() == Some(&layer) {
            ties.push(Tie { layers, removable: !spaces.fixed[space] });
        }
    }
    Ok(ties)
}

/// The unimportance of a posterior's groups as parts of their joint groups, by layer: that of the most
/// needed.
///
/// # Errors
/// When the topology is inconsistent.
pub fn unimportance(posterior: &Posterior) -> Result<Vec<Vec<f32>>, PruneError> {
    let own: Vec<Vec<f32>> = posterior.layers.iter().map(|l| l.unimportance.clone()).collect();
    let mut joint = own.clone();
    for Tie { layers, .. } in ties(&posterior.topology)? {
        let most_needed = together(&layers, &own);
        for layer in layers {
            if let Some(joint) = joint.get_mut(layer) {
                joint.clone_from(&most_needed);
            }
        }
    }
    Ok(joint)
}

/// The least unimportance among `layers`, group by group.
fn together(layers: &[usize], unimportance: &[Vec<f32>]) -> Vec<f32> {
    let mut all = layers.iter().filter_map(|&layer| unimportance.get(layer));
    let mut least = all.next().cloned().unwrap_or_default();
    for other in all {
        least.iter_mut().zip(other).for_each(|(least, other)| *least = least.min(*other));
    }
    least
}
