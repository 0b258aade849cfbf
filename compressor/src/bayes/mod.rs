//! Variational posteriors over weights and over group scales.
//!
//! The state of training is plain data: every posterior is a handful of `Vec<f32>`, so that groups
//! that have died are cut out of parameters and optimiser moments alike by slicing, and a
//! checkpoint is those very numbers. burn sees them as tensors of one step
//! ([`layer`], [`dense`], [`conv2d`]); the KL terms have closed forms and their gradients are added in place.
//!
//! Louizos, Ullrich and Welling, *Bayesian Compression for Deep Learning*, 2017 (arXiv:1705.08665).

#[cfg(test)]
mod checks;
pub(crate) mod conv2d;
pub(crate) mod dense;
mod elbo;
mod elementary;
mod gaussian;
mod horseshoe;
pub(crate) mod layer;
pub(crate) mod local;
mod noise;
mod normal_jeffreys;

use serde::{Deserialize, Serialize};

pub(crate) use elbo::{KlWeights, add_kl_gradient, description_length};
pub(crate) use gaussian::Gaussian;
pub(crate) use horseshoe::{Horseshoe, LogNormal};
pub use noise::Noise;
pub(crate) use normal_jeffreys::NormalJeffreys;

use crate::graph::{Affine, Graph, Op};
use crate::posterior::{LayerPosterior, Posterior, Prior};
use crate::prune::{PruneError, Shrinkage, Sliced};

/// What a tensor of parameters is, which decides its learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Means of weights and biases, and every parameter of a deterministic network.
    Mean,
    /// Log-variances of weights and biases.
    LogVariance,
    /// Locations of the group scales.
    ScaleMean,
    /// Log-variances of the group scales.
    ScaleLogVariance,
}

/// A set of parameter tensors in a fixed order. Gradients and moments have the same type.
pub(crate) trait Parameters: Clone {
    /// Every tensor and its kind.
    fn tensors(&self) -> Vec<(Kind, &[f32])>;
    /// Every tensor, in the same order.
    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>>;

    /// The same shapes, all zero.
    fn zeros_like(&self) -> Self {
        let mut zeros = self.clone();
        zeros.tensors_mut().into_iter().for_each(|t| t.fill(0.0));
        zeros
    }

    /// Adds `other`, element by element.
    fn add(&mut self, other: &Self) {
        for (into, (_, from)) in self.tensors_mut().into_iter().zip(other.tensors()) {
            into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
    }

    /// Moves this exponential average towards `newest`, the parameters of step `step`. While it is
    /// young it forgets quickly, or the first parameters would stay in it for long.
    fn follow(&mut self, newest: &Self, decay: f32, step: u64) {
        let young = (1.0 + step as f32) / (10.0 + step as f32);
        let keep = decay.min(young);
        for (into, (_, from)) in self.tensors_mut().into_iter().zip(newest.tensors()) {
            into.iter_mut().zip(from).for_each(|(a, b)| *a = keep * *a + (1.0 - keep) * b);
        }
    }
}

/// The posterior over one layer's group scales.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scale {
    /// z ~ N(μ, σ²) under the prior 1/|z|.
    NormalJeffreys(NormalJeffreys),
    /// log z ~ N(m, v) under the half-Cauchy prior's decomposition.
    Horseshoe(Horseshoe),
}

/// The posterior of one dense layer or convolution while it trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AffinePosterior {
    /// Weights given z = 1, laid out as [`Affine::weight`].
    pub weight: Gaussian,
    /// Biases.
    pub bias: Gaussian,
    /// One scale per input (dense) or filter (convolution).
    pub scale: Scale,
}

/// How a posterior's scale turns into samples: z = link(location + spread·ε).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// z itself is Gaussian.
    Identity,
    /// log z is Gaussian.
    Exp,
}

impl Scale {
    /// How samples are made.
    pub fn link(&self) -> Link {
        match self {
            Self::NormalJeffreys(_) => Link::Identity,
            Self::Horseshoe(_) => Link::Exp,
        }
    }

    /// Location and standard deviation of the Gaussian behind each group's scale.
    pub fn location_and_spread(&self) -> (Vec<f32>, Vec<f32>) {
        match self {
            Self::NormalJeffreys(s) => s.location_and_spread(),
            Self::Horseshoe(s) => s.location_and_spread(),
        }
    }

    /// Chains the gradients of location and spread to the parameters, adding to `into`.
    pub fn add_gradient(&self, location: &[f32], spread: &[f32], into: &mut Scale) {
        match (self, into) {
            (Self::NormalJeffreys(s), Self::NormalJeffreys(g)) => {
                s.add_gradient(location, spread, g)
            }
            (Self::Horseshoe(s), Self::Horseshoe(g)) => s.add_gradient(location, spread, g),
            // A gradient is always made by `zeros_like` of its own parameters.
            (Self::NormalJeffreys(_), Self::Horseshoe(_))
            | (Self::Horseshoe(_), Self::NormalJeffreys(_)) => {}
        }
    }

