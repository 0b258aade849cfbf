//! Four rows in pairs over one vector of inputs.
//!
//! Half of the weights need no spreading, and eight inputs are loaded at once: 27 instructions per
//! eight columns and four rows, and three for the loop every 32: 0.87 a product. LDM, which loads four
//! words of weights at once, needs them on a word; from elsewhere they are loaded one by one, without
//! turns that are written out: 1.19.

use core::arch::naked_asm;

use super::super::{BLOCK_ROWS as ROWS, Matrix};
use super::dense::Group;
use crate::format::pair_block_len;

/// All blocks of pairs from a block's first row on.
#[inline(always)]
pub(super) fn blocks<'a>(matrix: &Matrix<'a>, row: usize) -> &'a [u8] {
    let len = pair_block_len(matrix.columns);
    let end = (matrix.paired_rows() / ROWS).wrapping_mul(len);
    let start = (row / ROWS).wrapping_mul(len);
    matrix.bytes.get(start..end).unwrap_or_default()
}

/// Blocks of pairs; returns how many these were: all, unless there are no groups.
pub(super) fn dot_pairs(pairs: &[u8], groups: &[Group], sums: &mut [[i32; ROWS]]) -> usize {
    let weights = pairs.as_ptr();
    let len = size_of_val(groups).wrapping_mul(2);
    let blocks = pairs.len().checked_div(len).unwrap_or_default().min(sums.len());
    if groups.is_empty() || blocks == 0 {
        return 0;
    }
    let ends = groups.as_ptr_range();
    let to = sums.get_mut(..blocks).unwrap_or_default().as_mut_ptr_range();
    // SAFETY: `groups` isn't empty and `ends` bound it; there are `blocks` > 0 times as many weights
    // as groups, since a block is twice as long as these; `to` bound as many sums, as there are no
    // fewer. Those are `dot4_pairs`' conditions.
    unsafe { dot4_pairs(ends.start, weights, ends.end, to.start, to.end) };
    blocks
}

/// One word of a pair's weights: SMLAD with it, and with its low bytes.
macro_rules! dot4_pair {
    () => {
        ".macro dot4_pair word, input, low, both
        smlad \\both, \\word, \\input, \\both
        sxtb16 \\word, \\word
        smlad \\low, \\word, \\input, \\low
        .endm"
    };
}

