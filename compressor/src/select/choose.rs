//! The test and the choice.
//!
//! Promises of one sweep (the points of one temperature) are tested in the order of the plan,
//! gentlest point first, each at the same confidence, and testing stops at the first point that
//! fails: a fixed-sequence test. The plan is made before anything is measured, so the chance that
//! *any* point of the sweep is promised wrongly stays below 1 − that confidence, however many points
//! there are, without Bonferroni's correction (Maurer, Hothorn and Lehmacher, 1995). A point with
//! several promises must keep each at that confidence, which needs no correction either: promising
//! all of them wrongly is no likelier than one (Berger, 1982).
//!
//! Lines do need one: k of them are tested at 1 − (1 − confidence)/k each, so that the chance of a
//! wrong promise anywhere is at most 1 − confidence (Bonferroni). One long sequence over all sweeps
//! would test at the full confidence, but its first failure would rule out everything behind, such
//! as all points of a temperature because one of another is too harsh.
//!
//! Of the points that stand, the one with the fewest bytes that meets all other requirements is
//! chosen. Those are counted or measured, and have no chance in them.

use serde::{Deserialize, Serialize};

use super::confidence::percent;
use super::point::BETTER_THAN_CHANCE;
use super::{Check, Plan, Point, Requirements};
use crate::cost::Instructions;

/// Why the chosen point is only the nearest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Binding {
    /// What the nearest point fails.
    pub checks: Vec<Check>,
}

/// How the choice ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The point meets every requirement.
    Met,
    /// No point does; the nearest one fails these.
    NotMet(Binding),
    /// No point can be promised, but the nearest one's errors are below the ceilings: there are too
    /// few validation examples.
    NotProven(Binding),
}

/// The choice among the points of a front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    /// Index of the point that is chosen, or nearest.
    pub point: usize,
    /// Whether it meets everything.
    pub outcome: Outcome,
    /// Whether each point's promises stand: its own, and those before it in its sweep.
    pub promised: Vec<bool>,
    /// Confidence at which each point was tested.
    pub confidence: f64,
    /// Every point's checks.
    pub checks: Vec<Vec<Check>>,
}

/// Chooses among `points`, which stand in the order of their plan; `None` without any.
pub(crate) fn choose(
    points: &[Point],
    requirements: &Requirements,
    megahertz: f64,
) -> Option<Choice> {
    let sweeps = points.chunk_by(|a, b| a.plan.temperature == b.plan.temperature);
    let sweeps: Vec<usize> = sweeps.map(<[Point]>::len).collect();
    let confidence = requirements.confidence_of_each(sweeps.len());
    let checks: Vec<Vec<Check>> =
        points.iter().map(|p| p.checks(requirements, confidence, megahertz)).collect();
    let mut promised = Vec::with_capacity(points.len());
    let mut rest = checks.iter().map(|checks| checks.iter().all(|c| c.met || !c.promise));
    for length in sweeps {
        // Within a sweep, nothing stands behind a failure.
        promised.extend(rest.by_ref().take(length).scan(true, |all, stands| {
            *all &= stands;
            Some(*all)
        }));
    }
    let best = (0..points.len())
        .filter(|&i| promised[i] && checks[i].iter().all(|c| c.met))
        .min_by_key(|&i| {
            let measured = &points[i].measured;
            (measured.file_bytes, measured.instructions.required())
        });
    if let Some(point) = best {
        return Some(Choice { point, outcome: Outcome::Met, promised, confidence, checks });
    }
    let worst = |checks: &[Check]| {
        let failed = checks.iter().filter(|c| !c.met);
        failed.map(Check::excess).fold(f64::NEG_INFINITY, f64::max)
    };
    // A point without a failure of its own stands behind one that failed; it was not tested.
    let tested = (0..points.len()).filter(|&i| checks[i].iter().any(|c| !c.met));
    let point = tested.min_by(|&a, &b| worst(&checks[a]).total_cmp(&worst(&checks[b])))?;
    let failed: Vec<Check> = checks[point].iter().filter(|c| !c.met).cloned().collect();
    let unproven = failed.iter().all(|c| c.promise && c.found <= c.limit);
    let binding = Binding { checks: failed };
    let outcome = if unproven { Outcome::NotProven(binding) } else { Outcome::NotMet(binding) };
    Some(Choice { point, outcome, promised, confidence, checks })
}

