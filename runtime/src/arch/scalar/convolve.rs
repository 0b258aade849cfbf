//! Convolutions of bytes by words of two inputs, four positions at a time: half the multiplications.
//!
//! A word X = 2¹⁶·x₁ + x₀ holds the inputs of two positions in a column; a weight w makes w·X of it. Over a
//! pair of columns, S = Σ w·X has halves Σ w·x₁ and Σ w·x₀ between −2·128·127 = −32,512 and 2·128·128 =
//! 32,768, whatever the bytes. With 32,767 added to both they are between 255 and 65,535: S is then a
//! number without sign, and its upper half is that of x₁, with nothing borrowed. Kernels add up the S and
//! their upper halves, and begin with what takes the 32,767 out again. They come to A = 2¹⁶·Σ w·x₁ +
//! Σ w·x₀ and T = Σ w·x₁ over all columns, modulo 2³²; and so does Σ w·x₀ = A − 2¹⁶·T, which is how sums
//! are defined. A single column is a pair with a product of 0.
//!
//! Some rows at a time are multiplied at all positions, so that what becomes of their sums is found out
//! once; patches longer than a [`PIECE`] are gathered and multiplied in pieces.

use super::scales::{Places, Scale, most, outputs};
use super::{PACKED_STEP, POSITIONS, Packed, Scalar, isa};
use crate::arch::Kernels;
use crate::format::Layout;
use crate::ops::{Image, Layer};

/// Most rows at a time, an even number.
const ROWS: usize = 32;
/// Fewest rows that packing pays for.
const MIN_ROWS: usize = 8;
/// Most columns that are gathered at once, whole steps of the kernel.
const PIECE: usize = 72;
/// What is added to both halves of a word, as a word.
const ADDED: i32 = 0x7FFF_7FFF;

/// Where a convolution works.
struct Room<'r> {
    windows: &'r mut [[i8; PIECE]; POSITIONS],
    patch: &'r mut [[i32; 2]; PIECE],
    sums: &'r mut [[i32; POSITIONS]; ROWS],
    scales: &'r mut [Scale; ROWS],
}

/// Whether a layer's weights are rows of bytes, and rows and positions enough.
pub(super) fn takes(image: &Image<'_>, layer: &Layer<'_>) -> bool {
    let (matrix, [down, right]) = (&layer.matrix, &image.axes);
    let are_bytes = matrix.bits() == 8 && matrix.layout() == Layout::RowMajor;
    let positions = down.output.wrapping_mul(right.output);
    are_bytes && matrix.columns > 0 && matrix.rows >= MIN_ROWS && positions >= POSITIONS
}

/// The outputs of a layer that [`takes`] is true of; its rows may be some of `all`, from the `first` one
/// on. `None` where there is no room for them.
#[inline(never)]
pub(super) fn convolve(
    image: &Image<'_>,
    layer: &Layer<'_>,
    [first, all]: [usize; 2],
    output: &mut [i8],
) -> Option<()> {
    // Each by itself: what is put together is made elsewhere and copied.
    let mut windows = [[0; PIECE]; POSITIONS];
    let mut patch = [[0; 2]; PIECE];
    let mut sums = [[0; POSITIONS]; ROWS];
    let mut scales = [Scale::NONE; ROWS];
    let mut room =
        Room { windows: &mut windows, patch: &mut patch, sums: &mut sums, scales: &mut scales };
    let (rows, columns) = (layer.matrix.rows, layer.matrix.columns);
    // As many in each part, but for the last one.
    let rows_at_once = part(rows, ROWS, isa::PACKED_ROWS);
    let piece = part(columns, PIECE, PACKED_STEP);
    let mut start = 0usize;
    while start < rows {
        let count = rows.wrapping_sub(start).min(rows_at_once);
        let scales = room.scales.get_mut(..count).unwrap_or_default();
        hold(image, layer, start, scales);
        let weights = layer.matrix.bytes_from(start).get(..count.wrapping_mul(columns));
        let rows = Rows { start, weights: weights.unwrap_or_default(), columns, piece };
        let to = output.get_mut(first.wrapping_add(start)..)?;
        rows.at_all_positions((image, layer), &mut room, count, (all, to))?;
        start = start.wrapping_add(count.max(1));
    }
    Some(())
}

/// How many of `all` go into each of the fewest parts of at most `most`, rounded up to a multiple of
/// `step`, which `most` is.
fn part(all: usize, most: usize, step: usize) -> usize {
    let parts = all.div_ceil(most.max(1)).max(1);
    all.div_ceil(parts).next_multiple_of(step.max(1)).min(most)
}

/// What becomes of the sums of rows from `start` on.
#[inline(never)]
fn hold(image: &Image<'_>, layer: &Layer<'_>, start: usize, scales: &mut [Scale]) {
    let (matrix, finish) = (&layer.matrix, &layer.finish);
    let offset = if layer.folded { 0 } else { -i32::from(image.zero_point) };
    let mut biases = finish.biases(start);
    for (scale, row) in scales.iter_mut().zip(start..) {
        let bias = biases.next().unwrap_or_default();
        *scale = Scale::new(finish.multiplier(row), bias, most(8, matrix.columns, bias));
        if offset != 0 {
            let sum = Scalar::row_sum(8, matrix.bytes_from(row), 0, matrix.columns);
            scale.bias = bias.wrapping_add(sum.wrapping_mul(offset));
        }
    }
}

/// Some rows of a layer.
struct Rows<'a> {
    /// The first one's number.
    start: usize,
    weights: &'a [u8],
    columns: usize,
    /// Columns that are gathered at once.
    piece: usize,
}

