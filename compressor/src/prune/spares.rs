//! What is spared so that nothing becomes empty.

use super::liveness::{Dead, kept_inputs};
use super::shrinkage::GroupId;
use super::spaces::Spaces;
use crate::graph::Groups;

/// Brings units back until every layer reads something and every value holds something. Returns the
/// live units of every space, and the groups that were dead and stay.
pub(super) fn spare_empty(
    spaces: &Spaces,
    dead: &mut Dead,
    scores: &[Vec<f32>],
) -> (Vec<Vec<bool>>, Vec<GroupId>) {
    let mut spared = Vec::new();
    loop {
        let alive = dead.settle(spaces, &mut spared);
        let mixed = (0..spaces.layers.len()).filter(|&layer| spaces.layers[layer].mixed);
        let empty = mixed.rev().find(|&layer| kept_inputs(spaces, &alive, dead, layer).is_empty());
        if let Some(layer) = empty {
            spare_input(spaces, dead, layer, scores, &mut spared);
            continue;
        }
        let values = spaces.graph.nodes.iter().rev().map(|node| node.output);
        let mut spaces_of = values.chain([spaces.graph.input]).map(|value| spaces.of[value]);
        match spaces_of.find(|&space| !alive[space].contains(&true)) {
            Some(space) => {
                let cost = |&unit: &usize| cost(spaces, space, unit, scores);
                let units = 0..alive[space].len();
                let unit = units.min_by(|a, b| cost(a).total_cmp(&cost(b)));
                spare_unit(spaces, dead, space, unit.unwrap_or(0), &mut spared);
            }
            None => return (alive, spared),
        }
    }
}

/// Brings back the input that the `empty` layer misses least badly: a living one before a dead one,
/// then the one with the least prune score; and whatever produces it.
fn spare_input(
    spaces: &Spaces,
    dead: &mut Dead,
    empty: usize,
    scores: &[Vec<f32>],
    spared: &mut Vec<GroupId>,
) {
    let layer = spaces.layers[empty];
    let (space, units) = (spaces.of[layer.input], spaces.units(layer.input));
    let dense = layer.weights.groups == Groups::Inputs;
    let cost = |input: usize| {
        if dense { score(scores, empty, input) } else { cost(spaces, space, input, scores) }
    };
    let better = |&a: &usize, &b: &usize| {
        let dead = &dead.inputs[empty];
        dead[a].cmp(&dead[b]).then(cost(a).total_cmp(&cost(b))).then(a.cmp(&b))
    };
    let Some(input) = (0..layer.weights.inputs).min_by(better) else { return };
    if std::mem::replace(&mut dead.inputs[empty][input], false) && dense {
        spared.push(GroupId { layer: empty, group: input });
    }
    spare_unit(spaces, dead, space, input % units, spared);
}

/// Keeps a unit, and revives the groups that it comes from.
fn spare_unit(
    spaces: &Spaces,
    dead: &mut Dead,
    space: usize,
    unit: usize,
    spared: &mut Vec<GroupId>,
) {
    dead.staying.push((space, unit));
    for (layer, group) in spaces.producers(space, unit) {
        let was_dead = std::mem::replace(&mut dead.outputs[layer][group], false);
        if was_dead && spaces.layers[layer].owns_outputs() {
            spared.push(GroupId { layer, group });
        }
    }
}

/// The prune score of the first group that a unit comes from.
fn cost(spaces: &Spaces, space: usize, unit: usize, scores: &[Vec<f32>]) -> f32 {
    let producers = spaces.producers(space, unit);
    let group = producers.into_iter().find(|&(layer, _)| spaces.layers[layer].owns_outputs());
    group.map_or(0.0, |(layer, group)| score(scores, layer, group))
}

fn score(scores: &[Vec<f32>], layer: usize, group: usize) -> f32 {
    scores.get(layer).and_then(|scores| scores.get(group)).copied().unwrap_or(0.0)
}
