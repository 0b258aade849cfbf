//! Plain Rust: complete, and the reference for all other kernels, whose methods are these where they
//! aren't overridden.
//!
//! Everything is iterators over slices that were cut with checks, so there is nothing to panic.

use super::depthwise::{LANES, Steps, Tap};
use super::finish::stored;
use super::kernels::InputsOf;
use super::{BLOCK_ROWS, Finish, Group, Kernels, Matrix, Multipliers, Row, Sums};
use crate::features::Features;
use crate::format::{Fields, paired_weight, row_len};
use crate::requantize::{Multiplier, requantize};

/// The kernels of a core that is none of the others.
#[cfg(any(bitsback_isa = "portable", test))]
pub(crate) struct Portable;

#[cfg(any(bitsback_isa = "portable", test))]
impl Kernels for Portable {
    const NAME: &'static str = "portable";
    type Lanes = ();
}

/// As [`Kernels::dot_rows`], a block after the other.
pub(super) fn dot_rows<K: Kernels>(
    matrix: &Matrix<'_>,
    first: usize,
    inputs: &InputsOf<'_, K>,
    sums: &mut Sums,
) {
    let (blocks, _) = sums.as_chunks_mut::<BLOCK_ROWS>();
    let rows = (first..matrix.rows).step_by(BLOCK_ROWS);
    for (block, first) in blocks.iter_mut().zip(rows) {
        *block = K::dot_block(matrix, first, inputs);
    }
}

/// As [`Kernels::finish_rows`].
#[inline(never)]
pub(super) fn finish_rows(finish: &Finish<'_>, first: usize, sums: &[i32], outputs: &mut [i8]) {
    let mut one = Multiplier::default();
    let mut each = [].iter();
    match finish.multipliers.from(first) {
        Multipliers::PerTensor(multiplier) => one = multiplier,
        Multipliers::PerChannel(table) => each = table.iter(),
    }
    for ((y, &sum), bias) in outputs.iter_mut().zip(sums).zip(finish.biases(first)) {
        let multiplier = match each.next() {
            Some(entry) if Features::BUILT.per_channel => stored(entry),
            _ => one,
        };
        let value = requantize(sum.wrapping_add(bias), multiplier, finish.zero_point);
        *y = finish.clamp.apply(value);
    }
}

/// As [`Kernels::dot_block`]: a block of pairs at once, four rows, or row after row.
#[inline(never)]
pub(super) fn dot_block<K: Kernels>(
    matrix: &Matrix<'_>,
    first: usize,
    x: &[i8],
    offset: i16,
) -> [i32; BLOCK_ROWS] {
    // Who has kernels for most rows takes what is short for the rest.
    if !K::HAS_NARROW
        && let (Some(block), true) = (matrix.block(first), first.is_multiple_of(BLOCK_ROWS))
    {
        return dot_pairs(block, x, offset);
    }
    if !K::HAS_BYTES
        && let (8, Some(rows)) = (matrix.bits(), four_rows(matrix, first, x.len()))
    {
        return dot_four(rows, x, offset);
    }
    if !K::HAS_NARROW
        && let (4 | 2, Some(rows)) =
            (matrix.bits(), four_rows(matrix, first, row_len(matrix.bits(), x.len())))
    {
        return if matrix.bits() == 4 {
            dot_four_nibbles(rows, x, offset)
        } else {
            dot_four_crumbs(rows, x, offset)
        };
    }
    let mut sums = [0; BLOCK_ROWS];
    for (row, sum) in (first..matrix.rows).zip(&mut sums) {
        *sum = dot_row::<K>(matrix, row, x, offset);
    }
    sums
}

/// Four packed rows of `len` bytes.
fn four_rows<'a>(matrix: &Matrix<'a>, first: usize, len: usize) -> Option<[&'a [u8]; BLOCK_ROWS]> {
    let whole = matrix.rows.saturating_sub(first) >= BLOCK_ROWS;
    if matrix.row_len != len || !whole {
        return None;
    }
    let (a, rest) = matrix.bytes_from(first).split_at_checked(len)?;
    let (b, rest) = rest.split_at_checked(len)?;
    let (c, rest) = rest.split_at_checked(len)?;
    Some([a, b, c, rest.get(..len)?])
}

