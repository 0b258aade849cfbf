//! Convolutions of one channel by 5 × 5 whose output is pooled by 2 × 2: four positions that share
//! most of what lies under their kernels.
//!
//! A square of positions sees 6 × 6 pixels, which are spread once for all filters, from the image: pixels 0
//! and 2, 1 and 3, 2 and 4 of each row hold every pair that the two positions of a row multiply with
//! weights 0 and 2, 1 and 3. Pixels of columns 4 and 5 are in pairs with those below them, and weights 4 of
//! two rows, too. Filters are spread in this order, in what patches of 25 values leave of their room: so a
//! filter takes 52 products of two, 13 loads, and 79 instructions with the maximum, for a hundred
//! products. To spread a square takes some 90. Gathering patches (`patches`) would take 480.

use core::arch::naked_asm;

use super::super::{CHUNK_ROWS, Finish, Matrix, Stretches, Sums};
use super::GROUP;
use super::patches::Room;
use super::positions::Group;
use super::scales::most;
use crate::format::Layout;

/// Rows and columns of the kernel.
const SIZE: usize = 5;
/// Weights of a filter.
const COLUMNS: usize = SIZE * SIZE;
/// Rows and columns of pixels that a square of positions sees.
const SIGHT: usize = SIZE + 1;
/// From one square to the next.
const STEP: usize = 2;
/// A square that is spread: three words of each row, and two of each two rows.
type Square = [u32; 3 * SIGHT + 2 * SIZE];
/// A filter that is spread: two words of each row, and three of its last column, of which the last one's upper
/// half counts for nothing.
type Filter = [u32; 2 * SIZE + 3];
/// Words before the filters, of a square or of patches.
const BEFORE: usize = COLUMNS.div_ceil(GROUP) * size_of::<Group>() / size_of::<u32>();
/// Filters that are spread at once.
const AT_ONCE: usize = 24;

const _: () = assert!(size_of::<Square>() <= BEFORE * size_of::<u32>());

/// What the kernel loads for each square.
#[repr(C)]
struct Recipe {
    /// The offset, twice.
    offsets: u32,
    /// Pixels of a row of the image.
    stride: usize,
    /// All filters.
    filters: *const Filter,
    end: *const Filter,
}

/// Whether the kernel is for such layers.
pub(super) fn takes(matrix: &Matrix<'_>, window: Stretches) -> bool {
    let is_bytes = matrix.bits() == 8 && matrix.layout() == Layout::RowMajor;
    // Lists are read by a kernel of their own.
    let is_bytes = is_bytes && matrix.listed.is_none();
    is_bytes && window.rows == SIZE && window.len == SIZE && matrix.columns == COLUMNS
}

