//! The border between plain vectors and burn's tensors.

mod geometry;
pub mod integer;
mod pass;
pub mod primitive;

use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Gradients, Int, TensorData, module};

use geometry::{Geometry, im2col, max_window};

pub use burn::tensor::{Tensor, activation};
pub use pass::{Inputs, Layers, Parameterless, Pass};

use super::{Site, Window};
use crate::numbers::Shape;

/// A leaf of the graph; on an autodiff device it gathers a gradient.
pub fn leaf<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    let tensor = constant(values, shape, device);
    if device.is_autodiff() { tensor.require_grad() } else { tensor }
}

/// A tensor that gathers no gradient.
pub fn constant<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The values of a tensor in row-major order.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Every tensor of this crate is made of `f32`, the only way for the conversion to fail.
    tensor.into_data().try_into_vec().unwrap_or_default()
}

/// The gradient of a leaf; zeros where the loss does not depend on it.
pub fn gradient<const D: usize>(leaf: &Tensor<D>, grads: &Gradients) -> Vec<f32> {
    match leaf.grad(grads) {
        Some(g) => values(g),
        None => vec![0.0; leaf.dims().iter().product()],
    }
}

/// A leaf of the graph with the values of `tensor`, which has none; the memory is shared.
pub fn leaf_of<const D: usize>(tensor: &Tensor<D>, device: &Device) -> Tensor<D> {
    let tensor = tensor.clone();
    if device.is_autodiff() { Tensor::from_inner(tensor).require_grad() } else { tensor }
}

/// As [`gradient`], and `grads` no longer has it: nothing is copied.
pub fn taken_gradient<const D: usize>(leaf: &Tensor<D>, grads: &mut Gradients) -> Vec<f32> {
    match leaf.grad_remove(grads) {
        Some(g) => values(g),
        None => vec![0.0; leaf.dims().iter().product()],
    }
}

/// Activations of a batch.
#[derive(Clone, Debug)]
pub enum Value {
    /// `[batch, features]`
    Flat(Tensor<2>),
    /// `[batch, height, width, channels]`, as the device has it.
    Image(Tensor<4>),
}

impl Value {
    /// A batch of row-major examples (images as height × width × channels).
    pub fn from_examples(examples: Vec<f32>, shape: Shape, device: &Device) -> Self {
        let batch = examples.len() / shape.len().max(1);
        match shape {
            Shape::Flat(n) => Self::Flat(constant(examples, [batch, n], device)),
            Shape::Image { height, width, channels } => {
                Self::Image(constant(examples, [batch, height, width, channels], device))
            }
        }
    }

    /// As `[batch, features]`, images height-major with channels fastest.
    pub fn flat(self) -> Tensor<2> {
        match self {
            Self::Flat(x) => x,
            Self::Image(x) => {
                let [batch, h, w, c] = x.dims();
                x.reshape([batch, h * w * c])
            }
        }
    }

    /// As `[batch, height, width, channels]`; features become channels of a 1 × 1 image.
    pub fn image(self) -> Tensor<4> {
        match self {
            Self::Image(x) => x,
            Self::Flat(x) => {
                let [batch, n] = x.dims();
                x.reshape([batch, 1, 1, n])
            }
        }
    }

    /// Rows of values as a graph's value of the dimensions `dims`.
    pub fn of_rows(x: Tensor<2>, dims: &[usize]) -> Self {
        match Shape::of(dims) {
            Shape::Flat(_) => Self::Flat(x),
            Shape::Image { height, width, channels } => {
                let [batch, _] = x.dims();
                Self::Image(x.reshape([batch, height, width, channels]))
            }
        }
    }

    /// The same numbers for every example of a batch.
    pub fn repeated(numbers: &[f32], dims: &[usize], batch: usize, device: &Device) -> Self {
        let rows = constant(numbers.repeat(batch), [batch, numbers.len()], device);
        Self::of_rows(rows, dims)
    }

    /// Applies an elementwise function.
    pub fn map(self, elementwise: &impl Elementwise) -> Self {
        match self {
            Self::Flat(x) => Self::Flat(elementwise.on(x)),
            Self::Image(x) => Self::Image(elementwise.on(x)),
        }
    }

    /// Applies a function of two values; the second may have one number per channel, or one.
    pub fn join(self, other: Self, pairwise: &impl Pairwise) -> Self {
        let (len, other_len) = (self.features(), other.features());
        match (self, other) {
            (Self::Image(x), Self::Image(y)) if len == other_len => Self::Image(pairwise.on(x, y)),
            (Self::Image(x), y) => {
                let [_, height, width, channels] = x.dims();
                let dims = if len == other_len {
                    [y.batch(), height, width, channels]
                } else {
                    [y.batch(), 1, 1, other_len]
                };
                Self::Image(pairwise.on(x, y.flat().reshape(dims)))
            }
            (x, y) => Self::Flat(pairwise.on(x.flat(), y.flat())),
        }
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match self {
            Self::Flat(x) => x.device(),
            Self::Image(x) => x.device(),
        }
    }

    /// Number of examples.
    pub fn batch(&self) -> usize {
        match self {
            Self::Flat(x) => x.dims()[0],
            Self::Image(x) => x.dims()[0],
        }
    }

    /// Values per example.
    pub fn features(&self) -> usize {
        match self {
            Self::Flat(x) => x.dims()[1],
            Self::Image(x) => x.dims().iter().skip(1).product(),
        }
    }