/// Σ w·(x + offset) of four rows of bytes: an input is loaded once for four products, and the loop
/// turns once for sixteen.
fn dot_four(rows: [&[u8]; BLOCK_ROWS], x: &[i8], offset: i16) -> [i32; BLOCK_ROWS] {
    let [rows_a, rows_b, rows_c, rows_d] = rows.map(<[u8]>::as_chunks::<4>);
    let (x, x_rest) = x.as_chunks::<4>();
    let (mut a, mut b, mut c, mut d) = (0i32, 0i32, 0i32, 0i32);
    // Written out: whoever compiles for size unrolls nothing.
    let mut add = |[wa, wb, wc, wd]: [u8; BLOCK_ROWS], x: i8| {
        let x = i32::from(x).wrapping_add(i32::from(offset));
        a = a.wrapping_add(i32::from(wa as i8).wrapping_mul(x));
        b = b.wrapping_add(i32::from(wb as i8).wrapping_mul(x));
        c = c.wrapping_add(i32::from(wc as i8).wrapping_mul(x));
        d = d.wrapping_add(i32::from(wd as i8).wrapping_mul(x));
    };
    let words = rows_a.0.iter().zip(rows_b.0).zip(rows_c.0).zip(rows_d.0);
    for ((((a, b), c), d), x) in words.zip(x) {
        add([a[0], b[0], c[0], d[0]], x[0]);
        add([a[1], b[1], c[1], d[1]], x[1]);
        add([a[2], b[2], c[2], d[2]], x[2]);
        add([a[3], b[3], c[3], d[3]], x[3]);
    }
    let rest = rows_a.1.iter().zip(rows_b.1).zip(rows_c.1).zip(rows_d.1);
    for ((((&a, &b), &c), &d), &x) in rest.zip(x_rest) {
        add([a, b, c, d], x);
    }
    [a, b, c, d]
}

/// Σ w·(x + offset) of four rows of nibbles: an input is loaded once for four products, a byte of
/// weights once for two.
#[inline(never)]
fn dot_four_nibbles(rows: [&[u8]; BLOCK_ROWS], x: &[i8], offset: i16) -> [i32; BLOCK_ROWS] {
    let [rows_a, rows_b, rows_c, rows_d] = rows;
    let (pairs, rest) = x.as_chunks::<2>();
    let (mut a, mut b, mut c, mut d) = (0i32, 0i32, 0i32, 0i32);
    let offset = i32::from(offset);
    let input = |x: i8| i32::from(x).wrapping_add(offset);
    let add = |sum: &mut i32, byte: u8, x0: i32, x1: i32| {
        let word = i32::from(byte as i8);
        *sum = sum.wrapping_add((word << 28 >> 28).wrapping_mul(x0));
        *sum = sum.wrapping_add((word >> 4).wrapping_mul(x1));
    };
    let mut bytes = rows_a.iter().zip(rows_b).zip(rows_c).zip(rows_d);
    for (&[x0, x1], (((&wa, &wb), &wc), &wd)) in pairs.iter().zip(&mut bytes) {
        let (x0, x1) = (input(x0), input(x1));
        add(&mut a, wa, x0, x1);
        add(&mut b, wb, x0, x1);
        add(&mut c, wc, x0, x1);
        add(&mut d, wd, x0, x1);
    }
    if let (&[x0], Some((((&wa, &wb), &wc), &wd))) = (rest, bytes.next()) {
        let x0 = input(x0);
        add(&mut a, wa, x0, 0);
        add(&mut b, wb, x0, 0);
        add(&mut c, wc, x0, 0);
        add(&mut d, wd, x0, 0);
    }
    [a, b, c, d]
}

/// The same of rows of 2 bits: a byte of weights is loaded once for four products.
#[inline(never)]
fn dot_four_crumbs(rows: [&[u8]; BLOCK_ROWS], x: &[i8], offset: i16) -> [i32; BLOCK_ROWS] {
    let [rows_a, rows_b, rows_c, rows_d] = rows;
    let (quads, rest) = x.as_chunks::<4>();
    let (mut a, mut b, mut c, mut d) = (0i32, 0i32, 0i32, 0i32);
    let offset = i32::from(offset);
    let input = |x: i8| i32::from(x).wrapping_add(offset);
    let add = |sum: &mut i32, byte: u8, x: [i32; 4]| {
        let word = i32::from(byte as i8);
        *sum = sum.wrapping_add((word << 30 >> 30).wrapping_mul(x[0]));
        *sum = sum.wrapping_add((word << 28 >> 30).wrapping_mul(x[1]));
        *sum = sum.wrapping_add((word << 26 >> 30).wrapping_mul(x[2]));
        *sum = sum.wrapping_add((word >> 6).wrapping_mul(x[3]));
    };
    let mut bytes = rows_a.iter().zip(rows_b).zip(rows_c).zip(rows_d);
    for (x, (((&wa, &wb), &wc), &wd)) in quads.iter().zip(&mut bytes) {
        let x = x.map(input);
        add(&mut a, wa, x);
        add(&mut b, wb, x);
        add(&mut c, wc, x);
        add(&mut d, wd, x);
    }
    if let (false, Some((((&wa, &wb), &wc), &wd))) = (rest.is_empty(), bytes.next()) {
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(place, &x)| *place = input(x));
        add(&mut a, wa, last);
        add(&mut b, wb, last);
        add(&mut c, wc, last);
        add(&mut d, wd, last);
    }
    [a, b, c, d]
}

