//! What a model's outputs mean: scores of classes, one of two classes, or numbers.
//!
//! A file doesn't say. With several outputs the largest is the class, unless data say what numbers
//! there should be. A single output is a class only if something says so: a sigmoid that it comes
//! from, two names, or labels that are all 0 or 1; else it is a number.

use bitsback_runtime::{Model, OpKind};
use serde::Serialize;

use crate::graph::ops::Clip;
use crate::graph::{Affine, Graph, Op};
use crate::verify::classes_of;

/// What outputs mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The largest output is the class
    #[default]
    Classes,
    /// One output: the second of two classes above a threshold, the first below
    Binary,
    /// The outputs are numbers, such as those of a regression or of an autoencoder
    Regression,
}

/// How a model ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// Numbers that it answers with; none where it gives a class alone.
    pub outputs: Option<usize>,
    /// Whether the last operator is a sigmoid.
    pub sigmoid: bool,
    /// Whether outputs are probabilities: behind a sigmoid or limits, or by the range that integers
    /// stand for, within 0 to 1; a step above is rounding.
    pub unit: bool,
}

/// The scale of TensorFlow Lite's sigmoids: 256 steps from 0 to 1.
const SIGMOID_SCALE: f32 = 1.0 / 256.0;

impl Ending {
    /// Of a model of integers.
    pub fn of_model(model: &Model<'_>) -> Self {
        let (scale, zero) = (model.meta().output_scale, model.output().zero_point);
        let kind = model.last_kind();
        Self {
            outputs: (kind != OpKind::Argmax).then(|| model.output().len()),
            sigmoid: kind == OpKind::Logistic || (scale == SIGMOID_SCALE && zero == i8::MIN),
            unit: kind == OpKind::Logistic || within_unit(scale, zero),
        }
    }

    /// Of a graph of floats.
    pub fn of_graph(graph: &Graph<Affine>) -> Self {
        let mut value = graph.output;
        let writer = |value| graph.nodes.iter().find(|node| node.output == value);
        while let Some(node) = writer(value).filter(|node| matches!(node.op, Op::Reshape(_))) {
            value = node.inputs[0];
        }
        let op = writer(value).map(|node| &node.op);
        let (sigmoid, unit) = match op {
            Some(Op::Logistic(_)) => (true, true),
            Some(Op::Clip(clip)) => {
                (*clip == Clip { low: 0.0, high: 1.0 }, clip.low >= 0.0 && clip.high <= 1.0)
            }
            _ => (false, false),
        };
        Self { outputs: Some(graph.values[graph.output].len()), sigmoid, unit }
    }

    /// Of a graph of floats beside a model of integers: only these have a range, and one threshold has
    /// to hold for both.
    pub fn with_integers(self, integers: Self) -> Self {
        Self {
            outputs: self.outputs.or(integers.outputs),
            sigmoid: self.sigmoid || integers.sigmoid,
            unit: integers.unit,
        }
    }

    /// Of two models of integers, or two of floats, that are held against one another: what is a
    /// probability only by its range has to be one in both.
    pub fn of_both(self, other: Self) -> Self {
        let sigmoid = self.sigmoid || other.sigmoid;
        Self { unit: sigmoid || self.unit && other.unit, ..self.with_integers(other) }
    }

    /// Above which output the second of two classes is meant: a half of probabilities, 0 of logits.
    pub fn threshold(&self) -> f64 {
        if self.unit { 0.5 } else { 0.0 }
    }

    /// The classes of outputs, example after example; none where they are numbers.
    pub fn classes(&self, task: Task, outputs: &[f32]) -> Vec<u32> {
        match task {
            Task::Classes => classes_of(outputs, self.outputs.unwrap_or(1)),
            Task::Binary => {
                let above = |&output: &f32| u32::from(f64::from(output) > self.threshold());
                outputs.iter().map(above).collect()
            }
            Task::Regression => Vec::new(),
        }
    }
}

/// Whether all that integers stand for is within 0 to 1, or at most a step above.
fn within_unit(scale: f32, zero_point: i8) -> bool {
    let highest = f64::from(scale) * (f64::from(i8::MAX) - f64::from(zero_point));
    zero_point == i8::MIN && highest <= 1.0 + f64::from(scale)
}

/// How far numbers are from what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Deviation {
    /// Mean of the distances.
    pub mean_absolute_error: f64,
    /// Root of the mean of their squares.
    pub root_mean_squared_error: f64,
    /// 1 − squares of the distances / squares of the targets' distances from their means; none
    /// where the targets are all the same.
    pub r_squared: Option<f64>,
}

