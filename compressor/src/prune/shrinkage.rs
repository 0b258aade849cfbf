//! The plan of one shrinking step: dead groups in, a smaller topology and slices out.
//!
//! A group is an input of a dense layer or a filter of a convolution (with its bias). A dead group
//! is *exactly* zero: removing it changes nothing that the network computes. Deaths spread:
//! - a dead filter's channel vanishes from the next convolution, or its positions from the dense
//!   layer behind the flatten;
//! - a neuron or filter that only dead inputs read goes too;
//! - what can't shrink at its source (pixels of the network's input, single positions of a living
//!   channel) is left out by a [`Layer::Select`](crate::network::Layer::Select).
//!
//! The network's outputs are never removed, and no layer becomes empty: the least unimportant
//! group is spared ([`Shrinkage::spared`]).

use crate::network::{Affine, FloatNetwork, Topology};

use super::PruneError;
use super::liveness::{AffineShape, Chain, Dead, affine_shapes};

/// A group of one affine layer, by indices of the topology before the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// Affine layer, from 0.
    pub layer: usize,
    /// Input (dense) or filter (convolution), from 0.
    pub group: usize,
}

/// What one shrinking step leaves of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrinkage {
    topology: Topology,
    identity: bool,
    names: Vec<String>,
    shapes: Vec<AffineShape>,
    kept_inputs: Vec<Vec<usize>>,
    kept_outputs: Vec<Vec<usize>>,
    spared: Vec<GroupId>,
}

impl Shrinkage {
    /// Plans the removal of `dead` groups, one mask per affine layer. Where a layer would become
    /// empty, its first group is spared; [`Shrinkage::plan_ranked`] spares the least unimportant.
    ///
    /// # Errors
    /// When the topology is inconsistent or a mask has the wrong length.
    pub fn plan(topology: &Topology, dead: &[Vec<bool>]) -> Result<Self, PruneError> {
        Self::plan_ranked(topology, dead, &[])
    }

    /// As [`Shrinkage::plan`]; `unimportance` (per affine layer, per group; may be empty) decides
    /// which group is spared where a layer would become empty.
    ///
    /// # Errors
    /// When the topology is inconsistent or a vector has the wrong length.
    pub fn plan_ranked(
        topology: &Topology,
        dead: &[Vec<bool>],
        unimportance: &[Vec<f32>],
    ) -> Result<Self, PruneError> {
        let chain = Chain::new(topology)?;
        let lens: Vec<usize> = dead.iter().map(Vec::len).collect();
        check_groups(topology, &chain.affine, "masks of dead groups", &lens)?;
        if !unimportance.is_empty() {
            let lens: Vec<usize> = unimportance.iter().map(Vec::len).collect();
            check_groups(topology, &chain.affine, "unimportances", &lens)?;
        }
        let mut masks = chain.nothing_dead();
        for (layer, (shape, dead)) in chain.affine.iter().zip(dead).enumerate() {
            let side = if shape.dense { &mut masks.inputs } else { &mut masks.outputs };
            side[layer].clone_from(dead);
        }
        Ok(Self::from_masks(&chain, masks, unimportance))
    }

    /// Plans from masks on both sides of the affine layers. Outputs of the last layer and inputs of
    /// a first convolution can't go; marks there are ignored.
    pub(super) fn from_masks(chain: &Chain, mut dead: Dead, unimportance: &[Vec<f32>]) -> Self {
        for (shape, inputs) in chain.affine.iter().zip(&mut dead.inputs) {
            let reads_fixed = chain.spaces.fixed[chain.spaces.of[shape.position]];
            if reads_fixed && !shape.dense {
                inputs.fill(false);
            }
        }
        let mut spared = Vec::new();
        let mut alive = chain.alive(&dead);
        while let Some(empty) =
            chain.affine.iter().rposition(|a| !a.depthwise && !alive[a.position].contains(&true))
        {
            spare(chain, &mut dead, empty, unimportance, &mut spared);
            alive = chain.alive(&dead);
        }
        let kept = |boundary: usize| -> Vec<usize> {
            let alive = alive[boundary].iter().enumerate();
            alive.filter(|&(_, &alive)| alive).map(|(unit, _)| unit).collect()
        };
        let topology = chain.shrunk(&alive);
        Self {
            identity: topology == *chain.topology,
            topology,
            names: (0..chain.affine.len()).map(|l| chain.topology.affine_name(l)).collect(),
            shapes: chain.affine.clone(),
            kept_inputs: chain
                .affine
                .iter()
                .map(|a| if a.depthwise { vec![0] } else { kept(a.position) })
                .collect(),
            kept_outputs: chain.affine.iter().map(|a| kept(a.position + 1)).collect(),
            spared,
        }
    }

