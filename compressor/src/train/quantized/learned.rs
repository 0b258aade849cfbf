//! What fine-tuning in integers learns: weights, biases, and one step per layer.
//!
//! The step's gradient is that of Esser et al. 2020 (Learned Step Size Quantization,
//! arXiv:1902.08153), taken with respect to its logarithm.

use serde::{Deserialize, Serialize};

use crate::bayes::{Kind, Parameters};
use crate::graph::{Affine, Graph, Rows};
use crate::numbers::largest;

use super::simulate::Simulation;
use crate::graph::tensor::gradient;
use crate::graph::tensor::integer::IntegerTensors;
use burn::tensor::Gradients;

/// Latent parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// Weights before rounding, and biases.
    pub network: Graph<Affine>,
    /// ln of each layer's step.
    pub log_steps: Vec<f32>,
}

/// The largest integer of a width: the same on both sides of zero.
pub(crate) fn most(bits: u8) -> i16 {
    largest(bits.min(8))
}

impl Learned {
    /// Steps of 2·mean|w|/√most, Esser et al.'s start.
    pub(crate) fn new(network: Graph<Affine>, bits: &[u8]) -> Self {
        let step = |(affine, &bits): (&Affine, &u8)| {
            let sum: f32 = affine.weight.iter().map(|w| w.abs()).sum();
            let mean = (sum / affine.weight.len().max(1) as f32).max(1e-6);
            (2.0 * mean / f32::from(most(bits)).sqrt()).ln()
        };
        let log_steps = network.parameters().zip(bits).map(step).collect();
        Self { network, log_steps }
    }

    /// The integers of each layer.
    pub(crate) fn integers(&self, bits: &[u8]) -> Vec<Rows> {
        let layers = self.network.parameters().zip(&self.log_steps).zip(bits);
        layers
            .map(|((affine, log_step), &bits)| {
                let (scale, most) = (log_step.exp(), f32::from(most(bits)));
                let value = |w: &f32| (w / scale).round().clamp(-most, most) as i16;
                let values = affine.weight.iter().map(value).collect();
                Rows { values, scales: vec![scale], bits }
            })
            .collect()
    }

    /// The network that the integers stand for.
    pub(crate) fn dequantized(&self, bits: &[u8]) -> Graph<Affine> {
        let mut network = self.network.clone();
        for (affine, integers) in network.parameters_mut().zip(self.integers(bits)) {
            affine.weight = integers.dequantized();
        }
        network
    }

    /// The gradient with respect to the latent parameters, from that with respect to the integers.
    pub(crate) fn gradient(
        &self,
        bits: &[u8],
        simulation: &Simulation,
        tensors: &[IntegerTensors],
        grads: &Gradients,
    ) -> Self {
        let mut into = self.zeros_like();
        let steps = self.log_steps.iter().zip(&mut into.log_steps);
        let layers = self.network.parameters().zip(into.network.parameters_mut()).zip(steps);
        let simulated = simulation.units().zip(tensors).zip(bits);
        for (((latent, into_layer), (log_step, into_step)), ((unit, tensors), &bits)) in
            layers.zip(simulated)
        {
            let (scale, most) = (log_step.exp(), f32::from(most(bits)));
            let latent = latent.weight.iter();
            let mut of_step = 0.0;
            for ((slot, w), g) in
                into_layer.weight.iter_mut().zip(latent).zip(gradient(&tensors.weight, grads))
            {
                let steps = w / scale;
                if steps.abs() <= most {
                    *slot = g / scale;
                    of_step += g * (steps.round() - steps);
                } else {
                    of_step += g * most.copysign(steps);
                }
            }
            *into_step = of_step;
            let biases = gradient(&tensors.bias, grads);
            for (slot, g) in into_layer.bias.iter_mut().zip(biases) {
                *slot = (f64::from(g) / unit) as f32;
            }
        }
        into
    }
}

impl Parameters for Learned {
    fn tensors(&self) -> Vec<(Kind, &[f32])> {
        let mut all = self.network.tensors();
        all.push((Kind::ScaleMean, &self.log_steps));
        all
    }

    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        let mut all = self.network.tensors_mut();
        all.push(&mut self.log_steps);
        all
    }
}
