//! Which layers' groups go together, and whether they can go at all.

use super::PruneError;
use crate::graph::Graph;
use crate::posterior::Posterior;

/// Layers whose groups go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tie {
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
pub fn ties<P>(graph: &Graph<P>) -> Result<Vec<Tie>, PruneError> {
    let _ = graph;
    todo!()
}

/// The prune score of a posterior's groups as parts of their joint groups, by layer: that of the most
/// needed.
///
/// # Errors
/// When the graph is inconsistent.
pub fn prune_score(posterior: &Posterior) -> Result<Vec<Vec<f32>>, PruneError> {
    let own: Vec<Vec<f32>> =
        posterior.graph.layers().filter_map(|node| Some(node.parameters.as_ref()?.prune_score.clone())).collect();
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
