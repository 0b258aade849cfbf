//! Cores that multiply one pair of numbers at a time: Cortex-M0 and M3, ARM926, RISC-V.
//!
//! What they can save is everything but the products: an input is loaded once for four rows, several
//! columns a turn of the loop, and one call serves a whole chunk of rows, which lie one behind the
//! other. A loop of one column adds the offset to the input; it takes what the other leaves, and
//! all of it where there is an offset, which folded biases don't have. Rows that are no block, and
//! convolutions that take a filter at a time, have a loop for one row.
//!
//! A convolution has several positions for a weight, and a word holds two inputs: a multiplication
//! makes two products ([`convolve`]).
//!
//! | file | what |
//! |---|---|
//! | `convolve` | convolutions of bytes, four positions at a time |
//! | `depthwise` | depthwise convolutions, a channel after the other |
//! | `scales` | what becomes of sums |
//! | `thumb1`, `arm`, `rv32im` | the kernels |
//! | `model` | the same in plain Rust, which tests on hosts run |

mod convolve;
mod depthwise;
#[cfg_attr(bitsback_isa = "thumb1", path = "thumb1.rs")]
#[cfg_attr(any(bitsback_isa = "thumb2", bitsback_isa = "armv5te"), path = "arm.rs")]
#[cfg_attr(bitsback_isa = "rv32im", path = "rv32im.rs")]
#[cfg_attr(
    not(any(
        bitsback_isa = "thumb1",
        bitsback_isa = "thumb2",
        bitsback_isa = "armv5te",
        bitsback_isa = "rv32im"
    )),
    path = "model.rs"
)]
mod isa;
mod scales;
#[cfg(test)]
mod tests;

use self::scales::Scale;
use super::portable;
use super::{BLOCK_ROWS, Kernels, Matrix, Sums};
use crate::ops::{Image, Layer};

/// Those of a core that multiplies one pair at a time.
pub(crate) struct Scalar;

impl Kernels for Scalar {
    const NAME: &'static str = isa::NAME;
    const HAS_BYTES: bool = true;
    const DIVIDES: bool = isa::DIVIDES;
    const DECODED_MAX: usize = 608; // four filters of 5 × 5 × 6
    const HAS_IMAGES: bool = true;
    type Lanes = ();

    #[inline(always)]
    fn dot_rows(matrix: &Matrix<'_>, first: usize, inputs: &(&[i8], i16), sums: &mut Sums) {
        dot_rows(matrix, first, inputs, sums);
    }

    #[inline(always)]
    fn dot(bits: u8, row: &[u8], start: usize, x: &[i8], offset: i16) -> i32 {
        if bits == 8 {
            return dot_bytes(row.get(start..).unwrap_or_default(), x, offset);
        }
        portable::dot::<Self>(bits, row, start, x, offset)
    }

    #[inline(always)]
    fn convolve(
        image: &Image<'_>,
        layer: &Layer<'_>,
        rows: [usize; 2],
        output: &mut [i8],
    ) -> Option<()> {
        if !convolve::takes(image, layer) {
            return None;
        }
        convolve::convolve(image, layer, rows, output)
    }

    #[inline(always)]
    fn depthwise_image(image: &Image<'_>, layer: &Layer<'_>, output: &mut [i8]) -> Option<()> {
        depthwise::depthwise(image, layer, output)
    }
}

/// Blocks of rows over one vector of inputs, as the kernels load it.
#[repr(C)]
struct Job {
    /// Of the first block; kernels move it on.
    weights: *const u8,
    x: *const i8,
    /// Of a row; not 0.
    columns: usize,
    /// How many of these the unrolled loop takes: a multiple of its step.
    unrolled: usize,
    /// What the other loop adds to inputs.
    offset: i32,
    /// Of the first block; kernels move it on.
    sums: *mut [i32; BLOCK_ROWS],
    sums_end: *mut [i32; BLOCK_ROWS],
}

/// Positions that packed inputs are of.
const POSITIONS: usize = 4;
/// Columns of packed inputs that kernels take at once.
const PACKED_STEP: usize = 4;

/// Rows over packed inputs, as the kernels load them.
#[repr(C)]
struct Packed {
    /// Of the first row; kernels move it on.
    weights: *const u8,
    /// From a row to the next.
    stride: usize,
    /// A word for the first two positions and one for the others, for each column.
    patch: *const [i32; 2],
    /// Of a row; not 0.
    columns: usize,
    /// How many of these the unrolled loop takes: a multiple of [`PACKED_STEP`].
    unrolled: usize,
    /// What both accumulators begin with.
    begin: [i32; 2],
    /// Of the first row; kernels move it on.
    sums: *mut [i32; POSITIONS],
    sums_end: *mut [i32; POSITIONS],
}

