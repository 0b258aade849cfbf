//! Sampling moments against their formulas, and gradients against finite differences, on both
//! kinds of layers and both priors.

use burn::tensor::Device;

use super::elbo::kl;
use super::layer::{LayerParameters, LayerValues};
use super::{
    AffinePosterior, Gaussian, Horseshoe, KlWeights, LogNormal, Noise, NormalJeffreys, Parameters,
    Scale, add_kl_gradient, conv2d, dense,
};
use crate::graph::ops::{Add, AvgPool2d, Clip, Conv2d, Dense, DepthwiseConv2d, MaxPool2d, Reshape};
use crate::graph::tensor::{Convolution, constant, values};
use crate::graph::{Graph, Padding, Window};
use crate::numbers::Shape;
use crate::posterior::Prior;
use crate::train::batch::{Batch, Examples};
use crate::train::variational::{layer_values, sampled_gradient};

const PRIORS: [Prior; 2] = [Prior::NormalJeffreys, Prior::Horseshoe];

fn posterior(prior: Prior, weights: usize, outputs: usize, groups: usize) -> AffinePosterior {
    let mut noise = Noise::new(11, weights as u64);
    let mut around = |centre: f32, spread: f32, n: usize| -> Vec<f32> {
        noise.vector(n).into_iter().map(|e| centre + spread * e).collect()
    };
    let weight =
        Gaussian { mean: around(0.1, 0.5, weights), log_variance: around(-2.0, 0.3, weights) };
    let bias =
        Gaussian { mean: around(0.0, 0.3, outputs), log_variance: around(-3.0, 0.3, outputs) };
    let scale = match prior {
        Prior::NormalJeffreys => Scale::NormalJeffreys(NormalJeffreys {
            mean: around(1.0, 0.2, groups),
            log_variance: around(-2.0, 0.5, groups),
        }),
        Prior::Horseshoe => {
            let mut pair = |centre: f32, n: usize| LogNormal {
                mean: around(centre, 0.1, n),
                log_variance: around(-2.0, 0.2, n),
            };
            Scale::Horseshoe(Horseshoe {
                tau0: 0.1,
                global_a: pair(0.1, 1),
                global_b: pair(2.2, 1),
                local_a: pair(0.0, groups),
                local_b: pair(2.3, groups),
            })
        }
    };
    AffinePosterior { weight, bias, scale }
}

/// Checks the mean and variance of `samples` (draw × output) against what is expected.
fn assert_moments(samples: &[f32], outputs: usize, expected: &[(f32, f32)]) {
    let draws = samples.len() / outputs;
    for (o, (mean, variance)) in expected.iter().enumerate() {
        let column = || samples.iter().skip(o).step_by(outputs).map(|h| f64::from(*h));
        let m = column().sum::<f64>() / draws as f64;
        let v = column().map(|h| (h - m).powi(2)).sum::<f64>() / draws as f64;
        let (mean, variance) = (f64::from(*mean), f64::from(*variance));
        let error = (variance / draws as f64).sqrt();
        assert!((m - mean).abs() < 5.0 * error, "output {o}: mean {m}, formula {mean}");
        assert!((v / variance - 1.0).abs() < 0.08, "output {o}: variance {v}, formula {variance}");
    }
}

#[test]
fn dense_samples_have_the_moments_of_the_formulas() {
    let (inputs, outputs, draws) = (5, 3, 40_000);
    let x = [0.5_f32, -1.0, 0.25, 2.0, 0.0];
    for prior in PRIORS {
        let p = posterior(prior, inputs * outputs, outputs, inputs);
        let (z, z_variance) = p.scale.moments();
        let (variance, bias_variance) = (p.weight.variance(), p.bias.variance());
        let expected: Vec<(f32, f32)> = (0..outputs)
            .map(|o| {
                let (mut m, mut v) = (p.bias.mean[o], bias_variance[o]);
                for i in 0..inputs {
                    let w = p.weight.mean[o * inputs + i];
                    m += x[i] * z[i] * w;
                    let second = z_variance[i] + z[i] * z[i];
                    v += x[i] * x[i] * (z_variance[i] * w * w + second * variance[o * inputs + i]);
                }
                (m, v)
            })
            .collect();
        let device = Device::flex();
        let layer = LayerParameters::new(&LayerValues::new(&p, &device), &device);
        let batch = constant(x.repeat(draws), [draws, inputs], &device);
        let samples = values(dense::sample(&layer, batch, &mut Noise::new(1, 1)));
        assert_moments(&samples, outputs, &expected);
    }
}

