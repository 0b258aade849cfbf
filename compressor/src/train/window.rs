//! Sliding windows, as differentiable operations below burn's tensors.
//!
//! A convolution is a product of a matrix of windows with the weights. With channels as the
//! fastest index a window's rows are contiguous runs, so gathering them is a few block copies, and
//! the product is burn's own matrix multiplication, forward and backward; so is the weights' gradient,
//! which a backend's convolution computes by a convolution with kernels as large as the image.
//!
//! The operations enter through burn's backend extension: [`WindowOps`] is implemented for each
//! backend on plain slices, and once for `Autodiff`, with its own backward.
#![cfg_attr(feature = "ndarray", allow(deprecated, reason = "kept working as long as burn has it"))]

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::primitive::{data, read, slice, write};
use crate::network::Padding;
use crate::shapes::{padding_before, window_outputs};

/// Geometry of windows over a batch of images (batch × height × width × channels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    batch: usize,
    input: [usize; 2],
    channels: usize,
    size: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
    output: [usize; 2],
}

impl Window {
    /// Windows of `size` over images of `[batch, height, width, channels]`.
    pub fn new(dims: [usize; 4], size: [usize; 2], stride: [usize; 2], padding: Padding) -> Self {
        let [batch, height, width, channels] = dims;
        let input = [height, width];
        let stride = stride.map(|s| s.max(1));
        let axis = |i: usize| {
            let outputs = window_outputs(input[i], size[i], stride[i], padding).unwrap_or(0);
            (outputs, padding_before(input[i], size[i], stride[i], padding))
        };
        let (rows, top) = axis(0);
        let (columns, left) = axis(1);
        Self { batch, input, channels, size, stride, before: [top, left], output: [rows, columns] }
    }

    /// Height and width of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// `[batch, height, width, channels]` of the input.
    fn input_dims(&self) -> [usize; 4] {
        [self.batch, self.input[0], self.input[1], self.channels]
    }

    /// `[batch, height, width, channels]` of a pooled output.
    fn pooled_dims(&self) -> [usize; 4] {
        [self.batch, self.output[0], self.output[1], self.channels]
    }

    /// Calls `visit(input offset, column offset, length)` for every contiguous run that a window
    /// shares with its image; what lies in the padding is not visited.
    fn runs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [height, width] = self.input;
        let row = self.size[1] * self.channels;
        let mut column = 0;
        for image in 0..self.batch {
            for oy in 0..self.output[0] {
                for ox in 0..self.output[1] {
                    // The columns of the image that this window covers.
                    let left = (ox * self.stride[1]) as isize - self.before[1] as isize;
                    let first = left.max(0) as usize;
                    let end = ((left + self.size[1] as isize).max(0) as usize).min(width);
                    let skipped = (first as isize - left) as usize;
                    for ky in 0..self.size[0] {
                        let y = oy * self.stride[0] + ky;
                        if y >= self.before[0] && y - self.before[0] < height && first < end {
                            let y = y - self.before[0];
                            let from = ((image * height + y) * width + first) * self.channels;
                            visit(
                                from,
                                column + skipped * self.channels,
                                (end - first) * self.channels,
                            );
                        }
                        column += row;
                    }
                }
            }
        }
    }

    fn gather(&self, x: &[f32]) -> Vec<f32> {
        let window = self.size[0] * self.size[1] * self.channels;
        let mut columns = vec![0.0; self.batch * self.output[0] * self.output[1] * window];
        self.runs(|from, to, n| columns[to..to + n].copy_from_slice(&x[from..from + n]));
        columns
    }

    fn scatter(&self, columns: &[f32]) -> Vec<f32> {
        let mut x = vec![0.0; self.input_dims().iter().product()];
        self.runs(|to, from, n| {
            x[to..to + n].iter_mut().zip(&columns[from..from + n]).for_each(|(a, b)| *a += b);
        });
        x
    }

    /// Offset of the first largest value of every window and channel; `u32::MAX` where a window
    /// lies in the padding alone.
    fn winners(&self, x: &[f32]) -> Vec<u32> {
        let positions = self.output[0] * self.output[1] * self.batch;
        let mut best = vec![u32::MAX; positions * self.channels];
        let mut value = vec![f32::NEG_INFINITY; best.len()];
        let channels = self.channels.max(1);
        let per_window = (self.size[0] * self.size[1] * channels).max(1);
        self.runs(|from, column, n| {
            let at = column / per_window * channels;
            let slots = at..at + channels;
            for from in (from..from + n).step_by(channels) {
                let slots = best[slots.clone()].iter_mut().zip(&mut value[slots.clone()]);
                for ((slot, best), (x, i)) in slots.zip(x[from..from + channels].iter().zip(from..))
                {
                    // Written without a branch: the compiler makes vectors of it.
                    let wins = *slot == u32::MAX || *x > *best;
                    *best = if wins { *x } else { *best };
                    *slot = if wins { i as u32 } else { *slot };
                }
            }
        });
        best
    }
}

