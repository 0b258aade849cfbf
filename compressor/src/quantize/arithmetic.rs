//! Real scales and sizes as the runtime's numbers.

use bitsback_runtime::format::{self, Clamp};
use bitsback_runtime::requantize::Multiplier;

use super::QuantizeError;
use crate::calibrate::Quantization;
use crate::graph::{Node, Window};
use crate::lower::multiplier::multiplier;

/// From one scale to another.
pub(super) fn ratio(from: Quantization, to: Quantization) -> Multiplier {
    multiplier(f64::from(from.scale) / f64::from(to.scale))
}

/// An input's scale in fixed point.
pub(super) fn fixed(from: Quantization, integer_bits: i32) -> Multiplier {
    let one = f64::from(1u32 << (31 - integer_bits));
    multiplier((f64::from(from.scale) * one).clamp(1.0, f64::from(i32::MAX)))
}

/// An output's step is at least the accumulator's: a finer one would only shift zeros in, and the
/// multiplier's left shift could leave 32 bits.
pub(super) fn not_finer_than(wanted: Quantization, unit: f64) -> Quantization {
    if f64::from(wanted.scale) >= unit {
        return wanted;
    }
    let below = (f64::from(wanted.zero_point) + 128.0) * f64::from(wanted.scale);
    let zero_point = ((below / unit).round() - 128.0).clamp(-128.0, 127.0) as i8;
    Quantization { scale: unit as f32, zero_point }
}

/// Limits in integers.
pub(super) fn clamp(limits: Option<(f32, f32)>, to: Quantization) -> Clamp {
    match limits {
        None => Clamp::NONE,
        Some((low, high)) => Clamp { min: to.quantize(low), max: to.quantize(high) },
    }
}

pub(super) fn small<P>(
    node: &Node<P>,
    what: &'static str,
    found: usize,
) -> Result<u16, QuantizeError> {
    let node = || node.name.clone();
    u16::try_from(found).map_err(|_| QuantizeError::TooLarge { node: node(), what, found })
}

pub(super) fn runtime_window<P>(
    node: &Node<P>,
    window: Window,
) -> Result<(format::Window, [u16; 2]), QuantizeError> {
    let pair = |what, [a, b]: [usize; 2]| {
        Ok::<_, QuantizeError>([small(node, what, a)?, small(node, what, b)?])
    };
    let Window { size, stride, dilation, padding } = window;
    let place = format::Window {
        size: pair("the window", size)?,
        stride: pair("the stride", stride)?,
        padding: pair("the padding", padding)?,
    };
    Ok((place, pair("the dilation", dilation)?))
}
