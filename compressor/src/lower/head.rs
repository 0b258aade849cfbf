//! What comes behind the logits.

use bitsback_runtime::Op;
use bitsback_runtime::format::{Shape, Source, Tensor};
use bitsback_runtime::ops::{Argmax, Softmax};

use crate::calibrate::Quantization;

use super::multiplier::multiplier;
use super::{Head, LowerError, Lowering};

/// Softmax's differences have 5 integer bits, so its factor is the scale times 2^(31 − 5).
const SOFTMAX_UNITS: f64 = (1u32 << 26) as f64;

/// Appends the head's operator, if any, and returns the output's scale.
pub(super) fn lower(lowering: &mut Lowering) -> Result<f32, LowerError> {
    let boundary = lowering.shapes.len() - 1;
    let logits = lowering.current;
    match lowering.options.head {
        Head::Logits => Ok(logits.scale),
        Head::Softmax => {
            let mut output = lowering.tensor(boundary, "softmax", logits)?;
            output.zero_point = i8::MIN;
            // Below 1 the format has no factor; above 2³¹ it could not distinguish them.
            let factor = (f64::from(logits.scale) * SOFTMAX_UNITS).clamp(1.0, f64::from(i32::MAX));
            let op = Softmax { input: Source::Previous, output, multiplier: multiplier(factor) };
            let output = Quantization { scale: 1.0 / 256.0, zero_point: i8::MIN };
            lowering.push(Op::Softmax(op), "softmax".to_owned(), None, output);
            Ok(output.scale)
        }
        Head::Argmax => {
            let output = Tensor { offset: 0, shape: Shape::flat(2), zero_point: 0 };
            let op = Argmax { input: Source::Previous, output };
            let output = Quantization { scale: 1.0, zero_point: 0 };
            lowering.push(Op::Argmax(op), "argmax".to_owned(), None, output);
            Ok(output.scale)
        }
    }
}
