//! An image under a convolution's kernel.

mod sweep;

use super::MaxPool2d;
use super::affine::Layer;
use super::filter::{FILTER_MAX, Filter};
use super::window::{Axis, convolve};
use crate::arch::{
    Finish, Isa, Kernels, MakeWorkspace, PATCH_MAX, POSITIONS, Place, Stretches, TAKES_ALL,
};
use sweep::Sweep;

/// The input of a convolution and how the kernel moves over it.
pub(crate) struct Image<'a> {
    pub(crate) values: &'a [i8],
    pub(crate) zero_point: i8,
    pub(crate) axes: [Axis; 2],
    pub(crate) channels: usize,
}

impl Image<'_> {
    /// The convolution's outputs, position after position.
    pub(crate) fn convolve(&self, layer: &Layer<'_>, columns: usize, output: &mut [i8]) {
        let rows = [0, layer.matrix.rows];
        if Isa::convolve(self, layer, rows, output).is_some() || TAKES_ALL {
            return;
        }
        if Isa::is_direct(layer.matrix.bits()) && columns <= PATCH_MAX {
            self.by_position(layer, columns, rows, output);
        } else {
            self.by_filter(layer, columns, output);
        }
    }

    /// As [`Self::convolve`], for widths that kernels take directly and filters of at most [`PATCH_MAX`]
    /// weights, which may be some of `all`, from the `first` one on.
    pub(super) fn convolve_some(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        [first, all]: [usize; 2],
        output: &mut [i8],
    ) {
        if Isa::convolve(self, layer, [first, all], output).is_none() && !TAKES_ALL {
            self.by_position(layer, columns, [first, all], output);
        }
    }

    /// Gathers what lies under the kernel at each position once, for all filters: long sums and no
    /// border to think of, since padding is filled with the zero point. For widths that kernels
    /// take directly, and filters of at most [`PATCH_MAX`] weights.
    ///
    /// The layer's filters may be some of `all`, from the `first` one on.
    #[inline(never)]
    fn by_position(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        [first, all]: [usize; 2],
        output: &mut [i8],
    ) {
        let mut place = Place::new();
        let mut sweep = Sweep::new(self, layer, columns, place.workspace());
        (sweep.first, sweep.all) = (first, all);
        let [rows, columns] = self.axes;
        let mut rest = output;
        for down in 0..rows.output {
            for right in 0..columns.output {
                sweep.add(down, right);
                if sweep.filled == POSITIONS {
                    rest = sweep.finish(rest);
                }
            }
        }
        sweep.finish(rest);
    }

    /// As [`Self::convolve_and_pool`], of a pooling that is an operator of its own, and its activation.
    pub(super) fn pool(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        pool: &MaxPool2d,
        output: &mut [i8],
    ) {
        let Some([height, width, _]) = pool.output.shape.image() else { return };
        let [rows, across] = &self.axes;
        let positions = [rows.output, across.output];
        let axes = Axis::both(&pool.window, [1, 1], positions, [height, width]);
        let clamp = layer.finish.clamp.and(pool.clamp).unwrap_or_default();
        let layer = Layer { finish: Finish { clamp, ..layer.finish }, ..*layer };
        let output = output.get_mut(..pool.output.len()).unwrap_or_default();
        self.convolve_and_pool(&layer, columns, &axes, output);
    }

    /// The largest output in each window of a pooling, for weights of at most 8 bits, filters of at
    /// most [`FILTER_MAX`] weights, and multipliers that shift nothing to the left.
    pub(crate) fn convolve_and_pool(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        pool: &[Axis; 2],
        output: &mut [i8],
    ) {
        if Isa::convolve_and_pool(self, layer, pool, output).is_none() && !TAKES_ALL {
            self.pool_by_position(layer, columns, pool, output);
        }
    }

    /// As [`Self::convolve_and_pool`].
    #[inline(never)]
    fn pool_by_position(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        pool: &[Axis; 2],
        output: &mut [i8],
    ) {
        let mut place = Place::new();
        let mut sweep = Sweep::new(self, layer, columns, place.workspace());
        let squares = sweep.squares(pool);
        let [rows, columns] = pool;
        // `max(1)`: there are filters, but the compiler can't know.
        let filters = layer.matrix.rows.max(1);
        let mut rest = output;
        for down in 0..rows.output {
            let len = columns.output.wrapping_mul(filters);
            let (line, below) = rest.split_at_mut_checked(len).unwrap_or_default();
            rest = below;
            let done = sweep.finish_squares(rows, down, &squares, line);
            if done.len() == columns.output {
                continue;
            }
            let (down, top) = rows.taps(down);
            for (right, pixel) in line.chunks_exact_mut(filters).enumerate() {
                if done.contains(&right) {
                    continue;
                }
                let (right, left) = columns.taps(right);
                let mut raised = false;
                for y in 0..down.len() {
                    for x in 0..right.len() {
                        sweep.add(top.wrapping_add(y), left.wrapping_add(x));
                        if sweep.filled == POSITIONS {
                            sweep.finish_largest(pixel, raised);
                            raised = true;
                        }
                    }
                }
                sweep.finish_largest(pixel, raised);
            }
        }
    }

    /// The rows of a window that lies inside the image; empty ones where they are apart.
    fn stretches(&self) -> Stretches {
        let [rows, columns] = self.axes;
        let together = columns.dilation == 1;
        Stretches {
            rows: rows.size,
            len: if together { columns.size.wrapping_mul(self.channels) } else { 0 },
            stride: rows.dilation.wrapping_mul(columns.input).wrapping_mul(self.channels),
        }
    }

    /// Where the window at a position of the output begins among the values, if all of it lies inside
    /// the image.
    #[inline(always)]
    pub(crate) fn inside(&self, down: usize, right: usize) -> Option<usize> {
        let [rows, columns] = self.axes;
        let (top, left) = (rows.inside(down)?, columns.inside(right)?);
        let pixel = top.wrapping_mul(columns.input).wrapping_add(left);
        Some(pixel.wrapping_mul(self.channels))
    }

    /// Copies the values under the kernel at a position of the output, in the filters' order: those
    /// from number `start` on.
    #[inline(never)]
    pub(crate) fn gather(&self, down: usize, right: usize, start: usize, piece: &mut [i8]) {
        let [rows, columns] = self.axes;
        let ((row_taps, top), (taps, left)) = (rows.taps(down), columns.taps(right));
        if row_taps.len() < rows.size || taps.len() < columns.size {
            Isa::fill(piece, self.zero_point);
        }
        let channels = self.channels;
        let [line, width] = [columns.input, columns.size].map(|n| n.wrapping_mul(channels));
        let down = rows.dilation.wrapping_mul(line);
        let end = start.wrapping_add(piece.len());
        let is_whole = piece.len() == rows.size.wrapping_mul(width);
        // All rows at once, or those that a piece has something of; all taps of a row, or each by itself.
        let (count, at_once) = if is_whole { (1, row_taps.len()) } else { (row_taps.len(), 1) };
        let (apart, taps_at_once) =
            if columns.dilation == 1 { (1, taps.len()) } else { (taps.len(), 1) };
        let len = taps_at_once.wrapping_mul(channels);
        let first = row_taps.start.wrapping_mul(columns.size).wrapping_add(taps.start);
        let (mut tap, mut pixel) = (first, top.wrapping_mul(columns.input).wrapping_add(left));
        for _ in 0..apart {
            let (mut to, mut from) = (tap.wrapping_mul(channels), pixel.wrapping_mul(channels));
            for _ in 0..count {
                let (first, last) = (to.max(start), to.wrapping_add(len).min(end));
                if first < last {
                    let values = self.values.get(from.wrapping_add(first.wrapping_sub(to))..);
                    let piece = piece.get_mut(first.wrapping_sub(start)..).unwrap_or_default();
                    let (values, len) = (values.unwrap_or_default(), last.wrapping_sub(first));
                    Isa::copy_rows(values, piece, at_once, len, [down, width]);
                }
                (to, from) = (to.wrapping_add(width), from.wrapping_add(down));
            }
            tap = tap.wrapping_add(1);
            pixel = pixel.wrapping_add(columns.dilation);
        }
    }

    /// Unpacks each filter once, if it is small enough, and moves it over the image.
    #[inline(never)]
    fn by_filter(&self, layer: &Layer<'_>, columns: usize, output: &mut [i8]) {
        let (channels, dilation) = (self.channels, self.axes[1].dilation);
        let offset = -i16::from(self.zero_point);
        let filters = layer.matrix.rows;
        let mut buffer = [0; FILTER_MAX];
        for (row, packed) in layer.matrix.packed().enumerate() {
            let filter = Filter::unpack(packed, layer.matrix.bits(), columns, &mut buffer);
            let bias = layer.unfolded_bias(row, &filter, columns, self.zero_point);
            let part = |tap: usize, pixel: usize, taps: usize| {
                let start = pixel.wrapping_mul(channels);
                let end = start.wrapping_add(taps.wrapping_mul(channels));
                let x = self.values.get(start..end).unwrap_or_default();
                Isa::dot(filter.bits, filter.row, tap.wrapping_mul(channels), x, offset)
            };
            let segment = |tap: usize, pixel: usize, taps: usize| {
                if dilation == 1 {
                    return part(tap, pixel, taps);
                }
                (0..taps).fold(0i32, |sum, i| {
                    let pixel = pixel.wrapping_add(i.wrapping_mul(dilation));
                    sum.wrapping_add(part(tap.wrapping_add(i), pixel, 1))
                })
            };
            convolve(&self.axes, segment, |position, sum| {
                let at = position.wrapping_mul(filters).wrapping_add(row);
                if let Some(y) = output.get_mut(at) {
                    *y = layer.finish.output(row, sum.wrapping_add(bias));
                }
            });
        }
    }
}