#[test]
fn conv2d_samples_have_the_moments_of_the_formulas() {
    let convolution = Convolution {
        depthwise: false,
        channels: 2,
        filters: 3,
        window: Window { size: [2, 2], ..Window::ONE },
        output: [1, 1],
    };
    let draws = 40_000;
    // One 2 × 2 image with two channels, so one output pixel; channels last.
    let x = [0.5_f32, -1.0, 0.25, 2.0, 1.0, 0.0, -0.5, 0.75];
    for prior in PRIORS {
        let p = posterior(prior, 24, 3, 3);
        let (z, z_variance) = p.scale.moments();
        let (variance, bias_variance) = (p.weight.variance(), p.bias.variance());
        let expected: Vec<(f32, f32)> = (0..3)
            .map(|f| {
                let (mut m, mut v) = (p.bias.mean[f], bias_variance[f]);
                for pixel in 0..4 {
                    for channel in 0..2 {
                        let w = f * 8 + pixel * 2 + channel;
                        let x = x[pixel * 2 + channel];
                        m += x * p.weight.mean[w];
                        v += x * x * variance[w];
                    }
                }
                let second = z_variance[f] + z[f] * z[f];
                (z[f] * m, second * v + z_variance[f] * m * m)
            })
            .collect();
        let device = Device::flex();
        let layer = LayerParameters::new(&LayerValues::new(&p, &device), &device);
        let batch = constant(x.repeat(draws), [draws, 2, 2, 2], &device);
        let mut noise = Noise::new(1, 2);
        let samples = values(conv2d::sample(&convolution, &layer, batch, &mut noise));
        assert_moments(&samples, 3, &expected);
    }
}

/// A window over 6 × 6 pixels that keeps their number.
fn around(size: usize) -> Window {
    Window::with_rule([size; 2], [1; 2], [1; 2], Padding::Same, [6; 2]).unwrap().0
}

/// conv 2 → relu → max-pool → flatten → dense 4 → relu → dense 3 on 6 × 6 images.
fn network(prior: Prior) -> Graph<AffinePosterior> {
    let (image, layer) = (vec![6, 6, 2], |n, o, g| Some(posterior(prior, n, o, g)));
    let mut graph = Graph::of_input(vec![6, 6, 1]);
    let conv = Conv2d { window: around(3) };
    let x = graph.push("conv2d_1", conv, vec![0], image.clone(), layer(18, 2, 2));
    let x = graph.push("relu_1", Clip::RELU, vec![x], image, None);
    let window = Window { size: [2; 2], stride: [2; 2], ..Window::ONE };
    let x = graph.push("pool_1", MaxPool2d { window }, vec![x], vec![3, 3, 2], None);
    let x = graph.push("flatten_1", Reshape {}, vec![x], vec![18], None);
    let x = graph.push("dense_1", Dense {}, vec![x], vec![4], layer(72, 4, 18));
    let x = graph.push("relu_2", Clip::RELU, vec![x], vec![4], None);
    graph.push("dense_2", Dense {}, vec![x], vec![3], layer(12, 3, 4));
    graph
}

/// A residual block with a depthwise convolution in it.
fn branched(prior: Prior) -> Graph<AffinePosterior> {
    let (image, layer) = (vec![6, 6, 2], |n, o, g| Some(posterior(prior, n, o, g)));
    let mut graph = Graph::of_input(vec![6, 6, 1]);
    let conv = Conv2d { window: around(3) };
    let x = graph.push("conv2d_1", conv, vec![0], image.clone(), layer(18, 2, 2));
    let a = graph.push("relu_1", Clip::RELU, vec![x], image.clone(), None);
    let depthwise = DepthwiseConv2d { window: around(3) };
    let x = graph.push("depthwise_1", depthwise, vec![a], image.clone(), layer(18, 2, 2));
    let x = graph.push("relu_2", Clip::RELU, vec![x], image.clone(), None);
    let conv = Conv2d { window: Window::ONE };
    let x = graph.push("conv2d_2", conv, vec![x], image.clone(), layer(4, 2, 2));
    let x = graph.push("add_1", Add {}, vec![x, a], image, None);
    let window = Window { size: [6; 2], stride: [6; 2], ..Window::ONE };
    let x = graph.push("pool_1", AvgPool2d { window }, vec![x], vec![1, 1, 2], None);
    let x = graph.push("flatten_1", Reshape {}, vec![x], vec![2], None);
    graph.push("dense_1", Dense {}, vec![x], vec![3], layer(6, 3, 2));
    graph
}

