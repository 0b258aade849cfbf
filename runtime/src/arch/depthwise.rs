//! Depthwise convolutions: a group of neighbouring channels at a time.
//!
//! Weights lie channel by channel, and pixels with their channels side by side. A group's weights
//! are therefore arranged once, tap after tap, each tap with the way to its pixel, for all rows of
//! positions that have the same rows of taps inside the image. Taps go column by column, so that
//! those of some columns, as at an image's left and right edge, are neighbours as well. Positions
//! that have the same columns inside are a [`Run`], whose biases hold what an offset of the inputs
//! adds: kernels multiply inputs as they are.

use core::ops::Range;

use super::{Finish, Isa, Kernels, Matrix};
use crate::format::Fields;

/// Channels of a group: see [`Kernels::LANES`].
pub(crate) const LANES: usize = Isa::LANES;
/// A value for each channel, in fours.
type Lanes<T> = [[T; 4]; LANES / 4];
/// Most taps of a window: 7 × 7, which take no more stack than a filter elsewhere.
const TAPS_MAX: usize = 49;
/// Most runs of a row: those of seven columns of taps, and two more.
const RUNS_MAX: usize = 9;

/// A whole depthwise convolution, as kernels that take one at once are told of it.
#[cfg_attr(
    not(bitsback_isa = "dsp"),
    allow(dead_code, reason = "others take groups, or need less")
)]
pub(crate) struct Sight<'a> {
    pub(crate) values: &'a [i8],
    /// Rows and columns of the input, of a window and of the output.
    pub(crate) input: [usize; 2],
    pub(crate) size: [usize; 2],
    pub(crate) output: [usize; 2],
    pub(crate) channels: usize,
    /// Positions outside the image, above and left of it.
    pub(crate) padding: [usize; 2],
    /// From one window to the next, and from one tap to the next, down and right.
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Windows that have the same taps inside, along both axes, in order.
    pub(crate) spans: [&'a [Span]; 2],
    /// The input's, and whether the biases hold what it adds to whole windows.
    pub(crate) zero_point: i8,
    pub(crate) folded: bool,
}

/// Windows next to each other along an axis that have the same taps inside the image.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(bitsback_isa = "dsp"),
    allow(dead_code, reason = "others take groups, or need less")
)]
pub(crate) struct Span {
    /// The first tap, and how many.
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// Where the first of them lies in the first window, and how many windows there are.
    pub(crate) position: usize,
    pub(crate) count: usize,
}

impl Span {
    /// No windows.
    pub(crate) const NONE: Self = Self { first: 0, len: 0, position: 0, count: 0 };
}

/// Most [`Span`]s of an axis.
pub(crate) const SPANS_MAX: usize = 16;

/// Distances between values of images whose channels lie side by side.
#[derive(Clone, Copy, Default)]
pub(crate) struct Steps {
    /// Input values from a tap to the next one, down and right.
    pub(crate) taps: [usize; 2],
    /// Input values from a position's window to the next one's.
    pub(crate) input: [usize; 2],
    /// Output values from a position to the next one.
    pub(crate) output: [usize; 2],
}

/// A tap of all channels of a group; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Tap {
    /// Values from the window's first one, of the first row that is inside, to this one's.
    pub(super) at: usize,
    pub(super) weights: Lanes<i16>,
}

/// Positions next to each other that have the same taps inside the image; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Run {
    pub(super) biases: Lanes<i32>,
    /// Values from a row's first one to the first position's window; wraps where that begins before.
    pub(super) from: usize,
    /// Positions.
    pub(super) count: usize,
    /// Taps, by their numbers.
    pub(super) first: usize,
    pub(super) end: usize,
    /// Columns of taps, the first and how many.
    columns: [u16; 2],
}

/// One group of a layer.
pub(crate) struct Group {
    taps: [Tap; TAPS_MAX],
    runs: [Run; RUNS_MAX],
    /// How many runs there are.
    run_count: usize,
    /// Positions of a row.
    pub(super) positions: usize,
    /// Columns of a whole window.
    width: usize,
    /// Rows of taps that are arranged.
    rows: usize,
    steps: Steps,
    biases: [i32; LANES],
    offset: i32,
}

impl Group {
    /// For windows of `width` columns; there are no runs yet.
    #[inline(always)] // else it is made elsewhere and copied
    pub(crate) const fn new(width: usize, steps: Steps) -> Self {
        const TAP: Tap = Tap { at: 0, weights: [[0; 4]; LANES / 4] };
        const RUN: Run = Run {
            biases: [[0; 4]; LANES / 4],
            from: 0,
            count: 0,
            first: 0,
            end: 0,
            columns: [0; 2],
        };
        let (taps, runs) = ([TAP; TAPS_MAX], [RUN; RUNS_MAX]);
        Self {
            taps,
            runs,
            run_count: 0,
            positions: 0,
            width,
            rows: 0,
            steps,
            biases: [0; LANES],
            offset: 0,
        }
    }

    /// Adds `count` positions that have these columns of taps inside, the first of them `position`
    /// values from a row's first one; `None` where there is no room.
    pub(crate) fn add_run(
        &mut self,
        columns: Range<usize>,
        position: usize,
        count: usize,
    ) -> Option<()> {
        let run = self.runs.get_mut(self.run_count)?;
        let [_, right] = self.steps.taps;
        run.from = position.wrapping_sub(columns.start.wrapping_mul(right));
        run.count = count;
        run.columns = [u16::try_from(columns.start).ok()?, u16::try_from(columns.len()).ok()?];
        self.run_count = self.run_count.wrapping_add(1);
        self.positions = self.positions.wrapping_add(count);
        Some(())
    }

