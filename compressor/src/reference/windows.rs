//! Sliding windows over images: patches for convolutions, and pooling.

use crate::network::{Affine, Padding, Shape};
use crate::shapes::padding_before;

/// Zeros above and to the left of an image.
pub(super) fn padding(
    input: Shape,
    window: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
) -> [usize; 2] {
    let (height, width, _) = sides(input);
    [
        padding_before(height, window[0], stride[0], padding),
        padding_before(width, window[1], stride[1], padding),
    ]
}

/// Height, width, channels; flat features are one pixel.
fn sides(shape: Shape) -> (usize, usize, usize) {
    match shape {
        Shape::Flat(n) => (1, 1, n),
        Shape::Image { height, width, channels } => (height, width, channels),
    }
}

/// The part of a window of `window` at output `index` that lies inside: its first input position,
/// the first tap that is inside, and how many are.
fn inside(
    index: usize,
    stride: usize,
    pad: usize,
    window: usize,
    input: usize,
) -> (usize, usize, usize) {
    let start = (index * stride).saturating_sub(pad);
    let first_tap = pad.saturating_sub(index * stride);
    let end = (index * stride + window).saturating_sub(pad).min(input);
    (start, first_tap, end.saturating_sub(start))
}

/// One row per output pixel: the window's values, kernel height × width × channels, zeros outside.
pub(super) fn patches(
    image: &[f32],
    from: Shape,
    to: Shape,
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
) -> Vec<f32> {
    let (height, width, channels) = sides(from);
    let (rows, columns, _) = sides(to);
    let len = kernel[0] * kernel[1] * channels;
    let mut patches = vec![0.0; rows * columns * len];
    for (index, patch) in patches.chunks_exact_mut(len).enumerate() {
        let (y, x) = (index / columns, index % columns);
        let (top, first_row, inside_rows) = inside(y, stride[0], pad[0], kernel[0], height);
        let (left, first_column, inside_columns) = inside(x, stride[1], pad[1], kernel[1], width);
        let run = inside_columns * channels;
        for row in 0..inside_rows {
            let source = ((top + row) * width + left) * channels;
            let target = ((first_row + row) * kernel[1] + first_column) * channels;
            patch[target..target + run].copy_from_slice(&image[source..source + run]);
        }
    }
    patches
}

/// A depthwise convolution.
#[derive(Clone, Debug)]
pub(super) struct Depthwise {
    pub(super) affine: Affine,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pad: [usize; 2],
}

impl Depthwise {
    /// All examples of `x`.
    pub(super) fn run(&self, x: &[f32], from: Shape, to: Shape) -> Vec<f32> {
        let Affine { weight, bias } = &self.affine;
        let (channels, taps) = (bias.len().max(1), self.kernel[0] * self.kernel[1]);
        let mut y = Vec::with_capacity(x.len() / from.len().max(1) * to.len());
        for image in x.chunks_exact(from.len()) {
            let patches = patches(image, from, to, self.kernel, self.stride, self.pad);
            for patch in patches.chunks_exact((taps * channels).max(1)) {
                let kernels = weight.chunks_exact(taps.max(1)).zip(bias);
                y.extend(kernels.enumerate().map(|(channel, (kernel, bias))| {
                    let seen = patch[channel..].iter().step_by(channels);
                    seen.zip(kernel).fold(*bias, |sum, (x, w)| sum + x * w)
                }));
            }
        }
        y
    }
}

/// Folds each window's values per channel; `mean` divides by the number of values inside.
#[expect(clippy::too_many_arguments, reason = "a window is three pairs, and two poolings share it")]
pub(super) fn pool(
    x: &[f32],
    from: Shape,
    to: Shape,
    size: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    start: f32,
    fold: impl Fn(f32, f32) -> f32,
    mean: bool,
) -> Vec<f32> {
    let (height, width, channels) = sides(from);
    let (_, columns, _) = sides(to);
    let mut y = vec![start; x.len() / from.len().max(1) * to.len()];
    for (image, out) in x.chunks_exact(from.len()).zip(y.chunks_exact_mut(to.len())) {
        for (index, out) in out.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (index / columns, index % columns);
            let (top, _, rows) = inside(row, stride[0], pad[0], size[0], height);
            let (left, _, run) = inside(column, stride[1], pad[1], size[1], width);
            for row in top..top + rows {
                let line = &image[(row * width + left) * channels..][..run * channels];
                for pixel in line.chunks_exact(channels) {
                    out.iter_mut().zip(pixel).for_each(|(o, v)| *o = fold(*o, *v));
                }
            }
            if mean {
                let count = (rows * run).max(1) as f32;
                out.iter_mut().for_each(|o| *o /= count);
            }
        }
    }
    y
}

/// The part of each image that begins at `before`.
pub(super) fn crop(x: &[f32], from: Shape, to: Shape, [top, left]: [usize; 2]) -> Vec<f32> {
    let (Shape::Image { width, channels, .. }, Shape::Image { height: rows, width: columns, .. }) =
        (from, to)
    else {
        return x.to_vec();
    };
    let row = width * channels;
    let part = left * channels..(left + columns) * channels;
    let images = x.chunks_exact(from.len());
    images
        .flat_map(|image| image.chunks_exact(row).skip(top).take(rows))
        .flat_map(|row| &row[part.clone()])
        .copied()
        .collect()
}
