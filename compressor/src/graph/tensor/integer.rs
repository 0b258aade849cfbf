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
        let zero_point = to.zero_point;
        let multipliers = &self.matrix.multipliers;
        let rows = self.matrix.rows.max(1);
        let clamp = self.matrix.clamp;
        let last = multipliers.last().copied().unwrap_or_default();
        straight_through(sums, |index, acc| {
            let multiplier = multipliers.get(index % rows).copied().unwrap_or(last);
            let q = requantize(acc.round() as i32, multiplier, zero_point);
            let factor = self.factors.get(index % rows).copied().unwrap_or(0.0);
            let slope = if holds(clamp, q) { 0.0 } else { factor as f32 };
            (f32::from(clamp.apply(q)) - f32::from(zero_point), slope)
        })
    }
}

/// Whether a clamp changes an integer.
pub(crate) fn holds(clamp: Clamp, q: i32) -> bool {
    !(i32::from(clamp.min)..=i32::from(clamp.max)).contains(&q)
}

/// A clamp about the zero point.
pub(crate) fn centred(clamp: Clamp, of: Quantization) -> [f32; 2] {
    [clamp.min, clamp.max].map(|end| f32::from(end) - f32::from(of.zero_point))
}

/// `f` of every value and its place, where `f` gives the result and the slope to use for the gradient.
pub(crate) fn straight_through<const D: usize>(
    x: Tensor<D>,
    f: impl Fn(usize, f32) -> (f32, f32),
) -> Tensor<D> {
    let (shape, device) = (x.dims(), x.device());
    if !device.is_autodiff() {
        let y = values(x).into_iter().enumerate().map(|(index, v)| f(index, v).0).collect();
        return constant(y, shape, &device);
    }
    let at = values(x.clone().inner());
    let (slopes, offsets): (Vec<f32>, Vec<f32>) = at
        .into_iter()
        .enumerate()
        .map(|(index, v)| {
            let (y, slope) = f(index, v);
            (slope, y - v * slope)
        })
        .unzip();
    x * constant(slopes, shape, &device) + constant(offsets, shape, &device)
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
