//! A front and the choice from it, as `summary.json` and the last line of `--json` have it.

use serde::{Deserialize, Serialize};

use super::choose::is_efficient;
use super::plan::as_it_stands;
use super::{CLASS, Choice, Point, Requirements};
use crate::cost::Provenance;

/// What the promises rest on, in words.
const TEST: &str = "one-sided Clopper-Pearson bound; points tested in the order of their plan, \
                    gentlest first, each at the full confidence, until one fails (fixed-sequence \
                    test: no correction for the number of points)";
/// The same for several temperatures.
const TEST_OF_SWEEPS: &str = "one-sided Clopper-Pearson bound; the points of each temperature tested \
                             in the order of their plan, gentlest first, until one fails \
                             (fixed-sequence test: no correction for the number of points); the \
                             chance of error is split evenly over the temperatures (Bonferroni)";

/// One point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointSummary {
    /// Which point, from 1 at the gentlest.
    pub point: usize,
    /// Factor on the temperature of the KL.
    #[serde(default = "as_it_stands")]
    pub temperature: f64,
    /// Weight λ of the rate.
    pub rate: f32,
    /// Share of the weights kept, of what pruning left.
    pub keep: f64,
    /// Width of each layer's weights, before any widening by `[bits]`.
    pub bits: Vec<u8>,
    /// Validation examples that it was judged by.
    pub examples: u64,
    /// Of those, the wrong ones.
    pub errors: u64,
    /// The same in percent.
    pub error_percent: f64,
    /// Upper bound of the error rate, at the confidence of each test.
    pub error_bound_percent: f64,
    /// Error on the test set, which is counted after the choice and plays no part in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_error_percent: Option<f64>,
    /// The whole model file.
    pub file_bytes: u64,
    /// Working memory.
    pub arena_bytes: u64,
    /// Weights stored.
    pub weights: u64,
    /// Multiply-accumulates of an inference.
    pub macs: u64,
    /// Instructions of an inference on the target, the way that requirements are for.
    pub instructions: u64,
    /// RAM for weights that they are with; 0 where weights are taken as they are stored.
    #[serde(default)]
    pub weights_ram_bytes: u64,
    /// How those are known.
    pub instructions_from: Provenance,
    /// Milliseconds at `[report] megahertz`, an instruction a cycle.
    pub milliseconds: f64,
    /// Requirements that it doesn't meet.
    pub unmet: Vec<String>,
    /// Whether its promises stand: its own, and those of all points before it at its temperature.
    pub promised: bool,
    /// Whether no other point has both fewer bytes and fewer errors.
    pub efficient: bool,
    /// Whether it is the job's model.
    pub chosen: bool,
}

/// The front and the choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontSummary {
    /// Temperature by temperature, each from the gentlest to the harshest.
    pub points: Vec<PointSummary>,
    /// The point that became the job's model, from 1.
    pub chosen: usize,
    /// Whether it meets every requirement.
    pub met: bool,
    /// Why it.
    pub why: String,
    /// Confidence of the promises.
    pub confidence: f64,
    /// Confidence at which each point was tested; more with several temperatures.
    #[serde(default)]
    pub confidence_of_each: f64,
    /// How they were tested.
    pub test: String,
    /// The ceiling on the error, if there is one, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_percent_limit: Option<f64>,
    /// The most bytes of the file, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flash_bytes_limit: Option<u64>,
}

