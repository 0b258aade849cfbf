//! Shrinking while training: which groups can go now.
//!
//! The posterior orders a layer's groups by how little they are needed; an ablation on a slice of
//! the training set says how far down that order one may cut. The order makes the search cheap (a
//! bisection), the ablation makes it safe. Layers are tried last to first, so that the activations
//! below the layer at hand are computed once. Layers whose groups go together are tried together, in
//! the place of their first.

use burn::tensor::Device;

use super::batch::Examples;
use super::evaluate::score_logits;
use super::forward::{Deterministic, Layers, Passage};
use super::tensor::{Value, values};
use super::{ShrinkConfig, VariationalConfig};
use crate::bayes::BayesNetwork;
use crate::network::{FloatNetwork, Layer, Topology};
use crate::prune::weights::posterior_mean;
use crate::prune::{PruneError, ties, unimportance};

/// Groups that may go, per affine layer, and the unimportance of the least of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    /// Per affine layer and group.
    pub dead: Vec<Vec<bool>>,
    /// Per affine layer: unimportance at which the cut was made; infinite where nothing goes.
    pub thresholds: Vec<f32>,
    /// Per affine layer: rise of the loss on the sample by this layer's part, after the parts of the
    /// layers behind it.
    pub effects: Vec<f32>,
    /// Per affine layer and group: what they were ordered by.
    pub unimportance: Vec<Vec<f32>>,
}

impl Removal {
    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        self.dead.iter().flatten().all(|d| !d)
    }
}

/// Which layers groups may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every layer.
    All,
    /// Those that use a weight at many positions, where the arithmetic is.
    Convolutions,
}

impl Scope {
    fn has(self, layer: Option<&&Layer>) -> bool {
        self == Self::All || !matches!(layer, Some(Layer::Dense { .. }))
    }
}

/// Finds what can go from `network` now, judged on `sample`.
pub fn removal(
    network: &BayesNetwork,
    config: &VariationalConfig,
    scope: Scope,
    sample: &Examples,
    device: &Device,
) -> Result<Removal, PruneError> {
    let posterior = config.shrink.order.applied(network.posterior())?;
    let mean = posterior_mean(&posterior)?;
    harmless(mean, unimportance(&posterior)?, &config.shrink, scope, sample, device)
}

/// Finds what can go from a network whose groups, as parts of their joint ones, have these
/// unimportances, judged on `sample`.
pub fn harmless(
    mut mean: FloatNetwork,
    unimportance: Vec<Vec<f32>>,
    config: &ShrinkConfig,
    scope: Scope,
    sample: &Examples,
    device: &Device,
) -> Result<Removal, PruneError> {
    let device = device.clone().without_autodiff();
    let topology = mean.topology.clone();
    let parts = halves(sample);
    let cached: Vec<Vec<Passage>> =
        parts.iter().map(|part| passages(&topology, &mean, part, &device)).collect();
    let mut removal = Removal {
        dead: unimportance.iter().map(|u| vec![false; u.len()]).collect(),
        thresholds: vec![f32::INFINITY; unimportance.len()],
        effects: vec![0.0; unimportance.len()],
        unimportance,
    };
    let affine: Vec<&Layer> = topology.affine_layers().collect();
    for tie in ties(&topology)?.iter().rev().filter(|tie| tie.removable) {
        let Some(&layer) = tie.layers.first() else { continue };
        if !scope.has(affine.get(layer)) {
            continue;
        }
        let order = candidates(&removal.unimportance[layer], config);
        if order.is_empty() {
            continue;
        }
        let groups = removal.dead[layer].len();
        let loss = |count: usize| {
            let mut keep = vec![1.0; groups];
            order[..count].iter().for_each(|(g, _)| keep[*g] = 0.0);
            let passages = cached.iter().map(|c| c[layer].clone()).collect();
            ablated_loss(&mean, passages, &Ablation { layers: &tie.layers, keep }, &parts, &device)
        };
        let rises = &config.loss_rise;
        let rise = rises.get(layer).or(rises.last()).copied().unwrap_or(0.0);
        let before = loss(0);
        let allowed = before * f64::from(1.0 + config.loss_ratio) + f64::from(rise);
        // The last that fits is the one that is taken.
        let mut reached = before;
        let count = longest(order.len(), |count| {
            let tried = loss(count);
            let fits = tried < allowed;
            if fits {
                reached = tried;
            }
            fits
        });
        let mut dead = vec![false; groups];
        order[..count].iter().for_each(|(g, _)| dead[*g] = true);
        let threshold = order[..count].last().map_or(f32::INFINITY, |(_, least)| *least);
        for &layer in &tie.layers {
            mask(&mut mean, layer, &dead);
            removal.thresholds[layer] = threshold;
            removal.effects[layer] = (reached - before) as f32;
            removal.dead[layer].clone_from(&dead);
        }
    }
    Ok(removal)
}

