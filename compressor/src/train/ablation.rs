//! What the loss on a sample becomes without some groups.
//!
//! The activations where a layer's groups multiply are computed once; each ablation begins there.

use burn::tensor::{Device, Tensor};

use super::batch::Examples;
use super::evaluate::score_logits;
use super::forward::{Deterministic, ForwardState};
use crate::graph::ops::BatchNorm;
use crate::graph::tensor::{Convolution, Layers, Value, values};
use crate::graph::{Affine, Graph, Groups};

/// A network on a sample, with the activations where the groups of each layer multiply: before a dense
/// layer, behind a convolution.
pub(crate) struct Baseline<'g> {
    /// The network's.
    pub(super) structure: &'g Graph<()>,
    /// Two halves of the sample, one per thread.
    parts: Vec<Examples>,
    /// Per part and layer.
    states: Vec<Vec<ForwardState<'g, ()>>>,
    device: Device,
}

impl<'g> Baseline<'g> {
    /// Runs `network`, which has this structure, on the sample.
    pub(crate) fn new(
        structure: &'g Graph<()>,
        network: &Graph<Affine>,
        sample: &Examples,
        device: &Device,
    ) -> Self {
        let device = device.clone().without_autodiff();
        let parts = halves(sample);
        let states = parts.iter().map(|part| states(structure, network, part, &device)).collect();
        Self { structure, parts, states, device }
    }

    /// Mean loss without some groups; `network` may differ from the baseline's behind the first of the
    /// ablation's layers, where the forward pass begins.
    pub(super) fn loss_without(&self, network: &Graph<Affine>, ablation: &Ablation<'_>) -> f64 {
        let run = |mut state: ForwardState<'_, ()>, part: &Examples| {
            if ablation.passed {
                state.change_last(|x| x.scale_channels(ablation.keep.clone()));
            }
            let inner = Deterministic::new(network, None, &self.device);
            let logits = state.finish(&mut Ablated { inner, ablation });
            score_logits(&values(logits), &part.labels, part.classes).loss * part.len() as f64
        };
        let run = &run;
        let first = ablation.layers[0];
        let sums: Vec<f64> = std::thread::scope(|scope| {
            let handles: Vec<_> = self
                .states
                .iter()
                .zip(&self.parts)
                .map(|(states, part)| {
                    let state = states[first].clone();
                    scope.spawn(move || run(state, part))
                })
                .collect();
            handles.into_iter().map(|h| h.join().unwrap_or(f64::INFINITY)).collect()
        });
        sums.iter().sum::<f64>() / self.parts.iter().map(Examples::len).sum::<usize>().max(1) as f64
    }
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

/// The forward pass where the groups of each layer multiply.
fn states<'g>(
    structure: &'g Graph<()>,
    network: &Graph<Affine>,
    examples: &Examples,
    device: &Device,
) -> Vec<ForwardState<'g, ()>> {
    let mut layers = Deterministic::new(network, None, device);
    let x = Value::from_examples(examples.inputs.clone(), examples.shape, device);
    let mut state = ForwardState::new(structure, x);
    let mut seen = Vec::new();
    for node in &structure.nodes {
        match node.op.weights(&structure.site(node)).map(|weights| weights.groups) {
            Some(Groups::Inputs) => {
                seen.push(state.clone());
                state.step(&mut layers);
            }
            Some(Groups::Filters | Groups::Channels) => {
                state.step(&mut layers);
                seen.push(state.clone());
            }
            None => state.step(&mut layers),
        }
    }
    seen
}

/// Groups that are multiplied by `keep` in each of `layers`.
pub(super) struct Ablation<'a> {
    /// Which layers, at least one.
    pub(super) layers: &'a [usize],
    /// Whether the forward pass begins right behind the first of them.
    pub(super) passed: bool,
    /// Per group: 1, or 0 of those that are left out.
    pub(super) keep: Vec<f32>,
}

/// A network without some groups.
struct Ablated<'a> {
    inner: Deterministic,
    ablation: &'a Ablation<'a>,
}

impl Ablated<'_> {
    fn has(&self, layer: usize) -> bool {
        self.ablation.layers.contains(&layer)
    }
}

impl Layers for Ablated<'_> {
    fn dense(&mut self, layer: usize, x: Tensor<2>) -> Tensor<2> {
        let x = if self.has(layer) {
            Value::Flat(x).scale_channels(self.ablation.keep.clone()).flat()
        } else {
            x
        };
        self.inner.dense(layer, x)
    }

    fn convolution(&mut self, layer: usize, of: &Convolution, x: Tensor<4>) -> Tensor<4> {
        let y = self.inner.convolution(layer, of, x);
        if self.has(layer) {
            return Value::Image(y).scale_channels(self.ablation.keep.clone()).image();
        }
        y
    }

    fn batch_norm(&mut self, layer: usize, norm: &BatchNorm, x: Value) -> Value {
        self.inner.batch_norm(layer, norm, x)
    }

    fn dropout(&mut self, rate: f32, x: Value) -> Value {
        self.inner.dropout(rate, x)
    }
}
