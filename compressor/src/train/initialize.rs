//! Starting points: He's initialisation for the deterministic network, and the posterior around a
//! trained one.

use super::VariationalConfig;
use crate::bayes::{AffinePosterior, Gaussian, Horseshoe, LogNormal, Noise, NormalJeffreys, Scale};
use crate::graph::{Affine, Graph, Op};
use crate::posterior::Prior;

/// A network with weights from N(0, 2/fan_in) (He et al., 2015, arXiv:1502.01852), the last layer's from
/// N(0, 1/fan_in), and zero biases; batch normalisations change nothing yet.
pub fn deterministic(structure: &Graph<()>, seed: u64) -> Graph<Affine> {
    let mut noise = Noise::new(seed, 0);
    let mut left = structure.layers().count();
    let held = structure.nodes.iter().filter(|node| node.parameters.is_some());
    let sizes = held.map(|node| {
        let site = structure.site(node);
        (node.op.weights(&site), node.op.parameters(&site).unwrap_or_default())
    });
    let sizes: Vec<_> = sizes.collect();
    structure.map(|layer, ()| {
        let (weights, [len, outputs]) = sizes[layer];
        let Some(weights) = weights else {
            return Affine { weight: vec![1.0; len], bias: vec![0.0; outputs] };
        };
        left -= 1;
        let gain = if left == 0 { 1.0_f32 } else { 2.0 };
        let spread = (gain / weights.columns().max(1) as f32).sqrt();
        let weight = noise.vector(len).into_iter().map(|e| e * spread).collect();
        Affine { weight, bias: vec![0.0; outputs] }
    })
}

/// A network whose dropouts are gone.
pub(crate) fn without_dropout(mut network: Graph<Affine>) -> Graph<Affine> {
    while let Some(at) = network.nodes.iter().position(|node| matches!(node.op, Op::Dropout(_))) {
        let dropout = network.nodes.remove(at);
        let (Some(&input), output) = (dropout.inputs.first(), dropout.output) else { continue };
        let inputs = network.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        for id in inputs.chain([&mut network.output]).filter(|id| **id == output) {
            *id = input;
        }
    }
    network
}

/// A posterior centred on a trained network (batch normalisation already folded, dropout dropped),
/// with E\[z\] = 1 for normal-Jeffreys and close to 1 for the horseshoe.
pub fn posterior(network: &Graph<Affine>, config: &VariationalConfig) -> Graph<AffinePosterior> {
    let config = config.resolve();
    let sizes = network.weights();
    network.map(|layer, affine| {
        let start = config.initial_log_variance;
        let start = if layer == 0 { start.min(config.first_log_variance_most) } else { start };
        let gaussian = |mean: &Vec<f32>| Gaussian {
            mean: mean.clone(),
            log_variance: vec![start; mean.len()],
        };
        AffinePosterior {
            weight: gaussian(&affine.weight),
            bias: gaussian(&affine.bias),
            scale: scale(sizes[layer].group_count(), &config),
        }
    })
}

fn scale(groups: usize, config: &VariationalConfig) -> Scale {
    let start = config.initial_scale_log_variance.unwrap_or(-6.0);
    match config.prior {
        Prior::NormalJeffreys => Scale::NormalJeffreys(NormalJeffreys {
            mean: vec![1.0; groups],
            log_variance: vec![start; groups],
        }),
        Prior::Horseshoe => {
            // log z has mean ½(2 ln τ0 + μ_b + μ_β) = 0 for μ_b = μ_β = −ln τ0.
            let log_normal = |mean: f32, n: usize| LogNormal {
                mean: vec![mean; n],
                log_variance: vec![start; n],
            };
            let lift = -config.tau0.ln();
            Scale::Horseshoe(Horseshoe {
                tau0: config.tau0,
                global_a: log_normal(0.0, 1),
                global_b: log_normal(lift, 1),
                local_a: log_normal(0.0, groups),
                local_b: log_normal(lift, groups),
            })
        }
    }
}