/// The sums of products of blocks of pairs and the groups from `x` to `end`.
///
/// A half-word of weights is A + 256·B: SMLAD with it gives ΣA·x + 256·ΣB·x, with its low bytes
/// spread by SXTB16 it gives ΣA·x, and a subtraction and a shift leave ΣB·x, all modulo 2³².
/// [`crate::Model::parse`] has shown |ΣB·x| < 2²³, so the shift loses nothing.
///
/// # Safety
/// `x` and `end` bound at least one group, `sums` and `sums_end` at least one block of sums to
/// write; for each of these there are as many groups of 16 bytes of weights, at any address, as of inputs.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4–r11
// and lr saved and restored, the stack as it was). For each block of sums it reads `x` up to `end`,
// by eight bytes where the groups are odd in number, then by sixteen, and the weights, on and on, by
// twice as much, and writes 16 bytes of sums. LDRD, LDM and STM are at addresses that are multiples
// of four: those of groups and sums, which consist of words, and of weights that lie on one. Of others
// it makes a call of `dot4_pairs_apart`, as nothing has changed yet but r12, a scratch register.
#[unsafe(naked)]
unsafe extern "C" fn dot4_pairs(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut [i32; ROWS],
    sums_end: *mut [i32; ROWS],
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        dot4_pair!(),
        ".macro dot4_pair_group even, odd",
        "ldm r1!, {{r8-r11}}",
        "dot4_pair r8, \\even, r4, r5",
        "dot4_pair r9, \\odd, r4, r5",
        "dot4_pair r10, \\even, r6, r7",
        "dot4_pair r11, \\odd, r6, r7",
        ".endm",
        ".macro dot4_pair_groups",
        "ldm r0!, {{r2, r3, r12, lr}}",
        "dot4_pair_group r2, r3",
        "dot4_pair_group r12, lr",
        ".endm",
        "lsls r12, r1, #30", // weights off a word
        "bne {apart}",
        "push {{r0, r2-r12, lr}}",
        // Where a block begins: four times two groups are a turn, a first turn of fewer starts late.
        "sub r12, r2, r0",
        "adr lr, 6f",
        "tst r12, #8\nbne 7f",
        "adr lr, 1f",
        "ands r12, r12, #48\nbeq 7f",
        "adr lr, 2f",
        "cmp r12, #32\nbhi 7f",
        "adr lr, 3f",
        "beq 7f",
        "adr lr, 4f",
        "7:",
        "orr lr, lr, #1",
        "str lr, [sp, #44]",
        "5:",
        "ldr r0, [sp]",
        "movs r4, #0\nmovs r5, #0\nmovs r6, #0\nmovs r7, #0",
        "ldr pc, [sp, #44]",
        "1:\ndot4_pair_groups\n2:\ndot4_pair_groups",
        "3:\ndot4_pair_groups\n4:\ndot4_pair_groups",
        "ldr r2, [sp, #4]",
        "cmp r0, r2",
        "bne 1b",
        "8:",
        "ldr r2, [sp, #8]",
        "ldr r3, [sp, #52]",
        "subs r5, r5, r4\nasrs r5, r5, #8",
        "subs r7, r7, r6\nasrs r7, r7, #8",
        "stm r2!, {{r4-r7}}",
        "str r2, [sp, #8]",
        "cmp r2, r3\nbne 5b",
        "pop {{r0, r2-r12, pc}}",
        "6:", // an odd number of groups
        "ldrd r2, r3, [r0], #8",
        "dot4_pair_group r2, r3",
        "ldr r2, [sp, #4]",
        "subs r12, r2, r0",
        "beq 8b",
        "ands r12, r12, #48\nbeq 1b",
        "cmp r12, #32\nbhi 2b\nbeq 3b\nb 4b",
        ".purgem dot4_pair\n.purgem dot4_pair_group\n.purgem dot4_pair_groups",
        apart = sym dot4_pairs_apart,
    )
}

/// As [`dot4_pairs`], of weights off a word.
///
/// # Safety
/// As there.
// SAFETY: reached by a branch from there, with its arguments; as there, with eight bytes of `x` and four times four of weights a step. LDRD and STM are
// at multiples of four, as groups and sums consist of words; LDR takes any address.
#[unsafe(naked)]
unsafe extern "C" fn dot4_pairs_apart(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut [i32; ROWS],
    sums_end: *mut [i32; ROWS],
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        dot4_pair!(),
        "push {{r0, r4-r11, lr}}",
        "mov r12, r2",
        "mov lr, r3",
        "1:",
        "ldr r0, [sp]",
        "movs r4, #0\nmovs r5, #0\nmovs r6, #0\nmovs r7, #0",
        "2:",
        "ldrd r2, r3, [r0], #8",
        "ldr r8, [r1], #4\nldr r9, [r1], #4",
        "ldr r10, [r1], #4\nldr r11, [r1], #4",
        "dot4_pair r8, r2, r4, r5",
        "dot4_pair r9, r3, r4, r5",
        "dot4_pair r10, r2, r6, r7",
        "dot4_pair r11, r3, r6, r7",
        "cmp r0, r12",
        "bne 2b",
        "subs r5, r5, r4\nasrs r5, r5, #8",
        "subs r7, r7, r6\nasrs r7, r7, #8",
        "stm lr!, {{r4-r7}}",
        "ldr r2, [sp, #40]",
        "cmp lr, r2",
        "bne 1b",
        "pop {{r0, r4-r11, pc}}",
        ".purgem dot4_pair",
    )
}
