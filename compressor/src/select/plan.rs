//! The points of a Pareto front: one sweep for each temperature of the KL, from gentle to harsh. The plan
//! follows from the job alone: it must be fixed before anything is measured, because the order of
//! the tests rests on it.

use serde::{Deserialize, Serialize};

/// Points of a front unless the job says otherwise.
const POINTS: u32 = 5;
/// Narrowest weight that training in integers knows, in bits.
const LEAST_BITS: u8 = 2;

/// `[front]`: the points among which the requirements choose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FrontConfig {
    /// Factors on `[variational] temperature`, ascending: each has a Bayesian stage and a sweep of
    /// points of its own.
    pub temperatures: Vec<f64>,
    /// How many points a sweep has; unset: 5 if `[requirements]` asks for more than a rise of the error, else 1,
    /// which is the job as it stands.
    pub points: Option<u32>,
    /// Factor on `[quantize] rate` at the gentlest point.
    pub gentlest: f64,
    /// Factor on `[quantize] rate` at the harshest point.
    pub harshest: f64,
    /// Share of the weights that the harshest point keeps of what pruning left.
    pub keep: f64,
    /// Bits a weight that the harshest point has fewer.
    pub narrower: u8,
}

impl Default for FrontConfig {
    fn default() -> Self {
        Self {
            temperatures: vec![1.0],
            points: None,
            gentlest: 0.2,
            harshest: 5.0,
            keep: 0.6,
            narrower: 1,
        }
    }
}

/// What one point differs by from the job as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Position in the front: sweep by sweep, from 0 at the gentlest of the first.
    pub index: usize,
    /// Points of the front.
    pub of: usize,
    /// Factor on the temperature of the KL.
    #[serde(default = "as_it_stands")]
    pub temperature: f64,
    /// Factor on the rate of the weights' code.
    pub rate: f64,
    /// Share of the weights that stay, of what pruning left.
    pub keep: f64,
    /// Bits a weight that are left out.
    pub narrower: u8,
}

/// A factor that changes nothing.
pub(super) fn as_it_stands() -> f64 {
    1.0
}

impl FrontConfig {
    /// Whether the only temperature is the job's own.
    pub(crate) fn is_as_the_job(&self) -> bool {
        self.temperatures == [1.0]
    }

    /// How many points a sweep has, where `needed` says whether the requirements ask for a front.
    pub(crate) fn count(&self, needed: bool) -> u32 {
        self.points.unwrap_or(if needed { POINTS } else { 1 }).max(1)
    }

    /// The points, sweep by sweep in the order of the temperatures, each sweep of `count` points from
    /// gentle to harsh. Without a rate that could be varied, all are at least as harsh as the job.
    pub(crate) fn plans(&self, count: u32, has_rate: bool) -> Vec<Plan> {
        let sweeps = self.temperatures.iter().map(|&t| self.sweep(t, count, has_rate));
        let mut plans: Vec<Plan> = sweeps.flatten().collect();
        let of = plans.len();
        for (index, plan) in plans.iter_mut().enumerate() {
            (plan.index, plan.of) = (index, of);
        }
        plans
    }

    /// The points of one temperature, numbered as if they were all.
    fn sweep(&self, temperature: f64, count: u32, has_rate: bool) -> Vec<Plan> {
        let of = count.max(1) as usize;
        let gentlest = if has_rate { self.gentlest.min(1.0) } else { 1.0 };
        let harshest = self.harshest.max(1.0);
        (0..of)
            .map(|index| {
                if of == 1 {
                    return Plan { index, of, temperature, rate: 1.0, keep: 1.0, narrower: 0 };
                }
                let place = index as f64 / (of - 1) as f64;
                let rate = gentlest * (harshest / gentlest).powf(place);
                // How far beyond the job as it stands: 0 there, 1 at the harshest.
                let beyond = match harshest > 1.0 {
                    true => (rate.ln() / harshest.ln()).clamp(0.0, 1.0),
                    false => place,
                };
                let beyond = if beyond < 1e-9 { 0.0 } else { beyond };
                Plan {
                    index,
                    of,
                    temperature,
                    rate: if (rate - 1.0).abs() < 1e-9 { 1.0 } else { rate },
                    keep: self.keep.powf(beyond),
                    narrower: (f64::from(self.narrower) * beyond + 1e-9) as u8,
                }
            })
            .collect()
    }
}

impl Plan {
    /// Whether the point is the job as it stands.
    #[cfg(test)]
    fn is_the_job(&self) -> bool {
        self.temperature == 1.0 && self.rate == 1.0 && self.keep == 1.0 && self.narrower == 0
    }

    /// The widths of this point, from those of the job; none gets narrower than 2 bits.
    pub(crate) fn widths(&self, bits: &[u8]) -> Vec<u8> {
        let narrow = |bits: &u8| bits.saturating_sub(self.narrower).max(LEAST_BITS.min(*bits));
        bits.iter().map(narrow).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_points_have_the_job_in_their_middle() {
        let plans = FrontConfig::default().plans(5, true);
        assert!(plans[2].is_the_job(), "{:?}", plans[2]);
        assert_eq!(plans.iter().filter(|p| p.is_the_job()).count(), 1);
        assert!((plans[0].rate - 0.2).abs() < 1e-9 && (plans[4].rate - 5.0).abs() < 1e-9);
        assert!((plans[4].keep - 0.6).abs() < 1e-9 && plans[1].keep == 1.0);
        assert_eq!(plans.iter().map(|p| p.narrower).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
        assert!(plans.windows(2).all(|p| p[0].rate < p[1].rate && p[0].keep >= p[1].keep));
    }

    #[test]
    fn without_a_rate_the_job_is_the_gentlest() {
        let plans = FrontConfig::default().plans(3, false);
        assert!(plans[0].is_the_job());
        assert!(plans[1].keep < 1.0 && (plans[2].keep - 0.6).abs() < 1e-9);
    }

    #[test]
    fn one_point_is_the_job_and_requirements_ask_for_five() {
        let front = FrontConfig::default();
        assert_eq!((front.count(false), front.count(true)), (1, 5));
        assert_eq!(FrontConfig { points: Some(7), ..front.clone() }.count(false), 7);
        assert!(front.plans(1, true)[0].is_the_job());
    }

    #[test]
    fn every_temperature_has_the_same_sweep() {
        let sweep = FrontConfig::default().plans(3, true);
        let front = FrontConfig { temperatures: vec![0.5, 1.0], ..FrontConfig::default() };
        let plans = front.plans(3, true);
        let index: Vec<usize> = plans.iter().map(|p| p.index).collect();
        assert_eq!((index, plans[0].of), ((0..6).collect(), 6));
        for (at, plan) in plans.iter().enumerate() {
            let same = &sweep[at % 3];
            assert_eq!((plan.rate, plan.keep), (same.rate, same.keep));
            assert_eq!(plan.temperature, if at < 3 { 0.5 } else { 1.0 });
        }
        assert_eq!(plans.iter().position(Plan::is_the_job), Some(4));
    }

    #[test]
    fn a_point_without_a_temperature_is_at_the_job_s() {
        let old = r#"{"index": 0, "of": 1, "rate": 1.0, "keep": 1.0, "narrower": 0}"#;
        assert!(serde_json::from_str::<Plan>(old).unwrap().is_the_job());
    }

    #[test]
    fn widths_stay_usable() {
        let plan = Plan { index: 0, of: 1, temperature: 1.0, rate: 1.0, keep: 1.0, narrower: 2 };
        assert_eq!(plan.widths(&[8, 4, 3, 2, 1]), [6, 2, 2, 2, 1]);
    }
}
