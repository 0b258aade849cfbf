//! Cores that multiply one pair of numbers at a time: Cortex-M0 and M3, ARM926, RISC-V.
//!
//! What they can save is everything but the products: an input is loaded once for four rows, several
//! columns a turn of the loop, and one call serves a whole chunk of rows, which lie one behind the
//! other. A loop of one column adds the offset to the input; it takes what the other leaves, and
//! all of it where there is an offset, which folded biases don't have. Rows that are no block, and
//! convolutions that take a filter at a time, have a loop for one row.

#[cfg_attr(bitsback_isa = "thumb1", path = "thumb1.rs")]
#[cfg_attr(any(bitsback_isa = "thumb2", bitsback_isa = "armv5te"), path = "arm.rs")]
#[cfg_attr(bitsback_isa = "rv32im", path = "rv32im.rs")]
mod isa;

use super::portable;
use super::{BLOCK_ROWS, Kernels, Matrix, Sums};

/// Those of a core that multiplies one pair at a time.
pub(crate) struct Scalar;

impl Kernels for Scalar {
    const NAME: &'static str = isa::NAME;
    const HAS_BYTES: bool = true;
    const DIVIDES: bool = isa::DIVIDES;
    const DECODED_MAX: usize = 608; // four filters of 5 × 5 × 6
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