/// Whether no other point has at most as many bytes and at most as many errors, and less of one.
pub(crate) fn is_efficient(points: &[Point], index: usize) -> bool {
    let figures = |p: &Point| (p.measured.file_bytes, p.measured.errors.errors);
    let Some(own) = points.get(index).map(figures) else { return false };
    points.iter().map(figures).all(|other| !(other.0 <= own.0 && other.1 <= own.1) || other == own)
}

impl Choice {
    /// Whether the requirements are met.
    pub(crate) fn is_met(&self) -> bool {
        self.outcome == Outcome::Met
    }

    /// Why this point, in a sentence or two.
    pub(crate) fn why(&self, points: &[Point], requirements: &Requirements) -> String {
        let Some(point) = points.get(self.point) else { return String::new() };
        let place =
            format!("Point {} of {}{}", point.plan.index + 1, point.plan.of, at(&point.plan));
        let bytes = point.measured.file_bytes;
        match &self.outcome {
            Outcome::Met => {
                // What was tested is the ceiling; the bound below it is of one point by itself, and
                // this one was chosen.
                let what = match (requirements.error_percent, requirements.promises()) {
                    (Some(ceiling), _) => format!("Its error is at most {ceiling} %"),
                    (None, true) => "No class's error is above its ceiling".to_owned(),
                    (None, false) => String::new(),
                };
                let promise = match what.is_empty() {
                    true => what,
                    false => {
                        format!(" {what}, with {} % confidence.", percent(requirements.confidence))
                    }
                };
                format!(
                    "{place} has the fewest bytes ({bytes}) of the points that meet every \
                     requirement.{promise}"
                )
            }
            Outcome::NotMet(binding) => format!(
                "No point meets every requirement; {} is nearest with {bytes} bytes and fails {}.",
                lower_first(&place),
                list(&binding.checks, point.measured.instructions)
            ),
            Outcome::NotProven(binding) => format!(
                "Not enough validation data to promise this: {}, the nearest with {bytes} bytes, \
                 fails {}.",
                lower_first(&place),
                list(&binding.checks, point.measured.instructions)
            ),
        }
    }
}

/// Names the temperature where it isn't the job's.
fn at(plan: &Plan) -> String {
    match plan.temperature {
        1.0 => String::new(),
        factor => format!(" (KL temperature × {factor})"),
    }
}

fn lower_first(text: &str) -> String {
    text.replacen('P', "p", 1)
}

/// What fails, and by how much.
fn list(checks: &[Check], instructions: Instructions) -> String {
    let one = |check: &Check| {
        let Check { requirement, limit, found, judged, .. } = check;
        if requirement == BETTER_THAN_CHANCE {
            return format!(
                "{requirement} ({found:.2} % are wrong, and {limit:.2} % of the answer that is always \
                 the most frequent class)"
            );
        }
        let digits = if judged.fract() != 0.0 && judged.abs() < 1_000.0 { 2 } else { 0 };
        let mut text = match check.promise {
            true => format!(
                "{requirement} = {limit} ({found:.2} seen, at most {judged:.2} can be promised"
            ),
            false => format!("{requirement} = {limit} (it is {judged:.digits$}"),
        };
        if ["instructions", "milliseconds"].contains(&requirement.as_str()) {
            text += &format!(", {}", instructions.from.name());
            let ram = instructions.required_ram();
            if ram > 0 {
                text += &format!(" with {ram} bytes of RAM for weights");
            }
        }
        if let Some(needed) = check.examples_needed {
            let whose = if requirement == "error_percent" { "" } else { "of its " };
            text += &format!("; some {needed} {whose}examples held out would do at this rate");
        }
        text + ")"
    };
    checks.iter().map(one).collect::<Vec<_>>().join(", and ")
}

#[cfg(test)]
mod tests {
    use super::super::point::tests::point;
    use super::*;

    fn ceiling(percent: f64) -> Requirements {
        Requirements { error_percent: Some(percent), ..Requirements::default() }
    }

