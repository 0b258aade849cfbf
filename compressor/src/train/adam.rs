//! Adam, fused: one pass over plain vectors, with a learning rate per kind of parameter.
//!
//! Kingma and Ba, 2015 (arXiv:1412.6980); the decoupled weight decay is Loshchilov and Hutter's,
//! 2019 (arXiv:1711.05101).

use serde::{Deserialize, Serialize};

use crate::bayes::{Kind, Parameters};

/// Numerator floor of the update.
const EPSILON: f32 = 1e-8;

/// Moments of every parameter and the number of steps taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Adam<P> {
    /// Running mean of the gradient.
    pub first: P,
    /// Running mean of its square.
    pub second: P,
    /// Steps taken.
    pub step: u32,
}

/// One step's hyperparameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Learning rate of [`Kind::Mean`].
    pub mean: f32,
    /// Learning rate of [`Kind::LogVariance`].
    pub log_variance: f32,
    /// Learning rate of [`Kind::ScaleMean`].
    pub scale_mean: f32,
    /// Learning rate of [`Kind::ScaleLogVariance`].
    pub scale_log_variance: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Decoupled weight decay, as a fraction of the learning rate; on [`Kind::Mean`] alone.
    pub weight_decay: f32,
}

impl Rates {
    /// The same learning rate for everything, with Adam's usual decays.
    pub(crate) fn uniform(learning_rate: f32) -> Self {
        Self {
            mean: learning_rate,
            log_variance: learning_rate,
            scale_mean: learning_rate,
            scale_log_variance: learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            weight_decay: 0.0,
        }
    }

    fn of(&self, kind: Kind) -> f32 {
        match kind {
            Kind::Mean => self.mean,
            Kind::LogVariance => self.log_variance,
            Kind::ScaleMean => self.scale_mean,
            Kind::ScaleLogVariance => self.scale_log_variance,
        }
    }
}

impl<P: Parameters> Adam<P> {
    /// No steps taken yet.
    pub(crate) fn new(parameters: &P) -> Self {
        Self { first: parameters.zeros_like(), second: parameters.zeros_like(), step: 0 }
    }

    /// Moves `parameters` against `gradient`.
    pub(crate) fn update(&mut self, parameters: &mut P, gradient: &P, rates: &Rates) {
        self.step += 1;
        let exponent = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - rates.beta1.powi(exponent);
        let correction2 = 1.0 - rates.beta2.powi(exponent);
        let moments = self.first.tensors_mut().into_iter().zip(self.second.tensors_mut());
        let tensors = parameters.tensors_mut().into_iter().zip(gradient.tensors());
        for ((p, (kind, g)), (m, v)) in tensors.zip(moments) {
            let rate = rates.of(kind);
            let decay = if kind == Kind::Mean { 1.0 - rate * rates.weight_decay } else { 1.0 };
            let (scale, correction) = (rate / correction1, 1.0 / correction2);
            for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                *m += (1.0 - rates.beta1) * (g - *m);
                *v += (1.0 - rates.beta2) * (g * g - *v);
                *p = *p * decay - scale * *m / ((*v * correction).sqrt() + EPSILON);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::{AffinePosterior, Gaussian, NormalJeffreys, Scale};
    use crate::graph::Graph;
    use crate::graph::ops::Dense;

    fn one(mean: f32) -> Graph<AffinePosterior> {
        let g = |m: f32| Gaussian { mean: vec![m], log_variance: vec![m] };
        let scale = NormalJeffreys { mean: vec![mean], log_variance: vec![mean] };
        let scale = Scale::NormalJeffreys(scale);
        let layer = AffinePosterior { weight: g(mean), bias: g(mean), scale };
        let mut graph = Graph::of_input(vec![1]);
        graph.push("dense_1", Dense {}, vec![0], vec![1], Some(layer));
        graph
    }

    /// Whatever the gradient's size, Adam's first step is the learning rate, per kind.
    #[test]
    fn first_step_is_the_learning_rate_of_the_kind() {
        let (mut p, g) = (one(1.0), one(0.02));
        let mut adam = Adam::new(&p);
        let rates = Rates {
            mean: 0.1,
            log_variance: 0.2,
            scale_mean: 0.3,
            scale_log_variance: 0.4,
            ..Rates::uniform(0.0)
        };
        adam.update(&mut p, &g, &rates);
        let moved: Vec<f32> = p.tensors().iter().map(|(_, t)| 1.0 - t[0]).collect();
        for (moved, rate) in moved.iter().zip([0.1, 0.2, 0.1, 0.2, 0.3, 0.4]) {
            assert!((moved - rate).abs() < 1e-4, "{moved} {rate}");
        }
    }

    #[test]
    fn minimises_a_parabola() {
        let mut p = one(3.0);
        let mut adam = Adam::new(&p);
        for _ in 0..2000 {
            let gradient = p.clone();
            adam.update(&mut p, &gradient, &Rates::uniform(0.01));
        }
        assert!(p.tensors().iter().all(|(_, t)| t[0].abs() < 1e-2));
    }
}
