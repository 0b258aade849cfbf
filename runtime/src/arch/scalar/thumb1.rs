//! Cortex-M0 and M23: Thumb with its eight registers.
//!
//! A signed byte is loaded from the sum of two registers only: all rows and the inputs share the
//! column. A product takes a load, a multiplication and an addition, and four share the input's
//! load and the next column: 3.5 instructions, and two for the loop every four columns: 3.63. Sums
//! are in high registers, which only moves and additions reach; there is no room for a fifth row.

use core::arch::naked_asm;

use super::Job;

/// See [`Kernels`](super::Kernels).
pub(super) const NAME: &str = "thumb1";
/// See [`Kernels`](super::Kernels).
pub(super) const DIVIDES: bool = false;
/// Columns that the unrolled loop takes at once.
pub(super) const STEP: usize = 4;

/// The products of a column with four rows: the input is in r6.
macro_rules! columns_of_rows {
    () => {
        concat!(
            ".macro bitsback_row row, sum\n",
            "ldrsb r7, [\\row, r5]\n",
            "muls r7, r6, r7\n",
            "add \\sum, \\sum, r7\n",
            ".endm\n",
            ".macro bitsback_rows\n",
            "bitsback_row r0, r8\n",
            "bitsback_row r1, r9\n",
            "bitsback_row r2, r10\n",
            "bitsback_row r3, r11\n",
            "adds r5, r5, #1\n",
            ".endm\n",
        )
    };
}

/// The sums of products of blocks of four rows.
///
/// # Safety
/// `job.sums` up to `job.sums_end` are at least one block of sums to write; `job.columns` isn't 0 and
/// neither less than `job.unrolled`, a multiple of [`STEP`]; so many inputs, and for each
/// block four times as many weights, can be read.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). For each block it reads at `x` and at four rows from column 0 up to
// `columns`, the first `unrolled` by four, and writes 16 bytes of sums; of `job` it changes
// `weights` and `sums` alone. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_blocks(job: *mut Job) {
    naked_asm!(
        columns_of_rows!(),
        "push {{r4-r7, lr}}",
        "mov r1, r8",
        "mov r2, r9",
        "mov r3, r10",
        "mov r4, r11",
        "push {{r0-r4}}",
        "1:", // r0: the job
        "ldr r5, [r0, #16]",
        "mov lr, r5",
        "ldr r5, [r0, #12]",
        "mov r12, r5",
        "ldr r5, [r0]",
        "ldr r4, [r0, #8]",
        "adds r1, r5, r4",
        "adds r2, r1, r4",
        "adds r3, r2, r4",
        "adds r4, r3, r4",
        "str r4, [r0]",
        "ldr r4, [r0, #4]",
        "mov r0, r5",
        "movs r5, #0",
        "mov r8, r5\nmov r9, r5",
        "mov r10, r5\nmov r11, r5",
        "cmp r5, r12",
        "beq 3f",
        "2:",
        ".rept {step}",
        "ldrsb r6, [r4, r5]",
        "bitsback_rows",
        ".endr",
        "cmp r5, r12",
        "bne 2b",
        "3:",
        "ldr r7, [sp]",
        "ldr r7, [r7, #8]",
        "mov r12, r7",
        "cmp r5, r12",
        "beq 5f",
        "4:",
        "ldrsb r6, [r4, r5]",
        "add r6, r6, lr",
        "bitsback_rows",
        "cmp r5, r12",
        "bne 4b",
        "5:",
        "ldr r0, [sp]",
        "ldr r1, [r0, #20]",
        "mov r2, r8",
        "mov r3, r9",
        "mov r4, r10",
        "mov r5, r11",
        "stm r1!, {{r2-r5}}",
        "str r1, [r0, #20]",
        "ldr r2, [r0, #24]",
        "cmp r1, r2",
        "bne 1b",
        "pop {{r0-r4}}",
        "mov r8, r1",
        "mov r9, r2",
        "mov r10, r3",
        "mov r11, r4",
        "pop {{r4-r7, pc}}",
        ".purgem bitsback_row",
        ".purgem bitsback_rows",
        step = const STEP,
    )
}

/// The sum of products of one row.
///
/// # Safety
/// As [`dot_blocks`], with as many weights as inputs; sums don't matter.
// SAFETY: the body follows the C calling convention (the argument and the result in r0, r4–r7 and lr
// saved and restored, the stack as it was); it reads both vectors from column 0 up to `columns`.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_row(job: *const Job) -> i32 {
    naked_asm!(
        ".macro bitsback_column",
        "ldrsb r6, [r1, r5]",
        "muls r7, r6, r7",
        "adds r0, r0, r7",
        "adds r5, r5, #1",
        ".endm",
        "push {{r4-r7, lr}}",
        "ldm r0!, {{r1-r4}}", // weights, inputs, columns, unrolled
        "ldr r6, [r0]",
        "mov r12, r6",
        "movs r0, #0",
        "movs r5, #0",
        "cmp r4, #0",
        "beq 2f",
        "1:",
        ".rept {step}",
        "ldrsb r7, [r2, r5]",
        "bitsback_column",
        ".endr",
        "cmp r5, r4",
        "bne 1b",
        "2:",
        "cmp r5, r3",
        "beq 4f",
        "3:",
        "ldrsb r7, [r2, r5]",
        "add r7, r7, r12",
        "bitsback_column",
        "cmp r5, r3",
        "bne 3b",
        "4:",
        "pop {{r4-r7, pc}}",
        ".purgem bitsback_column",
        step = const STEP,
    )
}
