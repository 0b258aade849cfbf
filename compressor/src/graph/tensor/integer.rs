//! What operators on integers share in training.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::requantize;

use burn::tensor::Tensor;

use super::{Convolution, constant, values};
use crate::graph::{IntegerValue, Matrix, Window};
use crate::numbers::Quantization;

/// One layer's integers as parameters that gather gradients.
pub struct IntegerTensors {
    /// Outputs × (kernel × inputs).
    pub weight: Tensor<2>,
    /// One per output, in units of the accumulator.
    pub bias: Tensor<1>,
}

/// A node's values.
#[derive(Debug)]
pub struct IntegerSite<'g> {
    /// What it reads.
    pub inputs: Vec<&'g IntegerValue>,
    /// What it writes.
    pub output: &'g IntegerValue,
}

impl IntegerSite<'_> {
    /// What an operand's integers stand for.
    pub fn from(&self, operand: usize) -> Quantization {
        self.inputs.get(operand).copied().unwrap_or(self.output).quantization
    }

    /// What the output's integers stand for.
    pub fn to(&self) -> Quantization {
        self.output.quantization
    }

    /// Rows and columns of the image that is written.
    pub fn rows_and_columns(&self) -> [usize; 2] {
        match *self.output.dims.as_slice() {
            [.., height, width, _] => [height, width],
            [width, _] => [1, width],
            _ => [1, 1],
        }
    }

    /// A convolution that moves `window` over the first operand.
    pub fn convolution(&self, window: Window, depthwise: bool) -> Convolution {
        let channels = |value: &IntegerValue| value.dims.last().copied().unwrap_or(1);
        let from = self.inputs.first().copied().unwrap_or(self.output);
        let (channels, filters) = (channels(from), channels(self.output));
        Convolution { channels, filters, depthwise, window, output: self.rows_and_columns() }
    }
}

/// A layer's integers.
pub struct IntegerLayer<'a> {
    /// As lowering made them.
    pub matrix: &'a Matrix,
    /// As burn has them.
    pub tensors: &'a IntegerTensors,
    /// Steps of the output per step of each row's accumulator.
    pub factors: Vec<f64>,
}

impl IntegerLayer<'_> {
    /// Accumulators to outputs: the runtime's rounding, and a straight line's gradient within the clamp.
    pub fn requantized<const D: usize>(&self, sums: Tensor<D>, to: Quantization) -> Tensor<D> {
        let (clamp, zero_point) = (self.matrix.clamp, to.zero_point);
        let multipliers = &self.matrix.multipliers;
        let last = multipliers.last().copied().unwrap_or_default();
        let rows: Vec<_> = (0..self.matrix.rows.max(1))
            .map(|row| {
                let factor = self.factors.get(row).copied().unwrap_or(0.0);
                (multipliers.get(row).copied().unwrap_or(last), factor as f32)
            })
            .collect();
        straight_through(sums, &rows, |&(multiplier, factor), acc| {
            let q = requantize(nearest(acc), multiplier, zero_point);
            let slope = if holds(clamp, q) { 0.0 } else { factor };
            (f32::from(clamp.apply(q)) - f32::from(zero_point), slope)
        })
    }
}

/// The nearest integer, ties away from zero, saturating.
///
/// As [`f32::round`], but without a call on machines of old: a half less one bit is added, so that what lies just
/// below a tie doesn't get there by the sum's own rounding, and the conversion cuts off.
fn nearest(x: f32) -> i32 {
    (x + 0.499_999_97_f32.copysign(x)) as i32
}

/// Whether a clamp changes an integer.
pub(crate) fn holds(clamp: Clamp, q: i32) -> bool {
    !(i32::from(clamp.min)..=i32::from(clamp.max)).contains(&q)
}

/// A clamp about the zero point.
pub(crate) fn centred(clamp: Clamp, of: Quantization) -> [f32; 2] {
    [clamp.min, clamp.max].map(|end| f32::from(end) - f32::from(of.zero_point))
}

