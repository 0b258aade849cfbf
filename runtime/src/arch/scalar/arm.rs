//! Arm with a multiply-accumulate: Cortex-M3, M33 without its DSP extension; ARM926 and its kin, in
//! ARM state.
//!
//! A product takes a load, which moves the row's address on, and the product with its sum; four share
//! the input's load: 2.25 instructions, and two for the loop every four columns: 2.38. ARMv5TE has
//! SMLABB, which multiplies half-words in a cycle where MLA takes two. Words of weights would need
//! an instruction a byte to be spread, where LDRSB is one as well. (SMLAL could make two products of
//! one weight and two inputs in a word, but takes up to seven cycles on an M3, where MLA takes two.)

use core::arch::naked_asm;

use super::Job;

/// The instruction that adds a product.
#[cfg(bitsback_isa = "thumb2")]
macro_rules! accumulate {
    () => {
        "mla"
    };
}
#[cfg(bitsback_isa = "armv5te")]
macro_rules! accumulate {
    () => {
        "smlabb"
    };
}

/// See [`Kernels`](super::Kernels).
pub(super) const NAME: &str = if cfg!(bitsback_isa = "armv5te") { "armv5te" } else { "thumb2" };
/// See [`Kernels`](super::Kernels).
pub(super) const DIVIDES: bool = cfg!(bitsback_isa = "thumb2");
/// Columns that the unrolled loop takes at once.
pub(super) const STEP: usize = 4;

/// The sums of products of blocks of four rows.
///
/// # Safety
/// `job.sums` up to `job.sums_end` are at least one block of sums to write; `job.columns` isn't 0 and
/// neither less than `job.unrolled`, a multiple of [`STEP`]; so many inputs, and for each
/// block four times as many weights, can be read.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). For each block it reads `columns` values at `x` and at four rows, the
// first `unrolled` by four, and writes 16 bytes of sums; of `job` it changes `weights` and `sums`
// alone. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_blocks(job: *mut Job) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        // Loads in pairs: the second one takes a cycle, and what was loaded is there one later.
        ".macro bitsback_rows",
        "ldrsb r6, [r0], #1",
        "ldrsb r12, [r1], #1",
        concat!(accumulate!(), " r7, r6, r5, r7"),
        concat!(accumulate!(), " r8, r12, r5, r8"),
        "ldrsb r6, [r2], #1",
        "ldrsb r12, [r3], #1",
        concat!(accumulate!(), " r9, r6, r5, r9"),
        concat!(accumulate!(), " r10, r12, r5, r10"),
        ".endm",
        "push {{r4-r11, lr}}",
        "mov lr, r0",
        "1:",
        "ldm lr, {{r0, r4, r5, r11}}",
        "adds r1, r0, r5",
        "adds r2, r1, r5",
        "adds r3, r2, r5",
        "adds r6, r3, r5",
        "str r6, [lr]",
        "movs r7, #0",
        "mov r8, r7",
        "mov r9, r7",
        "mov r10, r7",
        "adds r11, r11, r4",
        "cmp r4, r11",
        "beq 3f",
        "2:",
        ".rept {step}",
        "ldrsb r5, [r4], #1",
        "bitsback_rows",
        ".endr",
        "cmp r4, r11",
        "bne 2b",
        "3:",
        "ldr r5, [lr, #4]",
        "ldr r6, [lr, #8]",
        "adds r11, r5, r6",
        "cmp r4, r11",
        "beq 5f",
        "4:",
        "ldrsb r5, [r4], #1",
        "ldr r6, [lr, #16]",
        "add r5, r5, r6",
        "bitsback_rows",
        "cmp r4, r11",
        "bne 4b",
        "5:",
        "ldr r0, [lr, #20]",
        "ldr r1, [lr, #24]",
        "stm r0!, {{r7-r10}}",
        "str r0, [lr, #20]",
        "cmp r0, r1",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        ".purgem bitsback_rows",
        step = const STEP,
    )
}

/// The sum of products of one row.
///
/// # Safety
/// As [`dot_blocks`], with as many weights as inputs; sums don't matter.
// SAFETY: the body follows the C calling convention (the argument and the result in r0, r4–r6 and lr
// saved and restored, the stack as it was); it reads `columns` values of both vectors.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_row(job: *const Job) -> i32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro bitsback_column",
        "ldrsb r6, [r1], #1",
        concat!(accumulate!(), " r0, r5, r6, r0"),
        ".endm",
        "push {{r4-r6, lr}}",
        "ldm r0, {{r1-r4, r12}}", // weights, inputs, columns, unrolled, offset
        "movs r0, #0",
        "add r3, r2, r3",
        "adds r4, r2, r4",
        "cmp r2, r4",
        "beq 2f",
        "1:",
        ".rept {step}",
        "ldrsb r5, [r2], #1",
        "bitsback_column",
        ".endr",
        "cmp r2, r4",
        "bne 1b",
        "2:",
        "cmp r2, r3",
        "beq 4f",
        "3:",
        "ldrsb r5, [r2], #1",
        "add r5, r5, r12",
        "bitsback_column",
        "cmp r2, r3",
        "bne 3b",
        "4:",
        "pop {{r4-r6, pc}}",
        ".purgem bitsback_column",
        step = const STEP,
    )
}