/// Σ w·(x + offset) of the rows of a block of pairs: of half-words A + 256·B and of their low bytes,
/// whose difference is 256·ΣB·(x + offset). [`crate::Model::parse`] has shown that the latter stays
/// within 32 bits.
#[inline(never)]
fn dot_pairs(block: &[u8], x: &[i8], offset: i16) -> [i32; BLOCK_ROWS] {
    let ((groups, _), (columns, rest)) = (block.as_chunks::<16>(), x.as_chunks::<4>());
    let x = |x: i8| i32::from(x).wrapping_add(i32::from(offset));
    let mut sums = PairSums::default();
    for (group, &columns) in groups.iter().zip(columns) {
        sums.add(group, columns.map(x));
    }
    if let (Some(group), false) = (groups.get(columns.len()), rest.is_empty()) {
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(place, &value)| *place = x(value));
        sums.add(group, last);
    }
    let [[a, b], [c, d]] = sums.0.map(|[low, both]| [low, both.wrapping_sub(low) >> 8]);
    [a, b, c, d]
}

/// Of two pairs: Σ of low bytes and Σ of half-words, times inputs.
#[derive(Default)]
struct PairSums([[i32; 2]; 2]);

impl PairSums {
    /// Half-words are those of columns 0, 2, 1, 3 of the first pair, then of the second.
    #[inline(always)]
    fn add(&mut self, group: &[u8; 16], [x0, x1, x2, x3]: [i32; 4]) {
        let (halves, _) = group.as_chunks::<2>();
        let (pairs, _) = halves.as_chunks::<4>();
        for ([low, both], &[h0, h2, h1, h3]) in self.0.iter_mut().zip(pairs) {
            let mut add = |half: [u8; 2], x: i32| {
                *low = low.wrapping_add(i32::from(half[0] as i8).wrapping_mul(x));
                *both = both.wrapping_add(i32::from(i16::from_le_bytes(half)).wrapping_mul(x));
            };
            add(h0, x0);
            add(h2, x2);
            add(h1, x1);
            add(h3, x3);
        }
    }
}

/// Σ w·(x + offset) of one row.
fn dot_row<K: Kernels>(matrix: &Matrix<'_>, row: usize, x: &[i8], offset: i16) -> i32 {
    match matrix.row(row) {
        Row::Packed(weights) => dot::<K>(matrix.bits(), weights, 0, x, offset),
        Row::Paired(block, member) => {
            let mut weights = (0..).map(|column| paired_weight(block, member, column) as i16);
            x.iter().fold(0i32, |acc, &x| {
                acc.wrapping_add(product(weights.next().unwrap_or_default(), x, offset))
            })
        }
    }
}

/// As [`Kernels::dot`].
pub(super) fn dot<K: Kernels>(bits: u8, row: &[u8], start: usize, x: &[i8], offset: i16) -> i32 {
    let from = |byte: usize| row.get(byte..).unwrap_or_default();
    if !Features::BUILT.widths {
        return dot_w8a8::<K>(from(start), x, offset);
    }
    match bits {
        8 => dot_w8a8::<K>(from(start), x, offset),
        4 if start.is_multiple_of(2) => dot_w4a8(from(start / 2), x, offset),
        2 if start.is_multiple_of(4) => dot_w2a8(from(start / 4), x, offset),
        16 => dot_w16a8(from(start.saturating_mul(2)), x, offset),
        _ => dot_packed(bits, row, start, x, offset),
    }
}

