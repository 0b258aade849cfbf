//! The plan of one shrinking step: dead groups in, a smaller graph and slices out.
//!
//! A group is what one scale of the posterior is for ([`Groups`]): an input of a dense layer, a filter
//! of a convolution with its bias, the kernel of a channel with its bias. Dead groups are *asked* to
//! go. One goes if removing it, zeroed, changes nothing else that the network computes
//! ([`super::liveness`]):
//! - a dead filter's channel vanishes from what reads it, or its positions from the dense layer behind
//!   the flatten, if it is zero there: activations with f(0) ≠ 0 keep it, and of groups that go together
//!   ([`ties`](super::ties())) all must be dead;
//! - a neuron or filter that only dead inputs read goes too;
//! - what can't shrink at its source (pixels of the network's input, single positions of a living
//!   channel, features that something else reads) is left out by a [`Select`](crate::graph::ops::Select).
//!
//! The network's outputs are never removed, and no layer becomes empty: the group with the least prune
//! score is spared ([`Shrinkage::spared`]).

use super::liveness::{Dead, Liveness};
use super::rebuild;
use super::spares::spare_empty;
use super::ties::joint;
use super::{PruneError, Sliced};
use crate::graph::{Affine, Graph, Groups, Node, Op, Weights};

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
        let _ = (graph, dead, scores);
        todo!()
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
        let _ = graph;
        todo!()
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
