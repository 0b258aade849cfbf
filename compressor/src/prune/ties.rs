//! Which layers' groups go together, and whether they can go at all.
//!
//! The filters that write a space and the depthwise kernels within are one joint group: it is as
//! unimportant as the *most needed* of them ([`prune_score`]), and it goes when all of them may go. Where
//! a space holds a product, a part of them is enough: a channel takes its gate along, which need not be
//! dead, too.

use super::PruneError;
use super::liveness::Dead;
use super::spaces::Spaces;
use crate::graph::{Graph, Groups};
use crate::posterior::Posterior;

/// Layers whose groups go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tie {
    /// Layers with weights, ascending; a dense layer, whose groups are its inputs, is always alone.
    pub layers: Vec<usize>,
    /// Whether its groups can leave the tensors at all. Those that can't may still go along with
    /// others, as a gate does with the channel that it multiplies.
    pub removable: bool,
}

/// The ties of a graph, by their first layers. In a network without branches each layer is alone.
///
/// # Errors
/// When the graph is inconsistent.
pub(crate) fn ties<P>(graph: &Graph<P>) -> Result<Vec<Tie>, PruneError> {
    Ok(of_spaces(&Spaces::new(graph)?))
}

/// The ties of a graph whose spaces are known.
pub(super) fn of_spaces(spaces: &Spaces) -> Vec<Tie> {
    let mut ties: Vec<Tie> = Vec::with_capacity(spaces.layers.len());
    let mut seen = vec![false; spaces.of.len()];
    for (at, layer) in spaces.layers.iter().enumerate() {
        let space = spaces.of[layer.output];
        if !layer.owns_outputs() {
            ties.push(Tie { layers: vec![at], removable: true });
        } else if !std::mem::replace(&mut seen[space], true) {
            ties.extend(of_space(spaces, space));
        }
    }
    ties.sort_by_key(|tie| tie.layers.first().copied());
    ties
}

/// What can go of `dead` groups: of those that go together all are dead.
pub(super) fn joint(spaces: &Spaces, dead: &[Vec<bool>]) -> Dead {
    let mut joint = Dead::nothing(spaces);
    for Tie { layers, .. } in of_spaces(spaces).iter().filter(|tie| tie.removable) {
        let Some(&first) = layers.first() else { continue };
        let all = |group: usize| layers.iter().all(|&layer| dead[layer][group]);
        let mask: Vec<bool> = (0..dead[first].len()).map(all).collect();
        for &layer in layers {
            let inputs = spaces.layers[layer].weights.groups == Groups::Inputs;
            let side = if inputs { &mut joint.inputs } else { &mut joint.outputs };
            side[layer].clone_from(&mask);
        }
    }
    joint
}

/// The ties of the filters and depthwise kernels in a space.
fn of_space(spaces: &Spaces, space: usize) -> Vec<Tie> {
    let members = spaces.members[space].iter().copied();
    let all: Vec<usize> = members.filter(|&layer| spaces.layers[layer].owns_outputs()).collect();
    let removable = frees(spaces, space, &all);
    if !removable || !spaces.has_product(space) {
        return vec![Tie { layers: all, removable }];
    }
    let needed = least(spaces, space, &all);
    let mut rest: Vec<usize> = all.into_iter().filter(|layer| !needed.contains(layer)).collect();
    let mut ties = vec![Tie { layers: needed, removable }];
    while let Some(&first) = rest.first() {
        // What isn't enough on its own may still go along.
        let term = term(spaces, first);
        let (layers, others) = rest.iter().partition(|&&layer| self::term(spaces, layer) == term);
        rest = others;
        ties.push(Tie { removable: frees(spaces, space, &layers), layers });
    }
    ties
}

