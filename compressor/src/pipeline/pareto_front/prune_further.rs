//! Pruning further than the Bayesian stage did: further down the posterior's order, on the fine-tuned network.

use super::Tracer;
use crate::error::Error;
use crate::graph::{Affine, Graph};
use crate::pipeline::checkpoint::Pruned;
use crate::pipeline::cut::Grown;
use crate::pipeline::stages::Base;
use crate::prune::{Shrinkage, Thresholds, prune_score};
use crate::select::Plan;
use crate::train::ablation::Baseline;
use crate::train::batch::Examples;
use crate::train::deterministic::weight_count;
use crate::train::shrink::{Price, Removal, Scope, Terms, harmless};
use crate::train::{Cost, ShrinkConfig};

/// Doublings of the loss that a removal may cost, until enough goes; halvings, until less would.
const DOUBLINGS: u32 = 14;
/// Halvings between the last that was too little and the first that was enough.
const HALVINGS: u32 = 4;

impl Tracer<'_> {
    /// The base with the plan's share of its weights, or as near above as removal comes.
    pub(super) fn pruned_further(
        &self,
        base: &Base,
        plan: &Plan,
    ) -> Result<(Pruned, Graph<Affine>), Error> {
        let job = self.context.job;
        let target = (weight_count(&base.network) as f64 * plan.keep) as usize;
        let config =
            ShrinkConfig { floor: None, most_at_once: 1.0, ..job.variational.shrink.clone() };
        let sample = self.context.train.sample(config.examples, job.seed);
        let removal = self.removal(base, &config, &sample, target)?;
        let pruned = &base.pruned;
        let thresholds = Thresholds { layers: removal.thresholds, ..pruned.thresholds.clone() };
        let grown = Grown {
            posterior: pruned.posterior.clone(),
            lineage: pruned.lineage.clone(),
            removed: pruned.groups.iter().filter(|group| !group.kept).cloned().collect(),
        };
        grown.cut(&base.network, thresholds, &removal.effects, "front")
    }

    /// The gentlest removal that leaves at most `target` weights: its budget of loss is doubled
    /// until it does, then halved in between. With training in integers, no budget is below the
    /// job's.
    fn removal(
        &self,
        base: &Base,
        config: &ShrinkConfig,
        sample: &Examples,
        target: usize,
    ) -> Result<Removal, Error> {
        let order = prune_score(&base.pruned.posterior)?;
        let cost = self.context.job.variational.cost;
        let costs = match cost {
            Cost::None => None,
            Cost::Bytes | Cost::Instructions => {
                Some(self.context.target().costs(&base.pruned.posterior)?)
            }
        };
        let price = costs.as_ref().map(|costs| {
            let (factor, excess) = (1.0, f64::INFINITY);
            Price { costs, cost, factor, excess }
        });
        let terms = Terms { scope: Scope::All, price };
        let structure = base.network.structure();
        let baseline = Baseline::new(&structure, &base.network, sample, self.context.device);
        let try_at = |exponent: f64| -> Result<(Removal, usize), Error> {
            let factor = exponent.exp2() as f32;
            let config = ShrinkConfig {
                loss_rise: Some(config.rises().iter().map(|rise| rise * factor).collect()),
                loss_ratio: config.loss_ratio * factor,
                ..config.clone()
            };
            let network = base.network.clone();
            let removal = harmless(network, order.clone(), &config, terms, &baseline)?;
            let (dead, scores) = (&removal.dead, &removal.prune_score);
            let step = Shrinkage::plan_ranked(&base.network, dead, scores)?;
            let left = weight_count(&step.apply(&base.network)?);
            Ok((removal, left))
        };
        let (mut removal, mut left) = try_at(0.0)?;
        let (mut exponent, mut step) = (0.0, 1.0);
        while left > target && exponent < f64::from(DOUBLINGS) {
            exponent += 1.0;
            (removal, left) = try_at(exponent)?;
        }
        // Training in integers mends what the job's own budget removes. Without it, points are told
        // apart by what they keep, and one that should keep more needs a smaller budget.
        let gentle = !self.context.job.quantize.is_on();
        while gentle && exponent <= 0.0 && exponent > -f64::from(DOUBLINGS) {
            let (gentler, left) = try_at(exponent - 1.0)?;
            if left > target {
                break;
            }
            exponent -= 1.0;
            removal = gentler;
        }
        for _ in 0..HALVINGS {
            if exponent == 0.0 && !gentle {
                break;
            }
            step /= 2.0;
            let (gentler, left) = try_at(exponent - step)?;
            if left <= target {
                exponent -= step;
                removal = gentler;
            }
        }
        Ok(removal)
    }
}
