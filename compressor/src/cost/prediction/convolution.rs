//! Convolutions: which way a core's kernels go through one, and filters that are taken one by one.

use std::ops::Range;

use bitsback_runtime::format::Window;

use super::cores::{Family, Kernels};
use super::counts::Counts;
use super::parameters::Parameters;
use super::positions::Gathers;
use super::windows::Axis;

/// A convolution as kernels see it.
pub(super) struct Convolution<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) parameters: &'a Parameters,
    pub(super) axes: [Axis; 2],
    pub(super) channels: usize,
    /// Where the image lies in the arena.
    pub(super) offset: usize,
    /// A pooling behind it: its windows, and how many there are.
    pub(super) pool: Option<(Window, [usize; 2])>,
}

impl Convolution<'_> {
    /// Weights of a filter.
    pub(super) fn columns(&self) -> usize {
        self.axes[0].size.saturating_mul(self.axes[1].size).saturating_mul(self.channels)
    }

    /// Values of a window's row that lie together; 0 where taps are apart.
    pub(super) fn row(&self) -> usize {
        let [_, taps] = &self.axes;
        if taps.dilation == 1 { taps.size * self.channels } else { 0 }
    }

    /// Values from a row of the image to the next.
    pub(super) fn line(&self) -> usize {
        self.axes[1].input * self.channels
    }

    /// Whether a window inside ends so near the image's end that a word from its last value on would reach
    /// beyond.
    pub(super) fn ends_image(&self, down: usize, right: usize) -> bool {
        const BEHIND: usize = 3;
        let [rows, columns] = &self.axes;
        let last = rows.taps(down).position + (rows.size - 1) * rows.dilation;
        let end = last * self.line() + columns.taps(right).position * self.channels + self.row();
        end + BEHIND > rows.input * self.line()
    }

    /// The axes of the pooling, over positions.
    pub(super) fn pooled(&self) -> Option<[Axis; 2]> {
        let (window, output) = self.pool.as_ref()?;
        let positions = [self.axes[0].output, self.axes[1].output];
        Some(Axis::both(window, [1; 2], positions, *output))
    }

    /// All of it.
    pub(super) fn count(&self, counts: &mut Counts) {
        let (parameters, kernels, columns) = (self.parameters, self.kernels, self.columns());
        counts.add("weight", (parameters.rows * columns) as f64);
        let bits = parameters.bits;
        let is_direct = match kernels.family {
            Family::Dsp => bits <= 8,
            _ => matches!(bits, 2 | 4 | 8 | 16) && columns <= kernels.patch,
        };
        let batches = self.batches(columns);
        counts.add("batch", batches.len() as f64);
        if kernels.family == Family::Vectors && bits == 8 && !self.splits_pairs() {
            for rows in batches {
                self.vectors(counts, rows);
            }
        } else if batches.iter().any(|rows| self.is_packed(rows.len())) {
            for rows in batches {
                if self.is_packed(rows.len()) {
                    self.packed(counts, rows);
                } else {
                    let mut gathers = Gathers::new(self);
                    gathers.add_all();
                    gathers.count(counts, rows);
                }
            }
        } else if self.pool.is_none() && !is_direct {
            self.filters(counts, columns);
        } else {
            let mut gathers = Gathers::new(self);
            match self.squares(counts) {
                Some(squares) => gathers.add_but(&squares),
                None => gathers.add_all(),
            }
            for rows in batches {
                gathers.count(counts, rows);
            }
        }
    }

    /// Rows that are there at once: all, or as many as are decoded.
    pub(super) fn batches(&self, columns: usize) -> Vec<Range<usize>> {
        let rows = self.parameters.rows;
        if !self.parameters.in_batches {
            return std::iter::once(0..rows).collect();
        }
        const MOST: usize = 16; // `FILTERS_MAX` of the runtime
        let room = self.kernels.decoded / columns.max(1);
        let whole = if room < 4 { room } else { room & !3 }.clamp(1, MOST);
        let (mut batches, mut first) = (Vec::new(), 0);
        while first < rows {
            let left = rows - first;
            let count = if left <= room.min(MOST) { left } else { whole };
            batches.push(first..first + count);
            first += count;
        }
        batches
    }

    /// A filter after the other, each read again at every position.
    fn filters(&self, counts: &mut Counts, columns: usize) {
        let parameters = self.parameters;
        let (rows, bits) = (parameters.rows as f64, parameters.bits);
        // Those of fewer bits are unpacked where they aren't too long.
        let unpacks = bits < 8 && columns <= bitsback_runtime::ops::FILTER_MAX;
        if unpacks {
            parameters.fields(counts, rows, columns, 1.0);
        }
        let bits = if unpacks { 8 } else { bits };
        let has_offset = parameters.zero_point != 0;
        segments(counts, &self.axes, (self.channels, false), (rows, bits, has_offset));
        if parameters.folded {
            counts.add("sum-row", rows);
            counts.add("sum-weight", rows * columns as f64);
        }
        let positions = self.axes[0].output as f64 * self.axes[1].output as f64;
        parameters.finish_each(counts, positions);
    }
}

