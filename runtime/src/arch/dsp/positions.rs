//! A convolution's rows at four positions at once, so that a weight is loaded and spread once for
//! four products.
//!
//! A packed row takes 13 instructions per four columns and four positions, 0.81 a product, and two
//! for the loop every eight columns. A pair of rows takes 12 per two columns, 0.75 a product, and
//! three for the loop. What limits both are the fourteen registers: eight sums, two inputs, two
//! weights and two addresses leave none for the loop's end, which lies on the stack.
//!
//! Patches come in pieces (see `patches`): each kernel has an entry that begins with sums of 0, for
//! the first, and one that goes on with those that are there.

use core::arch::naked_asm;
use core::ops::Range;

use super::super::{BLOCK_ROWS as ROWS, CHUNK_ROWS, Kernels, Matrix, Sums};
use super::pairs::blocks;
use super::patches::Patches;
use super::{Dsp, GROUP};
use crate::format::{Fields, pair_block_len};

/// Positions that a kernel takes at once.
pub(super) const POSITIONS: usize = Dsp::POSITIONS;

/// Four columns at all positions: columns 0 and 2, then columns 1 and 3.
pub(super) type Group = [[u32; POSITIONS]; 2];

/// As [`GatherPatches::dot`](super::GatherPatches::dot).
#[inline(never)]
pub(super) fn dot_patches(
    matrix: &Matrix<'_>,
    first: usize,
    patches: &mut Patches<'_>,
    sums: &mut [Sums; POSITIONS],
) {
    let done = dot_pairs(matrix, first, patches, sums);
    let rows = matrix.rows.saturating_sub(first).min(CHUNK_ROWS);
    if let Some(dot_listed) = matrix.listed {
        dot_listed(matrix, first, done..rows, patches, sums);
    } else if done < rows {
        dot_packed(matrix, first, done..rows, patches, sums);
    }
}

/// Blocks of pairs, at most a chunk; returns how many rows these were.
fn dot_pairs(
    matrix: &Matrix<'_>,
    first: usize,
    patches: &Patches<'_>,
    sums: &mut [Sums; POSITIONS],
) -> usize {
    let (pairs, groups) = (blocks(matrix, first), patches.groups());
    let len = pair_block_len(matrix.columns);
    let blocks = pairs.len().checked_div(len).unwrap_or_default().min(CHUNK_ROWS / ROWS);
    // A block has 16 bytes for each group, which has 32.
    let (start, used) = (patches.start.wrapping_mul(ROWS), size_of_val(groups) / 2);
    if used == 0 || start.saturating_add(used) > len {
        return 0;
    }
    let ends = groups.as_ptr_range();
    let dot = if start == 0 { dot2_pairs } else { add_dot2_pairs };
    let mut weights = pairs.as_ptr().wrapping_add(start);
    let mut out = sums.as_mut_ptr().cast::<i32>();
    for _ in 0..blocks {
        // SAFETY: `groups` aren't empty and `ends` bound them; each of `blocks` blocks of `pairs`
        // has `len` bytes, of which those from `start` on are 16 for each group, so that the
        // second pair's begin within them; each position of `sums` has ROWS sums for each block,
        // and the positions are CHUNK_ROWS words apart. Those are `dot2_pairs`' conditions.
        unsafe {
            dot(ends.start, weights, ends.end, out);
            dot(ends.start, weights.wrapping_add(8), ends.end, out.wrapping_add(2));
        }
        (weights, out) = (weights.wrapping_add(len), out.wrapping_add(ROWS));
    }
    blocks.wrapping_mul(ROWS)
}