    /// E\[z\] and V\[z\] of each group.
    pub fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        match self {
            Self::NormalJeffreys(s) => s.moments(),
            Self::Horseshoe(s) => s.moments(),
        }
    }

    /// The prune score, log α or v − m, of each group: higher means less needed.
    pub fn prune_score(&self) -> Vec<f32> {
        match self {
            Self::NormalJeffreys(s) => s.log_alpha(),
            Self::Horseshoe(s) => s.negative_log_mode(),
        }
    }

    fn tensors(&self) -> Vec<(Kind, &[f32])> {
        match self {
            Self::NormalJeffreys(s) => s.tensors(),
            Self::Horseshoe(s) => s.tensors(),
        }
    }

    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        match self {
            Self::NormalJeffreys(s) => s.tensors_mut(),
            Self::Horseshoe(s) => s.tensors_mut(),
        }
    }

    fn shrink(&self, layer: usize, shrinkage: &Shrinkage) -> Result<Self, PruneError> {
        Ok(match self {
            Self::NormalJeffreys(s) => Self::NormalJeffreys(s.shrink(layer, shrinkage)?),
            Self::Horseshoe(s) => Self::Horseshoe(s.shrink(layer, shrinkage)?),
        })
    }
}

impl Sliced for AffinePosterior {
    fn sliced(&self, layer: usize, step: &Shrinkage) -> Result<Self, PruneError> {
        Ok(Self {
            weight: self.weight.try_map(|t| step.slice_weight(layer, t))?,
            bias: self.bias.try_map(|t| step.slice_bias(layer, t))?,
            scale: self.scale.shrink(layer, step)?,
        })
    }
}

/// What a layer holds, as tensors in a fixed order.
pub(crate) trait LayerTensors: Clone {
    /// Every tensor and its kind.
    fn tensors(&self) -> Vec<(Kind, &[f32])>;
    /// Every tensor, in the same order.
    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>>;
}

impl LayerTensors for Affine {
    fn tensors(&self) -> Vec<(Kind, &[f32])> {
        vec![(Kind::Mean, &self.weight), (Kind::Mean, &self.bias)]
    }

    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        vec![&mut self.weight, &mut self.bias]
    }
}

impl LayerTensors for AffinePosterior {
    fn tensors(&self) -> Vec<(Kind, &[f32])> {
        let mut all = Vec::new();
        for gaussian in [&self.weight, &self.bias] {
            all.push((Kind::Mean, gaussian.mean.as_slice()));
            all.push((Kind::LogVariance, gaussian.log_variance.as_slice()));
        }
        all.extend(self.scale.tensors());
        all
    }

    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        let mut all = Vec::new();
        for gaussian in [&mut self.weight, &mut self.bias] {
            all.push(&mut gaussian.mean);
            all.push(&mut gaussian.log_variance);
        }
        all.extend(self.scale.tensors_mut());
        all
    }
}

impl<P: LayerTensors> Parameters for Graph<P> {
    fn tensors(&self) -> Vec<(Kind, &[f32])> {
        self.parameters().flat_map(LayerTensors::tensors).collect()
    }

    fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        self.parameters_mut().flat_map(LayerTensors::tensors_mut).collect()
    }

    /// Adds gradients, and the statistics that batch normalisations have in place of one.
    fn add(&mut self, other: &Self) {
        for (into, (_, from)) in self.tensors_mut().into_iter().zip(other.tensors()) {
            into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
        for (into, from) in self.nodes.iter_mut().zip(&other.nodes) {
            if let (Op::BatchNorm(into), Op::BatchNorm(from)) = (&mut into.op, &from.op) {
                into.mean.iter_mut().zip(&from.mean).for_each(|(a, b)| *a += b);
                into.variance.iter_mut().zip(&from.variance).for_each(|(a, b)| *a += b);
            }
        }
    }
}

/// Number of weights of a Bayesian network, biases not counted.
pub(crate) fn weight_count(network: &Graph<AffinePosterior>) -> usize {
    network.parameters().map(|layer| layer.weight.mean.len()).sum()
}

/// The posterior of a whole network as plain numbers.
pub(crate) fn posterior(network: &Graph<AffinePosterior>) -> Posterior {
    let graph = network.map(|_, layer| {
        let (scale_mean, scale_variance) = layer.scale.moments();
        LayerPosterior {
            weight_mean: layer.weight.mean.clone(),
            weight_variance: layer.weight.variance(),
            bias_mean: layer.bias.mean.clone(),
            bias_variance: layer.bias.variance(),
            scale_mean,
            scale_variance,
            prune_score: layer.scale.prune_score(),
            description_length_nats: description_length([layer]),
        }
    });
    let prior = match network.parameters().next().map(|layer| &layer.scale) {
        Some(Scale::Horseshoe(_)) => Prior::Horseshoe,
        Some(Scale::NormalJeffreys(_)) | None => Prior::NormalJeffreys,
    };
    let description_length_nats = description_length(network.parameters());
    Posterior { prior, graph, description_length_nats }
}