/// A tap of a channel: values from a window's first one to its own, and the weight.
#[derive(Clone, Copy)]
#[repr(C)]
struct Tap {
    at: usize,
    weight: i32,
}

/// Taps that kernels take at once.
const TAPS_STEP: usize = 3;

/// One channel's window at some positions, as the kernels load it.
#[repr(C)]
struct Taps {
    /// What the first position's window begins with, and values to the next one's.
    x: *const i8,
    step: usize,
    /// Positions.
    count: usize,
    taps: *const Tap,
    taps_end: *const Tap,
    bias: i32,
    sums: *mut i32,
}

/// Sums of rows that become outputs, as kernels load them.
#[repr(C)]
struct Outputs {
    /// Of the first row, and bytes from a row's to the next one's; kernels move them on.
    sums: *const i32,
    sums_step: usize,
    /// Of the first row; kernels move it on.
    scales: *const Scale,
    scales_end: *const Scale,
    /// The first row's first one; kernels move it on.
    outputs: *mut i8,
    /// Bytes that a row's outputs are within, and from one to the next.
    span: usize,
    stride: usize,
    zero_point: i32,
    min: i32,
    max: i32,
}

/// Columns that the unrolled loop takes.
fn unrolled(columns: usize, offset: i16) -> usize {
    if offset == 0 { columns & !(isa::STEP - 1) } else { 0 }
}

/// As [`Kernels::dot_rows`].
#[inline(never)]
fn dot_rows(matrix: &Matrix<'_>, first: usize, &(x, offset): &(&[i8], i16), sums: &mut Sums) {
    let rows = matrix.rows.saturating_sub(first);
    if matrix.bits() != 8 || matrix.block(first).is_some() || matrix.row_len != x.len() {
        let (blocks, _) = sums.as_chunks_mut::<BLOCK_ROWS>();
        for (block, first) in blocks.iter_mut().zip((first..matrix.rows).step_by(BLOCK_ROWS)) {
            *block = portable::dot_block::<Scalar>(matrix, first, x, offset);
        }
        return;
    }
    let weights = matrix.bytes_from(first);
    let (blocks, _) = sums.as_chunks_mut::<BLOCK_ROWS>();
    let whole = (rows / BLOCK_ROWS).min(blocks.len());
    let blocks = blocks.get_mut(..whole).unwrap_or_default();
    let done = blocks.len().wrapping_mul(BLOCK_ROWS);
    let rest = dot_blocks(weights, x, offset, blocks).unwrap_or_default();
    // `max(1)`: rows aren't empty, but the compiler can't know.
    let rest = rest.chunks_exact(x.len().max(1)).take(rows.wrapping_sub(done));
    for (sum, row) in sums.iter_mut().skip(done).zip(rest) {
        *sum = dot_bytes(row, x, offset);
    }
}

/// As many blocks of packed rows as there are `sums`; returns the weights that follow these.
fn dot_blocks<'w>(
    weights: &'w [u8],
    x: &[i8],
    offset: i16,
    sums: &mut [[i32; BLOCK_ROWS]],
) -> Option<&'w [u8]> {
    let rows = sums.len().checked_mul(BLOCK_ROWS)?;
    let (weights, rest) = weights.split_at_checked(rows.checked_mul(x.len())?)?;
    if !weights.is_empty() {
        let sums = sums.as_mut_ptr_range();
        let mut job = Job {
            weights: weights.as_ptr(),
            x: x.as_ptr(),
            columns: x.len(),
            unrolled: unrolled(x.len(), offset),
            offset: offset.into(),
            sums: sums.start,
            sums_end: sums.end,
        };
        // SAFETY: `weights` are four rows for each of `sums`, each as long as `x`; there is at least one
        // of them, so neither `sums` nor `x` is empty; `unrolled` is no more than the columns.
        unsafe { isa::dot_blocks(&mut job) }
    }
    Some(rest)
}

/// Σ w·(x + offset) of as many bytes as the shorter one has.
fn dot_bytes(row: &[u8], x: &[i8], offset: i16) -> i32 {
    let columns = row.len().min(x.len());
    if columns == 0 {
        return 0;
    }
    let job = Job {
        weights: row.as_ptr(),
        x: x.as_ptr(),
        columns,
        unrolled: unrolled(columns, offset),
        offset: offset.into(),
        sums: core::ptr::null_mut(),
        sums_end: core::ptr::null_mut(),
    };
    // SAFETY: both have `columns` values, at least one; `unrolled` is no more than these.
    unsafe { isa::dot_row(&job) }
}
