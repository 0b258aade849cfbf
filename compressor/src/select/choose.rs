//! The test and the choice.
//!
//! Promises are tested in the order of the plan, gentlest point first, each at the full confidence,
//! and testing stops at the first point that fails: a fixed-sequence test. The plan is made before
//! anything is measured, so the chance that *any* point is promised wrongly stays below 1 −
//! confidence, however many points there are, without Bonferroni's correction (Maurer, Hothorn and
//! Lehmacher, 1995). A point with several promises must keep each at that confidence, which needs
//! no correction either: promising all of them wrongly is no likelier than one (Berger, 1982).
//!
//! Of the points that stand, the one with the fewest bytes that meets all other requirements is
//! chosen. Those are counted or measured, and have no chance in them.

use serde::{Deserialize, Serialize};

use super::{Check, Point, Requirements};

/// Why the chosen point is only the nearest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// What the nearest point fails.
    pub checks: Vec<Check>,
}

/// How the choice ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
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
pub struct Choice {
    /// Index of the point that is chosen, or nearest.
    pub point: usize,
    /// Whether it meets everything.
    pub outcome: Outcome,
    /// Points, from the gentlest on, whose promises stand.
    pub promised: usize,
    /// Every point's checks.
    pub checks: Vec<Vec<Check>>,
}

/// Chooses among `points`, which stand in the order of their plan; `None` without any.
pub fn choose(points: &[Point], requirements: &Requirements, megahertz: f64) -> Option<Choice> {
    let checks: Vec<Vec<Check>> =
        points.iter().map(|p| p.checks(requirements, megahertz)).collect();
    let stands = |checks: &Vec<Check>| checks.iter().all(|c| c.met || !c.promise);
    let promised = checks.iter().take_while(|c| stands(c)).count();
    let best = (0..promised)
        .filter(|&i| checks[i].iter().all(|c| c.met))
        .min_by_key(|&i| (points[i].measured.file_bytes, points[i].measured.instructions.count));
    if let Some(point) = best {
        return Some(Choice { point, outcome: Outcome::Met, promised, checks });
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
    Some(Choice { point, outcome, promised, checks })
}

/// Whether no other point has at most as many bytes and at most as many errors, and less of one.
pub fn is_efficient(points: &[Point], index: usize) -> bool {
    let figures = |p: &Point| (p.measured.file_bytes, p.measured.errors.errors);
    let Some(own) = points.get(index).map(figures) else { return false };
    points.iter().map(figures).all(|other| !(other.0 <= own.0 && other.1 <= own.1) || other == own)
}

impl Choice {
    /// Whether the requirements are met.
    pub fn is_met(&self) -> bool {
        self.outcome == Outcome::Met
    }

    /// Why this point, in a sentence or two.
    pub fn why(&self, points: &[Point], requirements: &Requirements) -> String {
        let Some(point) = points.get(self.point) else { return String::new() };
        let place = format!("Point {} of {}", self.point + 1, points.len());
        let bytes = point.measured.file_bytes;
        match &self.outcome {
            Outcome::Met => {
                let promise = match requirements.promises() {
                    true => format!(
                        " Its error is at most {:.2} % with {} % confidence.",
                        point.measured.errors.bound(requirements.confidence),
                        100.0 * requirements.confidence,
                    ),
                    false => String::new(),
                };
                format!(
                    "{place} has the fewest bytes ({bytes}) of the points that meet every \
                     requirement.{promise}"
                )
            }
            Outcome::NotMet(binding) => format!(
                "No point meets every requirement; {} is nearest with {bytes} bytes and fails {}.",
                lower_first(&place),
                list(&binding.checks)
            ),
            Outcome::NotProven(binding) => format!(
                "Not enough validation data to promise this: {}, the nearest with {bytes} bytes, \
                 fails {}.",
                lower_first(&place),
                list(&binding.checks)
            ),
        }
    }
}

fn lower_first(text: &str) -> String {
    text.replacen('P', "p", 1)
}

/// What fails, and by how much.
fn list(checks: &[Check]) -> String {
    let one = |check: &Check| {
        let Check { requirement, limit, found, judged, .. } = check;
        let digits = if judged.abs() < 1_000.0 { 2 } else { 0 };
        let mut text = match check.promise {
            true => format!(
                "{requirement} = {limit} ({found:.2} seen, at most {judged:.2} can be promised"
            ),
            false => format!("{requirement} = {limit} (it is {judged:.digits$}"),
        };
        if let Some(needed) = check.examples_needed {
            text += &format!("; some {needed} examples held out would do at this rate");
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
        assert_eq!((choice.point, choice.promised), (1, 2));
        assert!(choice.is_met());
        let why = choice.why(&points, &ceiling(3.5));
        assert!(why.contains("Point 2 of 3") && why.contains("95 % confidence"), "{why}");
    }

    #[test]
    fn testing_stops_at_the_first_failure() {
        let points = [point(0, 20, 3_000), point(1, 40, 2_000), point(2, 20, 1_000)];
        let choice = choose(&points, &ceiling(3.5), 64.0).unwrap();
        assert_eq!((choice.point, choice.promised), (0, 1), "the third was not tested");
    }

    #[test]
    fn counted_requirements_rule_points_out_without_stopping_the_test() {
        let points = [point(0, 20, 3_000), point(1, 22, 2_000)];
        let tight = Requirements { flash_bytes: Some(2_500), ..ceiling(3.5) };
        assert_eq!(choose(&points, &tight, 64.0).unwrap().point, 1);
        let without = Requirements { flash_bytes: Some(2_500), ..Requirements::default() };
        assert_eq!(choose(&points, &without, 64.0).unwrap().promised, 2);
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
        assert!(why.contains("flash_bytes = 1900") && why.contains("it is 2000"), "{why}");
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