/// `f` of every value and its channel, of which the last dimension has one each or all the same one, where `f` gives
/// the result and the slope to use for the gradient.
pub(crate) fn straight_through<const D: usize, C>(
    x: Tensor<D>,
    channels: &[C],
    f: impl Fn(&C, f32) -> (f32, f32),
) -> Tensor<D> {
    let (shape, device) = (x.dims(), x.device());
    let mut results = numbers(&x);
    if !device.is_autodiff() {
        for chunk in results.chunks_mut(channels.len().max(1)) {
            for (value, channel) in chunk.iter_mut().zip(channels) {
                *value = f(channel, *value).0;
            }
        }
        return constant(results, shape, &device);
    }
    let mut slopes = vec![0.0; results.len()];
    let size = channels.len().max(1);
    for (values, slopes) in results.chunks_mut(size).zip(slopes.chunks_mut(size)) {
        for ((value, slope), channel) in values.iter_mut().zip(slopes).zip(channels) {
            let (y, line) = f(channel, *value);
            (*value, *slope) = (y - *value * line, line);
        }
    }
    x * constant(slopes, shape, &device) + constant(results, shape, &device)
}

/// `exact` values with the gradient of `lines`.
pub(crate) fn with_gradient_of<const D: usize>(lines: Tensor<D>, exact: Tensor<D>) -> Tensor<D> {
    if !lines.device().is_autodiff() {
        return exact;
    }
    let at = Tensor::from_inner(lines.clone().inner());
    // Zero plus the exact values, so that rounding of the lines doesn't stay in them.
    (lines - at) + exact
}

/// One number per channel, or one, repeated to `len`.
pub(crate) fn widened(x: Tensor<2>, len: usize) -> Tensor<2> {
    let [batch, channels] = x.dims();
    if channels == len {
        return x;
    }
    let repeats = len / channels.max(1);
    x.reshape([batch, 1, channels]).repeat_dim(1, repeats).reshape([batch, len])
}

/// The numbers of a tensor, whether it gathers a gradient or not.
pub(crate) fn numbers<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    values(if x.device().is_autodiff() { x.clone().inner() } else { x.clone() })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn nearest_is_round_of_every_number() {
        // Every 1,009th bit pattern, and all about the halves of 1 to 1,000.
        let all = (0..=u32::MAX).step_by(1_009).map(f32::from_bits);
        let ties = (0..1_000u16).flat_map(|n| {
            let tie = f32::from(n) + 0.5;
            [tie.next_down(), tie, tie.next_up()].into_iter().flat_map(|x| [x, -x])
        });
        let edges = [0.0, -0.0, 8_388_607.5, 8_388_608.0, 16_777_215.0, 2_147_483_648.0, f32::NAN];
        for x in all.chain(ties).chain(edges) {
            assert_eq!(nearest(x), x.round() as i32, "{x:?}");
        }
    }

    #[test]
    fn every_channel_has_its_own_line() {
        let lines = [(2.0, 1.0), (0.0, -3.0), (0.5, 0.0)];
        let of = |&(slope, offset): &(f32, f32), v: f32| (slope * v + offset, slope);
        let x = vec![1.0, 2.0, 3.0, -1.0, -2.0, -3.0];
        for device in [Device::default(), Device::default().autodiff()] {
            let y = straight_through(constant(x.clone(), [2, 3], &device), &lines, of);
            assert_eq!(numbers(&y), [3.0, -3.0, 1.5, -1.0, -3.0, -1.5]);
        }
        let device = Device::default().autodiff();
        let leaf = constant(x, [2, 3], &device).require_grad();
        let grads = straight_through(leaf.clone(), &lines, of).sum().backward();
        assert_eq!(super::super::gradient(&leaf, &grads), [2.0, 0.0, 0.5, 2.0, 0.0, 0.5]);
    }
}
