//! Group horseshoe: a half-Cauchy scale per layer and per group, each split into a Gamma and an
//! inverse-Gamma variable with log-normal posteriors (paper, section 3.2 and appendix).

use serde::{Deserialize, Serialize};

use super::Kind;
use crate::prune::{PruneError, Shrinkage};

/// A vector of log-normal variables: log x ~ N(μ, σ²).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogNormal {
    /// μ.
    pub mean: Vec<f32>,
    /// log σ².
    pub log_variance: Vec<f32>,
}

impl LogNormal {
    /// KL to Gamma(½, scale 1) in nats.
    pub fn kl_gamma(&self) -> f64 {
        self.pairs().map(|(m, v)| (m + 0.5 * v.exp()).exp() - half_entropy(m, v)).sum()
    }

    /// KL to the inverse Gamma(½, 1) in nats.
    pub fn kl_inverse_gamma(&self) -> f64 {
        self.pairs().map(|(m, v)| (0.5 * v.exp() - m).exp() - half_entropy(-m, v)).sum()
    }

    /// Adds `weight` times the gradient of a KL; `sign` is +1 for the Gamma, −1 for the inverse:
    /// if x is log-normal with mean μ, 1/x is with −μ, and 1/x of an IG(½, 1) is Gamma(½, 1).
    fn add_kl_gradient(&self, sign: f64, weight: f32, into: &mut LogNormal) {
        let pairs: Vec<_> = self.pairs().collect();
        for (i, (m, v)) in pairs.into_iter().enumerate() {
            let variance = v.exp();
            let expectation = (sign * m + 0.5 * variance).exp();
            into.mean[i] += weight * (sign * (expectation - 0.5)) as f32;
            into.log_variance[i] += weight * (0.5 * variance * expectation - 0.5) as f32;
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.mean.iter().zip(&self.log_variance).map(|(m, v)| (f64::from(*m), f64::from(*v)))
    }

    fn slice(&self, layer: usize, shrinkage: &Shrinkage) -> Result<Self, PruneError> {
        Ok(Self {
            mean: shrinkage.slice_groups(layer, &self.mean)?,
            log_variance: shrinkage.slice_groups(layer, &self.log_variance)?,
        })
    }
}

/// ½(μ + log σ² + 1 + log 2): what the entropy and the Gamma's density contribute.
fn half_entropy(mean: f64, log_variance: f64) -> f64 {
    0.5 * (mean + log_variance + 1.0 + std::f64::consts::LN_2)
}

/// Scales of one layer: z_i = √(s_a s_b α_i β_i), with the global s = √(s_a s_b) of prior scale τ0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Horseshoe {
    /// τ0, the scale of the half-Cauchy over the layer's s.
    pub tau0: f32,
    /// s_a / τ0² ~ Gamma(½, 1): kept relative to τ0², where a naive start would make the KL's
    /// gradient enormous. One element.
    pub global_a: LogNormal,
    /// s_b ~ IG(½, 1). One element.
    pub global_b: LogNormal,
    /// α̃_i ~ Gamma(½, 1).
    pub local_a: LogNormal,
    /// β̃_i ~ IG(½, 1).
    pub local_b: LogNormal,
}

impl Horseshoe {
    /// m and v of log z ~ N(m, v), per group: m = ½ Σ μ, v = ¼ Σ σ² over the four variables.
    pub fn log_scale(&self) -> Vec<(f32, f32)> {
        let global_mean =
            2.0 * self.tau0.ln() + first(&self.global_a.mean) + first(&self.global_b.mean);
        let global_variance =
            first(&self.global_a.log_variance).exp() + first(&self.global_b.log_variance).exp();
        let groups = self.local_a.mean.iter().zip(&self.local_a.log_variance);
        let groups = groups.zip(self.local_b.mean.iter().zip(&self.local_b.log_variance));
        groups
            .map(|((ma, va), (mb, vb))| {
                (0.5 * (global_mean + ma + mb), 0.25 * (global_variance + va.exp() + vb.exp()))
            })
            .collect()
    }

    /// v − m per group: minus the log of z's mode.
    pub fn negative_log_mode(&self) -> Vec<f32> {
        self.log_scale().into_iter().map(|(m, v)| v - m).collect()
    }

    /// KL of all scales from their priors, in nats.
    pub fn kl(&self) -> f64 {
        self.global_a.kl_gamma()
            + self.global_b.kl_inverse_gamma()
            + self.local_a.kl_gamma()
            + self.local_b.kl_inverse_gamma()
    }

