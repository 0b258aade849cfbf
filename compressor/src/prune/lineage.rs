//! Which groups of the network before any pruning the current groups are, and the ledger's entries.

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, Groups};
use crate::ledger::{GroupKind, GroupRecord, Reason};

use super::PruneError;
use super::parameters::check_layer_count;
use super::shrinkage::{GroupId, Shrinkage};

/// Current groups → groups of the original network, per layer.
///
/// Part of a training checkpoint: it is all that is needed to go on naming groups after a resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    groups: Vec<Vec<usize>>,
}

/// Why a step removed its dead groups: what the ledger says of each.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Which groups were declared dead, per layer, in indices before the step.
    pub dead: &'a [Vec<bool>],
    /// Prune score per layer and group, in indices before the step.
    pub prune_score: &'a [Vec<f32>],
    /// What it was compared with, per layer.
    pub thresholds: &'a [f32],
    /// Rise of the loss by removing each layer's dead groups; empty where it wasn't measured.
    pub effects: &'a [f32],
    /// What each of a layer's groups costs, by layer; empty where groups aren't weighed by that.
    pub saved: &'a [f32],
    /// Why the dead ones are dead.
    pub reason: Reason,
    /// `training`, `pruning`, `folding` or `front`.
    pub stage: &'a str,
    /// Training step; 0 after training.
    pub step: u64,
}

impl Lineage {
    /// Every group is itself.
    pub fn new<P>(graph: &Graph<P>) -> Self {
        let weights = graph.weights().into_iter();
        Self { groups: weights.map(|weights| (0..weights.group_count()).collect()).collect() }
    }

    /// Original index of a current group; `None` when there is no such group.
    pub fn original(&self, layer: usize, group: usize) -> Option<usize> {
        self.groups.get(layer)?.get(group).copied()
    }

    /// Original indices of a layer's current groups, ascending.
    pub fn groups(&self, layer: usize) -> &[usize] {
        self.groups.get(layer).map_or(&[], Vec::as_slice)
    }

    /// Follows one shrinking step.
    ///
    /// # Errors
    /// When the step was planned for a network with other layers.
    pub fn shrink(&mut self, step: &Shrinkage) -> Result<(), PruneError> {
        check_layer_count("lineages", step.layer_count(), self.groups.len())?;
        let sliced: Result<Vec<_>, _> = self
            .groups
            .iter()
            .enumerate()
            .map(|(l, groups)| step.slice_groups(l, groups))
            .collect();
        self.groups = sliced?;
        Ok(())
    }

    /// The ledger's entries for what a step removed or spared; call it *before*
    /// [`Lineage::shrink`] with that step.
    ///
    /// Groups that went although nobody declared them dead are a dense layer's inputs whose source
    /// died ([`Reason::Constant`]) or filters that nothing reads ([`Reason::NoConsumer`]).
    pub fn removed(&self, step: &Shrinkage, decision: &Decision) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for layer in 0..step.layer_count() {
            for group in step.removed_groups(layer) {
                let reason = if marked(decision.dead, layer, group) {
                    decision.reason
                } else if step.groups(layer) == Groups::Inputs {
                    Reason::Constant
                } else {
                    Reason::NoConsumer
                };
                records.push(self.record(step, GroupId { layer, group }, decision, reason));
            }
        }
        for &id in step.spared() {
            records.push(self.record(step, id, decision, Reason::LastOfLayer));
        }
        records
    }

    /// The ledger's entries for the groups that stay for good; call it *before*
    /// [`Lineage::shrink`] with the last step (spared groups are in [`Lineage::removed`]). A dead group
    /// that is among them couldn't leave ([`Reason::CannotLeave`]): another layer's group that it goes
    /// with isn't dead, or its channel can't go at all ([`ties`](super::ties())).
    pub fn kept(&self, step: &Shrinkage, decision: &Decision) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for layer in 0..step.layer_count() {
            for &group in step.kept_groups(layer) {
                let id = GroupId { layer, group };
                if !step.spared().contains(&id) {
                    let reason = if marked(decision.dead, layer, group) {
                        Reason::CannotLeave
                    } else {
                        Reason::BelowThreshold
                    };
                    let mut record = self.record(step, id, decision, reason);
                    record.kept = true;
                    records.push(record);
                }
            }
        }
        records
    }

    fn record(&self, step: &Shrinkage, id: GroupId, why: &Decision, reason: Reason) -> GroupRecord {
        let score = why.prune_score.get(id.layer).and_then(|u| u.get(id.group));
        GroupRecord {
            layer: step.layer_name(id.layer).to_owned(),
            kind: match step.groups(id.layer) {
                Groups::Inputs => GroupKind::Input,
                Groups::Filters | Groups::Channels => GroupKind::Filter,
            },
            group: self.original(id.layer, id.group).unwrap_or(id.group),
            prune_score: score.copied().unwrap_or(f32::NAN),
            threshold: why.thresholds.get(id.layer).copied().unwrap_or(f32::NAN),
            kept: reason == Reason::LastOfLayer,
            reason,
            stage: why.stage.to_owned(),
            step: why.step,
            effect: match reason {
                Reason::AboveThreshold | Reason::AblationHarmless | Reason::EdgeHarmless => {
                    why.effects.get(id.layer).copied()
                }
                Reason::Constant | Reason::NoConsumer => Some(0.0),
                Reason::BelowThreshold
                | Reason::LastOfLayer
                | Reason::CannotLeave
                | Reason::NotJudged => None,
            },
            saved: why.saved.get(id.layer).copied().filter(|_| reason == Reason::AblationHarmless),
        }
    }
}

