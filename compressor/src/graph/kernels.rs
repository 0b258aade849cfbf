//! What operators on images share in the forward pass. Shapes have been checked.

use super::operator::Site;
use super::{Affine, Window};

/// A window between two images, each height, width, channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    window: Window,
    from: [usize; 3],
    to: [usize; 3],
}

impl Ends {
    /// Of a node that moves `window` over its first operand.
    pub(super) fn new(window: Window, site: &Site<'_>) -> Self {
        let image = |value: &super::Value| value.image().unwrap_or([1, 1, value.len()]);
        Self { window, from: image(site.input()), to: image(site.output) }
    }

    /// For each tap that lies inside the image: its number, and the first value of its pixel.
    fn taps(&self, row: usize, column: usize) -> impl Iterator<Item = (usize, usize)> {
        let Window { size, stride, dilation, padding } = self.window;
        let [height, width, channels] = self.from;
        let inside = move |at: usize, tap: usize, axis: usize, end: usize| {
            let place = (at * stride[axis] + tap * dilation[axis]).checked_sub(padding[axis])?;
            (place < end).then_some(place)
        };
        (0..size[0] * size[1]).filter_map(move |tap| {
            let y = inside(row, tap / size[1], 0, height)?;
            let x = inside(column, tap % size[1], 1, width)?;
            Some((tap, (y * width + x) * channels))
        })
    }

    /// Rows and columns of the output.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let [height, width, _] = self.to;
        (0..height).flat_map(move |row| (0..width).map(move |column| (row, column)))
    }

    /// Taps of a row that lie side by side, and where they do: (first tap, first column, how many).
    fn run(&self, column: usize) -> (usize, usize, usize) {
        let Window { size, stride, padding, .. } = self.window;
        let start = column * stride[1];
        let skipped = padding[1].saturating_sub(start);
        let first = (start + skipped).saturating_sub(padding[1]);
        let count = size[1].saturating_sub(skipped).min(self.from[1].saturating_sub(first));
        (skipped, first, count)
    }
}

/// One row per output pixel: the window's values, height × width × channels, zeros outside.
pub(super) fn patches(x: &[f32], ends: &Ends) -> Vec<f32> {
    let [rows, columns, _] = ends.to;
    let [height, width, channels] = ends.from;
    let Window { size, stride, dilation, padding } = ends.window;
    let len = size[0] * size[1] * channels;
    let mut patches = vec![0.0; rows * columns * len];
    for (patch, (row, column)) in patches.chunks_exact_mut(len.max(1)).zip(ends.places()) {
        if dilation[1] != 1 {
            for (tap, at) in ends.taps(row, column) {
                patch[tap * channels..][..channels].copy_from_slice(&x[at..at + channels]);
            }
            continue;
        }
        let (tap, first, count) = ends.run(column);
        for ky in 0..size[0] {
            let place = (row * stride[0] + ky * dilation[0]).checked_sub(padding[0]);
            let Some(y) = place.filter(|&y| y < height) else { continue };
            let (from, to) = ((y * width + first) * channels, (ky * size[1] + tap) * channels);
            patch[to..to + count * channels].copy_from_slice(&x[from..from + count * channels]);
        }
    }
    patches
}

/// A depthwise convolution of one image.
pub(super) fn depthwise(x: &[f32], ends: &Ends, affine: &Affine) -> Vec<f32> {
    let outputs = ends.to[2];
    let multiplier = outputs / ends.from[2].max(1);
    let taps = ends.window.taps();
    let mut y = Vec::with_capacity(ends.to.iter().product());
    for (row, column) in ends.places() {
        let start = y.len();
        y.extend_from_slice(&affine.bias);
        for (tap, at) in ends.taps(row, column) {
            for (output, sum) in y[start..].iter_mut().enumerate() {
                *sum += affine.weight[output * taps + tap] * x[at + output / multiplier];
            }
        }
    }
    y
}

/// Folds the values of each window, from `start`; `finish` also gets how many there were.
pub(super) fn pool(
    x: &[f32],
    ends: &Ends,
    start: f32,
    fold: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32, usize) -> f32,
) -> Vec<f32> {
    let channels = ends.to[2];
    let mut y = Vec::with_capacity(ends.to.iter().product());
    for (row, column) in ends.places() {
        let first = y.len();
        y.resize(first + channels, start);
        let mut count = 0;
        for (_, at) in ends.taps(row, column) {
            count += 1;
            for (y, &x) in y[first..].iter_mut().zip(&x[at..at + channels]) {
                *y = fold(*y, x);
            }
        }
        y[first..].iter_mut().for_each(|y| *y = finish(*y, count.max(1)));
    }
    y
}

/// What is wrong with a window between two images: it has taps and steps, and each begins before the
/// image's end.
pub(super) fn check_window(window: Window, site: &Site<'_>) -> Option<&'static str> {
    let (Some(from), Some(to)) = (site.input().image(), site.output.image()) else {
        return Some("images have at most three dimensions");
    };
    let Window { size, stride, dilation, padding } = window;
    for axis in 0..2 {
        if size[axis] == 0 || stride[axis] == 0 || dilation[axis] == 0 {
            return Some("sizes, strides and dilations must be positive");
        }
        let start = (to[axis] - 1).saturating_mul(stride[axis]);
        if padding[axis] >= window.extent()[axis] || start >= from[axis] + padding[axis] {
            return Some("a window lies in the padding alone");
        }
    }
    None
}

/// Whether windows reach beyond the image.
pub(super) fn reads_padding(window: Window, site: &Site<'_>) -> bool {
    let (Some([height, width, _]), Some([rows, columns, _])) =
        (site.input().image(), site.output.image())
    else {
        return true;
    };
    !window.stays_inside([height, width], [rows, columns])
}

/// For a weight's column of each patch, the mean over all positions of one example.
pub(super) fn mean_patch(x: &[f32], ends: &Ends) -> Vec<f32> {
    let columns = (ends.window.taps() * ends.from[2]).max(1);
    let patches = patches(x, ends);
    let count = patches.len() / columns;
    let mut sums = vec![0.0f64; columns];
    for patch in patches.chunks_exact(columns) {
        sums.iter_mut().zip(patch).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sums.into_iter().map(|sum| (sum / count.max(1) as f64) as f32).collect()
}