    /// Takes the biases of the channels from `first` on. What the input's `offset` adds is in them
    /// already where they are `folded`, for whole windows.
    pub(crate) fn begin(
        &mut self,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        first: usize,
        (offset, folded): (i32, bool),
    ) {
        self.offset = offset;
        for (bias, channel) in self.biases.iter_mut().zip(first..) {
            *bias = finish.bias(channel);
            if folded {
                let sum =
                    Isa::row_sum(matrix.bits(), matrix.bytes_from(channel), 0, matrix.columns);
                *bias = bias.wrapping_sub(sum.wrapping_mul(offset));
            }
        }
    }

    /// Takes the weights of the channels from `first` on, of these rows of taps; `None` where there
    /// is no room.
    #[inline(never)]
    pub(crate) fn arrange(
        &mut self,
        matrix: &Matrix<'_>,
        first: usize,
        rows: Range<usize>,
    ) -> Option<()> {
        self.rows = 0;
        self.taps.get(rows.len().checked_mul(self.width)?.checked_sub(1)?)?;
        self.rows = rows.len();
        let ([down, right], bytes) = (self.steps.taps, matrix.bytes_from(first));
        let (bits, row_len) = (matrix.bits(), matrix.row_len);
        let mut taps = self.taps.iter_mut();
        for column in 0..self.width {
            let mut at = column.wrapping_mul(right);
            let mut index = rows.start.wrapping_mul(self.width).wrapping_add(column);
            for tap in taps.by_ref().take(self.rows) {
                tap.at = at;
                let mut row = bytes;
                for weight in tap.weights.as_flattened_mut() {
                    *weight = match bits {
                        8 => row.get(index).map_or(0, |&byte| i16::from(byte as i8)),
                        _ => field(row, bits, index),
                    };
                    row = row.get(row_len..).unwrap_or_default();
                }
                at = at.wrapping_add(down);
                index = index.wrapping_add(self.width);
            }
        }
        for run in self.runs.iter_mut().take(self.run_count) {
            let [start, len] = run.columns.map(usize::from);
            run.first = start.wrapping_mul(self.rows);
            run.end = start.wrapping_add(len).wrapping_mul(self.rows);
            let mut sums = [0i32; LANES];
            for tap in self.taps.get(run.first..run.end)? {
                for (sum, &weight) in sums.iter_mut().zip(tap.weights.as_flattened()) {
                    *sum = sum.wrapping_add(weight.into());
                }
            }
            let biases = run.biases.as_flattened_mut().iter_mut();
            for ((to, bias), sum) in biases.zip(self.biases).zip(sums) {
                *to = bias.wrapping_add(sum.wrapping_mul(self.offset));
            }
        }
        Some(())
    }

    /// The runs of a row.
    pub(super) fn runs(&self) -> &[Run] {
        self.runs.get(..self.run_count).unwrap_or_default()
    }

    /// All taps that are arranged.
    pub(super) fn taps(&self) -> &[Tap] {
        self.taps.get(..self.rows.wrapping_mul(self.width)).unwrap_or_default()
    }

    pub(super) const fn steps(&self) -> &Steps {
        &self.steps
    }

    /// Whether `rows` rows of positions, not none, are within images of so many values, from the
    /// group's first channel on: then there are runs, none of them without positions or taps, and
    /// so are all inputs that a position's taps lead to, and all outputs.
    pub(super) fn is_within(&self, rows: usize, inputs: usize, outputs: usize) -> bool {
        let Steps { taps, input, output } = self.steps;
        // Values from the first to the last of some, so many steps apart.
        let reach = |[down, right]: [usize; 2], rows: usize, columns: usize| {
            let down = rows.checked_sub(1)?.checked_mul(down)?;
            down.checked_add(columns.checked_sub(1)?.checked_mul(right)?)
        };
        let ends_within = |begin: usize, reaches: [Option<usize>; 2], len: usize| {
            let [a, b] = reaches;
            let last = a.zip(b).and_then(|(a, b)| begin.checked_add(a)?.checked_add(b));
            last.and_then(|last| last.checked_add(LANES)).is_some_and(|end| end <= len)
        };
        let mut runs = self.runs().iter();
        let inputs_are = runs.all(|run| {
            let [start, len] = run.columns.map(usize::from);
            let begin = run.from.wrapping_add(start.wrapping_mul(taps[1]));
            let reaches = [reach(input, rows, run.count), reach(taps, self.rows, len)];
            let end = start.wrapping_add(len);
            let taps = [start, end].map(|column| column.wrapping_mul(self.rows));
            let are_arranged = end <= self.width && taps == [run.first, run.end];
            are_arranged && ends_within(begin, reaches, inputs)
        });
        inputs_are && ends_within(0, [reach(output, rows, self.positions), Some(0)], outputs)
    }
}

/// One field of a packed row.
#[inline(never)]
fn field(row: &[u8], bits: u8, index: usize) -> i16 {
    Fields::new(row, bits, index).take() as i16
}
