//! How activations become int8: ranges watched on *training* inputs, and the input's own map.
//!
//! A tensor is quantised asymmetrically: real = scale·(q − zero point), with zero exactly
//! representable (it is what padding and ReLU mean). The range behind a ReLU starts at 0, so its
//! zero point is −128 and int8's own limit does the ReLU's work.

mod agreement;
mod input;
mod ranges;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use agreement::disagreement;
pub use input::{ByteMap, InputQuantization, RawInput};
pub(crate) use ranges::{BINS, least_squares};
pub use ranges::{Range, ranges};

use crate::lower::LowerError;
use crate::lower::fuse::{Stage, fuse};
use crate::network::FloatNetwork;
use crate::reference::{Reference, ReferenceError};

/// How a range follows from the values seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeMethod {
    /// The range with the least expected squared error: outliers may be cut off.
    #[default]
    LeastSquares,
    /// From the least to the greatest.
    MinMax,
}

/// `[calibration]`: how activations' ranges are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrateConfig {
    /// Training examples that are watched.
    pub examples: usize,
    /// `least-squares` or `min-max`. The network's output always takes `min-max`: cutting off a
    /// logit could change the decision.
    pub method: RangeMethod,
}

impl Default for CalibrateConfig {
    fn default() -> Self {
        Self { examples: 1000, method: RangeMethod::LeastSquares }
    }
}

/// Why calibration failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CalibrateError {
    /// The forward pass failed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The network can't be lowered.
    #[error(transparent)]
    Lower(#[from] Box<LowerError>),
    /// There were no examples.
    #[error("calibration needs at least one example; raise `calibration.examples`")]
    NoExamples,
    /// An activation was infinite or not a number.
    #[error(
        "the activations behind layer {layer} are not finite; training diverged, so lower the \
         learning rate"
    )]
    NotFinite {
        /// Position among the layers, from 0.
        layer: usize,
    },
}

/// How a tensor's integers stand for real numbers: scale·(q − zero point).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Real value of one step.
    pub scale: f32,
    /// The integer that stands for zero.
    pub zero_point: i8,
}

impl Quantization {
    /// Covers `range` and zero with 255 steps.
    pub fn of_range(range: Range) -> Self {
        let (low, high) = (f64::from(range.low.min(0.0)), f64::from(range.high.max(0.0)));
        // A range of nothing is that of a constant zero; any step will do.
        let scale = if high > low { (high - low) / 255.0 } else { 1.0 / 255.0 };
        let scale = (scale as f32).max(f32::MIN_POSITIVE);
        let zero_point = (-128.0 - low / f64::from(scale)).round().clamp(-128.0, 127.0) as i8;
        Self { scale, zero_point }
    }

    /// The nearest integer, ties away from zero, limited to int8.
    pub fn quantize(self, x: f32) -> i8 {
        let steps = (f64::from(x) / f64::from(self.scale)).round();
        (steps + f64::from(self.zero_point)).clamp(-128.0, 127.0) as i8
    }

    /// The real number that an integer stands for.
    pub fn dequantize(self, q: i8) -> f32 {
        self.scale * f32::from(i16::from(q) - i16::from(self.zero_point))
    }
}

/// The quantisation of everything between the layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activations {
    /// The input's.
    pub input: InputQuantization,
    /// One per affine layer: of its output, behind its fused activation. Pooling, selection and
    /// reshaping keep what they get.
    pub layers: Vec<Quantization>,
    /// One per addition: of its sum, behind its fused activation.
    pub sums: Vec<Quantization>,
}

/// Watches the network on `inputs` (normalised training examples, one after the other) and chooses
/// the quantisation of every affine layer's output, and of every sum.
///
/// # Errors
/// When the network is inconsistent, can't be lowered, or gives numbers that aren't finite.
pub fn calibrate(
    network: &FloatNetwork,
    inputs: &[f32],
    input: InputQuantization,
    method: RangeMethod,
) -> Result<Activations, CalibrateError> {
    if inputs.is_empty() {
        return Err(CalibrateError::NoExamples);
    }
    let reference = Reference::new(network)?;
    let stages = fuse(&network.topology).map_err(Box::new)?;
    let ranged: Vec<&Stage> =
        stages.iter().filter(|stage| stage.range_boundary().is_some()).collect();
    let boundaries: Vec<usize> = ranged.iter().filter_map(|s| s.range_boundary()).collect();
    let last = boundaries.last().copied();
    let (mut layers, mut sums) = (Vec::with_capacity(boundaries.len()), Vec::new());
    let ranges = ranges(&reference, inputs, &boundaries, method)?;
    for ((boundary, range), stage) in ranges.into_iter().zip(ranged) {
        let whole = Some(boundary) == last;
        let range = Quantization::of_range(if whole { range.seen() } else { range.chosen() });
        if matches!(stage, Stage::Add(_)) { sums.push(range) } else { layers.push(range) }
    }
    Ok(Activations { input, layers, sums })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Affine, Layer, Shape, Topology};
    use proptest::prelude::*;

    #[test]
    fn a_relu_range_has_its_zero_point_at_the_bottom() {
        let q = Quantization::of_range(Range { low: 0.0, high: 2.55 });
        assert_eq!(q.zero_point, -128);
        assert!((q.scale - 0.01).abs() < 1e-7);
        assert_eq!([q.quantize(-1.0), q.quantize(0.0), q.quantize(2.55)], [-128, -128, 127]);
    }

    #[test]
    fn a_range_of_nothing_still_holds_zero() {
        let q = Quantization::of_range(Range { low: 0.0, high: 0.0 });
        assert_eq!(q.dequantize(q.quantize(0.0)), 0.0);
    }

    fn dense() -> FloatNetwork {
        FloatNetwork {
            topology: Topology {
                input: Shape::Flat(1),
                layers: vec![
                    Layer::Dense { inputs: 1, outputs: 1 },
                    Layer::Relu,
                    Layer::Dense { inputs: 1, outputs: 1 },
                ],
            },
            affine: vec![Affine { weight: vec![2.0], bias: vec![0.0] }; 2],
            norms: Vec::new(),
        }
    }

    #[test]
    fn ranges_are_taken_behind_the_fused_activation() {
        let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
        let inputs = [-1.0, -0.5, 0.5, 1.0];
        let got = calibrate(&dense(), &inputs, input.clone(), RangeMethod::MinMax).unwrap();
        assert_eq!(got.layers[0], Quantization::of_range(Range { low: 0.0, high: 2.0 }));
        assert_eq!(got.layers[1], Quantization::of_range(Range { low: 0.0, high: 4.0 }));
        let none = calibrate(&dense(), &[], input.clone(), RangeMethod::MinMax);
        assert_eq!(none, Err(CalibrateError::NoExamples));
        let broken = calibrate(&dense(), &[f32::NAN], input, RangeMethod::MinMax);
        assert_eq!(broken, Err(CalibrateError::NotFinite { layer: 1 }));
    }

    proptest! {
        #[test]
        fn values_in_range_come_back_within_a_step(low in -50f32..0.0, high in 0f32..50.0, at in 0f32..=1.0) {
            prop_assume!(high - low > 1e-3);
            let q = Quantization::of_range(Range { low, high });
            prop_assert_eq!(q.dequantize(q.quantize(0.0)), 0.0);
            let x = low + at * (high - low);
            prop_assert!((q.dequantize(q.quantize(x)) - x).abs() <= q.scale * 1.01);
        }
    }
}
