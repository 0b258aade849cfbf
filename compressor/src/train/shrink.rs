//! Shrinking while training: which groups can go now.
//!
//! The posterior orders a layer's groups by how little they are needed; an ablation on a slice of
//! the training set says how far down that order one may cut. The order makes the search cheap (a
//! bisection), the ablation makes it safe. Layers are tried last to first, so that the activations
//! below the layer at hand are computed once. Layers whose groups go together are tried together, in
//! the place of their first.

use super::ShrinkConfig;
use super::ablation::{Ablation, Baseline};
use super::costs::{Cost, GroupCosts};
use crate::graph::{Affine, Graph, Groups, Weights};
use crate::prune::{PruneError, ties};

/// Groups that may go, per layer, and the prune score of the least of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Removal {
    /// Per layer and group.
    pub dead: Vec<Vec<bool>>,
    /// Per layer: prune score at which the cut was made; infinite where nothing goes.
    pub thresholds: Vec<f32>,
    /// Per layer: rise of the loss on the sample by this layer's part, after the parts of the
    /// layers behind it.
    pub effects: Vec<f32>,
    /// Per layer and group: what they were ordered by.
    pub prune_score: Vec<Vec<f32>>,
    /// Share of the network's cost that leaves, where groups have one.
    pub saved: f64,
    /// Whether groups that may have gone stayed, as the loss would have risen by too much.
    pub refused: bool,
}

impl Removal {
    /// Nothing goes of groups with these prune scores.
    pub(super) fn nothing(prune_score: Vec<Vec<f32>>) -> Self {
        Self {
            dead: prune_score.iter().map(|u| vec![false; u.len()]).collect(),
            thresholds: vec![f32::INFINITY; prune_score.len()],
            effects: vec![0.0; prune_score.len()],
            prune_score,
            saved: 0.0,
            refused: false,
        }
    }

    /// Whether nothing goes.
    pub(crate) fn is_empty(&self) -> bool {
        self.dead.iter().flatten().all(|d| !d)
    }
}

/// Which layers groups may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every layer.
    All,
    /// Those that use a weight at many positions, where the arithmetic is.
    Convolutions,
}

impl Scope {
    fn has(self, layer: &Weights) -> bool {
        self == Self::All || layer.groups != Groups::Inputs
    }
}

/// What a removal may cost, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// Which layers groups may leave.
    pub scope: Scope,
    /// The price, where groups cost something.
    pub price: Option<Price<'a>>,
}

/// One price for all layers: a removal may cost the share of it that it saves of what the network costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Price<'a> {
    /// What groups cost,
    pub costs: &'a GroupCosts,
    /// and of that what counts.
    pub cost: Cost,
    /// What the job's price is multiplied by.
    pub factor: f64,
    /// Instructions that the network has too many: no more go than that takes. Infinite without a target
    /// that isn't reached.
    pub excess: f64,
}

impl Price<'_> {
    /// The loss that a removal from a layer may leave, where it is `before`, if it saves this share of
    /// what the network costs.
    pub(super) fn allowed(
        &self,
        config: &ShrinkConfig,
        layer: usize,
        before: f64,
        share: f64,
    ) -> f64 {
        let all = before * f64::from(config.loss_ratio) + rise(config, layer);
        before + all * self.factor * share
    }
}

/// What the job allows a removal from a layer to cost, in nats.
fn rise(config: &ShrinkConfig, layer: usize) -> f64 {
    let rises = config.rises();
    f64::from(rises.get(layer).or(rises.last()).copied().unwrap_or(0.0))
}

impl Terms<'_> {
    /// The loss that `count` groups of a layer may leave, where it is `before` with them.
    fn allowed(&self, config: &ShrinkConfig, layer: usize, before: f64, count: usize) -> f64 {
        let Some(price) = self.price else {
            return before * f64::from(1.0 + config.loss_ratio) + rise(config, layer);
        };
        let share = price.costs.share(price.cost, layer) * count as f64;
        price.allowed(config, layer, before, share)
    }

    /// Groups of a layer that may go at most, where `gone` instructions are gone already.
    fn most(&self, layer: usize, gone: f64) -> usize {
        let Some(Price { costs, excess, .. }) = self.price else { return usize::MAX };
        let each = costs.instructions(layer);
        // Beyond every count where a group has none.
        ((excess - gone).max(0.0) / each).ceil() as usize
    }
}

