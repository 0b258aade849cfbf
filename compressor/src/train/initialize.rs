//! Starting points: He's initialisation for the deterministic network, and the posterior around a
//! trained one.

use super::VariationalConfig;
use crate::bayes::{
    AffinePosterior, BayesNetwork, Gaussian, Horseshoe, LogNormal, Noise, NormalJeffreys, Scale,
    group_count,
};
use crate::network::{Affine, FloatNetwork, Layer, Norm, Topology};
use crate::posterior::Prior;

/// A network with weights from N(0, 2/fan_in) (He et al., 2015, arXiv:1502.01852), the last affine
/// layer's from N(0, 1/fan_in), and zero biases.
pub fn deterministic(topology: &Topology, seed: u64) -> FloatNetwork {
    let mut noise = Noise::new(seed, 0);
    let count = topology.affine_layers().count();
    let affine = topology.affine_layers().enumerate().map(|(i, layer)| {
        let (weights, outputs) = sizes(layer);
        let fan_in = (weights / outputs.max(1)).max(1) as f32;
        let gain = if i + 1 == count { 1.0_f32 } else { 2.0 };
        let spread = (gain / fan_in).sqrt();
        let weight = noise.vector(weights).into_iter().map(|e| e * spread).collect();
        Affine { weight, bias: vec![0.0; outputs] }
    });
    let affine = affine.collect();
    let norms = topology.layers.iter().filter_map(|layer| match layer {
        Layer::BatchNorm { channels } => Some(Norm {
            gamma: vec![1.0; *channels],
            beta: vec![0.0; *channels],
            mean: vec![0.0; *channels],
            variance: vec![1.0; *channels],
        }),
        _ => None,
    });
    FloatNetwork { topology: topology.clone(), affine, norms: norms.collect() }
}

/// Number of weights and outputs of an affine layer.
fn sizes(layer: &Layer) -> (usize, usize) {
    match layer {
        Layer::Dense { inputs, outputs } => (inputs * outputs, *outputs),
        Layer::Conv2d { channels, filters, kernel, .. } => {
            (filters * kernel[0] * kernel[1] * channels, *filters)
        }
        Layer::DepthwiseConv2d { channels, kernel, .. } => {
            (kernel[0] * kernel[1] * channels, *channels)
        }
        _ => (0, 0),
    }
}

/// A posterior centred on a trained network (batch normalisation already folded, dropout dropped),
/// with E\[z\] = 1 for normal-Jeffreys and close to 1 for the horseshoe.
pub fn posterior(network: &FloatNetwork, config: &VariationalConfig) -> BayesNetwork {
    let config = config.resolve();
    let mut topology = network.topology.clone();
    topology.layers.retain(|l| !matches!(l, Layer::Dropout { .. }));
    let shapes: Vec<&Layer> = topology.layers.iter().filter(|l| l.is_affine()).collect();
    let layers = shapes.iter().zip(&network.affine).enumerate().map(|(i, (layer, affine))| {
        let start = config.initial_log_variance;
        let start = if i == 0 { start.min(config.first_log_variance_most) } else { start };
        let gaussian = |mean: &Vec<f32>| Gaussian {
            mean: mean.clone(),
            log_variance: vec![start; mean.len()],
        };
        AffinePosterior {
            weight: gaussian(&affine.weight),
            bias: gaussian(&affine.bias),
            scale: scale(group_count(layer), &config),
        }
    });
    let layers = layers.collect();
    BayesNetwork { topology, layers }
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
