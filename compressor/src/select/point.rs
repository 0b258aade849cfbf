//! One point of a front: what was measured of it, and how that stands to the requirements.

use serde::{Deserialize, Serialize};

use super::chance::Chance;
use super::confidence::{least_examples, sufficient_examples, upper_bound};
use super::{Plan, Requirements, within};
use crate::cost::Instructions;

/// What every model must be, whatever a job requires.
pub(crate) const BETTER_THAN_CHANCE: &str = "better_than_chance";

/// Errors on the examples of one class, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Examples.
    pub examples: u64,
    /// Those that the integer model takes for another class.
    pub errors: u64,
}

impl Count {
    /// The rate that was seen, in percent.
    pub(crate) fn percent(self) -> f64 {
        100.0 * self.errors as f64 / self.examples.max(1) as f64
    }

    /// The upper bound of the rate, in percent.
    pub(crate) fn bound(self, confidence: f64) -> f64 {
        100.0 * upper_bound(self.errors, self.examples, confidence)
    }
}

/// What was measured of a point, by the integer runtime.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// On the validation examples that the front is judged by.
    pub errors: Count,
    /// The same by class.
    pub classes: Vec<Count>,
    /// The same beside chance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<Chance>,
    /// Points of percent above the dense float network, on the same examples.
    pub error_rise_points: f64,
    /// The whole model file.
    pub file_bytes: u64,
    /// Working memory.
    pub arena_bytes: u64,
    /// Weights that are stored.
    pub weights: u64,
    /// Multiply-accumulates of an inference.
    pub macs: u64,
    /// Instructions of an inference on the target.
    pub instructions: Instructions,
    /// The same as estimated, whether or not they were counted.
    pub estimated: Instructions,
}

/// A point of the front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// What it differs by from the job.
    pub plan: Plan,
    /// Weight λ of the rate that it was trained with.
    pub rate: f32,
    /// Width of each layer's weights.
    pub bits: Vec<u8>,
    /// Seconds of work on it.
    pub seconds: f64,
    /// What came of it.
    pub measured: Measured,
}

/// One requirement and how a point stands to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The key in `[requirements]`, and which class.
    pub requirement: String,
    /// What is allowed, in the key's unit.
    pub limit: f64,
    /// What was found.
    pub found: f64,
    /// What is compared with the limit: of a promise the upper bound, else what was found.
    pub judged: f64,
    /// Whether it is a promise about errors on examples to come.
    pub promise: bool,
    /// Whether the requirement is met.
    pub met: bool,
    /// For a promise that fails although fewer errors than the limit were seen: how many validation
    /// examples would be enough at the rate that was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples_needed: Option<u64>,
}

impl Check {
    fn plain(requirement: &str, limit: f64, found: f64) -> Self {
        Self {
            requirement: requirement.to_owned(),
            limit,
            found,
            judged: found,
            promise: false,
            met: found <= limit,
            examples_needed: None,
        }
    }

    fn chance(chance: &Chance) -> Self {
        let percent = |errors| Count { examples: chance.examples, errors }.percent();
        let (limit, found) = (percent(chance.constant_errors), percent(chance.errors));
        Self { met: chance.is_better(), ..Self::plain(BETTER_THAN_CHANCE, limit, found) }
    }

    fn promise(requirement: String, limit: f64, count: Count, confidence: f64) -> Self {
        let judged = count.bound(confidence);
        let met = judged <= limit;
        let Count { errors, examples } = count;
        let needed = || sufficient_examples(errors, examples, limit / 100.0, confidence);
        Self {
            requirement,
            limit,
            found: count.percent(),
            judged,
            promise: true,
            met,
            examples_needed: if met { None } else { needed() },
        }
    }

    /// By how much the limit is exceeded, as a share of it.
    pub(crate) fn excess(&self) -> f64 {
        (self.judged - self.limit) / self.limit.abs().max(0.01)
    }
}

impl Point {
    /// Milliseconds of an inference at an instruction a cycle.
    pub(crate) fn milliseconds(&self, megahertz: f64) -> f64 {
        self.measured.instructions.required() as f64 / (megahertz * 1e3)
    }

