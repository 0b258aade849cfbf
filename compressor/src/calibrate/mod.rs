//! How activations become int8: ranges watched on *training* inputs, and the input's own map.
//!
//! A tensor is quantised asymmetrically: real = scale·(q − zero point), with zero exactly
//! representable (it is what padding and ReLU mean). The range behind a ReLU starts at 0, so its
//! zero point is −128 and int8's own limit does the ReLU's work.

mod ranges;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::compile::{ByteMap, InputQuantization, RawInput, disagreement};
pub use ranges::ranges;

pub(crate) use crate::numbers::{BINS, least_squares};
pub use crate::numbers::{Quantization, Range};

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
}
