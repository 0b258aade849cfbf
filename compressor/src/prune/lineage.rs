//! Which groups of the network before any pruning the current groups are, and the ledger's entries.

use serde::{Deserialize, Serialize};

use crate::ledger::{GroupKind, GroupRecord, Reason};
use crate::network::Topology;

use super::PruneError;
use super::liveness::affine_shapes;
use super::shrinkage::{GroupId, Shrinkage, check_layer_count};

/// Current groups → groups of the original network, per affine layer.
///
/// Part of a training checkpoint: it is all that is needed to go on naming groups after a resume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    groups: Vec<Vec<usize>>,
}

/// Why a step removed its dead groups: what the ledger says of each.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Which groups were declared dead, per affine layer, in indices before the step.
    pub dead: &'a [Vec<bool>],
    /// Unimportance per affine layer and group, in indices before the step.
    pub unimportance: &'a [Vec<f32>],
    /// What it was compared with, per affine layer.
    pub thresholds: &'a [f32],
    /// Rise of the loss by removing each layer's dead groups; empty where it wasn't measured.
    pub effects: &'a [f32],
    /// Why the dead ones are dead.
    pub reason: Reason,
    /// `training`, `pruning`, `folding` or `front`.
    pub stage: &'a str,
    /// Training step; 0 after training.
    pub step: u64,
}

impl Lineage {
    /// Every group is itself.
    pub fn new(topology: &Topology) -> Self {
        let groups = affine_shapes(topology).iter().map(|a| (0..a.groups()).collect()).collect();
        Self { groups }
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
                } else if step.is_dense(layer) {
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
    /// [`Lineage::shrink`] with the last step (spared groups are in [`Lineage::removed`]).
    pub fn kept(&self, step: &Shrinkage, decision: &Decision) -> Vec<GroupRecord> {
        let mut records = Vec::new();
        for layer in 0..step.layer_count() {
            for &group in step.kept_groups(layer) {
                let id = GroupId { layer, group };
                if !step.spared().contains(&id) {
                    let reason = Reason::BelowThreshold;
                    let mut record = self.record(step, id, decision, reason);
                    record.kept = true;
                    records.push(record);
                }
            }
        }
        records
    }

    fn record(&self, step: &Shrinkage, id: GroupId, why: &Decision, reason: Reason) -> GroupRecord {
        let unimportance = why.unimportance.get(id.layer).and_then(|u| u.get(id.group));
        GroupRecord {
            layer: step.layer_name(id.layer).to_owned(),
            kind: if step.is_dense(id.layer) { GroupKind::Input } else { GroupKind::Filter },
            group: self.original(id.layer, id.group).unwrap_or(id.group),
            unimportance: unimportance.copied().unwrap_or(f32::NAN),
            threshold: why.thresholds.get(id.layer).copied().unwrap_or(f32::NAN),
            kept: reason == Reason::LastOfLayer,
            reason,
            stage: why.stage.to_owned(),
            step: why.step,
            effect: match reason {
                Reason::AboveThreshold | Reason::AblationHarmless => {
                    why.effects.get(id.layer).copied()
                }
                Reason::Constant | Reason::NoConsumer => Some(0.0),
                Reason::BelowThreshold | Reason::LastOfLayer | Reason::NotJudged => None,
            },
        }
    }
}

fn marked(dead: &[Vec<bool>], layer: usize, group: usize) -> bool {
    dead.get(layer).and_then(|mask| mask.get(group)).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Layer, Shape};

    fn topology() -> Topology {
        let dense = |inputs, outputs| Layer::Dense { inputs, outputs };
        let layers = vec![dense(4, 3), Layer::Relu, dense(3, 2)];
        Topology { input: Shape::Flat(4), layers }
    }

    #[test]
    fn groups_keep_their_names_over_two_steps() {
        let mut lineage = Lineage::new(&topology());
        let dead = [vec![true, false, false, false], vec![false; 3]];
        let first = Shrinkage::plan(&topology(), &dead).unwrap();
        lineage.shrink(&first).unwrap();
        assert_eq!(lineage.groups(0), [1, 2, 3]);
        let dead = [vec![false, true, false], vec![true, true, true]];
        let unimportance = [vec![0.0, 9.0, 0.0], vec![3.0, 1.0, 2.0]];
        let second = Shrinkage::plan_ranked(first.topology(), &dead, &unimportance).unwrap();
        let decision = Decision {
            dead: &dead,
            unimportance: &unimportance,
            thresholds: &[1.0, 0.5],
            effects: &[0.25, 0.5],
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
        assert_eq!((removed[0].unimportance, removed[0].threshold, removed[0].step), (9.0, 1.0, 7));
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
        let other = Topology {
            input: Shape::Flat(4),
            layers: vec![Layer::Dense { inputs: 4, outputs: 3 }],
        };
        let step = Shrinkage::plan(&other, &[vec![false; 4]]).unwrap();
        let error = Lineage::new(&topology()).shrink(&step).unwrap_err();
        assert!(matches!(error, PruneError::LayerCount { .. }));
    }
}