/// Layers whose deaths are enough to free a space: as few as can be left of `all` when factors are
/// left out, the last first, and then single depthwise kernels.
fn least(spaces: &Spaces, space: usize, all: &[usize]) -> Vec<usize> {
    let mut needed = all.to_vec();
    for &layer in all.iter().rev() {
        let term = term(spaces, layer);
        let others = needed.iter().copied().filter(|&other| self::term(spaces, other) != term);
        let others: Vec<usize> = others.collect();
        if frees(spaces, space, &others) {
            needed = others;
        }
    }
    for &layer in all.iter().rev().filter(|&&layer| !spaces.layers[layer].mixed) {
        let others = needed.iter().copied().filter(|&other| other != layer);
        let others: Vec<usize> = others.collect();
        if frees(spaces, space, &others) {
            needed = others;
        }
    }
    needed
}

/// Which factor of a product a layer writes, or passes.
fn term(spaces: &Spaces, layer: usize) -> usize {
    spaces.terms[spaces.layers[layer].output]
}

/// Whether all units of a space can go when all groups of these layers are dead, and no others.
fn frees(spaces: &Spaces, space: usize, layers: &[usize]) -> bool {
    let mut dead = Dead::nothing(spaces);
    layers.iter().for_each(|&layer| dead.outputs[layer].fill(true));
    !layers.is_empty() && !dead.alive(spaces)[space].contains(&true)
}

/// The prune score of a posterior's groups as parts of their joint groups, by layer: that of the most
/// needed.
///
/// # Errors
/// When the graph is inconsistent.
pub(crate) fn prune_score(posterior: &Posterior) -> Result<Vec<Vec<f32>>, PruneError> {
    let layers = posterior.graph.parameters();
    let own: Vec<Vec<f32>> = layers.map(|layer| layer.prune_score.clone()).collect();
    let mut joint = own.clone();
    for Tie { layers, .. } in ties(&posterior.graph)? {
        let most_needed = together(&layers, &own);
        for layer in layers {
            if let Some(joint) = joint.get_mut(layer) {
                joint.clone_from(&most_needed);
            }
        }
    }
    Ok(joint)
}

