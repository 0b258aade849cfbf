//! The evidence lower bound: loss = cross-entropy + β·KL/N, with N the size of the training set.

use super::{AffinePosterior, Scale};
use crate::graph::Graph;

/// How strongly each part of the KL pulls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KlWeights {
    /// β/N: the temperature over the size of the training set.
    pub base: f32,
    /// Factor on the KL of each layer's group scales; 1 is the bound itself. A layer with few
    /// groups that each serve many products can be pulled harder.
    pub scale: Vec<f32>,
}

/// Adds the gradient of the tempered KL to `into`.
pub(crate) fn add_kl_gradient(
    network: &Graph<AffinePosterior>,
    weights: &KlWeights,
    into: &mut Graph<AffinePosterior>,
) {
    for (i, (layer, grad)) in network.parameters().zip(into.parameters_mut()).enumerate() {
        layer.weight.add_kl_gradient(weights.base, &mut grad.weight);
        layer.bias.add_kl_gradient(weights.base, &mut grad.bias);
        let base = weights.base * weights.scale.get(i).copied().unwrap_or(1.0);
        match (&layer.scale, &mut grad.scale) {
            (Scale::NormalJeffreys(s), Scale::NormalJeffreys(g)) => s.add_kl_gradient(base, g),
            (Scale::Horseshoe(s), Scale::Horseshoe(g)) => s.add_kl_gradient(base, g),
            (Scale::NormalJeffreys(_), Scale::Horseshoe(_))
            | (Scale::Horseshoe(_), Scale::NormalJeffreys(_)) => {}
        }
    }
}

/// The tempered KL, as it enters the loss.
#[cfg(test)]
pub(crate) fn kl(network: &Graph<AffinePosterior>, weights: &KlWeights) -> f64 {
    let parts = network.parameters().enumerate().map(|(i, l)| {
        let factor = f64::from(weights.scale.get(i).copied().unwrap_or(1.0));
        l.weight.kl() + l.bias.kl() + factor * scale_kl(&l.scale)
    });
    f64::from(weights.base) * parts.sum::<f64>()
}

/// The untempered KL in nats: the bits-back length of the parameters given the prior, times ln 2.
pub(crate) fn description_length<'a>(layers: impl IntoIterator<Item = &'a AffinePosterior>) -> f64 {
    layers.into_iter().map(|l| l.weight.kl() + l.bias.kl() + scale_kl(&l.scale)).sum()
}

fn scale_kl(scale: &Scale) -> f64 {
    match scale {
        Scale::NormalJeffreys(s) => s.kl(),
        Scale::Horseshoe(s) => s.kl(),
    }
}