/// As [`Kernels::dot_strided`].
pub(super) fn dot_strided(
    bits: u8,
    row: &[u8],
    start: usize,
    x: &[i8],
    stride: usize,
    taps: usize,
    offset: i16,
) -> i32 {
    // `max(1)`: strides aren't 0, but the compiler can't know.
    let x = x.iter().step_by(stride.max(1)).take(taps);
    if bits == 8 || !Features::BUILT.widths {
        let weights = row.get(start..).unwrap_or_default();
        return weights
            .iter()
            .zip(x)
            .fold(0i32, |acc, (&w, &x)| acc.wrapping_add(product(i16::from(w as i8), x, offset)));
    }
    let mut fields = Fields::new(row, bits, start);
    x.fold(0i32, |acc, &x| acc.wrapping_add(product(fields.take() as i16, x, offset)))
}

/// As [`Kernels::depthwise`], for groups of four channels; whoever takes more has a kernel for it.
#[inline(never)]
pub(super) fn depthwise(
    group: &Group,
    finish: &Finish<'_>,
    first: usize,
    rows: usize,
    (x, y): (&[i8], &mut [i8]),
) -> Option<()> {
    if LANES != 4 || !group.is_within(rows, x.len(), y.len()) {
        return None;
    }
    let mut channel = first..;
    let multipliers = [(); 4].map(|()| finish.multiplier(channel.next().unwrap_or_default()));
    let Steps { input, output, .. } = group.steps();
    for row in 0..rows {
        let mut to = row.wrapping_mul(output[0]);
        for run in group.runs() {
            let taps = group.taps().get(run.first..run.end).unwrap_or_default();
            let mut from = row.wrapping_mul(input[0]).wrapping_add(run.from);
            for _ in 0..run.count {
                let [biases, ..] = run.biases;
                let sums = dot_taps(taps, biases, x, from);
                let outputs = y.get_mut(to..)?.first_chunk_mut::<4>()?;
                for ((y, sum), multiplier) in outputs.iter_mut().zip(sums).zip(multipliers) {
                    *y = finish.clamp.apply(requantize(sum, multiplier, finish.zero_point));
                }
                from = from.wrapping_add(input[1]);
                to = to.wrapping_add(output[1]);
            }
        }
    }
    Some(())
}

/// Adds Σ w·x of four lanes to `sums`, for a window that begins at `from`.
#[inline(always)]
fn dot_taps(taps: &[Tap], sums: [i32; 4], x: &[i8], from: usize) -> [i32; 4] {
    let [mut a, mut b, mut c, mut d] = sums;
    for &Tap { at, weights: [[wa, wb, wc, wd], ..] } in taps {
        let x = x.get(from.wrapping_add(at)..).and_then(<[i8]>::first_chunk);
        let &[xa, xb, xc, xd] = x.unwrap_or(&[0; 4]);
        // Written out, as in `dot_four`.
        a = a.wrapping_add(product(wa, xa, 0));
        b = b.wrapping_add(product(wb, xb, 0));
        c = c.wrapping_add(product(wc, xc, 0));
        d = d.wrapping_add(product(wd, xd, 0));
    }
    [a, b, c, d]
}

/// As [`Kernels::sum_pixels`], four channels at a time.
#[inline(never)]
pub(super) fn sum_pixels(
    values: &[i8],
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
    sums: &mut [i32],
) {
    for (sums, first) in sums.chunks_mut(4).zip((0usize..).step_by(4)) {
        let [mut a, mut b, mut c, mut d] = [0i32; 4];
        for row in 0..rows {
            let from = row.wrapping_mul(down).wrapping_add(first);
            let row = values.get(from..).unwrap_or_default();
            // `max(1)`: steps aren't 0, but the compiler can't know.
            for pixel in row.chunks(right.max(1)).take(columns) {
                // Written out, as in `dot_four`.
                if let Some(&[xa, xb, xc, xd]) = pixel.first_chunk() {
                    a = a.wrapping_add(xa.into());
                    b = b.wrapping_add(xb.into());
                    c = c.wrapping_add(xc.into());
                    d = d.wrapping_add(xd.into());
                    continue;
                }
                for (sum, &x) in [&mut a, &mut b, &mut c].into_iter().zip(pixel) {
                    *sum = sum.wrapping_add(x.into());
                }
            }
        }
        sums.iter_mut().zip([a, b, c, d]).for_each(|(sum, folded)| *sum = folded);
    }
}