/// Some of a chunk's rows that are packed, each by itself.
#[inline(never)]
pub(super) fn dot_packed(
    matrix: &Matrix<'_>,
    first: usize,
    rows: Range<usize>,
    patches: &mut Patches<'_>,
    sums: &mut [Sums; POSITIONS],
) {
    let (start, ends) = (patches.start, patches.groups().as_ptr_range());
    let used = patches.groups().len().wrapping_mul(GROUP);
    if used == 0 {
        return;
    }
    let dot = if start == 0 { dot_row } else { add_dot_row };
    let bytes = matrix.bytes_from(first.wrapping_add(rows.start));
    let rows = rows.start..rows.end.min(CHUNK_ROWS);
    let mut out = sums.as_mut_ptr().cast::<i32>().wrapping_add(rows.start);
    // Bytes are read in place, but for rows whose last group reaches beyond the section.
    let within = match bytes.len().checked_sub(start.saturating_add(used)) {
        Some(rest) if matrix.bits() == 8 => rest.checked_div(matrix.row_len).map_or(0, |n| n + 1),
        _ => 0,
    };
    let within = within.min(rows.len());
    let mut weights = bytes.as_ptr().wrapping_add(start);
    for _ in 0..within {
        // SAFETY: there are groups and `ends` bound them; `used` bytes, four for each, can be read
        // from `start` on of each of the first `within` rows, as these begin no later than as many
        // before the section's end; each position of `sums` has CHUNK_ROWS words, no fewer than
        // `rows` ends with. Those are `dot_row`'s conditions.
        unsafe { dot(ends.start, weights, ends.end, out) };
        (weights, out) = (weights.wrapping_add(matrix.row_len), out.wrapping_add(1));
    }
    let left = matrix.columns.saturating_sub(start).min(used);
    for row in within..rows.len() {
        let bytes = bytes.get(row.wrapping_mul(matrix.row_len)..).unwrap_or_default();
        let room = patches.room.scratch.get_mut(..left).unwrap_or_default();
        let mut fields = Fields::new(bytes, matrix.bits(), start);
        for weight in room {
            *weight = fields.take() as i8;
        }
        let weights = patches.room.scratch.as_ptr().cast();
        // SAFETY: as above, with `used` bytes of `scratch`, which is no shorter than the longest
        // piece; and nothing has changed the groups.
        unsafe { dot(ends.start, weights, ends.end, out) };
        out = out.wrapping_add(1);
    }
}

/// The sums of a pair of rows at four positions, CHUNK_ROWS words apart, second row after first.
///
/// As in a dense layer (see `dot4_pairs`): SMLAD with half-words A + 256·B, and with their low
/// bytes; a subtraction and a shift leave ΣB·x.
///
/// # Safety
/// `x` and `end` bound at least one group; `weights` points to as many blocks' groups of 16 bytes,
/// or 8 bytes into the first of them; two sums can be written every 256 bytes.
// SAFETY: as `dot2_pairs_body`, which it goes on with; here, registers are saved and set.
#[unsafe(naked)]
unsafe extern "C" fn dot2_pairs(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut i32,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r2-r11, lr}}",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        "b {body}",
        body = sym dot2_pairs_body,
    )
}

/// As [`dot2_pairs`], added to the sums that are there.
///
/// # Safety
/// As there, and the sums can be read.
// SAFETY: as there; LDRD is at multiples of four, as sums consist of words.
#[unsafe(naked)]
unsafe extern "C" fn add_dot2_pairs(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut i32,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r2-r11, lr}}",
        "ldrd r4, r8, [r3]",
        "ldrd r5, r9, [r3, #256]",
        "ldrd r6, r10, [r3, #512]",
        "ldrd r7, r11, [r3, #768]",
        "add r8, r4, r8, lsl #8",
        "add r9, r5, r9, lsl #8",
        "add r10, r6, r10, lsl #8",
        "add r11, r7, r11, lsl #8",
        "b {body}",
        body = sym dot2_pairs_body,
    )
}