    /// Every requirement that the job states; errors are promised with `confidence`.
    pub(crate) fn checks(
        &self,
        requirements: &Requirements,
        confidence: f64,
        megahertz: f64,
    ) -> Vec<Check> {
        let (r, m) = (requirements, &self.measured);
        let (allowed, rise) = (r.error_rise(), m.error_rise_points);
        let mut checks = vec![Check {
            met: within(rise, allowed),
            ..Check::plain("error_rise_points", allowed, rise)
        }];
        checks.extend(m.chance.as_ref().map(Check::chance));
        if let Some(limit) = r.error_percent {
            checks.push(Check::promise("error_percent".into(), limit, m.errors, confidence));
        }
        for (class, count) in m.classes.iter().enumerate() {
            if let Some(limit) = r.class_ceiling(class) {
                let name = r.class_requirement(class);
                checks.push(Check::promise(name, limit, *count, confidence));
            }
        }
        let counted = [
            ("flash_bytes", r.flash_bytes, m.file_bytes),
            ("arena_bytes", r.arena_bytes, m.arena_bytes),
            ("instructions", r.instructions, m.instructions.required()),
        ];
        for (name, limit, found) in counted {
            checks.extend(limit.map(|limit| Check::plain(name, limit as f64, found as f64)));
        }
        let time = self.milliseconds(megahertz);
        checks.extend(r.milliseconds.map(|limit| Check::plain("milliseconds", limit, time)));
        checks
    }
}

/// A promise that no model could be given, because there are too few examples even for one without
/// an error.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortage {
    /// The key in `[requirements]`, and which class.
    pub requirement: String,
    /// The ceiling in percent.
    pub ceiling: f64,
    /// Examples that there are.
    pub examples: u64,
    /// The fewest that could be enough.
    pub needed: u64,
}