/// Window operations on images with channels last.
#[cfg_attr(
    feature = "ndarray",
    backend_extension(Flex: cfg(feature = "flex"), NdArray: cfg(feature = "ndarray"), Autodiff)
)]
#[cfg_attr(not(feature = "ndarray"), backend_extension(Flex: cfg(feature = "flex"), Autodiff))]
pub trait WindowOps: Backend {
    /// Windows as rows: `[batch, height, width, channels]` →
    /// `[batch · height' · width', size · channels]`, zero in the padding.
    fn im2col(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let columns = window.gather(slice(&data::<Self>(x)));
        let rows = window.batch * window.output[0] * window.output[1];
        let width = window.size[0] * window.size[1] * window.channels;
        write::<Self>(columns, &[rows, width])
    }

    /// The transpose of [`WindowOps::im2col`]: sums what overlaps.
    fn col2im(columns: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let x = window.scatter(slice(&data::<Self>(columns)));
        write::<Self>(x, &window.input_dims())
    }

    /// Largest value of each window.
    fn max_window(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        let x = data::<Self>(x);
        largest::<Self>(slice(&x), &window.winners(slice(&x)), window)
    }
}

/// The values at the windows' winners.
fn largest<B: Backend>(x: &[f32], winners: &[u32], window: Window) -> FloatTensor<B> {
    let values = winners.iter().map(|i| x.get(*i as usize).copied().unwrap_or(0.0));
    write::<B>(values.collect(), &window.pooled_dims())
}

#[cfg(feature = "flex")]
impl WindowOps for burn::backend::Flex {}

#[cfg(feature = "ndarray")]
impl WindowOps for burn::backend::NdArray {}

impl<B: WindowOps, C: CheckpointStrategy> WindowOps for Autodiff<B, C> {
    fn im2col(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Im2col;
        impl<B: WindowOps> Backward<B, 1> for Im2col {
            type State = Window;
            fn backward(self, ops: Ops<Window, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                unary::<B, _>(ops.parents, ops.node, grads, |g| B::col2im(g, ops.state));
            }
        }
        match Im2col.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(window, B::im2col(x.into_primitive(), window)),
            OpsKind::UnTracked(prep) => prep.finish(B::im2col(x.into_primitive(), window)),
        }
    }

    fn col2im(columns: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Col2im;
        impl<B: WindowOps> Backward<B, 1> for Col2im {
            type State = Window;
            fn backward(self, ops: Ops<Window, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                unary::<B, _>(ops.parents, ops.node, grads, |g| B::im2col(g, ops.state));
            }
        }
        match Col2im.prepare::<C>([columns.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(window, B::col2im(columns.into_primitive(), window))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::col2im(columns.into_primitive(), window)),
        }
    }

    fn max_window(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct MaxWindow;
        impl<B: WindowOps> Backward<B, 1> for MaxWindow {
            type State = (Vec<u32>, Window);
            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let (winners, window) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |g| {
                    // The gradient goes to the first largest value.
                    let mut into = vec![0.0; window.input_dims().iter().product()];
                    for (winner, g) in winners.iter().zip(read::<B>(g)) {
                        if let Some(slot) = into.get_mut(*winner as usize) {
                            *slot += g;
                        }
                    }
                    write::<B>(into, &window.input_dims())
                });
            }
        }
        let node = x.node();
        let x = data::<B>(x.into_primitive());
        let winners = window.winners(slice(&x));
        let y = largest::<B>(slice(&x), &winners, window);
        match MaxWindow.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((winners, window), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// Windows of `x` (`[batch, height, width, channels]`) as rows.
pub fn im2col(x: Tensor<4>, window: Window) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as WindowOps>::im2col(x.into_dispatch(), window))
}