/// The least prune score among `layers`, group by group.
fn together(layers: &[usize], scores: &[Vec<f32>]) -> Vec<f32> {
    let mut all = layers.iter().filter_map(|&layer| scores.get(layer));
    let mut least = all.next().cloned().unwrap_or_default();
    for other in all {
        least.iter_mut().zip(other).for_each(|(least, other)| *least = least.min(*other));
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Add, Clip, Conv2d, DepthwiseConv2d, Logistic, Mean, Mul, Op};
    use crate::graph::{ValueId, Window};
    use crate::prune::Shrinkage;

    fn start() -> Graph<()> {
        Graph::of_input(vec![4, 4, 3])
    }

    fn dims(graph: &Graph<()>, value: ValueId) -> Vec<usize> {
        graph.values[value].dims.clone()
    }

    /// A convolution of one tap to two channels.
    fn conv(graph: &mut Graph<()>, x: ValueId) -> ValueId {
        let (name, mut dims) = (format!("conv2d_{}", graph.nodes.len()), dims(graph, x));
        dims[2] = 2;
        graph.push(&name, Conv2d { window: Window::ONE }, vec![x], dims, Some(()))
    }

    fn same(graph: &mut Graph<()>, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let (name, dims) = (format!("n{}", graph.nodes.len()), dims(graph, inputs[0]));
        let op = op.into();
        let parameters = op.is_affine().then_some(());
        graph.push(&name, op, inputs.to_vec(), dims, parameters)
    }

    fn listed(graph: &Graph<()>) -> Vec<(Vec<usize>, bool)> {
        ties(graph).unwrap().into_iter().map(|tie| (tie.layers, tie.removable)).collect()
    }

    /// Squeeze and excitation of layer 0 by layer 1; layer 2 is the output.
    fn squeezed() -> Graph<()> {
        let mut graph = start();
        let x = conv(&mut graph, 0);
        let x = same(&mut graph, Clip::RELU, &[x]);
        let mean = graph.push("mean", Mean {}, vec![x], vec![1, 1, 2], None);
        let gate = conv(&mut graph, mean);
        let gate = same(&mut graph, Logistic {}, &[gate]);
        let scaled = same(&mut graph, Mul {}, &[x, gate]);
        conv(&mut graph, scaled);
        graph
    }

    #[test]
    fn a_channel_takes_its_gate_along_and_not_the_other_way_round() {
        let graph = squeezed();
        assert_eq!(listed(&graph), [(vec![0], true), (vec![1], false), (vec![2], false)]);
        let dead = |layer: usize| {
            let mut dead = [vec![false; 2], vec![false; 2], vec![false; 2]];
            dead[layer][0] = true;
            dead
        };
        let step = Shrinkage::plan(&graph, &dead(0)).unwrap();
        assert_eq!((step.kept_outputs(0), step.kept_outputs(1)), (&[1][..], &[1][..]));
        assert_eq!((step.kept_inputs(1), step.kept_inputs(2)), (&[1][..], &[1][..]));
        assert!(Shrinkage::plan(&graph, &dead(1)).unwrap().is_identity());
    }

    #[test]
    fn factors_that_nothing_else_reads_can_go_alone_if_they_are_zero() {
        let mut graph = start();
        let (x, gate) = (conv(&mut graph, 0), conv(&mut graph, 0));
        let gate = same(&mut graph, Clip::RELU6, &[gate]);
        let product = same(&mut graph, Mul {}, &[x, gate]);
        conv(&mut graph, product);
        assert_eq!(listed(&graph), [(vec![0], true), (vec![1], true), (vec![2], false)]);
    }

    #[test]
    fn a_product_that_is_added_goes_with_what_it_is_added_to() {
        let mut graph = start();
        let (x, gate, rest) = (conv(&mut graph, 0), conv(&mut graph, 0), conv(&mut graph, 0));
        let gate = same(&mut graph, Logistic {}, &[gate]);
        let product = same(&mut graph, Mul {}, &[x, gate]);
        let sum = same(&mut graph, Add {}, &[product, rest]);
        conv(&mut graph, sum);
        assert_eq!(listed(&graph), [(vec![0, 2], true), (vec![1], false), (vec![3], false)]);
    }

    #[test]
    fn depthwise_kernels_go_with_their_filter_unless_they_make_a_factor() {
        let depthwise = DepthwiseConv2d { window: Window::ONE };
        let mut graph = start();
        let x = conv(&mut graph, 0);
        let x = same(&mut graph, depthwise, &[x]);
        conv(&mut graph, x);
        assert_eq!(listed(&graph), [(vec![0, 1], true), (vec![2], false)]);
        // Of one channel any number of outputs may stay, of two only all.
        for (channels, removable) in [(1, true), (2, false)] {
            let mut graph = Graph::of_input(vec![4, 4, channels]);
            let x = graph.push("depthwise_1", depthwise, vec![0], vec![4, 4, 4], Some(()));
            conv(&mut graph, x);
            assert_eq!(listed(&graph), [(vec![0], removable), (vec![1], false)]);
        }
        // A hard swish in parts: x · clip(a·x + b).
        let mut graph = start();
        let x = conv(&mut graph, 0);
        let factor = same(&mut graph, depthwise, &[x]);
        let factor = same(&mut graph, Clip { low: 0.0, high: 1.0 }, &[factor]);
        let x = same(&mut graph, Mul {}, &[x, factor]);
        conv(&mut graph, x);
        assert_eq!(listed(&graph), [(vec![0], true), (vec![1], true), (vec![2], false)]);
    }

    #[test]
    fn behind_a_logistic_function_a_dead_filter_is_no_zero() {
        let mut graph = start();
        let x = conv(&mut graph, 0);
        let x = same(&mut graph, Logistic {}, &[x]);
        conv(&mut graph, x);
        assert_eq!(listed(&graph), [(vec![0], false), (vec![1], false)]);
    }
}