/// The first promise that `classes` (examples held out, by class) can't give with `confidence`,
/// whatever the model.
pub(crate) fn shortage(
    requirements: &Requirements,
    confidence: f64,
    classes: &[u64],
) -> Option<Shortage> {
    let promise = |requirement: String, ceiling: Option<f64>, examples: u64| {
        let ceiling = ceiling?;
        let needed = least_examples(ceiling / 100.0, confidence);
        let short = examples < needed;
        short.then_some(Shortage { requirement, ceiling, examples, needed })
    };
    let all = promise("error_percent".into(), requirements.error_percent, classes.iter().sum());
    all.or_else(|| {
        classes.iter().enumerate().find_map(|(class, examples)| {
            let name = requirements.class_requirement(class);
            promise(name, requirements.class_ceiling(class), *examples)
        })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cost::{Provenance, Unpacked};

    /// A point with the given errors of 1,000 and bytes.
    pub(crate) fn point(index: usize, errors: u64, file_bytes: u64) -> Point {
        let half = Count { examples: 500, errors: errors / 2 };
        Point {
            plan: Plan { index, of: 5, temperature: 1.0, rate: 1.0, keep: 1.0, narrower: 0 },
            rate: 0.5,
            bits: vec![4],
            seconds: 1.0,
            measured: Measured {
                errors: Count { examples: 1_000, errors },
                chance: None,
                classes: vec![half, Count { errors: errors - errors / 2, ..half }],
                error_rise_points: 0.0,
                file_bytes,
                arena_bytes: 100,
                weights: 1_000,
                macs: 10_000,
                instructions: Instructions::stored(64_000, Provenance::Estimated),
                estimated: Instructions::stored(64_000, Provenance::Estimated),
            },
        }
    }

    #[test]
    fn every_stated_requirement_is_checked() {
        let requirements = Requirements {
            error_percent: Some(3.0),
            class_error_percent: vec![5.0, 1.0],
            flash_bytes: Some(2_000),
            arena_bytes: Some(99),
            instructions: Some(64_000),
            milliseconds: Some(0.5),
            ..Requirements::default()
        };
        let checks = point(0, 20, 2_000).checks(&requirements, 0.95, 64.0);
        let met: Vec<(&str, bool)> =
            checks.iter().map(|c| (c.requirement.as_str(), c.met)).collect();
        assert_eq!(
            met,
            [
                ("error_rise_points", true),
                ("error_percent", true),
                ("class_error_percent (class 0)", true),
                ("class_error_percent (class 1)", false),
                ("flash_bytes", true),
                ("arena_bytes", false),
                ("instructions", true),
                ("milliseconds", false),
            ]
        );
        // 2 % were seen; 95 % confidence allows to promise no less than 2.9 %.
        assert!((checks[1].found - 2.0).abs() < 1e-9 && (2.8..3.0).contains(&checks[1].judged));
        assert_eq!(point(0, 20, 1).checks(&Requirements::default(), 0.95, 64.0).len(), 1);
    }

    #[test]
    fn time_is_limited_for_the_way_that_the_device_has_ram_for() {
        let requirements = Requirements {
            instructions: Some(20_000),
            milliseconds: Some(0.5),
            ..Requirements::default()
        };
        let mut point = point(0, 20, 2_000);
        let met = |point: &Point| -> Vec<bool> {
            let checks = point.checks(&requirements, 0.95, 64.0);
            checks.iter().skip(1).map(|check| check.met).collect()
        };
        point.measured.instructions.unpacked =
            Some(Unpacked { count: 16_000, weights_ram_bytes: 900 });
        assert_eq!(met(&point), [false, false], "no RAM was given");
        point.measured.instructions.is_given = true;
        assert_eq!(met(&point), [true, true]);
        assert!((point.milliseconds(64.0) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn one_example_of_the_whole_is_as_it_is_printed() {
        let mut point = point(0, 3, 1);
        point.measured.error_rise_points = 100.0 * 3.0 / 72.0 - 100.0 * 2.0 / 72.0;
        for (allowed, met) in [(Some(1.39), true), (Some(1.38), false), (None, true)] {
            let stated = Requirements { error_rise_points: allowed, ..Requirements::default() };
            let checks = point.checks(&stated.resolve(72), 0.95, 64.0);
            assert_eq!(checks[0].met, met, "{allowed:?}");
        }
    }

    #[test]
    fn a_point_must_be_better_than_chance() {
        let mut point = point(0, 500, 1);
        let checks = |point: &Point| point.checks(&Requirements::default(), 0.95, 64.0);
        point.measured.chance = Some(Chance::new(&[vec![500, 0], vec![500, 0]]));
        let check = &checks(&point)[1];
        assert_eq!((check.requirement.as_str(), check.met), (BETTER_THAN_CHANCE, false));
        point.measured.chance = Some(Chance::new(&[vec![500, 0], vec![0, 500]]));
        assert!(checks(&point).iter().all(|check| check.met));
    }

    #[test]
    fn a_bound_above_the_ceiling_says_how_many_examples_would_do() {
        let requirements = Requirements { error_percent: Some(2.2), ..Requirements::default() };
        let check = &point(0, 20, 1).checks(&requirements, 0.95, 64.0)[1];
        assert!(!check.met && check.examples_needed.is_some_and(|n| n > 5_000), "{check:?}");
        let check = &point(0, 30, 1).checks(&requirements, 0.95, 64.0)[1];
        assert!(!check.met && check.examples_needed.is_none());
        assert!(check.excess() > 0.5);
    }

    #[test]
    fn what_nothing_can_promise_is_known_beforehand() {
        let requirements = Requirements { error_percent: Some(1.0), ..Requirements::default() };
        let short = shortage(&requirements, 0.95, &[100, 100]).unwrap();
        assert_eq!((short.examples, short.needed), (200, 299));
        assert_eq!(shortage(&requirements, 0.95, &[200, 100]), None);
        // Two sweeps need more of them.
        let short = shortage(&requirements, 0.975, &[200, 100]).unwrap();
        assert_eq!((short.examples, short.needed), (300, 368));
        let requirements =
            Requirements { class_error_percent: vec![1.0], ..Requirements::default() };
        let short = shortage(&requirements, 0.95, &[400, 200]).unwrap();
        assert_eq!(short.requirement, "class_error_percent (class 1)");
        let class_names = vec!["fine".to_owned(), "dented".to_owned()];
        let named =
            Requirements { class_error_percent: vec![1.0], class_names, ..Default::default() };
        assert_eq!(named.class_requirement(1), "class_error_percent (class dented)");
        assert_eq!(shortage(&Requirements::default(), 0.95, &[]), None);
    }
}
