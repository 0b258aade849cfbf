//! Arm with a multiply-accumulate: Cortex-M3, M33 without its DSP extension; ARM926 and its kin, in
//! ARM state.
//!
//! A product takes a load, which moves the row's address on, and the product with its sum; four share
//! the input's load: 2.25 instructions, and two for the loop every four columns: 2.38. ARMv5TE has
//! SMLABB, which multiplies half-words in a cycle where MLA takes two. Words of weights would need
//! an instruction a byte to be spread, where LDRSB is one as well. (SMLAL could make two products of
//! one weight and two inputs in a word, but takes up to seven cycles on an M3, where MLA takes two.)

use core::arch::naked_asm;

use super::{Job, Outputs, Packed, Taps};

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
/// Rows that [`dot_packed`] takes at once.
pub(super) const PACKED_ROWS: usize = 1;

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

/// Adds Σ w·x of rows at four positions to their sums, by [packed](super::Packed) inputs: 1.4
/// instructions a product.
///
/// # Safety
/// `job.sums` up to `job.sums_end` are at least one row's sums to read and write; `job.columns` isn't 0
/// and neither less than `job.unrolled`, a multiple of four; so many packed columns, and for each row so
/// many weights, `job.stride` from the row before, can be read.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). For each row it reads `columns` weights and packed columns, the first
// `unrolled` by four, and changes 16 bytes of sums; of `job` it changes `weights` and `sums` alone. Words
// are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_packed(job: *mut Packed) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro bitsback_split",
        "add r8, r8, r4",
        "add r9, r9, r4, lsr #16",
        "add r10, r10, r5",
        "add r11, r11, r5, lsr #16",
        ".endm",
        ".macro bitsback_pair",
        "ldm r2!, {{r4-r7}}",
        "ldrsb r1, [r0], #1",
        "mla r4, r1, r4, r12",
        "mla r5, r1, r5, r12",
        "ldrsb r1, [r0], #1",
        "mla r4, r1, r6, r4",
        "mla r5, r1, r7, r5",
        "bitsback_split",
        ".endm",
        "push {{r4-r11, lr}}",
        "mov lr, r0",
        "mov r12, #0x7f00", // 0x7FFF in both halves
        "orr r12, r12, #0xff",
        "orr r12, r12, r12, lsl #16",
        "1:",
        "ldm lr, {{r0, r1, r2, r3, r4}}", // weights, stride, patch, columns, unrolled
        "add r1, r1, r0",
        "str r1, [lr]",
        "add r3, r2, r4, lsl #3",
        "ldr r8, [lr, #20]\nmov r10, r8",
        "ldr r9, [lr, #24]\nmov r11, r9",
        "cmp r2, r3",
        "beq 3f",
        "2:",
        "bitsback_pair",
        "bitsback_pair",
        "cmp r2, r3",
        "bne 2b",
        "3:",
        "ldr r3, [lr, #8]",
        "ldr r4, [lr, #12]",
        "add r3, r3, r4, lsl #3",
        "cmp r2, r3",
        "beq 5f",
        "4:",
        "ldm r2!, {{r4, r5}}",
        "ldrsb r1, [r0], #1",
        "mla r4, r1, r4, r12",
        "mla r5, r1, r5, r12",
        "bitsback_split",
        "cmp r2, r3",
        "bne 4b",
        "5:",
        "sub r8, r8, r9, lsl #16",
        "sub r10, r10, r11, lsl #16",
        "ldr r0, [lr, #28]",
        "ldm r0, {{r4-r7}}",
        "add r8, r8, r4\nadd r9, r9, r5",
        "add r10, r10, r6\nadd r11, r11, r7",
        "stm r0!, {{r8-r11}}",
        "str r0, [lr, #28]",
        "ldr r1, [lr, #32]",
        "cmp r0, r1",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        ".purgem bitsback_split",
        ".purgem bitsback_pair",
    )
}

/// The sums of products of one channel at positions that are a step apart, two at a time.
///
/// # Safety
/// `job.count` isn't 0, and so many sums, rounded up to two, can be written; from `job.taps` to
/// `job.taps_end` are at least three taps, a multiple of three; all inputs that they lead to from each
/// position can be read.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). Of each position it reads the taps' inputs alone: where one is left, it
// counts as two. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_taps(job: *const Taps) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "ldm r0, {{r1, r2, r3, r4, r5, r6, r7}}",
        // The position, the step, how many, the taps and their end, the bias, the sums.
        "1:",
        "cmp r3, #1",
        "ite ne",
        "addne r8, r1, r2",
        "moveq r8, r1",
        "mov r9, r6",
        "mov r10, r6",
        "mov lr, r4",
        "2:",
        ".rept {step}",
        "ldr r11, [lr], #4",
        "ldr r12, [lr], #4",
        "ldrsb r0, [r1, r11]",
        "ldrsb r11, [r8, r11]",
        "mla r9, r12, r0, r9",
        "mla r10, r12, r11, r10",
        ".endr",
        "cmp lr, r5",
        "bne 2b",
        "stm r7!, {{r9, r10}}",
        "add r1, r1, r2, lsl #1",
        "subs r3, r3, #2",
        "bhi 1b",
        "pop {{r4-r11, pc}}",
        step = const super::TAPS_STEP,
    )
}

/// The outputs of rows from their sums: 20 instructions each.
///
/// Of a product's 64 bits, the upper word and the highest bit of the lower one are its multiple of 2³¹; the
/// bit below, which rounds it half up, is the carry of the lower word's second doubling. The second rounding
/// takes the bit that ASRS shifts out last, of a number that is one less where it's negative.
///
/// # Safety
/// From `job.scales` to `job.scales_end` is at least one scale; at `job.sums`, and `job.sums_step` bytes
/// further for each row more, are as many sums, not none, as there are steps of `job.stride` bytes in
/// `job.span`; so many outputs from `job.outputs` on, and from each byte behind it on for each row more,
/// can be written. What comes of a rare row has no meaning.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). It reads the sums and writes the outputs of the contract alone; of
// `job` it changes `sums`, `scales` and `outputs`. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn outputs(job: *mut Outputs) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "add r8, r0, #24",
        "ldm r8, {{r8, r9, r10, r11}}", // stride, zero point, least and most
        "1:",
        "ldm r0, {{r1, r4, r5}}", // the sums, their step and the scales
        "ldm r5!, {{r2, r3}}",
        "add r5, r5, #4",
        "add r4, r4, r1",
        "str r4, [r0]",
        "str r5, [r0, #8]",
        "ldr r6, [r0, #16]",
        "ldr r7, [r0, #20]",
        "add r7, r7, r6",
        "add r4, r6, #1",
        "str r4, [r0, #16]",
        "2:", // r2: the fraction; r3: the shift
        "ldr r12, [r1], #4",
        "smull r4, r5, r12, r2",
        "lsls r4, r4, #1",
        "adcs r5, r5, r5",
        "lsls r4, r4, #1",
        "adc r5, r5, #0",
        "add r5, r5, r5, asr #31",
        "asrs r5, r5, r3",
        "adc r5, r5, r9",
        "cmp r5, r10",
        "it lt",
        "movlt r5, r10",
        "cmp r5, r11",
        "it gt",
        "movgt r5, r11",
        "strb r5, [r6]",
        "add r6, r6, r8",
        "cmp r6, r7",
        "bne 2b",
        "ldr r4, [r0, #8]",
        "ldr r5, [r0, #12]",
        "cmp r4, r5",
        "bne 1b",
        "pop {{r4-r11, pc}}",
    )
}