/// Groups above the floor, least needed first, at most the allowed share and never all.
fn candidates(unimportance: &[f32], config: &ShrinkConfig) -> Vec<(usize, f32)> {
    let floor = config.floor.unwrap_or(f32::NEG_INFINITY);
    let mut order: Vec<(usize, f32)> =
        unimportance.iter().copied().enumerate().filter(|(_, u)| *u >= floor).collect();
    // Ties are broken by index, so that the order is the same everywhere.
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let share = (unimportance.len() as f32 * config.most_at_once).ceil() as usize;
    order.truncate(share.min(unimportance.len().saturating_sub(1)));
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

/// Two halves of the sample, one per thread.
fn halves(sample: &Examples) -> Vec<Examples> {
    let middle = sample.len().div_ceil(2);
    let part = |from: usize, to: usize| Examples {
        shape: sample.shape,
        inputs: sample.range(from, to).to_vec(),
        labels: sample.labels[from..to].to_vec(),
        classes: sample.classes,
    };
    [(0, middle), (middle, sample.len())]
        .into_iter()
        .filter(|(a, b)| a < b)
        .map(|(a, b)| part(a, b))
        .collect()
}

/// The forward pass where the groups of each affine layer multiply: before a dense layer, behind a
/// convolution.
fn passages<'a>(
    topology: &'a Topology,
    network: &FloatNetwork,
    examples: &Examples,
    device: &Device,
) -> Vec<Passage<'a>> {
    let mut layers = Deterministic::new(network, None, device);
    let x = Value::from_examples(examples.inputs.clone(), examples.shape, device);
    let mut passage = Passage::new(x);
    let mut seen = Vec::new();
    for layer in &topology.layers {
        if matches!(layer, Layer::Dense { .. }) {
            seen.push(passage.clone());
        }
        passage = passage.step(layer, &mut layers);
        if matches!(layer, Layer::Conv2d { .. } | Layer::DepthwiseConv2d { .. }) {
            seen.push(passage.clone());
        }
    }
    seen
}

/// Groups that are multiplied by `keep` in each of `layers`.
struct Ablation<'a> {
    layers: &'a [usize],
    keep: Vec<f32>,
}

/// A network without some groups.
struct Ablated<'a> {
    inner: Deterministic,
    ablation: &'a Ablation<'a>,
}

impl Layers for Ablated<'_> {
    fn affine(&mut self, index: usize, x: Value) -> Value {
        let y = self.inner.affine(index, x);
        // The first layer's groups are out already; a dense layer is always the only one.
        if self.ablation.layers.iter().skip(1).any(|&layer| layer == index) {
            return y.scale_channels(self.ablation.keep.clone());
        }
        y
    }

    fn norm(&mut self, index: usize, x: Value) -> Value {
        self.inner.norm(index, x)
    }

    fn dropout(&mut self, rate: f32, x: Value) -> Value {
        self.inner.dropout(rate, x)
    }
}

/// Mean loss without some groups, from the `passages` where the first layer's multiply.
fn ablated_loss(
    network: &FloatNetwork,
    passages: Vec<Passage<'_>>,
    ablation: &Ablation<'_>,
    parts: &[Examples],
    device: &Device,
) -> f64 {
    let run = |passage: Passage<'_>, part: &Examples| {
        let inner = Deterministic::new(network, None, device);
        let logits = passage
            .map(|x| x.scale_channels(ablation.keep.clone()))
            .finish(&network.topology, &mut Ablated { inner, ablation });
        score_logits(&values(logits), &part.labels, part.classes).loss * part.len() as f64
    };
    let run = &run;
    let sums: Vec<f64> = std::thread::scope(|scope| {
        let handles: Vec<_> = passages
            .into_iter()
            .zip(parts)
            .map(|(passage, part)| scope.spawn(move || run(passage, part)))
            .collect();
        handles.into_iter().map(|h| h.join().unwrap_or(f64::INFINITY)).collect()
    });
    sums.iter().sum::<f64>() / parts.iter().map(Examples::len).sum::<usize>().max(1) as f64
}

/// Zeroes what dead groups contribute, so that layers tried later see the network without them.
fn mask(network: &mut FloatNetwork, layer: usize, dead: &[bool]) {
    let dense = matches!(network.topology.affine_layers().nth(layer), Some(Layer::Dense { .. }));
    let affine = &mut network.affine[layer];
    if dense {
        for row in affine.weight.chunks_exact_mut(dead.len().max(1)) {
            row.iter_mut().zip(dead).filter(|(_, d)| **d).for_each(|(w, _)| *w = 0.0);
        }
    } else {
        let per_filter = affine.weight.len() / dead.len().max(1);
        for ((row, bias), _) in affine
            .weight
            .chunks_exact_mut(per_filter.max(1))
            .zip(&mut affine.bias)
            .zip(dead)
            .filter(|(_, d)| **d)
        {
            row.fill(0.0);
            *bias = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn convolutions_alone_are_all_but_dense_layers() {
        let dense = Layer::Dense { inputs: 2, outputs: 3 };
        let depthwise = Layer::DepthwiseConv2d {
            channels: 2,
            kernel: [3; 2],
            stride: [1; 2],
            padding: crate::network::Padding::Same,
        };
        assert!(Scope::All.has(Some(&&dense)) && Scope::Convolutions.has(Some(&&depthwise)));
        assert!(!Scope::Convolutions.has(Some(&&dense)));
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
