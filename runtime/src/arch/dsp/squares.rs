//! Convolutions of one channel by 5 × 5 whose output is pooled by 2 × 2: four positions that share
//! most of what lies under their kernels.
//!
//! A square of positions sees 6 × 6 pixels. Each of those rows is spread once for all filters, from
//! the image, to four words: pixels 0 and 2, 1 and 3, 2 and 4, 3 and 5. Between them they hold every
//! pair that the two positions of a row multiply with weights 0 and 2, 1 and 3; weight 4 meets the
//! upper halves. So a row of a filter takes four instructions to load and spread, and twelve for
//! twenty products at four positions, with one to load the next row of pixels: 99 instructions per
//! filter and square with the maximum, one a product. To spread a square takes 64. Gathering patches
//! (`patches`) would take 480, as much as five filters' products.

use core::arch::naked_asm;

use super::super::{CHUNK_ROWS, Matrix, Stretches, Sums};
use super::patches::Room;
use crate::format::Layout;

/// Rows and columns of the kernel.
const SIZE: usize = 5;
/// Weights of a filter.
const COLUMNS: usize = SIZE * SIZE;
/// Rows and columns of pixels that a square of positions sees.
const SIGHT: usize = SIZE + 1;
/// From one square to the next.
const STEP: usize = 2;

/// What the kernel loads for each square.
#[repr(C)]
struct Recipe {
    /// The offset, twice.
    offsets: u32,
    /// Pixels of a row of the image.
    stride: usize,
    /// All filters.
    weights: *const u8,
    end: *const u8,
}

/// How many squares have room for their sums at once; 0 where the kernel isn't for such layers.
pub(super) fn at_once(matrix: &Matrix<'_>, window: Stretches) -> usize {
    let is_bytes = matrix.bits() == 8 && matrix.layout() == Layout::RowMajor;
    let is_square = window.rows == SIZE && window.len == SIZE && matrix.columns == COLUMNS;
    if is_bytes && is_square { CHUNK_ROWS.checked_div(matrix.rows).unwrap_or_default() } else { 0 }
}

/// The largest Σ w·(x + offset) of each of `count` neighbouring squares, filter after filter;
/// `None` where they don't fit. `offsets` is the offset, twice; `from` begins with the first pixel that the first square sees, and
/// `stride` pixels are a row of the image.
pub(super) fn largest(
    matrix: &Matrix<'_>,
    room: &mut Room,
    offsets: u32,
    (from, stride): (&[i8], usize),
    count: usize,
    sums: &mut Sums,
) -> Option<()> {
    let across = count.checked_sub(1)?.checked_mul(STEP)?.checked_add(SIGHT)?;
    let seen = stride.checked_mul(SIGHT - 1)?.checked_add(across)?;
    let weights = matrix.bytes.get(..matrix.rows.checked_mul(COLUMNS)?)?;
    if from.len() < seen || weights.is_empty() || count.checked_mul(matrix.rows)? > sums.len() {
        return None;
    }
    let ends = weights.as_ptr_range();
    let recipe = Recipe { offsets, stride, weights: ends.start, end: ends.end };
    let words = room.words().first_chunk_mut::<SIGHT>()?;
    // SAFETY: there are squares; the last of them sees SIGHT rows of SIGHT pixels, the last of which
    // is number `seen`. There are filters of COLUMNS weights each between the recipe's ends, and no
    // more sums than there is room for. Those are `largest_of_squares`' conditions.
    unsafe {
        largest_of_squares(from.as_ptr(), words.as_mut_ptr(), sums.as_mut_ptr(), count, &recipe);
    }
    Some(())
}