/// The outputs of neighbouring squares, all filters of one after the other; `None` where they don't
/// fit. `offsets` is the offset, twice; `from` begins with the first pixel that the first square sees,
/// and `stride` pixels are a row of the image. `spread` says that all filters are spread already.
pub(super) fn finish(
    matrix: &Matrix<'_>,
    room: &mut Room,
    (offsets, spread): (u32, &mut bool),
    (from, stride): (&[i8], usize),
    (finish, sums): (&Finish<'_>, &mut Sums),
    line: &mut [i8],
) -> Option<()> {
    // `max(1)`: there are filters, but the compiler can't know.
    let rows = matrix.rows.max(1);
    for first in (0..rows).step_by(AT_ONCE) {
        let count = rows.wrapping_sub(first).min(AT_ONCE);
        if !*spread {
            spread_filters(matrix, room, first, count)?;
            *spread = count == rows;
        }
        // Outputs of a square follow those of another where these are all filters.
        let squares = if count == rows { CHUNK_ROWS / count.max(1) } else { 1 };
        let mut from = from;
        // `max(1)`: as above.
        for outputs in line.chunks_mut(squares.wrapping_mul(rows).max(1)) {
            let outputs = outputs.get_mut(first..).unwrap_or_default();
            let len = outputs.len().min(squares.wrapping_mul(count));
            let outputs = outputs.get_mut(..len).unwrap_or_default();
            largest(room, offsets, (from, stride), [len / count.max(1), count], sums)?;
            let rows = (first..first.wrapping_add(count), most(COLUMNS));
            room.scales.finish(finish, rows, sums, outputs);
            from = from.get(squares.wrapping_mul(STEP)..).unwrap_or_default();
        }
    }
    Some(())
}

/// Spreads so many filters.
fn spread_filters(matrix: &Matrix<'_>, room: &mut Room, first: usize, count: usize) -> Option<()> {
    let (filters, _) = matrix.bytes_from(first).as_chunks::<COLUMNS>();
    let (places, _) = room.words().get_mut(BEFORE..)?.as_chunks_mut::<{ 2 * SIZE + 3 }>();
    let (filters, places) = (filters.get(..count)?, places.get_mut(..count)?);
    if filters.is_empty() {
        return None;
    }
    // SAFETY: there are `count` > 0 filters and as many places: `spread_each`'s conditions.
    unsafe { spread_each(filters.as_ptr(), places.as_mut_ptr(), count) };
    Some(())
}

/// Spreads filters.
///
/// # Safety
/// `count` isn't 0; so many filters can be read, and written.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r10 and lr saved and
// restored, the stack as it was). A filter is five times a word and a byte that are read, ten words and three
// that are written. LDR takes any address; STRD and STM are at multiples of four, as what is written
// consists of words.
#[unsafe(naked)]
unsafe extern "C" fn spread_each(from: *const [u8; COLUMNS], to: *mut Filter, count: usize) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro spread_filter_row last",
        "ldr r4, [r0], #4",
        "ldrsb \\last, [r0], #1",
        "sxtb16 r3, r4",
        "sxtb16 r4, r4, ror #8",
        "strd r3, r4, [r1], #8",
        ".endm",
        "push {{r4-r10, lr}}",
        "1:",
        "spread_filter_row r8",
        "spread_filter_row r5",
        "spread_filter_row r9",
        "spread_filter_row r6",
        "spread_filter_row r10",
        "pkhbt r8, r8, r5, lsl #16",
        "pkhbt r9, r9, r6, lsl #16",
        "stm r1!, {{r8-r10}}",
        "subs r2, r2, #1",
        "bne 1b",
        "pop {{r4-r10, pc}}",
        ".purgem spread_filter_row",
    )
}

/// The largest Σ w·(x + offset) of each of `count` neighbouring squares, filter after filter, of so many
/// that are spread; `None` where they don't fit.
fn largest(
    room: &mut Room,
    offsets: u32,
    (from, stride): (&[i8], usize),
    [count, filters]: [usize; 2],
    sums: &mut Sums,
) -> Option<()> {
    let across = count.checked_sub(1)?.checked_mul(STEP)?.checked_add(SIGHT)?;
    let seen = stride.checked_mul(SIGHT - 1)?.checked_add(across)?;
    let (square, rest) = room.words().split_at_mut_checked(BEFORE)?;
    let (places, _) = rest.as_chunks::<{ 2 * SIZE + 3 }>();
    let places = places.get(..filters)?;
    if from.len() < seen || places.is_empty() || count.checked_mul(filters)? > sums.len() {
        return None;
    }
    let ends = places.as_ptr_range();
    let recipe = Recipe { offsets, stride, filters: ends.start, end: ends.end };
    let square = square.first_chunk_mut()?;
    // SAFETY: there are squares; the last of them sees SIGHT rows of SIGHT pixels, the last of which
    // is number `seen`. There are filters between the recipe's ends, and no more sums than there is
    // room for. Those are `largest_of_squares`' conditions.
    unsafe { largest_of_squares(from.as_ptr(), square, sums.as_mut_ptr(), count, &recipe) };
    Some(())
}