    /// What is left.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether nothing changes.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Groups that were to go but had to stay, because their layer would have become empty.
    pub fn spared(&self) -> &[GroupId] {
        &self.spared
    }

    /// Inputs (features or channels) of an affine layer that stay, ascending.
    pub fn kept_inputs(&self, layer: usize) -> &[usize] {
        self.kept_inputs.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Outputs (neurons or filters) of an affine layer that stay, ascending.
    pub fn kept_outputs(&self, layer: usize) -> &[usize] {
        self.kept_outputs.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Groups of an affine layer that stay, ascending: its inputs (dense) or filters (convolution).
    pub fn kept_groups(&self, layer: usize) -> &[usize] {
        match self.shapes.get(layer) {
            Some(shape) if shape.dense => self.kept_inputs(layer),
            _ => self.kept_outputs(layer),
        }
    }

    /// Groups of an affine layer that go, for whatever reason, ascending.
    pub fn removed_groups(&self, layer: usize) -> Vec<usize> {
        let groups = self.shapes.get(layer).map_or(0, AffineShape::groups);
        let kept = self.kept_groups(layer);
        (0..groups).filter(|group| kept.binary_search(group).is_err()).collect()
    }

    /// Number of affine layers.
    pub fn layer_count(&self) -> usize {
        self.shapes.len()
    }

    /// Whether an affine layer is a dense one, so that its groups are inputs.
    pub fn is_dense(&self, layer: usize) -> bool {
        self.shapes.get(layer).is_some_and(|shape| shape.dense)
    }

    /// Name of an affine layer; shrinking does not change it.
    pub fn layer_name(&self, layer: usize) -> &str {
        self.names.get(layer).map_or("", String::as_str)
    }

    /// What is left of a tensor shaped like the layer's weights (outputs × kernel × inputs).
    ///
    /// # Errors
    /// When the layer does not exist or the length is wrong.
    pub fn slice_weight<T: Copy>(&self, layer: usize, weight: &[T]) -> Result<Vec<T>, PruneError> {
        let shape = self.shape(layer)?;
        self.check(layer, "a weight tensor", shape.weights(), weight.len())?;
        let (inputs, outputs) = (&self.kept_inputs[layer], &self.kept_outputs[layer]);
        let mut sliced = Vec::with_capacity(outputs.len() * shape.area * inputs.len());
        for &output in outputs {
            for tap in 0..shape.area {
                let row = &weight[(output * shape.area + tap) * shape.inputs..][..shape.inputs];
                sliced.extend(inputs.iter().map(|&input| row[input]));
            }
        }
        Ok(sliced)
    }

    /// What is left of a vector with one value per output (bias).
    ///
    /// # Errors
    /// When the layer does not exist or the length is wrong.
    pub fn slice_bias<T: Copy>(&self, layer: usize, bias: &[T]) -> Result<Vec<T>, PruneError> {
        let shape = self.shape(layer)?;
        self.check(layer, "a bias vector", shape.outputs, bias.len())?;
        Ok(self.kept_outputs[layer].iter().map(|&output| bias[output]).collect())
    }

    /// What is left of a vector with one value per group.
    ///
    /// # Errors
    /// When the layer does not exist or the length is wrong.
    pub fn slice_groups<T: Copy>(&self, layer: usize, groups: &[T]) -> Result<Vec<T>, PruneError> {
        let shape = self.shape(layer)?;
        self.check(layer, "a group vector", shape.groups(), groups.len())?;
        Ok(self.kept_groups(layer).iter().map(|&group| groups[group]).collect())
    }

    /// What is left of a float network.
    ///
    /// # Errors
    /// When it isn't the network that was planned for, or still holds batch normalisation.
    pub fn apply(&self, network: &FloatNetwork) -> Result<FloatNetwork, PruneError> {
        no_batch_norm(&network.topology)?;
        check_layer_count("parameters", self.shapes.len(), network.affine.len())?;
        let slice = |(layer, affine): (usize, &Affine)| {
            Ok(Affine {
                weight: self.slice_weight(layer, &affine.weight)?,
                bias: self.slice_bias(layer, &affine.bias)?,
            })
        };
        let affine: Result<_, PruneError> = network.affine.iter().enumerate().map(slice).collect();
        Ok(FloatNetwork { topology: self.topology.clone(), affine: affine?, norms: Vec::new() })
    }

    fn shape(&self, layer: usize) -> Result<AffineShape, PruneError> {
        let count = self.shapes.len();
        self.shapes.get(layer).copied().ok_or(PruneError::NoSuchLayer { layer, count })
    }

    fn check(
        &self,
        layer: usize,
        what: &'static str,
        expected: usize,
        found: usize,
    ) -> Result<(), PruneError> {
        if expected == found {
            return Ok(());
        }
        Err(PruneError::Length { layer: self.names[layer].clone(), what, expected, found })
    }
}

/// Brings back the input that the `empty` affine layer misses least badly: a living one before a
/// dead one, then the least unimportant; and whatever produces it.
fn spare(
    chain: &Chain,
    dead: &mut Dead,
    empty: usize,
    unimportance: &[Vec<f32>],
    spared: &mut Vec<GroupId>,
) {
    let layer = chain.affine[empty];
    let rank = |layer: usize, group: usize| {
        unimportance.get(layer).and_then(|u| u.get(group)).copied().unwrap_or(0.0)
    };
    let cost = |unit: usize| {
        if layer.dense {
            return rank(empty, unit);
        }
        let producers = chain.producers(layer.position, unit).layers;
        let filter = producers.iter().find(|&&(producer, _)| !chain.affine[producer].dense);
        filter.map_or(0.0, |&(producer, output)| rank(producer, output))
    };
    let better = |&a: &usize, &b: &usize| {
        let dead = &dead.inputs[empty];
        dead[a].cmp(&dead[b]).then(cost(a).total_cmp(&cost(b))).then(a.cmp(&b))
    };
    let Some(unit) = (0..layer.inputs).min_by(better) else { return };
    if std::mem::replace(&mut dead.inputs[empty][unit], false) && layer.dense {
        spared.push(GroupId { layer: empty, group: unit });
    }
    for (producer, output) in chain.producers(layer.position, unit).layers {
        let was_dead = std::mem::replace(&mut dead.outputs[producer][output], false);
        if was_dead && !chain.affine[producer].dense {
            spared.push(GroupId { layer: producer, group: output });
        }
    }
}

pub(super) fn no_batch_norm(topology: &Topology) -> Result<(), PruneError> {
    let norm =
        |layer: &crate::network::Layer| matches!(layer, crate::network::Layer::BatchNorm { .. });
    match topology.layers.iter().position(norm) {
        Some(layer) => Err(PruneError::BatchNormNotFolded { layer }),
        None => Ok(()),
    }
}

pub(crate) fn check_layer_count(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), PruneError> {
    if expected == found { Ok(()) } else { Err(PruneError::LayerCount { what, expected, found }) }
}

fn check_groups(
    topology: &Topology,
    shapes: &[AffineShape],
    what: &'static str,
    lens: &[usize],
) -> Result<(), PruneError> {
    check_layer_count(what, shapes.len(), lens.len())?;
    for (layer, (shape, &found)) in shapes.iter().zip(lens).enumerate() {
        let expected = shape.groups();
        if expected != found {
            let layer = topology.affine_name(layer);
            return Err(PruneError::Length { layer, what, expected, found });
        }
    }
    Ok(())
}

/// Checks that every tensor of a float network has the size its layer states.
pub(crate) fn check_parameters(network: &FloatNetwork) -> Result<(), PruneError> {
    let shapes = affine_shapes(&network.topology);
    check_layer_count("parameters", shapes.len(), network.affine.len())?;
    for (index, (shape, affine)) in shapes.iter().zip(&network.affine).enumerate() {
        let checks = [
            ("the weight tensor", shape.weights(), &affine.weight),
            ("the bias vector", shape.outputs, &affine.bias),
        ];
        for (what, expected, values) in checks {
            let layer = || network.topology.affine_name(index);
            let found = values.len();
            if expected != found {
                return Err(PruneError::Length { layer: layer(), what, expected, found });
            }
            if values.iter().any(|v| !v.is_finite()) {
                return Err(PruneError::NotFinite { layer: layer(), what });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Layer, Padding, Shape};

    /// conv(1→2) → pool → flatten → dense(8→3) → dense(3→2) on 4 × 4.
    fn topology() -> Topology {
        let (kernel, stride, padding) = ([1, 1], [1, 1], Padding::Valid);
        let layers = vec![
            Layer::Conv2d { channels: 1, filters: 2, kernel, stride, padding },
            Layer::MaxPool2d { size: [2, 2], stride: [2, 2], padding },
            Layer::Flatten,
            Layer::Dense { inputs: 8, outputs: 3 },
            Layer::Relu,
            Layer::Dense { inputs: 3, outputs: 2 },
        ];
        Topology { input: Shape::Image { height: 4, width: 4, channels: 1 }, layers }
    }

    fn dead(marks: [&[usize]; 3]) -> Vec<Vec<bool>> {
        let mask = |(n, marks): (usize, &[usize])| (0..n).map(|i| marks.contains(&i)).collect();
        [2, 8, 3].into_iter().zip(marks).map(mask).collect()
    }

    #[test]
    fn a_dead_filter_takes_its_positions_along() {
        let step = Shrinkage::plan(&topology(), &dead([&[0], &[], &[1]])).unwrap();
        assert_eq!(step.kept_outputs(0), [1]);
        assert_eq!(step.kept_inputs(1), [1, 3, 5, 7]);
        assert_eq!(step.kept_outputs(1), [0, 2]);
        assert_eq!(step.removed_groups(1), [0, 2, 4, 6]);
        assert_eq!(step.topology().layers[3], Layer::Dense { inputs: 4, outputs: 2 });
        assert_eq!(step.slice_groups(2, &['a', 'b', 'c']), Ok(vec!['a', 'c']));
        assert!(!step.is_identity() && step.spared().is_empty());
    }

    #[test]
    fn dead_positions_take_their_filter_along_or_leave_a_selection() {
        let step = Shrinkage::plan(&topology(), &dead([&[], &[0, 2, 4, 6, 7], &[]])).unwrap();
        assert_eq!(step.kept_outputs(0), [1]);
        // Of the four positions of filter 1, the last goes.
        assert_eq!(step.topology().layers[3], Layer::Select { keep: vec![0, 1, 2] });
        assert_eq!(step.topology().layers[4], Layer::Dense { inputs: 3, outputs: 3 });
    }

    #[test]
    fn the_least_unimportant_group_is_spared() {
        let all = dead([&[0, 1], &[], &[0, 1, 2]]);
        let unimportance = [vec![3.0, 2.0], vec![0.0; 8], vec![5.0, 4.0, 6.0]];
        let step = Shrinkage::plan_ranked(&topology(), &all, &unimportance).unwrap();
        let id = |layer, group| GroupId { layer, group };
        assert_eq!(step.kept_groups(2), [1]);
        assert!(step.spared().contains(&id(2, 1)));
        assert_eq!(step.kept_groups(0).len(), 1);
        assert!(step.spared().iter().any(|spared| spared.layer == 0));
    }

    #[test]
    fn nothing_dead_changes_nothing() {
        let step = Shrinkage::plan(&topology(), &dead([&[], &[], &[]])).unwrap();
        assert!(step.is_identity());
        assert_eq!(step.topology(), &topology());
    }

    #[test]
    fn wrong_masks_and_tensors_are_named() {
        let few = Shrinkage::plan(&topology(), &[]).unwrap_err();
        assert!(matches!(few, PruneError::LayerCount { expected: 3, found: 0, .. }));
        let mut short = dead([&[], &[], &[]]);
        short[1].pop();
        let error = Shrinkage::plan(&topology(), &short).unwrap_err();
        let PruneError::Length { layer, expected: 8, found: 7, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(layer, "dense_1");
        let step = Shrinkage::plan(&topology(), &dead([&[], &[], &[]])).unwrap();
        let missing = step.slice_bias(3, &[0.0]).unwrap_err();
        assert_eq!(missing, PruneError::NoSuchLayer { layer: 3, count: 3 });
        assert!(matches!(step.slice_weight(0, &[0.0]), Err(PruneError::Length { .. })));
        let mut broken = topology();
        broken.layers.remove(2);
        let error = Shrinkage::plan(&broken, &dead([&[], &[], &[]])).unwrap_err();
        assert!(matches!(error, PruneError::Shape(_)));
        let mut normed = topology();
        normed.layers.insert(1, Layer::BatchNorm { channels: 2 });
        let network = FloatNetwork { topology: normed, affine: Vec::new(), norms: Vec::new() };
        let error = step.apply(&network).unwrap_err();
        assert_eq!(error, PruneError::BatchNormNotFolded { layer: 1 });
    }
}