/// Finds what can go from a network whose groups, as parts of their joint ones, have these prune
/// scores, judged on the sample of its baseline.
pub(crate) fn harmless(
    mut mean: Graph<Affine>,
    prune_score: Vec<Vec<f32>>,
    config: &ShrinkConfig,
    terms: Terms<'_>,
    baseline: &Baseline<'_>,
) -> Result<Removal, PruneError> {
    let sizes = mean.weights();
    let mut removal = Removal::nothing(prune_score);
    let mut gone = 0.0;
    for tie in ties(baseline.structure)?.iter().rev().filter(|tie| tie.removable) {
        let Some(&layer) = tie.layers.first() else { continue };
        if !sizes.get(layer).is_some_and(|sizes| terms.scope.has(sizes)) {
            continue;
        }
        let mut order = candidates(&removal.prune_score[layer], config);
        order.truncate(terms.most(layer, gone));
        if order.is_empty() {
            continue;
        }
        let groups = removal.dead[layer].len();
        let loss = |count: usize| {
            let mut keep = vec![1.0; groups];
            order[..count].iter().for_each(|(g, _)| keep[*g] = 0.0);
            let passed = sizes[layer].groups != Groups::Inputs;
            baseline.loss_without(&mean, &Ablation { layers: &tie.layers, passed, keep })
        };
        let before = loss(0);
        // The last that fits is the one that is taken.
        let mut reached = before;
        let count = longest(order.len(), |count| {
            let tried = loss(count);
            let fits = tried < terms.allowed(config, layer, before, count);
            if fits {
                reached = tried;
            }
            fits
        });
        removal.refused |= count < order.len();
        if let Some(Price { costs, cost, .. }) = terms.price {
            gone += costs.instructions(layer) * count as f64;
            removal.saved += costs.share(cost, layer) * count as f64;
        }
        let mut dead = vec![false; groups];
        order[..count].iter().for_each(|(g, _)| dead[*g] = true);
        let threshold = order[..count].last().map_or(f32::INFINITY, |(_, least)| *least);
        for &layer in &tie.layers {
            mask(&mut mean, layer, &sizes[layer], &dead);
            removal.thresholds[layer] = threshold;
            removal.effects[layer] = (reached - before) as f32;
            removal.dead[layer].clone_from(&dead);
        }
    }
    Ok(removal)
}

/// Groups above the floor, least needed first, at most the allowed share and never all.
fn candidates(prune_score: &[f32], config: &ShrinkConfig) -> Vec<(usize, f32)> {
    let floor = config.floor.unwrap_or(f32::NEG_INFINITY);
    let mut order: Vec<(usize, f32)> =
        prune_score.iter().copied().enumerate().filter(|(_, u)| *u >= floor).collect();
    // Ties are broken by index, so that the order is the same everywhere.
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let share = (prune_score.len() as f32 * config.most_at_once).ceil() as usize;
    order.truncate(share.min(prune_score.len().saturating_sub(1)));
    order
}

/// The longest prefix that `fits`, found by bisection; 0 if none does.
fn longest(n: usize, mut fits: impl FnMut(usize) -> bool) -> usize {
    if fits(n) {
        return n;
    }
    let (mut good, mut bad) = (0, n);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if fits(middle) { good = middle } else { bad = middle }
    }
    good
}

