//! Poolings and means: rows of pixels first, whose neighbours are folded together, then columns.

use super::plan::Needs;
use super::worker::Scratch;
use crate::arch::host::{KernelSet, LANES};
use crate::format::{Clamp, Tensor, Window};
use crate::ops::{Axis, Mean, average};
use crate::requantize::{Multiplier, requantize};

/// Pixels of so few channels are shorter than what it takes to go from one to the next.
const FEW_CHANNELS: usize = 2 * LANES;

/// What becomes of a window's values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fold {
    /// The largest one, limited.
    Most(Clamp),
    /// The largest one, which is within its limits.
    Largest,
    /// Their mean, limited.
    Mean(Clamp),
    /// Their sum, less so many zero points, requantised.
    Scaled { input: i8, multiplier: Multiplier, output: i8, clamp: Clamp },
}

/// Windows over an image.
#[derive(Debug)]
pub(super) struct Pooling {
    rows: Axis,
    columns: Axis,
    channels: usize,
    fold: Fold,
}

impl Pooling {
    pub(super) fn new(
        window: &Window,
        input: &Tensor,
        output: &Tensor,
        fold: Fold,
    ) -> Option<Self> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, _] = output.shape.image()?;
        Some(Self::of_axes(Axis::both(window, [1, 1], [h, w], [oh, ow]), channels, fold))
    }

    pub(super) fn of_axes([rows, columns]: [Axis; 2], channels: usize, fold: Fold) -> Self {
        Self { rows, columns, channels, fold }
    }

    /// A mean over all positions: one window in one row.
    pub(super) fn mean(op: &Mean, input: &Tensor) -> Option<Self> {
        let channels = op.output.len();
        let positions = input.len().checked_div(channels)?;
        let axis =
            |input| Axis { size: input, stride: 1, padding: 0, dilation: 1, input, output: 1 };
        let (multiplier, clamp) = (op.multiplier, op.clamp);
        let (input, output) = (input.zero_point, op.output.zero_point);
        let fold = Fold::Scaled { input, multiplier, output, clamp };
        Some(Self::of_axes([axis(positions), axis(1)], channels, fold))
    }

    /// Values of a row of the input.
    fn row(&self) -> usize {
        self.columns.input * self.channels
    }

    /// Whether pixels are short, and each window has all of its columns.
    fn is_narrow(&self) -> bool {
        let Axis { size, stride, padding, dilation, input, output } = self.columns;
        let last =
            output.checked_sub(1).and_then(|last| last.checked_mul(stride)?.checked_add(size));
        let is_whole = padding == 0 && dilation == 1 && last.is_some_and(|end| end <= input);
        is_whole && self.channels <= FEW_CHANNELS
    }

    pub(super) fn needs(&self) -> Needs {
        match self.fold {
            Fold::Most(_) | Fold::Largest => {
                Needs { values: self.row() + LANES, ..Needs::default() }
            }
            Fold::Mean(_) | Fold::Scaled { .. } => {
                Needs { sums: self.row() + self.channels, ..Needs::default() }
            }
        }
    }

    /// The output of one example.
    pub(super) fn run(
        &self,
        kernels: KernelSet,
        values: &[i8],
        output: &mut [i8],
        scratch: &mut Scratch,
    ) {
        match self.fold {
            Fold::Most(clamp) => {
                self.largest(kernels, values, output, &mut scratch.values);
                kernels.limit(output, clamp);
            }
            Fold::Largest => self.largest(kernels, values, output, &mut scratch.values),
            Fold::Mean(clamp) => {
                self.sums(kernels, values, output, &mut scratch.sums, |sum, count| {
                    clamp.apply(average(sum, count as i32))
                });
            }
            Fold::Scaled { input, multiplier, output: zero, clamp } => {
                self.sums(kernels, values, output, &mut scratch.sums, |sum, count| {
                    let zeros = (count as i32).wrapping_mul(input.into());
                    clamp.apply(requantize(sum.wrapping_sub(zeros), multiplier, zero))
                });
            }
        }
    }

    /// The largest value of each window; `line` is room for a row of the input, and [`LANES`] more.
    pub(super) fn largest(
        &self,
        kernels: KernelSet,
        values: &[i8],
        output: &mut [i8],
        line: &mut [i8],
    ) {
        let (row, channels) = (self.row(), self.channels.max(1));
        let Some((line, _)) = line.split_at_mut_checked(row + LANES) else { return };
        let lines = output.chunks_exact_mut((self.columns.output * channels).max(1));
        let is_narrow = self.is_narrow();
        let sizes = [channels, self.columns.size, self.columns.stride * channels];
        for (down, outputs) in lines.enumerate() {
            let (taps, top) = self.rows.taps(down);
            let mut rows = values.get(top * row..).unwrap_or_default().chunks_exact(row.max(1));
            let Some(first) = rows.next() else { return };
            let Some(maxima) = line.get_mut(..row) else { return };
            maxima.copy_from_slice(first);
            for row in rows.take(taps.len().saturating_sub(1)) {
                kernels.raise(maxima, row);
            }
            if is_narrow {
                kernels.raise_pixels(line, sizes, outputs);
                continue;
            }
            for (right, outputs) in outputs.chunks_exact_mut(channels).enumerate() {
                let (taps, left) = self.columns.taps(right);
                let pixels = line.get(left * channels..).unwrap_or_default();
                let mut pixels = pixels.chunks_exact(channels);
                let Some(first) = pixels.next() else { return };
                outputs.copy_from_slice(first);
                for pixel in pixels.take(taps.len().saturating_sub(1)) {
                    kernels.raise(outputs, pixel);
                }
            }
        }
    }

    /// Each output from the sum of its window's values, and their number.
    fn sums(
        &self,
        kernels: KernelSet,
        values: &[i8],
        output: &mut [i8],
        sums: &mut [i32],
        finish: impl Fn(i32, usize) -> i8,
    ) {
        let (row, channels) = (self.row(), self.channels.max(1));
        let (line, rest) = sums.split_at_mut_checked(row).unwrap_or_default();
        let Some(pixel) = rest.get_mut(..channels) else { return };
        let lines = output.chunks_exact_mut((self.columns.output * channels).max(1));
        for (down, outputs) in lines.enumerate() {
            let (rows, top) = self.rows.taps(down);
            line.fill(0);
            let image = values.get(top * row..).unwrap_or_default().chunks_exact(row.max(1));
            for row in image.take(rows.len()) {
                kernels.accumulate(line, row);
            }
            for (right, outputs) in outputs.chunks_exact_mut(channels).enumerate() {
                let (columns, left) = self.columns.taps(right);
                let pixels = line.get(left * channels..).unwrap_or_default();
                pixel.fill(0);
                for sums in pixels.chunks_exact(channels).take(columns.len()) {
                    for (total, sum) in pixel.iter_mut().zip(sums) {
                        *total = total.wrapping_add(*sum);
                    }
                }
                let count = rows.len() * columns.len();
                for (y, &sum) in outputs.iter_mut().zip(pixel.iter()) {
                    *y = finish(sum, count);
                }
            }
        }
    }
}
