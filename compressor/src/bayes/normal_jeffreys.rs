//! Group normal-Jeffreys: p(z) ∝ 1/|z|, q(z) = N(μ, σ²) (paper, section 3.1).

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::prune::{PruneError, Shrinkage};

/// Constants of the approximation to the KL from the log-uniform prior
/// (Molchanov, Ashukha and Vetrov, 2017, eq. 14; the paper's eq. 9).
const K1: f64 = 0.63576;
const K2: f64 = 1.87320;
const K3: f64 = 1.48695;

/// Keeps log α finite where the mean is 0.
const MEAN_SQUARE_LEAST: f64 = 1e-8;

/// One Gaussian scale per group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NormalJeffreys {
    /// μ.
    pub mean: Vec<f32>,
    /// log σ².
    pub log_variance: Vec<f32>,
}

impl NormalJeffreys {
    /// log α = log σ² − log μ²: the dropout rate that the posterior asks for, per group.
    pub fn log_alpha(&self) -> Vec<f32> {
        self.pairs().map(|(m, v)| log_alpha(m, v) as f32).collect()
    }

    /// KL(q(z) ‖ 1/|z|) up to its constant, in nats; it tends to 0 as log α grows.
    pub fn kl(&self) -> f64 {
        self.pairs()
            .map(|(m, v)| {
                let a = log_alpha(m, v);
                K1 + 0.5 * softplus(-a) - K1 * sigmoid(K2 + K3 * a)
            })
            .sum()
    }

    /// Adds `weight` times the KL's gradient to `into`.
    pub fn add_kl_gradient(&self, weight: f32, into: &mut NormalJeffreys) {
        let pairs: Vec<_> = self.pairs().collect();
        for (i, (m, v)) in pairs.into_iter().enumerate() {
            let a = log_alpha(m, v);
            let s = sigmoid(K2 + K3 * a);
            let slope = -(K1 * K3 * s * (1.0 - s) + 0.5 * sigmoid(-a));
            let by_mean = slope * -2.0 * m / (m * m + MEAN_SQUARE_LEAST);
            into.mean[i] += weight * by_mean as f32;
            into.log_variance[i] += weight * slope as f32;
        }
    }

    pub(super) fn location_and_spread(&self) -> (Vec<f32>, Vec<f32>) {
        (self.mean.clone(), self.log_variance.iter().map(|v| (0.5 * v).exp()).collect())
    }

    pub(super) fn add_gradient(&self, location: &[f32], spread: &[f32], into: &mut Self) {
        into.mean.iter_mut().zip(location).for_each(|(g, d)| *g += d);
        let rows = into.log_variance.iter_mut().zip(&self.log_variance).zip(spread);
        rows.for_each(|((g, v), d)| *g += 0.5 * (0.5 * v).exp() * d);
    }

    pub(super) fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        (self.mean.clone(), self.log_variance.iter().map(|v| v.exp()).collect())
    }

    pub(super) fn tensors(&self) -> Vec<(Kind, &[f32])> {
        vec![(Kind::ScaleMean, &self.mean), (Kind::ScaleLogVariance, &self.log_variance)]
    }

    pub(super) fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        vec![&mut self.mean, &mut self.log_variance]
    }

    pub(super) fn shrink(&self, layer: usize, shrinkage: &Shrinkage) -> Result<Self, PruneError> {
        Ok(Self {
            mean: shrinkage.slice_groups(layer, &self.mean)?,
            log_variance: shrinkage.slice_groups(layer, &self.log_variance)?,
        })
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.mean.iter().zip(&self.log_variance).map(|(m, v)| (f64::from(*m), f64::from(*v)))
    }
}

fn log_alpha(mean: f64, log_variance: f64) -> f64 {
    log_variance - (mean * mean + MEAN_SQUARE_LEAST).ln()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::Noise;

    /// −H[q] − E[log p] with p ∝ 1/|z|, against the limit α → ∞, which the closed form calls 0.
    #[test]
    fn kl_agrees_with_monte_carlo() {
        let monte_carlo = |log_alpha: f64| {
            // z = 1 + √α ε: log σ² = log α.
            let sigma = (0.5 * log_alpha).exp();
            let samples = 400_000;
            let mut sum = 0.0;
            for e in Noise::new(3, 1).vector(samples) {
                let z = 1.0 + sigma * f64::from(e);
                sum += z.abs().ln() - sigma.ln() - 0.5 * f64::from(e).powi(2);
            }
            sum / samples as f64
        };
        let closed = |a: f64| NormalJeffreys { mean: vec![1.0], log_variance: vec![a as f32] }.kl();
        let limit = monte_carlo(14.0);
        for a in [-6.0, -3.0, -1.0, 0.0, 1.0, 3.0] {
            let estimate = monte_carlo(a) - limit;
            assert!((closed(a) - estimate).abs() < 0.02, "{a}: {} {estimate}", closed(a));
        }
    }
}
