//! What fine-tuning in integers learns: weights, biases, and one step per layer or per output channel.
//!
//! The step's gradient is that of Esser et al. 2020 (Learned Step Size Quantization,
//! arXiv:1902.08153), taken with respect to its logarithm.

use serde::{Deserialize, Serialize};

use crate::bayes::{Kind, Parameters};
use crate::graph::{Affine, Graph, Rows};
use crate::numbers::largest;

use super::simulate::Simulation;
use super::start::Start;
use crate::graph::tensor::gradient;
use crate::graph::tensor::integer::IntegerTensors;
use burn::tensor::Gradients;

/// Latent parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// Weights before rounding, and biases.
    pub network: Graph<Affine>,
    /// ln of the steps of each layer: one for all its rows, or one for each.
    pub log_steps: Vec<Vec<f32>>,
    /// Width of each layer's weights, which nothing changes.
    pub bits: Vec<u8>,
}

/// The rows that have a step in common, with its logarithm: a layer's weights, or one row after the
/// other.
pub(crate) fn stepped<'a>(
    weight: &'a [f32],
    log_steps: &'a [f32],
) -> impl Iterator<Item = (&'a [f32], f32)> {
    let columns = (weight.len() / log_steps.len().max(1)).max(1);
    weight.chunks(columns).zip(log_steps.iter().copied())
}

/// The largest integer of a width: the same on both sides of zero.
pub(crate) fn most(bits: u8) -> i16 {
    largest(bits.min(8))
}

impl Learned {
    /// A network with the steps and widths that it starts with.
    pub(crate) fn new(network: Graph<Affine>, start: Start) -> Self {
        let Start { bits, log_steps, .. } = start;
        Self { network, log_steps, bits }
    }

    /// The integers of each layer.
    pub(crate) fn integers(&self) -> Vec<Rows> {
        let layers = self.network.parameters().zip(&self.log_steps).zip(&self.bits);
        layers
            .map(|((affine, log_steps), &bits)| {
                let most = f32::from(most(bits));
                let values = stepped(&affine.weight, log_steps).flat_map(|(row, log_step)| {
                    let scale = log_step.exp();
                    row.iter().map(move |w| (w / scale).round().clamp(-most, most) as i16)
                });
                let scales = log_steps.iter().map(|log_step| log_step.exp()).collect();
                Rows { values: values.collect(), scales, bits }
            })
            .collect()
    }

    /// The network that the integers stand for.
    pub(crate) fn dequantized(&self) -> Graph<Affine> {
        let mut network = self.network.clone();
        for (affine, integers) in network.parameters_mut().zip(self.integers()) {
            affine.weight = integers.dequantized();
        }
        network
    }

    /// The gradient with respect to the latent parameters, from that with respect to the integers.
    pub(crate) fn gradient(
        &self,
        simulation: &Simulation,
        tensors: &[IntegerTensors],
        grads: &Gradients,
    ) -> Self {
        let mut into = self.zeros_like();
        let steps = self.log_steps.iter().zip(&mut into.log_steps);
        let layers = self.network.parameters().zip(into.network.parameters_mut()).zip(steps);
        let simulated = simulation.units().zip(tensors).zip(&self.bits);
        for (((latent, into_layer), (log_steps, into_steps)), ((units, tensors), &bits)) in
            layers.zip(simulated)
        {
            let weights = gradient(&tensors.weight, grads);
            let rows = stepped(&latent.weight, log_steps).zip(stepped_mut(into_layer, into_steps));
            let columns = (weights.len() / log_steps.len().max(1)).max(1);
            for ((row, (into_row, into_step)), grads) in rows.zip(weights.chunks(columns)) {
                *into_step = row_gradient(row, grads, f32::from(most(bits)), into_row);
            }
            let biases = gradient(&tensors.bias, grads);
            for ((slot, g), unit) in into_layer.bias.iter_mut().zip(biases).zip(units) {
                *slot = (f64::from(g) / unit) as f32;
            }
        }
        into
    }
}

/// As [`stepped`], of a gradient.
fn stepped_mut<'a>(
    layer: &'a mut Affine,
    log_steps: &'a mut [f32],
) -> impl Iterator<Item = (&'a mut [f32], &'a mut f32)> {
    let columns = (layer.weight.len() / log_steps.len().max(1)).max(1);
    layer.weight.chunks_mut(columns).zip(log_steps)
}

/// The gradient of latent weights that have a step in common into `into`, from those of their integers,
/// and that of the step.
fn row_gradient(
    (latent, log_step): (&[f32], f32),
    grads: &[f32],
    most: f32,
    into: &mut [f32],
) -> f32 {
    let scale = log_step.exp();
    let mut of_step = 0.0;
    for ((slot, w), g) in into.iter_mut().zip(latent).zip(grads) {
        let steps = w / scale;
        if steps.abs() <= most {
            *slot = g / scale;
            of_step += g * (steps.round() - steps);
        } else {
            of_step += g * most.copysign(steps);
        }
    }
    of_step
}

impl Parameters for Learned {
    fn tensors(&self) -> Vec<(Kind, &[f32])> {
        let mut all = self.network.tensors();
        all.extend(self.log_steps.iter().map(|steps| (Kind::ScaleMean, steps.as_slice())));
        all
    }

    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        let mut all = self.network.tensors_mut();
        all.extend(&mut self.log_steps);
        all
    }
}