impl FrontSummary {
    /// Puts the figures together.
    pub(crate) fn new(
        points: &[Point],
        choice: &Choice,
        requirements: &Requirements,
        megahertz: f64,
    ) -> Self {
        let rows = points.iter().enumerate().map(|(index, point)| {
            let m = &point.measured;
            let checks = choice.checks.get(index).map_or(&[][..], Vec::as_slice);
            PointSummary {
                point: point.plan.index + 1,
                temperature: point.plan.temperature,
                rate: point.rate,
                keep: point.plan.keep,
                bits: point.bits.clone(),
                examples: m.errors.examples,
                errors: m.errors.errors,
                error_percent: m.errors.percent(),
                error_bound_percent: m.errors.bound(choice.confidence),
                test_error_percent: None,
                file_bytes: m.file_bytes,
                arena_bytes: m.arena_bytes,
                weights: m.weights,
                macs: m.macs,
                instructions: m.instructions.required(),
                weights_ram_bytes: m.instructions.required_ram(),
                instructions_from: m.instructions.from,
                milliseconds: point.milliseconds(megahertz),
                unmet: checks.iter().filter(|c| !c.met).map(|c| c.requirement.clone()).collect(),
                promised: choice.promised.get(index).is_some_and(|&stands| stands),
                efficient: is_efficient(points, index),
                chosen: index == choice.point,
            }
        });
        let several = points.windows(2).any(|p| p[0].plan.temperature != p[1].plan.temperature);
        let test = if several { TEST_OF_SWEEPS } else { TEST };
        Self {
            points: rows.collect(),
            chosen: points.get(choice.point).map_or(0, |point| point.plan.index + 1),
            met: choice.is_met(),
            why: choice.why(points, requirements),
            confidence: requirements.confidence,
            confidence_of_each: choice.confidence,
            test: test.to_owned(),
            error_percent_limit: requirements.error_percent,
            flash_bytes_limit: requirements.flash_bytes,
        }
    }
}

impl PointSummary {
    /// What it fails, with the classes of one requirement together.
    pub(crate) fn failures(&self) -> String {
        let mut others = Vec::new();
        let mut classes = Vec::new();
        for name in &self.unmet {
            match name.strip_prefix(CLASS).and_then(|rest| rest.strip_suffix(')')) {
                Some(class) => classes.push(class),
                None => others.push(name.clone()),
            }
        }
        if !classes.is_empty() {
            let several = if classes.len() > 1 { "es" } else { "" };
            others.push(format!("class_error_percent (class{several} {})", classes.join(", ")));
        }
        others.join(", ")
    }
}

impl FrontSummary {
    /// Whether a point's temperature says anything: whether one isn't the job's.
    pub(crate) fn varies_temperature(&self) -> bool {
        self.points.iter().any(|point| point.temperature != as_it_stands())
    }
}

#[cfg(test)]
mod tests {
    use super::super::choose::choose;
    use super::super::point::tests::point;
    use super::*;

    #[test]
    fn classes_that_fail_are_listed_together() {
        let points = [point(0, 20, 3_000)];
        let tight = Requirements {
            class_error_percent: vec![1.0],
            flash_bytes: Some(9),
            ..Requirements::default()
        };
        let choice = choose(&points, &tight, 64.0).unwrap();
        let mut summary = FrontSummary::new(&points, &choice, &tight, 64.0);
        let point = &mut summary.points[0];
        assert_eq!(point.failures(), "flash_bytes, class_error_percent (classes 0, 1)");
        point.unmet.retain(|name| !name.contains('0'));
        assert_eq!(point.failures(), "flash_bytes, class_error_percent (class 1)");
    }

    #[test]
    fn keys_are_stable() {
        let requirements = Requirements { error_percent: Some(3.5), ..Requirements::default() };
        let points = [point(0, 20, 3_000), point(1, 22, 2_000), point(2, 60, 1_000)];
        let choice = choose(&points, &requirements, 64.0).unwrap();
        let summary = FrontSummary::new(&points, &choice, &requirements, 64.0);
        let json = serde_json::to_value(&summary).unwrap();
        for key in ["points", "chosen", "met", "why", "confidence", "test", "error_percent_limit"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        for key in ["point", "errors", "error_bound_percent", "file_bytes", "instructions_from"] {
            assert!(json["points"][0].get(key).is_some(), "{key}");
        }
        assert_eq!(json["chosen"], 2);
        assert_eq!(json["points"][2]["unmet"][0], "error_percent");
        assert_eq!(json["points"][2]["promised"], false);
        assert_eq!(json["points"][0]["milliseconds"], 1.0);
        assert_eq!(json["points"][0]["temperature"], 1.0);
        assert_eq!(json["confidence_of_each"], 0.95);
        let mut old = json.clone();
        old["points"][0].as_object_mut().unwrap().remove("temperature");
        assert_eq!(serde_json::from_value::<FrontSummary>(old).unwrap(), summary);
        assert_eq!(serde_json::from_value::<FrontSummary>(json).unwrap(), summary);
    }
}
