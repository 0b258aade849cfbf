//! The outer rows and columns of the images that dense layers read the features of.
//!
//! A dense layer's inputs from one of them go together: when none is read any more, the layers before need
//! not compute it, and the network's input is cropped ([`areas`](super::areas)).

use serde::{Deserialize, Serialize};

use super::PruneError;
use super::spaces::Spaces;
use crate::graph::{Area, Graph, Groups, Units, ValueId};

/// A side of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// Its first row.
    Top,
    /// Its last row.
    Bottom,
    /// Its first column.
    Left,
    /// Its last column.
    Right,
}

impl Side {
    const ALL: [Self; 4] = [Self::Top, Self::Bottom, Self::Left, Self::Right];

    /// The outermost row or column of an area on this side; none where there is no other.
    fn of(self, area: Area) -> Option<Area> {
        let axis = usize::from(matches!(self, Self::Left | Self::Right));
        if area.size()[axis] < 2 {
            return None;
        }
        let mut edge = area;
        match self {
            Self::Top | Self::Left => edge.end[axis] = area.begin[axis] + 1,
            Self::Bottom | Self::Right => edge.begin[axis] = area.end[axis] - 1,
        }
        Some(edge)
    }
}

/// The outer row or column, of those that a dense layer reads of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edge {
    /// Which layer with weights.
    pub layer: usize,
    /// Which side.
    pub side: Side,
    /// The layer's inputs that come from there.
    pub inputs: Vec<bool>,
}

impl Edge {
    /// How many of the layer's inputs come from there.
    pub(crate) fn count(&self) -> usize {
        self.inputs.iter().filter(|&&input| input).count()
    }

    /// What is dead of a network's groups, of which each layer has so many, when it leaves.
    pub(crate) fn dead(&self, groups: &[usize]) -> Vec<Vec<bool>> {
        let mut dead: Vec<Vec<bool>> = groups.iter().map(|&count| vec![false; count]).collect();
        dead[self.layer].clone_from(&self.inputs);
        dead
    }
}

/// The edges of all images whose features dense layers read, by layers and sides.
///
/// # Errors
/// When the graph is inconsistent.
pub(crate) fn edges<P>(graph: &Graph<P>) -> Result<Vec<Edge>, PruneError> {
    let spaces = Spaces::new(graph)?;
    let mut edges = Vec::new();
    for (layer, place) in spaces.layers.iter().enumerate() {
        if place.weights.groups != Groups::Inputs {
            continue;
        }
        let Some((image, features)) = features(&spaces, place.input) else { continue };
        let value = &spaces.graph.values[image];
        let Some(area) = Area::of_features(value, features.iter().copied()) else { continue };
        for side in Side::ALL {
            let Some(edge) = side.of(area) else { continue };
            let inputs = features.iter().map(|&feature| {
                Area::of_features(value, [feature]).is_some_and(|place| edge.has(place.begin))
            });
            edges.push(Edge { layer, side, inputs: inputs.collect() });
        }
    }
    Ok(edges)
}

/// The image that a value's features come from, and which of its features each is, through selections and
/// functions of single values; none where they don't.
fn features(spaces: &Spaces, value: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let graph = &spaces.graph;
    let (mut at, mut features) = (value, (0..graph.values[value].len()).collect::<Vec<_>>());
    while spaces.is_vector(at) {
        let writer = graph.writer(at)?;
        let &[input] = graph.nodes[writer].inputs.as_slice() else { return None };
        match &spaces.relations[writer] {
            // A flatten, behind which the features of the image are all there.
            Units::Taken(_) if !spaces.is_vector(input) => {}
            Units::Taken(from) => {
                features.iter_mut().for_each(|feature| *feature = from[*feature].1);
            }
            Units::Alike if !graph.nodes[writer].op.is_affine() && spaces.is_vector(input) => {}
            _ => return None,
        }
        at = input;
    }
    Some((at, features))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{Clip, Dense, Reshape, Select};
    use crate::prune::Shrinkage;

    /// Features of 3 × 2 × 2, of which row 0, and channel 1 of the rest, are read.
    fn graph() -> Graph<()> {
        let mut graph = Graph::of_input(vec![3, 2, 2]);
        let x = graph.push("flatten", Reshape {}, vec![0], vec![12], None);
        let x = graph.push("relu", Clip::RELU, vec![x], vec![12], None);
        let select = Select { keep: vec![0, 1, 2, 3, 5, 7, 9, 11] };
        let x = graph.push("select", select, vec![x], vec![8], None);
        graph.push("dense_1", Dense {}, vec![x], vec![3], Some(()));
        graph
    }

    #[test]
    fn edges_are_those_of_what_a_dense_layer_reads() {
        let edges = edges(&graph()).unwrap();
        let listed: Vec<_> = edges
            .iter()
            .map(|edge| {
                let inputs = edge.inputs.iter().enumerate().filter(|(_, input)| **input);
                (edge.side, inputs.map(|(at, _)| at).collect::<Vec<_>>(), edge.layer)
            })
            .collect();
        assert_eq!(
            listed,
            [
                (Side::Top, vec![0, 1, 2, 3], 0),
                (Side::Bottom, vec![6, 7], 0),
                (Side::Left, vec![0, 1, 4, 6], 0),
                (Side::Right, vec![2, 3, 5, 7], 0),
            ]
        );
        assert_eq!((edges[1].count(), edges[1].dead(&[8])), (2, vec![edges[1].inputs.clone()]));
    }

    #[test]
    fn an_image_keeps_its_last_row_and_column() {
        let mut graph = graph();
        let mut left = Vec::new();
        for side in [Side::Top, Side::Bottom, Side::Left] {
            let edges = edges(&graph).unwrap();
            let edge = edges.iter().find(|edge| edge.side == side).unwrap();
            let groups = [graph.weights()[0].group_count()];
            let step = Shrinkage::plan(&graph, &edge.dead(&groups)).unwrap();
            graph = step.structure().clone();
            left.push(super::edges(&graph).unwrap().len());
        }
        // Of two rows all sides can go, of one only its ends, of one place none.
        assert_eq!(left, [4, 2, 0]);
    }

    #[test]
    fn what_a_layer_makes_of_features_has_no_edges() {
        let mut graph = graph();
        let output = graph.output;
        graph.push("dense_2", Dense {}, vec![output], vec![2], Some(()));
        assert!(edges(&graph).unwrap().iter().all(|edge| edge.layer == 0));
    }
}