    #[test]
    fn the_smallest_that_can_be_promised_is_chosen() {
        // At most 2.9, 3.2, 4.4 % can be promised of 20, 22, 33 errors in 1,000.
        let points = [point(0, 20, 3_000), point(1, 22, 2_000), point(2, 33, 1_000)];
        let choice = choose(&points, &ceiling(3.5), 64.0).unwrap();
        assert_eq!((choice.point, &choice.promised[..]), (1, &[true, true, false][..]));
        assert!(choice.is_met());
        let why = choice.why(&points, &ceiling(3.5));
        assert!(why.contains("Point 2 of 5"), "{why}");
        // What was tested is the ceiling, not the bound of the point that was chosen afterwards.
        assert!(why.ends_with("Its error is at most 3.5 %, with 95 % confidence."), "{why}");
        let classes = Requirements { class_error_percent: vec![9.0], ..Requirements::default() };
        let why = choose(&points, &classes, 64.0).unwrap().why(&points, &classes);
        assert!(why.contains("No class's error is above its ceiling"), "{why}");
    }

    #[test]
    fn testing_stops_at_the_first_failure() {
        let points = [point(0, 20, 3_000), point(1, 40, 2_000), point(2, 20, 1_000)];
        let choice = choose(&points, &ceiling(3.5), 64.0).unwrap();
        let promised = [true, false, false];
        assert_eq!(
            (choice.point, &choice.promised[..]),
            (0, &promised[..]),
            "the third wasn't tested"
        );
    }

    /// Points in sweeps: the temperature, errors of 1,000 and bytes of each.
    fn sweeps(figures: &[(f64, u64, u64)]) -> Vec<Point> {
        let at = |(index, &(temperature, errors, bytes)): (usize, &(f64, u64, u64))| {
            let mut point = point(index, errors, bytes);
            point.plan.temperature = temperature;
            point
        };
        figures.iter().enumerate().map(at).collect()
    }

    #[test]
    fn a_failure_stops_its_own_line_alone() {
        let figures = [
            (0.5, 40, 3_000), // fails at once
            (0.5, 20, 900),   // and isn't tested
            (1.0, 20, 2_500),
            (1.0, 22, 2_000),
            (1.0, 40, 1_500),
            (2.0, 22, 1_900),
            (2.0, 22, 1_800),
        ];
        let points = sweeps(&figures);
        let choice = choose(&points, &ceiling(3.6), 64.0).unwrap();
        assert_eq!(choice.promised, [false, false, true, true, false, true, true]);
        assert_eq!((choice.point, choice.is_met()), (6, true));
        let why = choice.why(&points, &ceiling(3.6));
        assert!(why.starts_with("Point 7 of 5 (KL temperature × 2) has the fewest"), "{why}");
    }

    #[test]
    fn several_lines_share_the_chance_of_error() {
        // At most 3.13 % can be promised of 22 in 1,000 at 95 %, and 3.31 % at 97.5 %.
        let one = sweeps(&[(1.0, 22, 2_000)]);
        assert!(choose(&one, &ceiling(3.25), 64.0).unwrap().is_met());
        let two = sweeps(&[(0.5, 22, 2_000), (1.0, 22, 2_000)]);
        let choice = choose(&two, &ceiling(3.25), 64.0).unwrap();
        assert!(matches!(choice.outcome, Outcome::NotProven(_)), "{choice:?}");
        assert!((choice.confidence - 0.975).abs() < 1e-12);
        assert!(choose(&two, &ceiling(3.4), 64.0).unwrap().is_met());
    }

    /// P(X ≤ x) of a binomial distribution.
    fn at_most(x: u64, n: u64, p: f64) -> f64 {
        let mut term = (1.0 - p).powf(n as f64);
        let mut sum = term;
        for k in 0..x {
            term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            sum += term;
        }
        sum
    }

