//! From the posterior to a smaller network: the groups beyond the thresholds go, and what became
//! constant by that.

use super::checkpoint::Pruned;
use crate::error::Error;
use crate::graph::{Affine, Graph};
use crate::ledger::{GroupRecord, Reason};
use crate::posterior::Posterior;
use crate::prune::weights::shrink_posterior;
use crate::prune::{
    Decision, Histogram, Lineage, Shrinkage, Thresholds, fold_constants, prune_score,
};

/// A posterior and how it came to its present groups.
pub(super) struct Grown {
    pub(super) posterior: Posterior,
    pub(super) lineage: Lineage,
    /// Groups that went before.
    pub(super) removed: Vec<GroupRecord>,
}

impl Grown {
    /// Removes what reaches the thresholds from the posterior and from a `network` of the same
    /// shapes, then folds constants. `effects` are the rises of the loss, by layer, if they are known,
    /// and `stage` is what the ledger calls it.
    pub(super) fn cut(
        self,
        network: &Graph<Affine>,
        thresholds: Thresholds,
        effects: &[f32],
        stage: &str,
    ) -> Result<(Pruned, Graph<Affine>), Error> {
        let Self { posterior, mut lineage, removed: mut groups } = self;
        let description_length_nats = posterior.description_length_nats;
        let scores = prune_score(&posterior)?;
        let dead = thresholds.dead(&scores);
        let step = Shrinkage::plan_ranked(&posterior.graph, &dead, &scores)?;
        let decision = Decision {
            dead: &dead,
            prune_score: &scores,
            thresholds: &thresholds.layers,
            effects,
            saved: &[],
            reason: Reason::AboveThreshold,
            stage,
            step: 0,
        };
        groups.extend(lineage.removed(&step, &decision));
        let mut kept = lineage.kept(&step, &decision);
        lineage.shrink(&step)?;
        let mut posterior = shrink_posterior(&posterior, &step)?;
        let folded = fold_constants(step.apply(network)?)?;
        for fold in &folded.steps {
            let (gone, left) = overruled(kept, fold.records(&lineage));
            kept = left;
            groups.extend(gone);
            lineage.shrink(&fold.shrinkage)?;
            posterior = shrink_posterior(&posterior, &fold.shrinkage)?;
        }
        groups.extend(kept);
        sort(&mut groups, network);
        let pruned = Pruned { posterior, lineage, groups, thresholds, description_length_nats };
        Ok((pruned, folded.graph))
    }
}

/// A network that no Bayesian stage looked at: everything stays, and nothing is known of how
/// certain its weights are, so that they are kept as precisely as is allowed. `posterior` is
/// centred on it.
pub(super) fn uncut(mut posterior: Posterior) -> Result<Pruned, Error> {
    for layer in posterior.graph.parameters_mut() {
        for variance in
            [&mut layer.weight_variance, &mut layer.bias_variance, &mut layer.scale_variance]
        {
            variance.fill(0.0);
        }
    }
    let scores = prune_score(&posterior)?;
    let layers = vec![f32::INFINITY; scores.len()];
    let thresholds = Thresholds {
        histograms: scores.iter().map(|scores| Histogram::new(scores)).collect(),
        loss_before: f64::NAN,
        trials: Vec::new(),
        layers,
    };
    let dead = thresholds.dead(&scores);
    let step = Shrinkage::plan(&posterior.graph, &dead)?;
    let lineage = Lineage::new(&posterior.graph);
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
    let mut groups = lineage.kept(&step, &decision);
    groups.iter_mut().for_each(|group| group.reason = Reason::NotJudged);
    Ok(Pruned { posterior, lineage, groups, thresholds, description_length_nats: 0.0 })
}

/// In the order of the layers, and of their groups.
pub(super) fn sort<P>(groups: &mut [GroupRecord], network: &Graph<P>) {
    let place = |layer: &str| network.layers().position(|node| node.name == layer);
    groups.sort_by_cached_key(|g| (place(&g.layer), g.group));
}

/// Records of groups that went after all, which were judged when they were kept: with that judgement,
/// and what is left of the `kept` ones.
pub(super) fn overruled(
    mut kept: Vec<GroupRecord>,
    mut gone: Vec<GroupRecord>,
) -> (Vec<GroupRecord>, Vec<GroupRecord>) {
    for record in &mut gone {
        if let Some(before) = kept.iter().position(|k| same_group(k, record)) {
            let before = kept.swap_remove(before);
            (record.prune_score, record.threshold) = (before.prune_score, before.threshold);
        }
    }
    (gone, kept)
}

/// Whether two records are of one group.
fn same_group(a: &GroupRecord, b: &GroupRecord) -> bool {
    a.layer == b.layer && a.group == b.group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::GroupKind;

    #[test]
    fn what_goes_after_all_keeps_its_importance() {
        let record = |group, reason, score: f32| GroupRecord {
            layer: "dense_1".into(),
            kind: GroupKind::Input,
            group,
            prune_score: score,
            threshold: score + 1.0,
            kept: reason == Reason::BelowThreshold,
            reason,
            stage: "folding".into(),
            step: 0,
            effect: Some(0.0),
            saved: None,
        };
        let kept =
            vec![record(0, Reason::BelowThreshold, -3.0), record(1, Reason::BelowThreshold, -2.0)];
        let (gone, left) = overruled(kept, vec![record(1, Reason::Constant, f32::NAN)]);
        assert_eq!((gone[0].prune_score, gone[0].threshold), (-2.0, -1.0));
        assert!(gone[0].reason == Reason::Constant && !gone[0].kept && gone.len() == 1);
        assert!(left.len() == 1 && left[0].group == 0);
    }
}
