//! Two rows of 4-bit weights over one vector of inputs: 1.20 instructions a product.
//!
//! Eight weights are a word. One instruction, AND with a shifted operand, moves the same field of
//! both half-words to their tops, where it is a signed number times 4096: nothing else unpacks it.
//! Per eight columns of two rows that is a load of four inputs and twice a load, four ANDs and four
//! SMLADs; its limit is that every two products need an AND. 4096 times a sum of so many columns must
//! fit 32 bits, so sums are taken over by [stretches](stretch).

use core::arch::naked_asm;

use super::dense::Group;
use super::{spread, twice};
use crate::arch::{CHUNK_ROWS, Matrix, Sums};

/// Width of a weight.
pub(super) const BITS: u8 = 4;
/// Weights of a word.
const COLUMNS: usize = 8;
/// Rows of a kernel.
const ROWS: usize = 2;

/// Eight inputs x + offset as two groups: 0 and 4 in the first word, then 1 and 5, 2 and 6, 3 and 7.
pub(super) fn spread_word(x: [i8; COLUMNS], offset: i16) -> [Group; 2] {
    let [x0, x1, x2, x3, x4, x5, x6, x7] = x.map(|x| x as u8);
    let offsets = twice(offset);
    let [a, b] = spread(offsets, u32::from_le_bytes([x0, x1, x2, x3]));
    let [c, d] = spread(offsets, u32::from_le_bytes([x4, x5, x6, x7]));
    let bottoms = |a: u32, c: u32| a & 0xFFFF | c << 16;
    let tops = |a: u32, c: u32| a >> 16 | c & 0xFFFF_0000;
    [[bottoms(a, c), bottoms(b, d)], [tops(a, c), tops(b, d)]]
}

/// Bytes of inputs over which 4096 times a sum fits 32 bits, so Σ |w·x| is below 2¹⁹: weights are at
/// most 8 and inputs 255, which allows 256 columns of two bytes; without an offset, inputs are at
/// most 128, which allows 511, and 504 in whole words.
const fn stretch(offset: i16) -> usize {
    if offset == 0 { 1008 } else { 512 }
}

/// The sums of rows from `first` on, at most a chunk, up to the first whose last word reaches beyond
/// the weight section; returns how many these were, the pair of a last row included.
pub(super) fn dot_rows(
    matrix: &Matrix<'_>,
    first: usize,
    (groups, offset): (&[Group], i16),
    sums: &mut Sums,
) -> usize {
    let bytes = matrix.bytes_from(first);
    let len = size_of_val(groups) / 4;
    if groups.is_empty() {
        return 0;
    }
    let readable = match bytes.len().checked_sub(len) {
        Some(rest) => rest.checked_div(matrix.row_len).map_or(0, |rows| rows.wrapping_add(1)),
        None => 0,
    };
    // The row behind the last one has no meaning, but can be read as well.
    let wanted = matrix.rows.saturating_sub(first).next_multiple_of(ROWS);
    let rows = wanted.min(readable).min(CHUNK_ROWS) / ROWS * ROWS;
    let to = sums.get_mut(..rows).unwrap_or_default().as_mut_ptr_range();
    if rows == 0 {
        return 0;
    }
    let ends = groups.as_ptr_range();
    let mut task = Task {
        weights: bytes.as_ptr(),
        row_len: matrix.row_len,
        sums: to.start,
        sums_end: to.end,
        stretch: stretch(offset),
    };
    // SAFETY: `groups` isn't empty and consists of whole words' inputs, which `ends` bound; `to`
    // bound `rows` sums, more than none and even, as there are `CHUNK_ROWS` of them; from the start
    // of each of so many rows there are four bytes for each word within `bytes`, as all are among
    // its first `readable` rows. Those are `dot2_w4a8`'s conditions.
    unsafe { dot2_w4a8(ends.start, ends.end, &mut task) };
    rows
}

