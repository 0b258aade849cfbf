//! What the operators of a float graph compute. Shapes have been checked.

use super::Window;
use crate::network::Affine;

/// Height, width, channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image(pub(super) [usize; 3]);

/// A window between two images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) window: Window,
    pub(super) from: Image,
    pub(super) to: Image,
}

impl Ends {
    /// For each tap that lies inside the image: its number, and the first value of its pixel.
    fn taps(&self, row: usize, column: usize) -> impl Iterator<Item = (usize, usize)> {
        let Window { size, stride, dilation, padding } = self.window;
        let Image([height, width, channels]) = self.from;
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
        let Image([height, width, _]) = self.to;
        (0..height).flat_map(move |row| (0..width).map(move |column| (row, column)))
    }
}

/// One row per output pixel: the window's values, height × width × channels, zeros outside.
pub(super) fn patches(x: &[f32], ends: &Ends) -> Vec<f32> {
    let Image([height, width, _]) = ends.to;
    let channels = ends.from.0[2];
    let len = ends.window.size[0] * ends.window.size[1] * channels;
    let mut patches = vec![0.0; height * width * len];
    for (patch, (row, column)) in patches.chunks_exact_mut(len).zip(ends.places()) {
        for (tap, at) in ends.taps(row, column) {
            patch[tap * channels..][..channels].copy_from_slice(&x[at..at + channels]);
        }
    }
    patches
}

pub(super) fn depthwise(x: &[f32], ends: &Ends, affine: &Affine) -> Vec<f32> {
    let outputs = ends.to.0[2];
    let multiplier = outputs / ends.from.0[2].max(1);
    let taps = ends.window.size[0] * ends.window.size[1];
    let mut y = Vec::with_capacity(ends.to.0.iter().product());
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

pub(super) fn max_pool(x: &[f32], ends: &Ends) -> Vec<f32> {
    pool(x, ends, f32::NEG_INFINITY, f32::max, |most, _| most)
}

pub(super) fn avg_pool(x: &[f32], ends: &Ends) -> Vec<f32> {
    pool(x, ends, 0.0, |a, b| a + b, |sum, count| sum / count as f32)
}

fn pool(
    x: &[f32],
    ends: &Ends,
    start: f32,
    fold: impl Fn(f32, f32) -> f32,
    finish: impl Fn(f32, usize) -> f32,
) -> Vec<f32> {
    let channels = ends.to.0[2];
    let mut y = Vec::with_capacity(ends.to.0.iter().product());
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

/// Per channel, over everything else.
pub(super) fn mean(x: &[f32], channels: usize) -> Vec<f32> {
    let count = x.len() / channels;
    let sum = |channel| x.iter().skip(channel).step_by(channels).map(|&x| f64::from(x)).sum();
    let mean = |channel| {
        let sum: f64 = sum(channel);
        (sum / count.max(1) as f64) as f32
    };
    (0..channels).map(mean).collect()
}

/// The second operand is repeated: it has as many values, one per channel, or one.
pub(super) fn pairwise(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    a.iter().zip(b.iter().cycle()).map(|(&a, &b)| f(a, b)).collect()
}

pub(super) fn concat(operands: &[&[f32]], axis: usize, dims: &[usize]) -> Vec<f32> {
    let outer: usize = dims[..axis].iter().product();
    let mut y = Vec::with_capacity(dims.iter().product());
    for block in 0..outer {
        for x in operands {
            let run = x.len() / outer;
            y.extend_from_slice(&x[block * run..][..run]);
        }
    }
    y
}

pub(super) fn pad(
    x: &[f32],
    from: &[usize],
    to: &[usize],
    before: &[usize],
    fill: f32,
) -> Vec<f32> {
    let mut y = vec![fill; to.iter().product()];
    for (index, &x) in x.iter().enumerate() {
        let (mut rest, mut place, mut step) = (index, 0, 1);
        for ((&from, &to), &before) in from.iter().zip(to).zip(before).rev() {
            place += (rest % from + before) * step;
            rest /= from;
            step *= to;
        }
        y[place] = x;
    }
    y
}

/// Over rows of `len` values; its logarithm if `log`.
pub(super) fn softmax(x: &[f32], len: usize, log: bool) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.len());
    for row in x.chunks_exact(len) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - most).exp()).sum();
        y.extend(row.iter().map(|&x| {
            let below = f64::from(x - most);
            (if log { below - sum.ln() } else { below.exp() / sum }) as f32
        }));
    }
    y
}