/// The largest sum of each square and filter.
///
/// # Safety
/// `count` isn't 0. SIGHT pixels can be read from each of SIGHT rows `recipe.stride` apart, the first
/// of which begin at `from`, and at each STEP behind it for `count` squares; a square can be
/// written. Between `filters` and `end` is one filter at least; a sum can be written for each square
/// and filter.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4–r11 and
// lr saved and restored, the stack as it was). A square reads words at pixels 0 and 2 of each row
// that it sees, writes three words for each, and two for it and the row before; those of the first row, which
// has none before it, are where the last row's are written later. Then it goes on with
// `square_filters`. LDR takes any address; STM and STRD are at multiples of four, as a square
// consists of words.
#[unsafe(naked)]
unsafe extern "C" fn largest_of_squares(
    from: *const i8,
    square: &mut Square,
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
        "stm r1!, {{r8-r10}}",
        "pkhtb r8, r10, r6, asr #16",
        "pkhtb r9, r11, r7, asr #16",
        "strd r8, r9, [r12], #8",
        "mov r6, r10",
        "mov r7, r11",
        ".endm",
        "push {{r0-r11, lr}}",
        "1:",
        // r0 the pixels, r1 and r12 the square, r4 offsets, r5 the distance of rows.
        "ldrd r0, r1, [sp]",
        "ldr r12, [sp, #52]",
        "ldrd r4, r5, [r12]",
        "add r2, r0, #2",
        "str r2, [sp]",
        "add r3, r5, r5, lsl #1",
        "add r12, r1, #64",
        "square_rows",
        "add r0, r0, r3",
        "add r2, r2, r3",
        "square_rows",
        "sub r0, r1, #72",
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

/// What a filter's kernel is made of: the two positions of a row by a row of a filter, where the first products
/// begin the sums; two words of pixels of the last column, at the upper and the lower positions; the larger one.
macro_rules! square_macros {
    () => {
        ".macro square_products product, left, right, even, odd
        .ifc \\product, smuad
        smuad \\left, r8, \\even
        smuad \\right, r9, \\even
        .else
        smlad \\left, r8, \\even, \\left
        smlad \\right, r9, \\even, \\right
        .endif
        smlad \\left, r9, \\odd, \\left
        smlad \\right, r10, \\odd, \\right
        .endm
        .macro square_last weights
        ldm r0!, {{r8-r11}}
        smlad r4, r8, \\weights, r4
        smlad r5, r9, \\weights, r5
        smlad r6, r10, \\weights, r6
        smlad r7, r11, \\weights, r7
        .endm
        .macro square_larger other
        cmp \\other, r4
        it gt
        movgt r4, \\other
        .endm"
    };
}

/// The largest sums of all filters over a square that is spread.
// SAFETY: called by `largest_of_squares` alone, with its stack, the spread square at r0, and the
// filters from r1 to r12. It reads a square at r0 for each filter, and the filter, and writes a word for
// each behind the sums that were written. LDM is at words of both. The stack, but for their end, is as
// it was.
#[unsafe(naked)]
unsafe extern "C" fn square_filters() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        square_macros!(),
        "push {{r12, lr}}",
        "ldr lr, [sp, #16]",
        "1:",
        "ldm r1!, {{r2, r3, r11, r12}}", // rows 0 and 1 of the filter
        "ldm r0!, {{r8-r10}}",
        "square_products smuad, r4, r5, r2, r3",
        "ldm r0!, {{r8-r10}}",
        "square_products smuad, r6, r7, r2, r3",
        "square_products smlad, r4, r5, r11, r12",
        "ldm r0!, {{r8-r10}}",
        "square_products smlad, r6, r7, r11, r12",
        "ldm r1!, {{r2, r3, r11, r12}}", // 2 and 3
        "square_products smlad, r4, r5, r2, r3",
        "ldm r0!, {{r8-r10}}",
        "square_products smlad, r6, r7, r2, r3",
        "square_products smlad, r4, r5, r11, r12",
        "ldm r0!, {{r8-r10}}",
        "square_products smlad, r6, r7, r11, r12",
        "ldm r1!, {{r2, r3}}", // 4
        "square_products smlad, r4, r5, r2, r3",
        "ldm r0!, {{r8-r10}}",
        "square_products smlad, r6, r7, r2, r3",
        "ldm r1!, {{r2, r3, r12}}", // the last column
        "square_last r2",
        "square_last r3",
        "ldm r0!, {{r8, r9}}",
        "smlabb r4, r8, r12, r4",
        "smlabb r5, r9, r12, r5",
        "smlatb r6, r8, r12, r6",
        "smlatb r7, r9, r12, r7",
        "sub r0, r0, #112",
        "square_larger r5",
        "square_larger r6",
        "square_larger r7",
        "str r4, [lr], #4",
        "ldr r2, [sp]",
        "cmp r1, r2",
        "bne 1b",
        "str lr, [sp, #16]",
        "pop {{r12, pc}}",
        ".purgem square_products",
        ".purgem square_last",
        ".purgem square_larger",
    )
}
