//! The border between plain vectors and burn's tensors.

use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData, module};

use super::window::{Window, im2col, max_window};
use crate::network::{Padding, Shape};

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

    /// Applies an elementwise function.
    pub fn map(self, elementwise: impl Elementwise) -> Self {
        match self {
            Self::Flat(x) => Self::Flat(elementwise.apply(x)),
            Self::Image(x) => Self::Image(elementwise.apply(x)),
        }
    }

    /// Adds a value of the same shape.
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Image(x), Self::Image(y)) => Self::Image(x + y),
            (x, y) => Self::Flat(x.flat() + y.flat()),
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

    /// The part of each image that begins at `before`.
    ///
    /// # Shapes
    /// out: `[batch, size[0], size[1], channels]`
    pub fn crop(self, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> Self {
        let x = self.image();
        let [batch, _, _, channels] = x.dims();
        let part = [0..batch, top..top + height, left..left + width, 0..channels];
        Self::Image(x.slice(part))
    }

    /// Keeps the listed features.
    pub fn select(self, keep: &[u32]) -> Self {
        let x = self.flat();
        let indices: Vec<i64> = keep.iter().map(|i| i64::from(*i)).collect();
        let n = indices.len();
        let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [n]), &x.device());
        Self::Flat(x.select(1, indices))
    }
}

/// A function applied to each element, whatever the rank.
pub trait Elementwise {
    /// Applies it.
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D>;
}

/// max(x, 0).
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Elementwise for Relu {
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        burn::tensor::activation::relu(x)
    }
}

/// min(max(x, 0), 6).
#[derive(Clone, Copy, Debug)]
pub struct Relu6;

impl Elementwise for Relu6 {
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.clamp(0.0, 6.0)
    }
}

/// What burn needs to know of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Input channels.
    pub channels: usize,
    /// Output channels.
    pub filters: usize,
    /// Whether each filter sees its own channel alone; then there are as many of both.
    pub depthwise: bool,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Border rule.
    pub padding: Padding,
}

impl Convolution {
    /// Filters and values of one filter, as weights are stored.
    pub fn weight_shape(&self) -> [usize; 2] {
        let seen = if self.depthwise { 1 } else { self.channels };
        [self.filters, self.kernel[0] * self.kernel[1] * seen]
    }

    /// The windows of `x` (`[batch, height, width, channels]`) as rows, and the dimensions of the
    /// output that their product with the weights is reshaped to.
    pub fn windows(&self, x: Tensor<4>) -> (Tensor<2>, [usize; 4]) {
        let dims = x.dims();
        let window = Window::new(dims, self.kernel, self.stride, self.padding);
        let [height, width] = window.output();
        (im2col(x, window), [dims[0], height, width, self.filters])
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
        let (positions, taps) = (windows.dims()[0], self.kernel[0] * self.kernel[1]);
        let windows = windows.reshape([positions, taps, self.channels]);
        let weight = weight.clone().transpose().reshape([1, taps, self.channels]);
        (windows * weight).sum_dim(1).reshape([positions, self.channels])
    }
}

/// Largest value of each window.
pub fn max_pool(x: Tensor<4>, size: [usize; 2], stride: [usize; 2], padding: Padding) -> Tensor<4> {
    let window = Window::new(x.dims(), size, stride, padding);
    max_window(x, window)
}

/// Mean of each window, padding not counted.
pub fn avg_pool(x: Tensor<4>, size: [usize; 2], stride: [usize; 2], padding: Padding) -> Tensor<4> {
    let [_, height, width, _] = x.dims();
    let pad = padding_pairs([height, width], size, stride, padding);
    let options = AvgPoolOptions::new(size)
        .with_stride(stride)
        .with_padding_pairs(pad)
        .with_count_include_pad(false);
    // burn pools with channels second.
    module::avg_pool2d(x.permute([0, 3, 1, 2]), options).permute([0, 2, 3, 1])
}

/// Rows and columns added before and after.
fn padding_pairs(
    input: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
) -> [(usize, usize); 2] {
    let pair = |i: usize| match padding {
        Padding::Valid => (0, 0),
        Padding::Around => (kernel[i] / 2, kernel[i] / 2),
        Padding::Same => {
            let out = input[i].div_ceil(stride[i].max(1));
            let span = (out.saturating_sub(1)) * stride[i] + kernel[i];
            let total = span.saturating_sub(input[i]);
            (total / 2, total - total / 2)
        }
    };
    [pair(0), pair(1)]
}
