//! From the posterior to a smaller network: the groups beyond the thresholds go, and what became
//! constant by that.

use super::checkpoint::Pruned;
use crate::error::Error;
use crate::ledger::{GroupRecord, Reason};
use crate::network::{FloatNetwork, Topology};
use crate::posterior::Posterior;
use crate::prune::constants::fold_constants;
use crate::prune::weights::shrink_posterior;
use crate::prune::{Decision, Histogram, Lineage, Shrinkage, Thresholds, unimportance};

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
        network: &FloatNetwork,
        thresholds: Thresholds,
        effects: &[f32],
        stage: &str,
    ) -> Result<(Pruned, FloatNetwork), Error> {
        let Self { posterior, mut lineage, removed: mut groups } = self;
        let description_length_nats = posterior.description_length_nats;
        let unimportance = unimportance(&posterior)?;
        let dead = thresholds.dead(&unimportance);
        let step = Shrinkage::plan_ranked(&posterior.topology, &dead, &unimportance)?;
        let decision = Decision {
            dead: &dead,
            unimportance: &unimportance,
            thresholds: &thresholds.layers,
            effects,
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
            let gone = fold.records(&lineage);
            kept.retain(|k| !gone.iter().any(|g| same_group(g, k)));
            groups.extend(gone);
            lineage.shrink(&fold.shrinkage)?;
            posterior = shrink_posterior(&posterior, &fold.shrinkage)?;
        }
        groups.extend(kept);
        sort(&mut groups, &network.topology);
        let pruned = Pruned { posterior, lineage, groups, thresholds, description_length_nats };
        Ok((pruned, folded.network))
    }
}

/// A network that no Bayesian stage looked at: everything stays, and nothing is known of how
/// certain its weights are, so that they are kept as precisely as is allowed. `posterior` is
/// centred on it.
pub(super) fn uncut(mut posterior: Posterior) -> Result<Pruned, Error> {
    for layer in &mut posterior.layers {
        for variance in
            [&mut layer.weight_variance, &mut layer.bias_variance, &mut layer.scale_variance]
        {
            variance.fill(0.0);
        }
    }
    let unimportance = unimportance(&posterior)?;
    let layers = vec![f32::INFINITY; unimportance.len()];
    let thresholds = Thresholds {
        histograms: unimportance.iter().map(|u| Histogram::new(u)).collect(),
        loss_before: f64::NAN,
        trials: Vec::new(),
        layers,
    };
    let dead = thresholds.dead(&unimportance);
    let step = Shrinkage::plan(&posterior.topology, &dead)?;
    let lineage = Lineage::new(&posterior.topology);
    let decision = Decision {
        dead: &dead,
        unimportance: &[],
        thresholds: &[],
        effects: &[],
        reason: Reason::AboveThreshold,
        stage: "pruning",
        step: 0,
    };
    let mut groups = lineage.kept(&step, &decision);
    groups.iter_mut().for_each(|group| group.reason = Reason::NotJudged);
    Ok(Pruned { posterior, lineage, groups, thresholds, description_length_nats: 0.0 })
}

/// In the order of the layers, and of their groups.
pub(super) fn sort(groups: &mut [GroupRecord], topology: &Topology) {
    let names: Vec<String> =
        (0..topology.affine_layers().count()).map(|i| topology.affine_name(i)).collect();
    groups.sort_by_key(|g| (names.iter().position(|n| *n == g.layer), g.group));
}

/// Whether two records are of one group.
pub(super) fn same_group(a: &GroupRecord, b: &GroupRecord) -> bool {
    a.layer == b.layer && a.group == b.group
}
