//! Fully factorised Gaussians over weights and biases.

use serde::{Deserialize, Serialize};

use super::elementary::exp;

/// q(w) = Π N(μ, σ²) under the prior N(0, 1); weights are taken at z = 1, so that this part of the
/// KL does not depend on the scale (paper, eq. 8).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gaussian {
    /// μ.
    pub mean: Vec<f32>,
    /// log σ².
    pub log_variance: Vec<f32>,
}

impl Gaussian {
    /// σ².
    pub fn variance(&self) -> Vec<f32> {
        self.log_variance.iter().map(|v| exp(*v)).collect()
    }

    /// KL(q ‖ N(0,1)) = ½ Σ (σ² + μ² − 1 − log σ²), in nats.
    pub fn kl(&self) -> f64 {
        let terms = self.mean.iter().zip(&self.log_variance).map(|(m, v)| {
            let (m, v) = (f64::from(*m), f64::from(*v));
            0.5 * (v.exp() + m * m - 1.0 - v)
        });
        terms.sum()
    }

    /// Adds `weight` times the KL's gradient to `into`.
    pub fn add_kl_gradient(&self, weight: f32, into: &mut Gaussian) {
        into.mean.iter_mut().zip(&self.mean).for_each(|(g, m)| *g += weight * m);
        let half = 0.5 * weight;
        into.log_variance
            .iter_mut()
            .zip(&self.log_variance)
            .for_each(|(g, v)| *g += half * (exp(*v) - 1.0));
    }

    /// Applies `f` to both tensors.
    pub(crate) fn try_map<E>(&self, f: impl Fn(&[f32]) -> Result<Vec<f32>, E>) -> Result<Self, E> {
        Ok(Self { mean: f(&self.mean)?, log_variance: f(&self.log_variance)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::Noise;

    #[test]
    fn kl_agrees_with_monte_carlo() {
        for (mean, log_variance) in [(0.0_f32, 0.0_f32), (0.7, -2.0), (-1.5, 0.6), (0.05, -9.0)] {
            let q = Gaussian { mean: vec![mean], log_variance: vec![log_variance] };
            let sigma = (0.5 * f64::from(log_variance)).exp();
            let mut noise = Noise::new(7, 0);
            let samples = 400_000;
            let mut sum = 0.0;
            for e in noise.vector(samples) {
                let (e, w) = (f64::from(e), f64::from(mean) + sigma * f64::from(e));
                sum += -sigma.ln() - 0.5 * e * e + 0.5 * w * w;
            }
            let estimate = sum / samples as f64;
            assert!((q.kl() - estimate).abs() < 0.01 * (1.0 + q.kl()), "{} {estimate}", q.kl());
        }
    }
}