/// The rest of [`dot2_pairs`].
// SAFETY: reached by a branch from `dot2_pairs` and `add_dot2_pairs` alone, with their arguments in
// r0–r2, r2–r11 and lr on the stack, and sums in r4–r7 (ΣA·x) and r8–r11 (ΣA·x + 256·ΣB·x). It ends
// those functions by the C calling convention (r4–r11 and the stack as they were), reads `x` up to
// `end` by 32 bytes a step, the weights by the first eight of 16 bytes, and writes four times 8
// bytes. LDRD and STRD are at multiples of four, as groups and sums consist of words; LDR takes any
// address.
#[unsafe(naked)]
unsafe extern "C" fn dot2_pairs_body() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro dot2_word step",
        "ldr r12, [r1], #\\step",
        "ldrd r2, r3, [r0], #8",
        "sxtb16 lr, r12",
        "smlad r8, r2, r12, r8",
        "smlad r9, r3, r12, r9",
        "smlad r4, r2, lr, r4",
        "smlad r5, r3, lr, r5",
        "ldrd r2, r3, [r0], #8",
        "smlad r10, r2, r12, r10",
        "smlad r11, r3, r12, r11",
        "smlad r6, r2, lr, r6",
        "smlad r7, r3, lr, r7",
        ".endm",
        "sub r12, r2, r0",
        "tst r12, #32", // an odd number of groups starts at the second half
        "bne 2f",
        "1:",
        "dot2_word 4",
        "dot2_word 12",
        "2:",
        "dot2_word 4",
        "dot2_word 12",
        "ldr r2, [sp]",
        "cmp r0, r2",
        "bne 1b",
        "pop {{r2, r3}}",
        "subs r8, r8, r4",
        "asrs r8, r8, #8",
        "strd r4, r8, [r3]",
        "subs r9, r9, r5",
        "asrs r9, r9, #8",
        "strd r5, r9, [r3, #256]",
        "subs r10, r10, r6",
        "asrs r10, r10, #8",
        "strd r6, r10, [r3, #512]",
        "subs r11, r11, r7",
        "asrs r11, r11, #8",
        "strd r7, r11, [r3, #768]",
        "pop {{r4-r11, pc}}",
        ".purgem dot2_word",
    )
}

/// The sums of a row of bytes at four positions, CHUNK_ROWS words apart.
///
/// # Safety
/// `x` and `end` bound at least one group; `weights` has four bytes for each; a sum can be written
/// every 256 bytes.
// SAFETY: as `dot_row_body`, which it goes on with; here, registers are saved and set.
#[unsafe(naked)]
unsafe extern "C" fn dot_row(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut i32,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "b {body}",
        body = sym dot_row_body,
    )
}

/// As [`dot_row`], added to the sums that are there.
///
/// # Safety
/// As there, and the sums can be read.
// SAFETY: as there.
#[unsafe(naked)]
unsafe extern "C" fn add_dot_row(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut i32,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "ldr r4, [r3]",
        "ldr r5, [r3, #256]",
        "ldr r6, [r3, #512]",
        "ldr r7, [r3, #768]",
        "b {body}",
        body = sym dot_row_body,
    )
}

/// The rest of [`dot_row`].
// SAFETY: reached by a branch from `dot_row` and `add_dot_row` alone, with their arguments in r0–r3,
// r4–r11 and lr on the stack, and sums in r4–r7. It ends those functions by the C calling
// convention (r4–r11 and the stack as they were), reads `x` up to `end` by 32 bytes a step, the
// weights by four, and writes four words. LDM is at multiples of four, as groups consist of words;
// LDR takes any address.
#[unsafe(naked)]
unsafe extern "C" fn dot_row_body() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro dot_row_group",
        "ldr r12, [r1], #4",
        "ldm r0!, {{r8-r11}}",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "smlad r4, r8, lr, r4",
        "smlad r5, r9, lr, r5",
        "smlad r6, r10, lr, r6",
        "smlad r7, r11, lr, r7",
        "ldm r0!, {{r8-r11}}",
        "smlad r4, r8, r12, r4",
        "smlad r5, r9, r12, r5",
        "smlad r6, r10, r12, r6",
        "smlad r7, r11, r12, r7",
        ".endm",
        "sub r12, r2, r0",
        "tst r12, #32", // an odd number of groups starts at the second half
        "bne 2f",
        "1:",
        "dot_row_group",
        "2:",
        "dot_row_group",
        "cmp r0, r2",
        "bne 1b",
        "str r4, [r3]",
        "str r5, [r3, #256]",
        "str r6, [r3, #512]",
        "str r7, [r3, #768]",
        "pop {{r4-r11, pc}}",
        ".purgem dot_row_group",
    )
}
