//! The plan of one shrinking step: dead groups in, a smaller graph and slices out.
//!
//! A group is what one scale of the posterior is for ([`Groups`]): an input of a dense layer, a filter
//! of a convolution with its bias, the kernel of a channel with its bias. Dead groups are *asked* to
//! go. One goes if removing it, zeroed, changes nothing else that the network computes
//! (`liveness`):
//! - a dead filter's channel vanishes from what reads it, or its positions from the dense layer behind
//!   the flatten, if it is zero there: activations with f(0) ≠ 0 keep it, and of groups that go together
//!   ([`ties`](super::ties())) all must be dead;
//! - a neuron or filter that only dead inputs read goes too;
//! - what can't shrink at its source (pixels of the network's input, single positions of a living
//!   channel, features that something else reads) is left out by a [`Select`](crate::graph::ops::Select).
//!
//! The network's outputs are never removed, and no layer becomes empty: the group with the least prune
//! score is spared ([`Shrinkage::spared`]).

use super::liveness::{Dead, kept_inputs};
use super::parameters::{check_groups, check_layer_count, no_batch_norm};
use super::rebuild::rebuild;
use super::spaces::Spaces;
use super::spares::spare_empty;
use super::ties::joint;
use super::{PruneError, Sliced};
use crate::graph::{Graph, Groups, Node, Weights};

/// A group of one layer, by indices of the graph before the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId {
    /// Layer with weights, from 0.
    pub layer: usize,
    /// Which of its groups, from 0.
    pub group: usize,
}

/// What one shrinking step leaves of everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrinkage {
    structure: Graph<()>,
    identity: bool,
    names: Vec<String>,
    weights: Vec<Weights>,
    kept_inputs: Vec<Vec<usize>>,
    kept_outputs: Vec<Vec<usize>>,
    spared: Vec<GroupId>,
}

impl Shrinkage {
    /// Plans the removal of `dead` groups, one mask per layer. Where a layer would become empty, its
    /// first group is spared; [`Shrinkage::plan_ranked`] spares the one with the least prune score.
    ///
    /// # Errors
    /// When the graph is inconsistent or holds batch normalisation, or a mask has the wrong length.
    pub fn plan<P>(graph: &Graph<P>, dead: &[Vec<bool>]) -> Result<Self, PruneError> {
        Self::plan_ranked(graph, dead, &[])
    }

    /// As [`Shrinkage::plan`]; the prune `scores` (per layer, per group; may be empty) decide which
    /// group is spared where a layer would become empty.
    ///
    /// # Errors
    /// When the graph is inconsistent or holds batch normalisation, or a vector has the wrong length.
    pub fn plan_ranked<P>(
        graph: &Graph<P>,
        dead: &[Vec<bool>],
        scores: &[Vec<f32>],
    ) -> Result<Self, PruneError> {
        let spaces = Spaces::new(graph)?;
        let lens: Vec<usize> = dead.iter().map(Vec::len).collect();
        check_groups(graph, "masks of dead groups", &lens)?;
        if !scores.is_empty() {
            let lens: Vec<usize> = scores.iter().map(Vec::len).collect();
            check_groups(graph, "prune scores", &lens)?;
        }
        Ok(Self::of(&spaces, joint(&spaces, dead), scores))
    }

    /// Plans from what is dead on both sides of the layers.
    pub(super) fn of(spaces: &Spaces, mut dead: Dead, scores: &[Vec<f32>]) -> Self {
        let (alive, spared) = spare_empty(spaces, &mut dead, scores);
        let kept_outputs = spaces.layers.iter().map(|layer| {
            let alive = &alive[spaces.of[layer.output]];
            (0..layer.weights.outputs).filter(|output| alive[output % alive.len()]).collect()
        });
        let kept_inputs: Vec<Vec<usize>> =
            (0..spaces.layers.len()).map(|at| kept_inputs(spaces, &alive, &dead, at)).collect();
        let structure = rebuild(spaces, &alive, &kept_inputs);
        Self {
            identity: structure == spaces.graph,
            structure,
            names: spaces.graph.layers().map(|node| node.name.clone()).collect(),
            weights: spaces.layers.iter().map(|layer| layer.weights).collect(),
            kept_outputs: kept_outputs.collect(),
            kept_inputs,
            spared,
        }
    }

    /// What is left: the graph with selections where they are needed, and dimensions as they become.
    pub fn structure(&self) -> &Graph<()> {
        &self.structure
    }

    /// Whether nothing changes.
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Groups that were to go but had to stay, because their layer would have become empty.
    pub fn spared(&self) -> &[GroupId] {
        &self.spared
    }