fn batch() -> Batch {
    let shape = Shape::Image { height: 6, width: 6, channels: 1 };
    let inputs = Noise::new(4, 4).vector(6 * 36);
    let examples = Examples { shape, inputs, labels: vec![0, 1, 2, 0, 1, 2], classes: 3 };
    examples.gather(&[0, 1, 2, 3, 4, 5], None)
}

/// The noise is fixed by its seed, so the sampled loss is a plain function of the parameters.
#[test]
fn gradients_of_the_bound_agree_with_finite_differences() {
    let batch = batch();
    let device = Device::flex().autodiff();
    let weights = KlWeights { base: 0.01, scale: vec![3.0, 1.0, 0.5] };
    let networks = PRIORS.into_iter().flat_map(|prior| [network(prior), branched(prior)]);
    for network in networks {
        let loss = |n: &Graph<AffinePosterior>| {
            let (data, _) = sampled_gradient(
                n,
                &layer_values(n, &device),
                &batch,
                6,
                Noise::new(2, 9),
                &device,
            );
            data + kl(n, &weights)
        };
        let (_, mut gradient) = sampled_gradient(
            &network,
            &layer_values(&network, &device),
            &batch,
            6,
            Noise::new(2, 9),
            &device,
        );
        add_kl_gradient(&network, &weights, &mut gradient);
        let analytic: Vec<Vec<f32>> = gradient.tensors().iter().map(|(_, t)| t.to_vec()).collect();
        let (mut checked, mut off) = (0, 0);
        for (t, tensor) in analytic.iter().enumerate() {
            for i in (0..tensor.len()).step_by(1 + tensor.len() / 8) {
                let moved = |by: f32| {
                    let mut n = network.clone();
                    n.tensors_mut()[t][i] += by;
                    loss(&n)
                };
                let step = 4e-3;
                let numeric = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                let error = (numeric - f64::from(tensor[i])).abs();
                checked += 1;
                // A ReLU or a pooling window may change its mind within the step: rare, not wrong.
                off += usize::from(error > 2e-3 + 0.02 * numeric.abs());
            }
        }
        assert!(checked > 60, "{checked}");
        assert!(off * 50 <= checked, "{off} of {checked} differ");
    }
}

/// The KL alone is smooth: every parameter must agree.
#[test]
fn kl_gradients_agree_with_finite_differences() {
    let weights = KlWeights { base: 1.0, scale: vec![1.0, 2.0, 0.5] };
    for prior in PRIORS {
        let network = network(prior);
        let mut gradient = network.zeros_like();
        add_kl_gradient(&network, &weights, &mut gradient);
        let analytic: Vec<Vec<f32>> = gradient.tensors().iter().map(|(_, t)| t.to_vec()).collect();
        for (t, tensor) in analytic.iter().enumerate() {
            for (i, exact) in tensor.iter().enumerate() {
                let moved = |by: f32| {
                    let mut moved = network.clone();
                    moved.tensors_mut()[t][i] += by;
                    kl(&moved, &weights)
                };
                let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                let error = (numeric - f64::from(*exact)).abs();
                assert!(error < 2e-3 * (1.0 + numeric.abs()), "tensor {t}[{i}]: {exact} {numeric}");
            }
        }
    }
}

/// burn's CPU devices add up in different orders; on one step of a small network their gradients
/// differ by rounding alone: 1e-4 of the largest value of each tensor.
#[cfg(feature = "ndarray")]
#[test]
fn ndarray_agrees_with_flex() {
    use crate::device::DeviceName;
    let batch = batch();
    for prior in PRIORS {
        let network = network(prior);
        let step = |name: DeviceName| {
            let device = name.open().unwrap().autodiff();
            sampled_gradient(
                &network,
                &layer_values(&network, &device),
                &batch,
                6,
                Noise::new(2, 9),
                &device,
            )
        };
        let (flex, ndarray) = (step(DeviceName::Flex), step(DeviceName::Ndarray));
        assert!((flex.0 - ndarray.0).abs() < 1e-5, "{} {}", flex.0, ndarray.0);
        for ((_, a), (_, b)) in flex.1.tensors().iter().zip(ndarray.1.tensors()) {
            let largest = a.iter().fold(1e-3_f32, |m, x| m.max(x.abs()));
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() < 1e-4 * largest, "{a} {b}, largest {largest}");
            }
        }
    }
}