    /// Adds `weight` times the KL's gradient to `into`.
    pub fn add_kl_gradient(&self, weight: f32, into: &mut Horseshoe) {
        self.global_a.add_kl_gradient(1.0, weight, &mut into.global_a);
        self.global_b.add_kl_gradient(-1.0, weight, &mut into.global_b);
        self.local_a.add_kl_gradient(1.0, weight, &mut into.local_a);
        self.local_b.add_kl_gradient(-1.0, weight, &mut into.local_b);
    }

    pub(super) fn location_and_spread(&self) -> (Vec<f32>, Vec<f32>) {
        self.log_scale().into_iter().map(|(m, v)| (m, v.sqrt())).unzip()
    }

    pub(super) fn add_gradient(&self, location: &[f32], spread: &[f32], into: &mut Self) {
        let scales = self.log_scale();
        for (i, (_, v)) in scales.into_iter().enumerate() {
            let by_mean = 0.5 * location[i];
            // ∂√v/∂log σ² = σ²/(8√v), as v = ¼ Σ σ².
            let by_variance = spread[i] / (8.0 * v.sqrt());
            for (of, into, at) in [
                (&self.global_a, &mut into.global_a, 0),
                (&self.global_b, &mut into.global_b, 0),
                (&self.local_a, &mut into.local_a, i),
                (&self.local_b, &mut into.local_b, i),
            ] {
                into.mean[at] += by_mean;
                into.log_variance[at] += by_variance * of.log_variance[at].exp();
            }
        }
    }

    pub(super) fn moments(&self) -> (Vec<f32>, Vec<f32>) {
        let moments = self.log_scale().into_iter().map(|(m, v)| {
            let mean = (m + 0.5 * v).exp();
            (mean, (v.exp() - 1.0) * mean * mean)
        });
        moments.unzip()
    }

    pub(super) fn tensors(&self) -> Vec<(Kind, &[f32])> {
        [&self.global_a, &self.global_b, &self.local_a, &self.local_b]
            .into_iter()
            .flat_map(|x| {
                [
                    (Kind::ScaleMean, x.mean.as_slice()),
                    (Kind::ScaleLogVariance, x.log_variance.as_slice()),
                ]
            })
            .collect()
    }

    pub(super) fn tensors_mut(&mut self) -> Vec<&mut Vec<f32>> {
        [&mut self.global_a, &mut self.global_b, &mut self.local_a, &mut self.local_b]
            .into_iter()
            .flat_map(|x| [&mut x.mean, &mut x.log_variance])
            .collect()
    }

    pub(super) fn shrink(&self, layer: usize, shrinkage: &Shrinkage) -> Result<Self, PruneError> {
        Ok(Self {
            tau0: self.tau0,
            global_a: self.global_a.clone(),
            global_b: self.global_b.clone(),
            local_a: self.local_a.slice(layer, shrinkage)?,
            local_b: self.local_b.slice(layer, shrinkage)?,
        })
    }
}

fn first(values: &[f32]) -> f32 {
    values.first().copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::Noise;

    #[test]
    fn kls_agree_with_monte_carlo() {
        let log_sqrt_pi = 0.5 * std::f64::consts::PI.ln();
        for (mean, log_variance) in [(0.0_f32, -1.0_f32), (-1.2, 0.2), (0.8, -4.0), (0.3, 0.0)] {
            let q = LogNormal { mean: vec![mean], log_variance: vec![log_variance] };
            let sigma = (0.5 * f64::from(log_variance)).exp();
            let samples = 400_000;
            let (mut gamma, mut inverse) = (0.0, 0.0);
            for e in Noise::new(5, 2).vector(samples) {
                let y = f64::from(mean) + sigma * f64::from(e); // log x
                let log_q = -y
                    - sigma.ln()
                    - 0.5 * (2.0 * std::f64::consts::PI).ln()
                    - 0.5 * f64::from(e).powi(2);
                gamma += log_q - (-0.5 * y - y.exp() - log_sqrt_pi);
                inverse += log_q - (-1.5 * y - (-y).exp() - log_sqrt_pi);
            }
            for (closed, sum) in [(q.kl_gamma(), gamma), (q.kl_inverse_gamma(), inverse)] {
                let estimate = sum / samples as f64;
                assert!((closed - estimate).abs() < 0.02 * (1.0 + closed), "{closed} {estimate}");
            }
        }
    }
}