/// Largest value of each window of `x` (`[batch, height, width, channels]`).
pub fn max_window(x: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as WindowOps>::max_window(x.into_dispatch(), window))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::Noise;
    use crate::train::tensor::{Convolution, constant, gradient, leaf, values};
    use burn::tensor::Device;
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} {b}");
        }
    }

    /// Forward and both gradients agree with burn's own convolution.
    #[test]
    fn convolution_agrees_with_burns() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(1, 1);
        for (stride, size) in [([1, 1], [3, 2]), ([2, 1], [2, 2]), ([2, 3], [3, 3])] {
            let c = Convolution {
                depthwise: false,
                channels: 3,
                filters: 4,
                kernel: size,
                stride,
                padding: Padding::Valid,
            };
            let [filters, width] = c.weight_shape();
            let (x, w) = (noise.vector(2 * 7 * 8 * 3), noise.vector(filters * width));
            let x = leaf(x, [2, 7, 8, 3], &device);
            let w = leaf(w, [filters, width], &device);
            let b = constant(noise.vector(filters), [filters], &device);
            let ours = c.apply(x.clone(), &w, &b);
            let pull = noise.vector(ours.dims().iter().product());
            let pull = constant(pull, ours.dims(), &device);
            let grads = (ours.clone() * pull.clone()).sum().backward();

            let x2 = leaf(values(x.clone().inner()), [2, 7, 8, 3], &device);
            let w2 = leaf(values(w.clone().inner()), [filters, width], &device);
            let kernel = w2.clone().reshape([filters, size[0], size[1], 3]).permute([0, 3, 1, 2]);
            let options = ConvOptions::new(stride, [0, 0], [1, 1], 1);
            let theirs = conv2d(x2.clone().permute([0, 3, 1, 2]), kernel, Some(b), options);
            let theirs = theirs.permute([0, 2, 3, 1]);
            let grads2 = (theirs.clone() * pull).sum().backward();
            close(&values(ours.inner()), &values(theirs.inner()));
            close(&gradient(&x, &grads), &gradient(&x2, &grads2));
            close(&gradient(&w, &grads), &gradient(&w2, &grads2));
        }
    }

    #[test]
    fn pooling_agrees_with_burns() {
        let device = Device::flex().autodiff();
        let mut noise = Noise::new(1, 2);
        for (size, stride, padding, pairs) in [
            ([2, 2], [2, 2], Padding::Valid, [(0, 0), (0, 0)]),
            ([3, 2], [1, 2], Padding::Valid, [(0, 0), (0, 0)]),
            ([3, 3], [2, 2], Padding::Same, [(1, 1), (1, 1)]),
        ] {
            let x = leaf(noise.vector(2 * 7 * 7 * 3), [2, 7, 7, 3], &device);
            let ours = max_window(x.clone(), Window::new(x.dims(), size, stride, padding));
            let pull = noise.vector(ours.dims().iter().product());
            let pull = constant(pull, ours.dims(), &device);
            let grads = (ours.clone() * pull.clone()).sum().backward();
            let x2 = leaf(values(x.clone().inner()), [2, 7, 7, 3], &device);
            let options = MaxPoolOptions::new(size).with_stride(stride).with_padding_pairs(pairs);
            let theirs =
                burn::tensor::module::max_pool2d(x2.clone().permute([0, 3, 1, 2]), options)
                    .permute([0, 2, 3, 1]);
            let grads2 = (theirs.clone() * pull).sum().backward();
            close(&values(ours.inner()), &values(theirs.inner()));
            close(&gradient(&x, &grads), &gradient(&x2, &grads2));
        }
    }

    /// ⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩: the two are transposes, padding included.
    #[test]
    fn scatter_is_the_transpose_of_gather() {
        for padding in [Padding::Valid, Padding::Same] {
            let window = Window::new([2, 6, 5, 2], [4, 3], [2, 1], padding);
            let mut noise = Noise::new(1, 3);
            let x = noise.vector(2 * 6 * 5 * 2);
            let columns = window.gather(&x);
            let y = noise.vector(columns.len());
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let (left, right) = (dot(&columns, &y), dot(&x, &window.scatter(&y)));
            assert!((left - right).abs() < 1e-3, "{left} {right}");
        }
    }
}