/// Zeroes what dead groups contribute, so that layers tried later see the network without them.
fn mask(network: &mut Graph<Affine>, layer: usize, sizes: &Weights, dead: &[bool]) {
    let Some(affine) = network.parameters_mut().nth(layer) else { return };
    let rows = affine.weight.chunks_exact_mut(sizes.columns().max(1)).zip(&mut affine.bias);
    if sizes.groups == Groups::Inputs {
        for (row, _) in rows {
            row.iter_mut().zip(dead).filter(|(_, d)| **d).for_each(|(w, _)| *w = 0.0);
        }
    } else {
        for ((row, bias), _) in rows.zip(dead).filter(|(_, d)| **d) {
            row.fill(0.0);
            *bias = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Costs;
    use crate::train::costs::LayerCost;

    #[test]
    fn convolutions_alone_are_all_but_dense_layers() {
        let of = |groups| Weights { outputs: 3, taps: 1, inputs: 2, groups };
        let (dense, depthwise) = (of(Groups::Inputs), of(Groups::Channels));
        assert!(Scope::All.has(&dense) && Scope::Convolutions.has(&depthwise));
        assert!(!Scope::Convolutions.has(&dense));
    }

    fn costs() -> GroupCosts {
        let layer = |instructions, bytes| LayerCost { groups: 8, members: 1, bytes, instructions };
        let whole = Costs { bytes: 100, instructions: 1_000 };
        let layers = vec![layer(50.0, 10.0), layer(5.0, 1.0), layer(0.0, 0.0)];
        GroupCosts { whole, layers, edges: Vec::new() }
    }

    #[test]
    fn a_removal_may_cost_the_share_that_it_saves_of_one_price() {
        let config = ShrinkConfig {
            loss_rise: Some(vec![0.5]),
            loss_ratio: 0.25,
            ..ShrinkConfig::default()
        };
        let costs = costs();
        let price = |cost, factor| Price { costs: &costs, cost, factor, excess: f64::INFINITY };
        let rise = |price, layer, count| {
            let terms = Terms { scope: Scope::All, price: Some(price) };
            terms.allowed(&config, layer, 2.0, count) - 2.0
        };
        let instructions = price(Cost::Instructions, 1.0);
        for (layer, count, share) in [(0, 1, 0.05), (0, 4, 0.2), (1, 4, 0.02), (2, 7, 0.0)] {
            // All there is may cost 0.5 and a quarter of 2.
            assert!((rise(instructions, layer, count) - share).abs() < 1e-9, "{layer} {count}");
        }
        assert!((rise(price(Cost::Bytes, 1.0), 0, 1) - 0.1).abs() < 1e-9);
        assert!((rise(price(Cost::Bytes, 8.0), 0, 1) - 0.8).abs() < 1e-9);
        // Without costs, as the job states it by layer, however many go.
        let config = ShrinkConfig { loss_rise: Some(vec![0.5, 0.25]), loss_ratio: 0.0, ..config };
        let terms = Terms { scope: Scope::All, price: None };
        let allowed = |layer, count| terms.allowed(&config, layer, 2.0, count);
        assert_eq!([allowed(0, 1), allowed(1, 1), allowed(1, 4)], [2.5, 2.25, 2.25]);
    }

    #[test]
    fn no_more_go_than_a_target_asks_for() {
        let costs = costs();
        let most = |excess, layer, gone| {
            let price = Price { costs: &costs, cost: Cost::Instructions, factor: 1.0, excess };
            Terms { scope: Scope::All, price: Some(price) }.most(layer, gone)
        };
        assert_eq!([most(120.0, 0, 0.0), most(120.0, 0, 100.0), most(120.0, 0, 130.0)], [3, 1, 0]);
        assert_eq!([most(120.0, 1, 0.0), most(120.0, 2, 0.0)], [24, usize::MAX]);
        assert_eq!(most(f64::INFINITY, 0, 1e9), usize::MAX);
        assert_eq!(Terms { scope: Scope::All, price: None }.most(0, 0.0), usize::MAX);
    }

    #[test]
    fn bisection_finds_the_longest_prefix() {
        for limit in 0..=17 {
            assert_eq!(longest(17, |n| n <= limit), limit.min(17));
        }
    }

    #[test]
    fn candidates_are_ordered_floored_and_never_all() {
        let config = ShrinkConfig { floor: Some(0.0), ..ShrinkConfig::default() };
        let order = candidates(&[1.0, -1.0, 3.0, 2.0], &config);
        assert_eq!(order.iter().map(|c| c.0).collect::<Vec<_>>(), [2, 3, 0]);
        assert_eq!(candidates(&[1.0, 2.0], &config).len(), 1);
        let few = ShrinkConfig { most_at_once: 0.25, ..config };
        assert_eq!(candidates(&[1.0, 1.0, 3.0, 2.0], &few).len(), 1);
    }
}