    /// Three sweeps whose points are exactly at the ceiling: the chance that anything is promised.
    #[test]
    fn a_wrong_promise_is_as_rare_as_was_asked_for() {
        let chance = |confidence: f64| {
            let requirements = Requirements { confidence, ..ceiling(4.0) };
            let promised = |errors: u64| {
                let points = sweeps(&[0.5, 1.0, 2.0].map(|t| (t, errors, 1_000)));
                choose(&points, &requirements, 64.0).unwrap().promised == [true; 3]
            };
            // A sweep promises something as soon as its first point does.
            let most = (0..40).take_while(|&errors| promised(errors)).last().unwrap();
            1.0 - (1.0 - at_most(most, 1_000, 0.04)).powi(3)
        };
        let wrong = chance(0.9);
        assert!((0.05..=0.1).contains(&wrong), "{wrong}");
        // Each sweep at 90 %, without the split, isn't enough.
        let undivided = chance(1.0 - 3.0 * 0.1);
        assert!(undivided > 0.2, "{undivided}");
    }

    #[test]
    fn counted_requirements_rule_points_out_without_stopping_the_test() {
        let points = [point(0, 20, 3_000), point(1, 22, 2_000)];
        let tight = Requirements { flash_bytes: Some(2_500), ..ceiling(3.5) };
        assert_eq!(choose(&points, &tight, 64.0).unwrap().point, 1);
        let without = Requirements { flash_bytes: Some(2_500), ..Requirements::default() };
        assert_eq!(choose(&points, &without, 64.0).unwrap().promised, [true; 2]);
    }

    #[test]
    fn without_a_point_the_nearest_and_what_binds_are_named() {
        let points = [point(0, 20, 3_000), point(1, 22, 2_000)];
        let tight = Requirements { flash_bytes: Some(1_900), ..Requirements::default() };
        let choice = choose(&points, &tight, 64.0).unwrap();
        assert_eq!(choice.point, 1);
        let Outcome::NotMet(binding) = &choice.outcome else { panic!("{choice:?}") };
        assert_eq!(binding.checks[0].requirement, "flash_bytes");
        let why = choice.why(&points, &tight);
        assert!(why.contains("flash_bytes = 1900") && why.contains("it is 2000)"), "{why}");
        let slow = Requirements { milliseconds: Some(0.5), ..Requirements::default() };
        let why = choose(&points, &slow, 64.0).unwrap().why(&points, &slow);
        assert!(why.contains("milliseconds = 0.5 (it is 1, estimated)"), "{why}");
    }

    #[test]
    fn too_few_examples_are_told_from_too_many_errors() {
        let points = [point(0, 20, 3_000)];
        let choice = choose(&points, &ceiling(2.2), 64.0).unwrap();
        assert!(matches!(choice.outcome, Outcome::NotProven(_)));
        let why = choice.why(&points, &ceiling(2.2));
        assert!(why.starts_with("Not enough validation data to promise this"), "{why}");
        let choice = choose(&points, &ceiling(1.9), 64.0).unwrap();
        assert!(matches!(choice.outcome, Outcome::NotMet(_)));
        assert_eq!(choose(&[], &ceiling(2.0), 64.0), None);
    }

    #[test]
    fn efficient_points_have_no_better_one() {
        let points = [point(0, 20, 3_000), point(1, 25, 3_100), point(2, 30, 2_000)];
        let efficient: Vec<bool> = (0..3).map(|i| is_efficient(&points, i)).collect();
        assert_eq!(efficient, [true, false, true]);
    }

    proptest::proptest! {
        /// Whatever was measured, a point that is said to be good enough meets everything, and so
        /// do the promises of all before it.
        #[test]
        fn what_is_chosen_meets_everything(
            figures in proptest::collection::vec((0u64..60, 1u64..5_000), 1..8),
            limit in 0.5..8.0,
            flash in 1u64..5_000,
        ) {
            let points: Vec<Point> =
                figures.iter().enumerate().map(|(i, &(e, b))| point(i, e, b)).collect();
            let requirements = Requirements { flash_bytes: Some(flash), ..ceiling(limit) };
            let choice = choose(&points, &requirements, 64.0).unwrap();
            if choice.is_met() {
                proptest::prop_assert!(choice.checks[choice.point].iter().all(|c| c.met));
                for before in &points[..=choice.point] {
                    proptest::prop_assert!(before.measured.errors.bound(0.95) <= limit);
                }
            } else {
                proptest::prop_assert!(choice.checks[choice.point].iter().any(|c| !c.met));
            }
        }
    }
}