    /// Multiplies the last axis (channels or features) by `factors`.
    pub fn scale_channels(self, factors: Vec<f32>) -> Self {
        let n = factors.len();
        match self {
            Self::Flat(x) => {
                let f = constant(factors, [1, n], &x.device());
                Self::Flat(x * f)
            }
            Self::Image(x) => {
                let f = constant(factors, [1, 1, 1, n], &x.device());
                Self::Image(x * f)
            }
        }
    }

    /// Keeps the listed features, in any order.
    pub fn select(self, keep: &[u32]) -> Self {
        Self::Flat(columns(self.flat(), keep.iter().map(|&column| i64::from(column)).collect()))
    }
}

/// The listed columns of a matrix.
pub fn columns(x: Tensor<2>, indices: Vec<i64>) -> Tensor<2> {
    let n = indices.len();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [n]), &x.device());
    x.select(1, indices)
}

/// A function applied to each element, whatever the rank.
pub trait Elementwise {
    /// Applies it.
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D>;
}

/// A function of two tensors, element by element, whatever the rank; dimensions of 1 are repeated.
pub trait Pairwise {
    /// Applies it.
    fn on<const D: usize>(&self, x: Tensor<D>, y: Tensor<D>) -> Tensor<D>;
}

/// What burn needs to know of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub filters: usize,
    /// Whether each filter sees one channel alone; then there are as many for each.
    pub depthwise: bool,
    /// Kernel, stride, dilation and padding.
    pub window: Window,
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

impl Convolution {
    /// Of a node that moves `window` over its operand.
    pub fn new(window: Window, site: &Site<'_>, depthwise: bool) -> Self {
        let (channels, filters) = (site.input().channels(), site.output.channels());
        Self { channels, filters, depthwise, window, output: rows_and_columns(site) }
    }

    /// Filters and values of one filter, as weights are stored.
    pub fn weight_shape(&self) -> [usize; 2] {
        let seen = if self.depthwise { 1 } else { self.channels };
        [self.filters, self.window.taps() * seen]
    }

    /// The windows of `x` (`[batch, height, width, channels]`) as rows, and the dimensions of the
    /// output that their product with the weights is reshaped to.
    pub fn windows(&self, x: Tensor<4>) -> (Tensor<2>, [usize; 4]) {
        let dims = x.dims();
        let [height, width] = self.output;
        let geometry = Geometry::new(dims, self.window, self.output);
        (im2col(x, geometry), [dims[0], height, width, self.filters])
    }

    /// Cross-correlation of `x` (`[batch, height, width, channels]`) with `weight` as stored.
    pub fn apply(&self, x: Tensor<4>, weight: &Tensor<2>, bias: &Tensor<1>) -> Tensor<4> {
        let (windows, dims) = self.windows(x);
        let h = self.product(windows, weight) + bias.clone().unsqueeze();
        h.reshape(dims)
    }

    /// Windows times weights as stored: `[positions, filters]`.
    pub fn product(&self, windows: Tensor<2>, weight: &Tensor<2>) -> Tensor<2> {
        if !self.depthwise {
            return windows.matmul(weight.clone().transpose());
        }
        let (positions, taps) = (windows.dims()[0], self.window.taps());
        let mut windows = windows.reshape([positions, taps, self.channels]);
        if self.filters != self.channels {
            let each = self.filters / self.channels.max(1);
            let wide = windows.reshape([positions, taps, self.channels, 1]);
            windows = wide.repeat_dim(3, each).reshape([positions, taps, self.filters]);
        }
        let weight = weight.clone().transpose().reshape([1, taps, self.filters]);
        (windows * weight).sum_dim(1).reshape([positions, self.filters])
    }
}

/// Height and width of the image that a node writes.
pub fn rows_and_columns(site: &Site<'_>) -> [usize; 2] {
    let [height, width, _] = site.output.image().unwrap_or([1, 1, 1]);
    [height, width]
}

/// Largest value of each window.
pub fn max_pool(x: Tensor<4>, window: Window, output: [usize; 2]) -> Tensor<4> {
    let geometry = Geometry::new(x.dims(), window, output);
    max_window(x, geometry)
}

/// Mean of each window, padding not counted.
pub fn avg_pool(x: Tensor<4>, window: Window, output: [usize; 2]) -> Tensor<4> {
    let Window { size, stride, dilation, padding } = window;
    let [_, height, width, _] = x.dims();
    if dilation != [1; 2] {
        return mean_of_taps(x, window, output);
    }
    let reach = |axis: usize| output[axis].saturating_sub(1) * stride[axis] + size[axis];
    let pair = |axis: usize, input: usize| {
        (padding[axis], reach(axis).saturating_sub(input + padding[axis]))
    };
    let options = AvgPoolOptions::new(size)
        .with_stride(stride)
        .with_padding_pairs([pair(0, height), pair(1, width)])
        .with_count_include_pad(false);
    // burn pools with channels second.
    module::avg_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}

/// As [`avg_pool`] where taps lie apart, which burn's pooling doesn't know.
fn mean_of_taps(x: Tensor<4>, window: Window, output: [usize; 2]) -> Tensor<4> {
    let [batch, height, width, channels] = x.dims();
    let device = x.device();
    let sums = |x: Tensor<4>| -> Tensor<3> {
        let [batch, _, _, channels] = x.dims();
        let windows = im2col(x.clone(), Geometry::new(x.dims(), window, output));
        let positions = batch * output[0] * output[1];
        windows.reshape([positions, window.taps(), channels]).sum_dim(1)
    };
    let inside = constant(vec![1.0; height * width], [1, height, width, 1], &device);
    let counts = sums(inside).repeat_dim(0, batch);
    (sums(x) / counts.clamp_min(1.0)).reshape([batch, output[0], output[1], channels])
}