impl Deviation {
    /// Of outputs from targets, both `width` numbers an example.
    pub fn of(outputs: &[f32], targets: &[f32], width: usize) -> Self {
        let distances = || outputs.iter().zip(targets).map(|(&a, &b)| f64::from(a) - f64::from(b));
        let count = outputs.len().min(targets.len()).max(1) as f64;
        let squares: f64 = distances().map(|distance| distance * distance).sum();
        let rows = || targets.chunks_exact(width.max(1));
        let mut means = vec![0.0; width.max(1)];
        for row in rows() {
            for (mean, &target) in means.iter_mut().zip(row) {
                *mean += f64::from(target) / rows().len() as f64;
            }
        }
        let around = |row: &[f32]| -> f64 {
            row.iter().zip(&means).map(|(&x, mean)| (f64::from(x) - mean).powi(2)).sum()
        };
        let spread: f64 = rows().map(around).sum();
        Self {
            mean_absolute_error: distances().map(f64::abs).sum::<f64>() / count,
            root_mean_squared_error: (squares / count).sqrt(),
            r_squared: (spread > 0.0).then(|| 1.0 - squares / spread),
        }
    }
}

/// How far the outputs of two models are apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// The largest distance, in real units.
    pub largest: f64,
    /// The mean distance.
    pub mean: f64,
    /// Signal to noise in decibels, the first's outputs being the signal; none where they are equal.
    pub signal_to_noise_db: Option<f64>,
}

impl Distance {
    /// Between outputs of the same number.
    pub fn between(a: &[f32], b: &[f32]) -> Self {
        let (mut largest, mut sum, mut signal, mut noise) = (0f64, 0.0, 0.0, 0.0);
        for (&a, &b) in a.iter().zip(b) {
            let distance = (f64::from(a) - f64::from(b)).abs();
            largest = largest.max(distance);
            sum += distance;
            signal += f64::from(a).powi(2);
            noise += distance.powi(2);
        }
        let decibels = 10.0 * (signal / noise).log10();
        let mean = sum / a.len().max(1) as f64;
        Self { largest, mean, signal_to_noise_db: decibels.is_finite().then_some(decibels) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{Quantization, Range};

    #[test]
    fn one_output_is_a_class_by_its_threshold() {
        let logits = Ending { outputs: Some(1), sigmoid: false, unit: false };
        assert_eq!(logits.classes(Task::Binary, &[-0.1, 0.0, 0.1]), [0, 0, 1]);
        let sigmoid = Ending { sigmoid: true, unit: true, ..logits };
        assert_eq!(sigmoid.classes(Task::Binary, &[0.4, 0.5, 0.6]), [0, 0, 1]);
        assert_eq!(sigmoid.classes(Task::Regression, &[0.4]), [0u32; 0]);
        let two = Ending { outputs: Some(2), ..logits };
        assert_eq!(two.classes(Task::Classes, &[0.1, 0.3, 2.0, 1.0]), [1, 0]);
    }

    #[test]
    fn probabilities_are_known_by_their_range() {
        let of_range = |low: f32, high: f32| {
            let output = Quantization::of_range(Range { low, high });
            within_unit(output.scale, output.zero_point)
        };
        assert!(within_unit(SIGMOID_SCALE, i8::MIN));
        // 1 − sigmoid, 0.98 · sigmoid + 0.01, and what is rounded up.
        for (low, high) in [(0.02, 0.97), (0.01, 0.99), (0.0, 1.0), (0.3, 1.003)] {
            assert!(of_range(low, high), "{low} to {high}");
        }
        // Logits, also of examples of one class only; the hyperbolic tangent.
        for (low, high) in [(-3.0, 4.0), (0.0, 8.0), (0.0, 1.1), (-1.0, 1.0), (-0.9, 0.0)] {
            assert!(!of_range(low, high), "{low} to {high}");
        }
    }

    #[test]
    fn one_threshold_holds_for_both_models() {
        let ending = |sigmoid, unit| Ending { outputs: Some(1), sigmoid, unit };
        let (logits, range, sigmoid) =
            (ending(false, false), ending(false, true), ending(true, true));
        // Floats don't tell their range.
        assert_eq!(logits.with_integers(range).threshold(), 0.5);
        assert_eq!(logits.with_integers(logits).threshold(), 0.0);
        assert_eq!(sigmoid.with_integers(sigmoid).threshold(), 0.5);
        // Another calibration may have seen more.
        assert_eq!(range.of_both(logits).threshold(), 0.0);
        assert_eq!(logits.of_both(range).threshold(), 0.0);
        assert_eq!(range.of_both(range).threshold(), 0.5);
        assert_eq!(range.of_both(sigmoid).threshold(), 0.5);
    }

    #[test]
    fn deviations_by_hand() {
        let found = Deviation::of(&[1.0, 2.0, 5.0], &[1.0, 4.0, 4.0], 1);
        assert!((found.mean_absolute_error - 1.0).abs() < 1e-12);
        assert!((found.root_mean_squared_error - (5f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((found.r_squared.unwrap() - (1.0 - 5.0 / 6.0)).abs() < 1e-12);
        // Each output has a mean of its own: these targets don't vary.
        assert_eq!(Deviation::of(&[0.0; 4], &[1.0, 9.0, 1.0, 9.0], 2).r_squared, None);
    }

    #[test]
    fn distances_by_hand() {
        let apart = Distance::between(&[3.0, 4.0], &[3.0, 4.5]);
        assert_eq!((apart.largest, apart.mean), (0.5, 0.25));
        assert!((apart.signal_to_noise_db.unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(Distance::between(&[1.0], &[1.0]).signal_to_noise_db, None);
    }
}
