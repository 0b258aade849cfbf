//! Checks of what is given for a graph: one entry a layer, each of the layer's sizes.

use super::PruneError;
use crate::graph::{Affine, Graph, Node, Op};

pub(crate) fn check_layer_count(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), PruneError> {
    if expected == found { Ok(()) } else { Err(PruneError::LayerCount { what, expected, found }) }
}

/// Checks that there is a vector for each layer, with one value a group.
pub(super) fn check_groups<P>(
    graph: &Graph<P>,
    what: &'static str,
    lens: &[usize],
) -> Result<(), PruneError> {
    let weights = graph.weights();
    check_layer_count(what, weights.len(), lens.len())?;
    for ((node, weights), &found) in graph.layers().zip(weights).zip(lens) {
        check_length(&node.name, what, weights.group_count(), found)?;
    }
    Ok(())
}

fn check_length(
    layer: &str,
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), PruneError> {
    if expected == found {
        return Ok(());
    }
    Err(PruneError::Length { layer: layer.to_owned(), what, expected, found })
}

/// Checks that a layer's vector has the length that it needs, and finite numbers.
pub(super) fn check_vector(
    layer: &str,
    what: &'static str,
    expected: usize,
    values: &[f32],
) -> Result<(), PruneError> {
    check_length(layer, what, expected, values.len())?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(PruneError::NotFinite { layer: layer.to_owned(), what });
    }
    Ok(())
}

/// Checks that every tensor of a graph of floats has the size that its layer states.
///
/// # Errors
/// The layer and the tensor that doesn't fit, or holds a number that isn't finite.
pub(crate) fn check_parameters(graph: &Graph<Affine>) -> Result<(), PruneError> {
    for node in &graph.nodes {
        let lens = node.op.parameters(&graph.site(node));
        let none = Affine::default();
        if let Some([weights, biases]) = lens {
            let affine = node.parameters.as_ref().unwrap_or(&none);
            check_vector(&node.name, "the weight tensor", weights, &affine.weight)?;
            check_vector(&node.name, "the bias vector", biases, &affine.bias)?;
        }
    }
    Ok(())
}

/// Refuses batch normalisation, which must have been folded.
pub(super) fn no_batch_norm<P>(graph: &Graph<P>) -> Result<(), PruneError> {
    let norm = |node: &&Node<P>| matches!(node.op, Op::BatchNorm(_));
    match graph.nodes.iter().find(norm) {
        Some(node) => Err(PruneError::BatchNormNotFolded { layer: node.name.clone() }),
        None => Ok(()),
    }
}
