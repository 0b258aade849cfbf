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
use crate::graph::Window;

/// Geometry of windows over a batch of images (batch × height × width × channels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    batch: usize,
    input: [usize; 2],
    channels: usize,
    window: Window,
    output: [usize; 2],
}

impl Geometry {
    /// Of windows over images of `[batch, height, width, channels]`, with an output of so many rows and
    /// columns.
    pub(super) fn new(dims: [usize; 4], window: Window, output: [usize; 2]) -> Self {
        let [batch, height, width, channels] = dims;
        Self { batch, input: [height, width], channels, window, output }
    }

    /// `[batch, height, width, channels]` of the input.
    fn input_dims(&self) -> [usize; 4] {
        [self.batch, self.input[0], self.input[1], self.channels]
    }

    /// `[batch, height, width, channels]` of a pooled output.
    fn pooled_dims(&self) -> [usize; 4] {
        [self.batch, self.output[0], self.output[1], self.channels]
    }

    /// Values of one window.
    fn window_len(&self) -> usize {
        self.window.taps() * self.channels
    }

    /// Calls `visit(input offset, column offset, length)` for every contiguous run that a window
    /// shares with its image; what lies in the padding is not visited.
    fn runs(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Window { size, stride, dilation, padding } = self.window;
        let [height, width] = self.input;
        // Taps side by side are one run, others one each.
        let (pieces, taps) = if dilation[1] == 1 { (1, size[1]) } else { (size[1], 1) };
        let mut column = 0;
        for image in 0..self.batch {
            for oy in 0..self.output[0] {
                for ox in 0..self.output[1] {
                    for ky in 0..size[0] {
                        let y = (oy * stride[0] + ky * dilation[0]).checked_sub(padding[0]);
                        for piece in 0..pieces {
                            let left = ox * stride[1] + piece * dilation[1];
                            // The columns of the image that this run covers.
                            let skipped = padding[1].saturating_sub(left).min(taps);
                            let first = (left + skipped).saturating_sub(padding[1]);
                            let count = (taps - skipped).min(width.saturating_sub(first));
                            if let Some(y) = y.filter(|&y| y < height && count > 0) {
                                let from = ((image * height + y) * width + first) * self.channels;
                                let to = column + skipped * self.channels;
                                visit(from, to, count * self.channels);
                            }
                            column += taps * self.channels;
                        }
                    }
                }
            }
        }
    }

    fn gather(&self, x: &[f32]) -> Vec<f32> {
        let positions = self.batch * self.output[0] * self.output[1];
        let mut columns = vec![0.0; positions * self.window_len()];
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
        let per_window = self.window_len().max(1);
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
pub(super) trait WindowOps: Backend {
    /// Windows as rows: `[batch, height, width, channels]` →
    /// `[batch · height' · width', size · channels]`, zero in the padding.
    fn im2col(x: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        let columns = geometry.gather(slice(&data::<Self>(x)));
        let rows = geometry.batch * geometry.output[0] * geometry.output[1];
        let width = geometry.window_len();
        write::<Self>(columns, &[rows, width])
    }

    /// The transpose of [`WindowOps::im2col`]: sums what overlaps.
    fn col2im(columns: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        let x = geometry.scatter(slice(&data::<Self>(columns)));
        write::<Self>(x, &geometry.input_dims())
    }

    /// Largest value of each window.
    fn max_window(x: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        let x = data::<Self>(x);
        largest::<Self>(slice(&x), &geometry.winners(slice(&x)), geometry)
    }
}

/// The values at the windows' winners.
fn largest<B: Backend>(x: &[f32], winners: &[u32], geometry: Geometry) -> FloatTensor<B> {
    let values = winners.iter().map(|i| x.get(*i as usize).copied().unwrap_or(0.0));
    write::<B>(values.collect(), &geometry.pooled_dims())
}

#[cfg(feature = "flex")]
impl WindowOps for burn::backend::Flex {}

#[cfg(feature = "ndarray")]
impl WindowOps for burn::backend::NdArray {}

impl<B: WindowOps, C: CheckpointStrategy> WindowOps for Autodiff<B, C> {
    fn im2col(x: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Im2col;
        impl<B: WindowOps> Backward<B, 1> for Im2col {
            type State = Geometry;
            fn backward(self, ops: Ops<Geometry, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                unary::<B, _>(ops.parents, ops.node, grads, |g| B::col2im(g, ops.state));
            }
        }
        match Im2col.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(geometry, B::im2col(x.into_primitive(), geometry))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::im2col(x.into_primitive(), geometry)),
        }
    }

    fn col2im(columns: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Col2im;
        impl<B: WindowOps> Backward<B, 1> for Col2im {
            type State = Geometry;
            fn backward(self, ops: Ops<Geometry, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                unary::<B, _>(ops.parents, ops.node, grads, |g| B::im2col(g, ops.state));
            }
        }
        match Col2im.prepare::<C>([columns.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(geometry, B::col2im(columns.into_primitive(), geometry))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::col2im(columns.into_primitive(), geometry)),
        }
    }

    fn max_window(x: FloatTensor<Self>, geometry: Geometry) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct MaxWindow;
        impl<B: WindowOps> Backward<B, 1> for MaxWindow {
            type State = (Vec<u32>, Geometry);
            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let (winners, geometry) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |g| {
                    // The gradient goes to the first largest value.
                    let mut into = vec![0.0; geometry.input_dims().iter().product()];
                    for (winner, g) in winners.iter().zip(read::<B>(g)) {
                        if let Some(slot) = into.get_mut(*winner as usize) {
                            *slot += g;
                        }
                    }
                    write::<B>(into, &geometry.input_dims())
                });
            }
        }
        let node = x.node();
        let x = data::<B>(x.into_primitive());
        let winners = geometry.winners(slice(&x));
        let y = largest::<B>(slice(&x), &winners, geometry);
        match MaxWindow.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((winners, geometry), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// Windows of `x` (`[batch, height, width, channels]`) as rows.
pub(super) fn im2col(x: Tensor<4>, geometry: Geometry) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as WindowOps>::im2col(x.into_dispatch(), geometry))
}

/// Largest value of each window of `x` (`[batch, height, width, channels]`).
pub(super) fn max_window(x: Tensor<4>, geometry: Geometry) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as WindowOps>::max_window(x.into_dispatch(), geometry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayes::Noise;
    use crate::graph::Padding;
    use crate::graph::tensor::{Convolution, constant, gradient, leaf, values};
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
            let rule = Window::with_rule(size, stride, [1; 2], Padding::Valid, [7, 8]);
            let (window, output) = rule.unwrap();
            let c = Convolution { depthwise: false, channels: 3, filters: 4, window, output };
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
            let (window, output) =
                Window::with_rule(size, stride, [1; 2], padding, [7, 7]).unwrap();
            let ours = max_window(x.clone(), Geometry::new(x.dims(), window, output));
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
        for (padding, dilation) in
            [(Padding::Valid, [1; 2]), (Padding::Same, [1; 2]), (Padding::Same, [1, 2])]
        {
            let rule = Window::with_rule([4, 3], [2, 1], dilation, padding, [6, 5]);
            let (window, output) = rule.unwrap();
            let window = Geometry::new([2, 6, 5, 2], window, output);
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