fn marked(dead: &[Vec<bool>], layer: usize, group: usize) -> bool {
    dead.get(layer).and_then(|mask| mask.get(group)).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Window;
    use crate::graph::ops::{Clip, Conv2d, Dense};

    fn graph() -> Graph<()> {
        let mut graph = Graph::of_input(vec![4]);
        let x = graph.push("dense_1", Dense {}, vec![0], vec![3], Some(()));
        let x = graph.push("relu_1", Clip::RELU, vec![x], vec![3], None);
        graph.push("dense_2", Dense {}, vec![x], vec![2], Some(()));
        graph
    }

    #[test]
    fn groups_keep_their_names_over_two_steps() {
        let mut lineage = Lineage::new(&graph());
        let dead = [vec![true, false, false, false], vec![false; 3]];
        let first = Shrinkage::plan(&graph(), &dead).unwrap();
        lineage.shrink(&first).unwrap();
        assert_eq!(lineage.groups(0), [1, 2, 3]);
        let dead = [vec![false, true, false], vec![true, true, true]];
        let scores = [vec![0.0, 9.0, 0.0], vec![3.0, 1.0, 2.0]];
        let second = Shrinkage::plan_ranked(first.structure(), &dead, &scores).unwrap();
        let decision = Decision {
            dead: &dead,
            prune_score: &scores,
            thresholds: &[1.0, 0.5],
            effects: &[0.25, 0.5],
            saved: &[],
            reason: Reason::AboveThreshold,
            stage: "pruning",
            step: 7,
        };
        let removed = lineage.removed(&second, &decision);
        let seen: Vec<_> =
            removed.iter().map(|r| (r.layer.as_str(), r.group, r.kept, r.reason)).collect();
        assert_eq!(
            seen,
            [
                ("dense_1", 2, false, Reason::AboveThreshold),
                ("dense_2", 0, false, Reason::AboveThreshold),
                ("dense_2", 2, false, Reason::AboveThreshold),
                ("dense_2", 1, true, Reason::LastOfLayer),
            ]
        );
        assert_eq!((removed[0].prune_score, removed[0].threshold, removed[0].step), (9.0, 1.0, 7));
        let effects: Vec<_> = removed.iter().map(|r| r.effect).collect();
        assert_eq!(effects, [Some(0.25), Some(0.5), Some(0.5), None]);
        let kept = lineage.kept(&second, &decision);
        let seen: Vec<_> = kept.iter().map(|r| (r.layer.as_str(), r.group)).collect();
        assert_eq!(seen, [("dense_1", 1), ("dense_1", 3)]);
        lineage.shrink(&second).unwrap();
        assert_eq!((lineage.groups(0), lineage.groups(1)), (&[1, 3][..], &[1][..]));
        assert_eq!(lineage.original(0, 1), Some(3));
    }

    #[test]
    fn a_step_of_another_network_is_refused() {
        let mut other: Graph<()> = Graph::of_input(vec![4]);
        other.push("dense_1", Dense {}, vec![0], vec![3], Some(()));
        let step = Shrinkage::plan(&other, &[vec![false; 4]]).unwrap();
        let error = Lineage::new(&graph()).shrink(&step).unwrap_err();
        assert!(matches!(error, PruneError::LayerCount { .. }));
    }

    #[test]
    fn a_dead_group_that_has_to_stay_says_so() {
        let mut graph: Graph<()> = Graph::of_input(vec![2, 2, 1]);
        let conv = Conv2d { window: Window::ONE };
        graph.push("conv2d_1", conv, vec![0], vec![2, 2, 2], Some(()));
        let dead = [vec![true, false]];
        let step = Shrinkage::plan(&graph, &dead).unwrap();
        let decision = Decision {
            dead: &dead,
            prune_score: &[],
            thresholds: &[],
            effects: &[],
            saved: &[],
            reason: Reason::AboveThreshold,
            stage: "pruning",
            step: 0,
        };
        let lineage = Lineage::new(&graph);
        assert!(lineage.removed(&step, &decision).is_empty());
        let kept = lineage.kept(&step, &decision);
        let reasons: Vec<_> = kept.iter().map(|record| (record.reason, record.kept)).collect();
        assert_eq!(reasons, [(Reason::CannotLeave, true), (Reason::BelowThreshold, true)]);
    }
}