/// Rows of windows at all positions, one after the other for each of `rows` filters with weights of so many
/// bits: of all channels, or strided, of one.
pub(super) fn segments(
    counts: &mut Counts,
    [down, right]: &[Axis; 2],
    (channels, is_strided): (usize, bool),
    (rows, bits, has_offset): (f64, usize, bool),
) {
    let is_apart = right.dilation != 1 && !is_strided;
    let (mut all, mut values, mut words, mut rests) = (0.0, 0.0, 0.0, 0.0);
    // Where loops are compiled to vectors, what these leave is taken one by one.
    let (mut eights, mut vectors, mut eight_rests, mut vector_rests) = (0.0, 0.0, 0.0, 0.0);
    let (mut within, mut within_values) = (0.0, 0.0);
    let across = right.kinds(0, 1);
    for (vertical, lines) in down.kinds(0, 1) {
        for &(horizontal, count) in &across {
            let count = count * lines;
            let (times, taps) = match is_apart {
                true => (horizontal.count, 1),
                false => (1, horizontal.count),
            };
            let len = taps * channels;
            for row in vertical.first..vertical.first + vertical.count {
                for tap in 0..times {
                    let start = (row * right.size + horizontal.first + tap) * channels;
                    all += count;
                    values += count * len as f64;
                    words += count * (len / 4) as f64;
                    rests += count * (len % 4) as f64;
                    eights += count * (len / 8) as f64;
                    eight_rests += count * (len % 8) as f64;
                    vectors += count * (len / 16) as f64;
                    vector_rests += count * (len % 16) as f64;
                    if !(start * bits).is_multiple_of(8) {
                        within += count;
                        within_values += count * len as f64;
                    }
                }
            }
        }
    }
    let positions = down.output as f64 * right.output as f64;
    counts.add_all(
        rows,
        [
            ("filter", 1.0),
            ("filter-line", down.output as f64),
            ("filter-position", positions),
            ("filter-row", down.tap_sum() * right.output as f64),
            ("segment", all),
            ("segment-value", values),
            ("segment-word", words),
            ("segment-rest", rests),
            ("segment-eight", eights),
            ("segment-eight-rest", eight_rests),
            ("segment-vector", vectors),
            ("segment-vector-rest", vector_rests),
            // Of weights that begin within a byte.
            ("segment-within", within),
            ("segment-within-value", within_values),
        ],
    );
    if bits != 8 && bits != 16 {
        counts.add("segment-byte", rows * values * bits as f64 / 8.0);
    }
    if has_offset && !is_strided {
        counts.add("offset-segment", rows * all);
        counts.add("offset-segment-value", rows * values);
    }
}

#[cfg(test)]
mod tests {
    use super::super::cores::Core;
    use super::*;
    use bitsback_runtime::format::Layout;

    #[test]
    fn filters_that_are_decoded_go_in_batches() {
        let axis = Axis { size: 3, stride: 1, padding: 0, dilation: 1, input: 5, output: 3 };
        let batches = |core: Core, in_batches, rows| {
            let kernels = core.kernels();
            let plain = Parameters::plain(rows, Layout::RowMajor);
            let parameters = Parameters { in_batches, ..plain };
            let conv = Convolution {
                kernels: &kernels,
                parameters: &parameters,
                axes: [axis; 2],
                channels: 10,
                offset: 0,
                pool: None,
            };
            conv.batches(conv.columns()).iter().map(Range::len).collect::<Vec<_>>()
        };
        assert_eq!(batches(Core::CortexM4, false, 30), [30]);
        // 1200 / 90 are 13, whole blocks 12.
        assert_eq!(batches(Core::CortexM4, true, 30), [12, 12, 6]);
        assert_eq!(batches(Core::CortexM3, true, 6), [6]);
    }

    #[test]
    fn segments_are_rows_of_windows() {
        let axis = Axis { size: 3, stride: 1, padding: 1, dilation: 1, input: 6, output: 6 };
        let mut counts = Counts::default();
        segments(&mut counts, &[axis; 2], (5, false), (2.0, 4, true));
        // 16 rows of taps at six positions, with 16 taps of five channels.
        assert_eq!(counts.get("segment"), 2.0 * 16.0 * 6.0);
        assert_eq!(counts.get("segment-value"), 2.0 * 16.0 * 16.0 * 5.0);
        assert_eq!(counts.get("segment-byte"), counts.get("segment-value") / 2.0);
        assert!(counts.get("segment-within") > 0.0);
        let far = Axis { dilation: 2, padding: 2, ..axis };
        let mut counts = Counts::default();
        segments(&mut counts, &[far; 2], (4, false), (1.0, 8, false));
        assert_eq!(counts.get("segment-word"), counts.get("segment"));
    }
}