/// The largest sum of each square and filter.
///
/// # Safety
/// `count` isn't 0. SIGHT pixels can be read from each of SIGHT rows `recipe.stride` apart, the first
/// of which begin at `from`, and at each STEP behind it for `count` squares; 4 · SIGHT words can be
/// written at `room`. Between `weights` and `end` are filters of COLUMNS bytes, one at least; a sum
/// can be written for each square and filter.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4–r11 and
// lr saved and restored, the stack as it was). A square reads words at pixels 0 and 2 of each row
// that it sees, writes four words of `room` for each, and goes on with `square_filters`. LDR takes any
// address; STM is at multiples of four, as `room` consists of words.
#[unsafe(naked)]
unsafe extern "C" fn largest_of_squares(
    from: *const i8,
    room: *mut [u32; 4],
    sums: *mut i32,
    count: usize,
    recipe: &Recipe,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        // Three rows from r0 and r2, which are two pixels apart.
        ".macro square_rows",
        "ldr r9, [r0]",
        "ldr r11, [r2]",
        "square_row_words",
        "ldr r9, [r0, r5]",
        "ldr r11, [r2, r5]",
        "square_row_words",
        "ldr r9, [r0, r5, lsl #1]",
        "ldr r11, [r2, r5, lsl #1]",
        "square_row_words",
        ".endm",
        ".macro square_row_words",
        "sxtab16 r8, r4, r9",
        "sxtab16 r9, r4, r9, ror #8",
        "sxtab16 r10, r4, r11",
        "sxtab16 r11, r4, r11, ror #8",
        "stm r1!, {{r8-r11}}",
        ".endm",
        "push {{r0-r11, lr}}",
        "1:",
        // r0 the pixels, r1 the room, r12 their rows, r4 offsets, r5 the distance of rows.
        "ldrd r0, r1, [sp]",
        "ldr r12, [sp, #52]",
        "ldrd r4, r5, [r12]",
        "add r2, r0, #2",
        "str r2, [sp]",
        "add r3, r5, r5, lsl #1",
        "square_rows",
        "add r0, r0, r3",
        "add r2, r2, r3",
        "square_rows",
        "sub r0, r1, #96",
        "ldr r12, [sp, #52]",
        "ldrd r1, r12, [r12, #8]",
        "bl {filters}",
        "ldr r2, [sp, #12]",
        "subs r2, r2, #1",
        "str r2, [sp, #12]",
        "bne 1b",
        "pop {{r0-r11, pc}}",
        ".purgem square_rows",
        ".purgem square_row_words",
        filters = sym square_filters,
    )
}

/// The largest sums of all filters over a square that is spread.
// SAFETY: called by `largest_of_squares` alone, with its stack, the spread square at r0, and the
// filters from r1 to r12. It reads 24 words at r0 for each filter, and the filter's weights by words
// and bytes, and writes a word for each behind the sums that were written. The stack, but for
// their end, is as it was.
#[unsafe(naked)]
unsafe extern "C" fn square_filters() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        // A row of a filter: its words and last byte, the upper positions, the next row of pixels,
        // the lower positions.
        ".macro square_row first",
        "ldr r3, [r1], #4",
        "ldrsb r12, [r1], #1",
        "sxtb16 r2, r3",
        "sxtb16 r3, r3, ror #8",
        "square_products \\first, r4, r5",
        "ldm r0!, {{r8-r11}}",
        "square_products \\first, r6, r7",
        ".endm",
        // The two positions of a row; the first product begins the sums, or goes on with them.
        ".macro square_products first, left, right",
        ".if \\first",
        "smuad \\left, r8, r2",
        "smuad \\right, r9, r2",
        ".else",
        "smlad \\left, r8, r2, \\left",
        "smlad \\right, r9, r2, \\right",
        ".endif",
        "smlad \\left, r9, r3, \\left",
        "smlad \\right, r10, r3, \\right",
        "smlatb \\left, r10, r12, \\left",
        "smlatb \\right, r11, r12, \\right",
        ".endm",
        ".macro square_larger other",
        "cmp \\other, r4",
        "it gt",
        "movgt r4, \\other",
        ".endm",
        "push {{r12, lr}}",
        "ldr lr, [sp, #16]",
        "1:",
        "ldm r0!, {{r8-r11}}",
        "square_row 1",
        "square_row 0",
        "square_row 0",
        "square_row 0",
        "square_row 0",
        "sub r0, r0, #96",
        "square_larger r5",
        "square_larger r6",
        "square_larger r7",
        "str r4, [lr], #4",
        "ldr r2, [sp]",
        "cmp r1, r2",
        "bne 1b",
        "str lr, [sp, #16]",
        "pop {{r12, pc}}",
        ".purgem square_row",
        ".purgem square_products",
        ".purgem square_larger",
    )
}
