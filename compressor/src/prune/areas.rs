//! Which rows and columns of its images a network has to compute: those that something reads.
//!
//! From the output back: what a dense layer still reads of the features of an image lies in some rows and
//! columns of it; sums and activations read the same of their operands, windows those that they cover. What
//! nothing reads need not be written. A node that can't do with a part computes all.

use crate::graph::{Area, Groups, Node, Places, Units, Value, ValueId};

use super::spaces::Spaces;

/// Rows and columns, in those of the graph before.
#[derive(Clone, Debug)]
pub(super) struct Areas {
    /// Per value: what is computed of it.
    pub(super) held: Vec<Area>,
    /// Per node and operand: what it reads.
    pub(super) read: Vec<Vec<Area>>,
}

impl Areas {
    /// Of a graph where these units are alive and layers read these inputs.
    pub(super) fn new(spaces: &Spaces, alive: &[Vec<bool>], kept_inputs: &[Vec<usize>]) -> Self {
        let graph = &spaces.graph;
        let whole: Vec<Area> = graph.values.iter().map(Area::whole).collect();
        let mut held: Vec<Option<Area>> = vec![None; graph.values.len()];
        let mut read = vec![Vec::new(); graph.nodes.len()];
        for value in [graph.input, graph.output] {
            held[value] = Some(whole[value]);
        }
        let mut layers = spaces.layers.iter().zip(kept_inputs).rev().peekable();
        for (at, node) in graph.nodes.iter().enumerate().rev() {
            let kept = layers.next_if(|(layer, _)| layer.node == at);
            let kept = kept.filter(|(layer, _)| layer.weights.groups == Groups::Inputs);
            // What nothing reads stays as it is.
            let written = held[node.output].unwrap_or(whole[node.output]);
            let features = match (kept, &spaces.relations[at]) {
                (Some((_, kept)), _) => {
                    Area::of_features(&graph.values[node.inputs[0]], kept.iter().copied())
                }
                (None, Units::Taken(_)) => flattened(spaces, node, &alive[spaces.of[node.output]]),
                _ => None,
            };
            let areas = match features {
                Some(area) => Some(vec![area]),
                None => operands(spaces, node, written),
            };
            let areas = areas.unwrap_or_else(|| {
                held[node.output] = Some(whole[node.output]);
                node.inputs.iter().map(|&id| whole[id]).collect()
            });
            for (&operand, &area) in node.inputs.iter().zip(&areas) {
                let all = held[operand].map_or(area, |held| held.with(area));
                held[operand] = Some(all);
            }
            read[at] = areas;
        }
        let held = held.into_iter().zip(whole).map(|(held, whole)| held.unwrap_or(whole));
        Self { held: held.collect(), read }
    }

    /// Whether a feature of a node's first operand is among those that it reads.
    pub(super) fn reads(&self, node: usize, value: &Value, feature: usize) -> bool {
        let [_, columns, channels] = value.image().unwrap_or([1, 1, value.len()]);
        let place = feature / channels.max(1);
        self.read[node].first().is_none_or(|area| area.has([place / columns, place % columns]))
    }
}

/// What a flatten reads, of whose features these are alive; none of another node.
fn flattened(spaces: &Spaces, node: &Node<()>, alive: &[bool]) -> Option<Area> {
    let &[input] = node.inputs.as_slice() else { return None };
    if spaces.is_vector(input) || !spaces.is_vector(node.output) {
        return None;
    }
    let alive = alive.iter().enumerate().filter(|(_, alive)| **alive);
    Area::of_features(&spaces.graph.values[input], alive.map(|(feature, _)| feature))
}

/// What a node reads of its operands to write an area; none where it has to write all of it.
fn operands(spaces: &Spaces, node: &Node<()>, written: Area) -> Option<Vec<Area>> {
    let values = &spaces.graph.values;
    match node.op.places(&spaces.graph.site(node)) {
        Places::Fixed => None,
        Places::Within(reach) => {
            let &[input] = node.inputs.as_slice() else { return None };
            Some(vec![reach.over(written, Area::whole(&values[input]))?])
        }
        Places::Alike => {
            let output = &values[node.output];
            let area = |&id: &ValueId| {
                let value = &values[id];
                let rows_and_columns =
                    |value: &Value| value.dims.split_last().map(|(_, dims)| dims.to_vec());
                if rows_and_columns(value) == rows_and_columns(output) {
                    return Some(written);
                }
                let one_place = value.len() == 1 || value.len() == output.channels();
                one_place.then(|| Area::whole(value))
            };
            node.inputs.iter().map(area).collect()
        }
    }
}