    /// Inputs (features or channels) of a layer that stay, ascending.
    pub fn kept_inputs(&self, layer: usize) -> &[usize] {
        self.kept_inputs.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Outputs (neurons or filters) of a layer that stay, ascending.
    pub fn kept_outputs(&self, layer: usize) -> &[usize] {
        self.kept_outputs.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Groups of a layer that stay, ascending.
    pub fn kept_groups(&self, layer: usize) -> &[usize] {
        match self.groups(layer) {
            Groups::Inputs => self.kept_inputs(layer),
            Groups::Filters | Groups::Channels => self.kept_outputs(layer),
        }
    }

    /// Groups of a layer that go, for whatever reason, ascending.
    pub fn removed_groups(&self, layer: usize) -> Vec<usize> {
        let groups = self.weights.get(layer).map_or(0, Weights::group_count);
        let kept = self.kept_groups(layer);
        (0..groups).filter(|group| kept.binary_search(group).is_err()).collect()
    }

    /// Number of layers with weights.
    pub fn layer_count(&self) -> usize {
        self.weights.len()
    }

    /// What the groups of a layer are; of one that there isn't, filters.
    pub fn groups(&self, layer: usize) -> Groups {
        self.weights.get(layer).map_or(Groups::Filters, |weights| weights.groups)
    }

    /// Name of a layer; shrinking does not change it.
    pub fn layer_name(&self, layer: usize) -> &str {
        self.names.get(layer).map_or("", String::as_str)
    }

    /// What is left of a tensor shaped like the layer's weights (outputs × kernel × inputs).
    ///
    /// # Errors
    /// When the layer does not exist or the length is wrong.
    pub fn slice_weight<T: Copy>(&self, layer: usize, weight: &[T]) -> Result<Vec<T>, PruneError> {
        let Weights { taps, inputs: columns, .. } = self.sizes(layer)?;
        self.check(layer, "a weight tensor", self.weights[layer].len(), weight.len())?;
        let (inputs, outputs) = (&self.kept_inputs[layer], &self.kept_outputs[layer]);
        let mut sliced = Vec::with_capacity(outputs.len() * taps * inputs.len());
        for &output in outputs {
            for tap in 0..taps {
                let row = &weight[(output * taps + tap) * columns..][..columns];
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
        self.check(layer, "a bias vector", self.sizes(layer)?.outputs, bias.len())?;
        Ok(self.kept_outputs[layer].iter().map(|&output| bias[output]).collect())
    }

    /// What is left of a vector with one value per group.
    ///
    /// # Errors
    /// When the layer does not exist or the length is wrong.
    pub fn slice_groups<T: Copy>(&self, layer: usize, groups: &[T]) -> Result<Vec<T>, PruneError> {
        self.check(layer, "a group vector", self.sizes(layer)?.group_count(), groups.len())?;
        Ok(self.kept_groups(layer).iter().map(|&group| groups[group]).collect())
    }

    /// What is left of a graph of the structure that was planned for, with its parameters.
    ///
    /// # Errors
    /// When it isn't that graph, or still holds batch normalisation.
    pub fn apply<P: Sliced>(&self, graph: &Graph<P>) -> Result<Graph<P>, PruneError> {
        no_batch_norm(graph)?;
        let layers = graph.layers().enumerate();
        let sliced = layers.filter_map(|(layer, node)| {
            node.parameters.as_ref().map(|parameters| parameters.sliced(layer, self))
        });
        let sliced = sliced.collect::<Result<Vec<P>, PruneError>>()?;
        check_layer_count("parameters", self.weights.len(), sliced.len())?;
        let mut sliced = sliced.into_iter();
        let Graph { values, nodes, input, output } = self.structure.clone();
        let nodes = nodes.into_iter().map(|node| {
            let Node { name, op, inputs, output, parameters } = node;
            let parameters = parameters.and_then(|()| sliced.next());
            Node { name, op, inputs, output, parameters }
        });
        Ok(Graph { values, nodes: nodes.collect(), input, output })
    }

    fn sizes(&self, layer: usize) -> Result<Weights, PruneError> {
        let count = self.weights.len();
        self.weights.get(layer).copied().ok_or(PruneError::NoSuchLayer { layer, count })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::ops::{BatchNorm, Clip, Conv2d, Dense, MaxPool2d, Reshape, Select};
    use crate::graph::{Affine, GraphError, Op, Window};

    /// conv(1→2) → pool → flatten → dense(8→3) → dense(3→2) on 4 × 4.
    fn graph() -> Graph<()> {
        let mut graph = Graph::of_input(vec![4, 4, 1]);
        let conv = Conv2d { window: Window::ONE };
        let pool = MaxPool2d { window: Window { size: [2; 2], stride: [2; 2], ..Window::ONE } };
        let x = graph.push("conv2d_1", conv, vec![0], vec![4, 4, 2], Some(()));
        let x = graph.push("max_pool2d_1", pool, vec![x], vec![2, 2, 2], None);
        let x = graph.push("flatten_1", Reshape {}, vec![x], vec![8], None);
        let x = graph.push("dense_1", Dense {}, vec![x], vec![3], Some(()));
        let x = graph.push("relu_1", Clip::RELU, vec![x], vec![3], None);
        graph.push("dense_2", Dense {}, vec![x], vec![2], Some(()));
        graph
    }

    fn dead(marks: [&[usize]; 3]) -> Vec<Vec<bool>> {
        let mask = |(n, marks): (usize, &[usize])| (0..n).map(|i| marks.contains(&i)).collect();
        [2, 8, 3].into_iter().zip(marks).map(mask).collect()
    }

    #[test]
    fn a_dead_filter_takes_its_positions_along() {
        let step = Shrinkage::plan(&graph(), &dead([&[0], &[], &[1]])).unwrap();
        assert_eq!(step.kept_outputs(0), [1]);
        assert_eq!(step.kept_inputs(1), [1, 3, 5, 7]);
        assert_eq!(step.kept_outputs(1), [0, 2]);
        assert_eq!(step.removed_groups(1), [0, 2, 4, 6]);
        let left = step.structure().weights()[1];
        assert_eq!((left.inputs, left.outputs, step.structure().nodes.len()), (4, 2, 6));
        assert_eq!(step.slice_groups(2, &['a', 'b', 'c']), Ok(vec!['a', 'c']));
        assert!(!step.is_identity() && step.spared().is_empty());
    }

    #[test]
    fn dead_positions_take_their_filter_along_or_leave_a_selection() {
        let step = Shrinkage::plan(&graph(), &dead([&[], &[0, 2, 4, 6, 7], &[]])).unwrap();
        assert_eq!(step.kept_outputs(0), [1]);
        // Of the four positions of filter 1, the last goes.
        let left = step.structure();
        assert_eq!(left.nodes[3].op, Op::Select(Select { keep: vec![0, 1, 2] }));
        assert_eq!((left.weights()[1].inputs, left.weights()[1].outputs), (3, 3));
        // The next one goes from that selection.
        let groups = [vec![false; 1], vec![true, false, false], vec![false; 3]];
        let again = Shrinkage::plan(left, &groups).unwrap();
        assert_eq!(again.structure().nodes[3].op, Op::Select(Select { keep: vec![1, 2] }));
        assert_eq!(again.structure().nodes.len(), left.nodes.len());
    }

    #[test]
    fn the_group_with_the_least_score_is_spared() {
        let all = dead([&[0, 1], &[], &[0, 1, 2]]);
        let scores = [vec![3.0, 2.0], vec![0.0; 8], vec![5.0, 4.0, 6.0]];
        let step = Shrinkage::plan_ranked(&graph(), &all, &scores).unwrap();
        let id = |layer, group| GroupId { layer, group };
        assert_eq!(step.kept_groups(2), [1]);
        assert!(step.spared().contains(&id(2, 1)));
        assert_eq!(step.kept_groups(0).len(), 1);
        assert!(step.spared().iter().any(|spared| spared.layer == 0));
    }

    #[test]
    fn nothing_dead_changes_nothing() {
        let step = Shrinkage::plan(&graph(), &dead([&[], &[], &[]])).unwrap();
        assert!(step.is_identity());
        assert_eq!(step.structure(), &graph());
    }

    #[test]
    fn wrong_masks_and_tensors_are_named() {
        let few = Shrinkage::plan(&graph(), &[]).unwrap_err();
        assert!(matches!(few, PruneError::LayerCount { expected: 3, found: 0, .. }));
        let mut short = dead([&[], &[], &[]]);
        short[1].pop();
        let error = Shrinkage::plan(&graph(), &short).unwrap_err();
        let PruneError::Length { layer, expected: 8, found: 7, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(layer, "dense_1");
        let step = Shrinkage::plan(&graph(), &dead([&[], &[], &[]])).unwrap();
        let missing = step.slice_bias(3, &[0.0]).unwrap_err();
        assert_eq!(missing, PruneError::NoSuchLayer { layer: 3, count: 3 });
        assert!(matches!(step.slice_weight(0, &[0.0]), Err(PruneError::Length { .. })));
        let none: Graph<Affine> = Graph::of_input(vec![1]);
        assert!(matches!(step.apply(&none), Err(PruneError::LayerCount { .. })));
        let mut broken = graph();
        broken.nodes.remove(2);
        let error = Shrinkage::plan(&broken, &dead([&[], &[], &[]])).unwrap_err();
        assert!(matches!(error, PruneError::Graph(GraphError::Order { .. })));
        let mut normed = graph();
        let output = normed.output;
        normed.push("batch_norm_1", BatchNorm::new(2), vec![output], vec![2], Some(()));
        let error = step.apply(&normed).unwrap_err();
        assert_eq!(error, PruneError::BatchNormNotFolded { layer: "batch_norm_1".into() });
    }
}