/// What the kernel keeps in memory; it knows the order.
#[repr(C)]
struct Task {
    /// The next two rows.
    weights: *const u8,
    row_len: usize,
    /// Their sums.
    sums: *mut i32,
    sums_end: *mut i32,
    /// Bytes of inputs, a multiple of 16.
    stretch: usize,
}

/// The sums of products of rows of 4-bit weights, `task.row_len` bytes apart, and inputs from `x` to
/// `end`: as many rows as there are sums, two at a time.
///
/// # Safety
/// `x` and `end` bound two groups for each word of weights, at least one, and `task.stretch` isn't 0
/// and a multiple of their size; `task.sums` and `task.sums_end` bound sums that can be written, an
/// even number and not 0; as many rows have so many words to read. No alignment of rows is needed:
/// LDR takes any.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was). For each two sums it reads `x` up to `end` by 16 bytes a step and
// both rows by four, and writes 8 bytes of sums, which it reads after that; of `task` it writes the
// first and the third field. LDM, LDRD and STRD are at addresses that are multiples of four, since
// groups, sums and `task` consist of words. A stretch has its length, or what is left; a first turn
// of fewer than eight words starts late, by a table of eight places.
#[unsafe(naked)]
unsafe extern "C" fn dot2_w4a8(x: *const Group, end: *const Group, task: &mut Task) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro nibbles_row row, sum",
        "ldr r10, [\\row], #4",
        "and r11, r12, r10, lsl #12",
        "smlad \\sum, r11, r6, \\sum",
        "and r11, r12, r10, lsl #8",
        "smlad \\sum, r11, r7, \\sum",
        "and r11, r12, r10, lsl #4",
        "smlad \\sum, r11, r8, \\sum",
        "and r10, r12, r10",
        "smlad \\sum, r10, r9, \\sum",
        ".endm",
        ".macro nibbles_word",
        "ldm r0!, {{r6-r9}}",
        "nibbles_row r2, r4",
        "nibbles_row r3, r5",
        ".endm",
        "push {{r0, r2, r4-r11, lr}}",
        "mov r12, #0xF000F000",
        "ldr r10, [sp, #4]",
        "ldm r10, {{r2, r3, r11}}",
        "2:", // two rows
        "add r3, r3, r2",
        "movs r4, #0\nmovs r5, #0",
        "strd r4, r5, [r11]",
        "3:", // a stretch
        "ldr r6, [r10, #16]",
        "sub lr, r1, r0",
        "cmp lr, r6",
        "bls 5f",
        "mov lr, r6",
        "5:",
        "ubfx r6, lr, #4, #3",
        "add lr, lr, r0",
        "tbh [pc, r6, lsl #1]",
        "4:",
        ".short (20f - 4b) / 2",
        ".short (27f - 4b) / 2, (26f - 4b) / 2",
        ".short (25f - 4b) / 2, (24f - 4b) / 2",
        ".short (23f - 4b) / 2, (22f - 4b) / 2",
        ".short (21f - 4b) / 2",
        "20:\nnibbles_word\n21:\nnibbles_word",
        "22:\nnibbles_word\n23:\nnibbles_word",
        "24:\nnibbles_word\n25:\nnibbles_word",
        "26:\nnibbles_word\n27:\nnibbles_word",
        "cmp r0, lr",
        "bne 20b",
        "ldr r10, [sp, #4]",
        "ldr r11, [r10, #8]",
        "ldrd r6, r7, [r11]",
        "add r6, r6, r4, asr #12",
        "add r7, r7, r5, asr #12",
        "strd r6, r7, [r11], #8",
        "mov r4, #0\nmov r5, #0",
        "cmp r0, r1",
        "bne 3b",
        "ldm r10, {{r2, r3, r6, r7}}",
        "add r2, r2, r3, lsl #1",
        "str r2, [r10]",
        "str r11, [r10, #8]",
        "ldr r0, [sp]",
        "cmp r11, r7",
        "bne 2b",
        "pop {{r0, r2, r4-r11, pc}}",
        ".purgem nibbles_row\n.purgem nibbles_word",
    )
}