/// As [`Kernels::copy`].
#[inline(always)]
pub(super) fn copy(to: &mut [i8], from: &[i8]) {
    let count = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
        to.copy_from_slice(from);
    }
}

/// As [`Kernels::copy_rows`].
pub(super) fn copy_rows<K: Kernels>(
    from: &[i8],
    to: &mut [i8],
    rows: usize,
    len: usize,
    [from_stride, to_stride]: [usize; 2],
) {
    // `max(1)`: strides aren't 0, but the compiler can't know.
    let from = from.chunks(from_stride.max(1));
    for (to, from) in to.chunks_mut(to_stride.max(1)).zip(from).take(rows) {
        if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
            K::copy(to, from);
        }
    }
}

/// As [`Kernels::row_sum`].
pub(super) fn row_sum(bits: u8, row: &[u8], start: usize, len: usize) -> i32 {
    if bits == 8 || !Features::BUILT.widths {
        let weights = row.get(start..).unwrap_or_default().iter().take(len);
        return weights.fold(0i32, |sum, &w| sum.wrapping_add(i32::from(w as i8)));
    }
    let mut fields = Fields::new(row, bits, start);
    (0..len).fold(0i32, |sum, _| sum.wrapping_add(fields.take()))
}

/// One product; both factors fit 16 bits, which lets hosts use their widening multiply-adds.
#[inline(always)]
fn product(w: i16, x: i8, offset: i16) -> i32 {
    i32::from(w).wrapping_mul(i32::from(i16::from(x).wrapping_add(offset)))
}

fn dot_w8a8<K: Kernels>(row: &[u8], x: &[i8], offset: i16) -> i32 {
    if !K::HAS_BYTES && offset == 0 {
        return row
            .iter()
            .zip(x)
            .fold(0i32, |acc, (&w, &x)| acc.wrapping_add(product(i16::from(w as i8), x, 0)));
    }
    row.iter()
        .zip(x)
        .fold(0i32, |acc, (&w, &x)| acc.wrapping_add(product(i16::from(w as i8), x, offset)))
}

fn dot_w16a8(row: &[u8], x: &[i8], offset: i16) -> i32 {
    let (words, _) = row.as_chunks::<2>();
    words
        .iter()
        .zip(x)
        .fold(0i32, |acc, (&w, &x)| acc.wrapping_add(product(i16::from_le_bytes(w), x, offset)))
}

fn dot_w4a8(row: &[u8], x: &[i8], offset: i16) -> i32 {
    let low = |byte: u8| i16::from((byte << 4) as i8 >> 4);
    let high = |byte: u8| i16::from(byte as i8 >> 4);
    let (pairs, rest) = x.as_chunks::<2>();
    let acc = row.iter().zip(pairs).fold(0i32, |acc, (&byte, &[x0, x1])| {
        acc.wrapping_add(product(low(byte), x0, offset)).wrapping_add(product(
            high(byte),
            x1,
            offset,
        ))
    });
    match (rest, row.get(pairs.len())) {
        (&[last], Some(&byte)) => acc.wrapping_add(product(low(byte), last, offset)),
        _ => acc,
    }
}

fn dot_w2a8(row: &[u8], x: &[i8], offset: i16) -> i32 {
    let field = |byte: u8, up: u32| i16::from((byte << up) as i8 >> 6);
    let (quads, rest) = x.as_chunks::<4>();
    let acc = row.iter().zip(quads).fold(0i32, |acc, (&byte, &[x0, x1, x2, x3])| {
        acc.wrapping_add(product(field(byte, 6), x0, offset))
            .wrapping_add(product(field(byte, 4), x1, offset))
            .wrapping_add(product(field(byte, 2), x2, offset))
            .wrapping_add(product(field(byte, 0), x3, offset))
    });
    let last = row.get(quads.len()).copied().unwrap_or_default();
    rest.iter()
        .zip([6, 4, 2])
        .fold(acc, |acc, (&x, up)| acc.wrapping_add(product(field(last, up), x, offset)))
}

/// Any width, straddling bytes: fields are taken one by one, so that nothing is unpacked to RAM.
fn dot_packed(bits: u8, row: &[u8], start: usize, x: &[i8], offset: i16) -> i32 {
    let mut fields = Fields::new(row, bits, start);
    x.iter().fold(0i32, |acc, &x| acc.wrapping_add(product(fields.take() as i16, x, offset)))
}

#[cfg(test)]
mod tests {
    super::super::suite::kernel_suite!(super::Portable);
}