impl Rows<'_> {
    /// The outputs of `count` rows, those of a position `all` from the one before; `None` where there is no
    /// room for them.
    #[inline(always)]
    fn at_all_positions(
        &self,
        (image, layer): (&Image<'_>, &Layer<'_>),
        room: &mut Room<'_>,
        count: usize,
        (all, to): (usize, &mut [i8]),
    ) -> Option<()> {
        let Room { windows, patch, sums, scales } = room;
        let scales = scales.get(..count).unwrap_or_default();
        let [down, right] = &image.axes;
        let positions = down.output.wrapping_mul(right.output);
        let mut next = [0usize; 2];
        let mut at = 0usize;
        while at < positions {
            let filled = positions.wrapping_sub(at).min(POSITIONS);
            // Those that aren't there are the first one again.
            let mut places = [next; POSITIONS];
            for place in places.iter_mut().take(filled) {
                *place = next;
                next[1] = next[1].wrapping_add(1);
                if next[1] == right.output {
                    next = [next[0].wrapping_add(1), 0];
                }
            }
            for (sums, scale) in sums.iter_mut().zip(scales) {
                *sums = [scale.bias; POSITIONS];
            }
            let mut begin = 0usize;
            while begin < self.columns {
                let len = self.columns.wrapping_sub(begin).min(self.piece);
                let patch = patch.get_mut(..len).unwrap_or_default();
                gather(image, &places, begin, windows, patch);
                self.dot(begin, count, patch, sums);
                begin = begin.wrapping_add(len.max(1));
            }
            let to = to.get_mut(at.wrapping_mul(all)..)?;
            let places = Places { count: filled, stride: all, sums_step: POSITIONS };
            outputs(&layer.finish, self.start, (scales, sums.as_flattened()), places, to)?;
            at = at.wrapping_add(POSITIONS);
        }
        Some(())
    }

    /// Adds the products with the columns from `begin` on to the sums of `count` rows.
    #[inline(always)]
    fn dot(
        &self,
        begin: usize,
        count: usize,
        patch: &[[i32; 2]],
        sums: &mut [[i32; POSITIONS]; ROWS],
    ) {
        let even = count & !(isa::PACKED_ROWS - 1);
        let (sums, rest) = sums.split_at_mut(even);
        dot_rows(self.weights.get(begin..).unwrap_or_default(), self.columns, patch, sums);
        if even < count {
            // The last row twice, with sums of no row.
            let at = even.wrapping_mul(self.columns).wrapping_add(begin);
            let sums = rest.get_mut(..isa::PACKED_ROWS).unwrap_or_default();
            dot_rows(self.weights.get(at..).unwrap_or_default(), 0, patch, sums);
        }
    }
}

/// Adds the products of packed inputs with as many rows of weights as there are sums, the rows `stride`
/// apart. Nothing where these aren't there, or rows not as many as the kernel takes.
#[inline(always)]
fn dot_rows(weights: &[u8], stride: usize, patch: &[[i32; 2]], sums: &mut [[i32; POSITIONS]]) {
    let columns = patch.len();
    let last = sums.len().checked_sub(1).and_then(|rows| rows.checked_mul(stride));
    let is_whole = sums.len().is_multiple_of(isa::PACKED_ROWS);
    let are_there =
        last.and_then(|last| last.checked_add(columns)).is_some_and(|end| end <= weights.len());
    if sums.is_empty() || columns == 0 || !is_whole || !are_there {
        return;
    }
    let unrolled = columns & !(PACKED_STEP - 1);
    let words = (unrolled / 2).wrapping_add(columns.wrapping_sub(unrolled)) as i32;
    let range = sums.as_mut_ptr_range();
    let mut job = Packed {
        weights: weights.as_ptr(),
        stride,
        patch: patch.as_ptr(),
        columns,
        unrolled,
        begin: [ADDED, ADDED & 0xFFFF].map(|added| added.wrapping_mul(words).wrapping_neg()),
        sums: range.start,
        sums_end: range.end,
    };
    // SAFETY: there are sums, of whole kernels' rows; from the beginning of the last row there are as many
    // weights as packed columns, which aren't none, and so there are of the others; `unrolled` is no more than
    // these.
    unsafe { isa::dot_packed(&mut job) }
}

/// Packs the values under the kernel at four positions, those from number `begin` on.
#[inline(never)]
fn gather(
    image: &Image<'_>,
    places: &[[usize; 2]; POSITIONS],
    begin: usize,
    windows: &mut [[i8; PIECE]; POSITIONS],
    patch: &mut [[i32; 2]],
) {
    let len = patch.len();
    let is_row = image.axes[0].size == 1 && image.axes[1].dilation == 1;
    let [a, b, c, d] = {
        let mut values: [&[i8]; POSITIONS] = [&[]; POSITIONS];
        for ((values, window), &[down, right]) in values.iter_mut().zip(windows).zip(places) {
            let start = if is_row { image.inside(down, right) } else { None };
            *values = match start {
                Some(start) => image.values.get(start.wrapping_add(begin)..).unwrap_or_default(),
                None => {
                    let window = window.get_mut(..len).unwrap_or_default();
                    image.gather(down, right, begin, window);
                    window
                }
            };
        }
        values
    };
    let pair = |low: i8, high: i8| (i32::from(high) << 16).wrapping_add(low.into());
    for ((((to, &a), &b), &c), &d) in patch.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *to = [pair(a, b), pair(c, d)];
    }
}
