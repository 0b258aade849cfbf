//! Cortex-M0 and M23: Thumb with its eight registers.
//!
//! A signed byte is loaded from the sum of two registers only: all rows and the inputs share the
//! column. A product takes a load, a multiplication and an addition, and four share the input's
//! load and the next column: 3.5 instructions, and two for the loop every four columns: 3.63. Sums
//! are in high registers, which only moves and additions reach; there is no room for a fifth row.

use core::arch::naked_asm;

use super::{Job, Outputs, Packed, Taps};

/// See [`Kernels`](super::Kernels).
pub(super) const NAME: &str = "thumb1";
/// See [`Kernels`](super::Kernels).
pub(super) const DIVIDES: bool = false;
/// Columns that the unrolled loop takes at once.
pub(super) const STEP: usize = 4;

/// Rows that [`dot_packed`] takes at once.
pub(super) const PACKED_ROWS: usize = 1;

/// Saves the registers that aren't the caller's to lose, and the argument on top of them.
macro_rules! save {
    () => {
        "push {{r4-r7, lr}}\nmov r1, r8\nmov r2, r9\nmov r3, r10\nmov r4, r11\npush {{r0-r4}}"
    };
}

/// Restores them, and returns.
macro_rules! restore {
    () => {
        "pop {{r0-r4}}\nmov r8, r1\nmov r9, r2\nmov r10, r3\nmov r11, r4\npop {{r4-r7, pc}}"
    };
}

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
        save!(),
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
        restore!(),
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

/// The products of packed columns: a pair of them, or one by itself.
macro_rules! packed_columns {
    () => {
        concat!(
            ".macro bitsback_split words, sum, upper\n",
            "add \\words, \\words, r12\n",
            "add \\sum, \\sum, \\words\n",
            "lsrs \\words, \\words, #16\n",
            "add \\upper, \\upper, \\words\n",
            ".endm\n",
            ".macro bitsback_packed a, b\n",
            "ldrsb r3, [r0, r1]\n",
            "adds r1, r1, #1\n",
            "muls \\a, r3, \\a\n",
            "muls \\b, r3, \\b\n",
            ".endm\n",
            ".macro bitsback_pair\n",
            "ldm r2!, {{r4-r7}}\n",
            "bitsback_packed r4, r5\n",
            "bitsback_packed r6, r7\n",
            "adds r4, r4, r6\n",
            "adds r5, r5, r7\n",
            "bitsback_split r4, r8, r9\n",
            "bitsback_split r5, r10, r11\n",
            ".endm\n",
        )
    };
}

/// Adds Σ w·x of rows at four positions to their sums, by [packed](super::Packed) inputs: 2.5
/// instructions a product.
///
/// # Safety
/// `job.sums` up to `job.sums_end` are at least one row's sums to read and write; `job.columns` isn't 0
/// and neither less than `job.unrolled`, a multiple of four; so many packed columns, and for each row so
/// many weights, `job.stride` from the row before, can be read.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). For each row it reads at its weights and at `patch` from column 0 up to
// `columns`, the first `unrolled` by four, and changes 16 bytes of sums; of `job` it changes `weights` and
// `sums` alone. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_packed(job: *mut Packed) {
    naked_asm!(
        packed_columns!(),
        save!(),
        "movs r1, #1", // 0x7FFF in both halves
        "lsls r1, r1, #15",
        "subs r1, r1, #1",
        "lsls r2, r1, #16",
        "adds r1, r1, r2",
        "mov r12, r1",
        "1:", // r0: the job
        "ldr r1, [r0, #20]\nmov r8, r1\nmov r10, r1",
        "ldr r1, [r0, #24]\nmov r9, r1\nmov r11, r1",
        "ldr r1, [r0, #16]",
        "mov lr, r1",
        "ldr r2, [r0, #8]",
        "ldr r3, [r0]",
        "ldr r4, [r0, #4]",
        "adds r4, r4, r3",
        "str r4, [r0]",
        "mov r0, r3",
        "movs r1, #0",
        "cmp r1, lr",
        "beq 3f",
        "2:",
        "bitsback_pair",
        "bitsback_pair",
        "cmp r1, lr",
        "bne 2b",
        "3:",
        "ldr r3, [sp]",
        "ldr r3, [r3, #12]",
        "mov lr, r3",
        "cmp r1, lr",
        "beq 5f",
        "4:",
        "ldm r2!, {{r4, r5}}",
        "bitsback_packed r4, r5",
        "bitsback_split r4, r8, r9",
        "bitsback_split r5, r10, r11",
        "cmp r1, lr",
        "bne 4b",
        "5:",
        "ldr r0, [sp]",
        "ldr r1, [r0, #28]",
        "mov r4, r8",
        "mov r5, r9",
        "lsls r6, r5, #16",
        "subs r4, r4, r6",
        "mov r6, r10",
        "mov r7, r11",
        "lsls r2, r7, #16",
        "subs r6, r6, r2",
        "ldr r2, [r1]\nadds r4, r4, r2",
        "ldr r2, [r1, #4]\nadds r5, r5, r2",
        "ldr r2, [r1, #8]\nadds r6, r6, r2",
        "ldr r2, [r1, #12]\nadds r7, r7, r2",
        "stm r1!, {{r4-r7}}",
        "str r1, [r0, #28]",
        "ldr r2, [r0, #32]",
        "cmp r1, r2",
        "bne 1b",
        restore!(),
        ".purgem bitsback_split",
        ".purgem bitsback_packed",
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
        save!(),
        "ldm r0!, {{r3, r4}}",
        "lsls r2, r4, #1",
        "mov r12, r2",
        "adds r4, r3, r4",
        "ldm r0!, {{r1, r2, r7}}",
        "mov lr, r1",
        "ldm r0!, {{r1, r2}}",
        "mov r10, r1",
        "mov r11, r2",
        "1:",
        "mov r1, lr",
        "cmp r1, #1",
        "bne 2f",
        "mov r4, r3",
        "2:",
        "mov r8, r10",
        "mov r9, r10",
        "ldr r0, [sp]",
        "ldr r0, [r0, #12]",
        "3:",
        ".rept {step}",
        "ldm r0!, {{r1, r2}}",
        "ldrsb r5, [r3, r1]",
        "ldrsb r6, [r4, r1]",
        "muls r5, r2, r5",
        "muls r6, r2, r6",
        "add r8, r8, r5",
        "add r9, r9, r6",
        ".endr",
        "cmp r0, r7",
        "bne 3b",
        "mov r1, r11",
        "mov r5, r8",
        "mov r6, r9",
        "stm r1!, {{r5, r6}}",
        "mov r11, r1",
        "add r3, r3, r12",
        "add r4, r4, r12",
        "mov r1, lr",
        "subs r1, r1, #2",
        "mov lr, r1",
        "bhi 1b",
        restore!(),
        step = const super::TAPS_STEP,
    )
}

/// r0 times the multiplier: r4 and r5 are the upper and the lower half of its fraction, r7 is its shift, r6 is 0.
///
/// With a sum of a = 2¹⁶·a₁ + a₀, a₀ signed, and a fraction of b = 2¹⁶·b₁ + b₀, the product is
/// 2³²·a₁b₁ + 2¹⁶·m + r where m = a₁b₀ + a₀b₁ + ⌊a₀b₀ / 2¹⁶⌋ and 0 ≤ r < 2¹⁶. As |a| < 2²⁹ and 0 ≤ b < 2³¹,
/// |m| < 2³⁰ + 2²⁹ + 2¹⁵, and nothing overflows. Rounded half up to a multiple of 2³¹, which r can't
/// change, it is 2·a₁b₁ + ⌊m / 2¹⁵⌋, and one more where the bit is set that ASRS shifts out last, into
/// the carry. So is the second rounding made, of a number that is one less where it's negative.
macro_rules! rescale {
    () => {
        concat!(
            "sxth r1, r0\n",
            "asrs r0, r0, #16\n",
            "adcs r0, r0, r6\n",
            "mov r2, r5\n",
            "muls r2, r1, r2\n",
            "asrs r2, r2, #16\n",
            "mov r3, r5\n",
            "muls r3, r0, r3\n",
            "adds r2, r2, r3\n",
            "muls r1, r4, r1\n",
            "adds r2, r2, r1\n",
            "muls r0, r4, r0\n",
            "lsls r0, r0, #1\n",
            "asrs r2, r2, #15\n",
            "adcs r0, r0, r2\n",
            "asrs r1, r0, #31\n",
            "adds r0, r0, r1\n",
            "asrs r0, r0, r7\n",
            "adcs r0, r0, r6\n",
        )
    };
}

/// The outputs of rows from their sums: 33 instructions each.
///
/// # Safety
/// From `job.scales` to `job.scales_end` is at least one scale; at `job.sums`, and `job.sums_step` bytes further for each row more, are as many
/// sums, not none, as there are steps of `job.stride` bytes in `job.span`; so many outputs from
/// `job.outputs` on, and from each byte behind it on for each row more, can be written. What
/// comes of a rare row has no meaning.
// SAFETY: the body follows the C calling convention (the argument in r0, r4–r11 and lr saved and
// restored, the stack as it was). It reads the sums and writes the outputs of the contract alone; of
// `job` it changes `sums`, `scales` and `outputs`. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn outputs(job: *mut Outputs) {
    naked_asm!(
        save!(),
        "sub sp, #4",
        "ldr r1, [r0, #24]\nmov lr, r1",
        "ldr r1, [r0, #28]\nmov r12, r1",
        "ldr r1, [r0, #32]\nmov r10, r1",
        "ldr r1, [r0, #36]\nmov r11, r1",
        "movs r6, #0",
        "1:", // r0: the job
        "ldr r1, [r0, #8]",
        "ldm r1!, {{r4, r7}}",
        "adds r1, r1, #4",
        "str r1, [r0, #8]",
        "uxth r5, r4",
        "lsrs r4, r4, #16",
        "ldr r1, [r0]",
        "mov r8, r1",
        "ldr r2, [r0, #4]",
        "adds r1, r1, r2",
        "str r1, [r0]",
        "ldr r1, [r0, #16]",
        "mov r9, r1",
        "adds r2, r1, #1",
        "str r2, [r0, #16]",
        "ldr r2, [r0, #20]",
        "adds r1, r1, r2",
        "str r1, [sp]",
        "2:", // r5, r4: the fraction; r7: the shift; r6: 0
        "mov r3, r8",
        "ldm r3!, {{r0}}",
        "mov r8, r3",
        rescale!(),
        "add r0, r0, r12",
        "cmp r0, r10",
        "bge 3f",
        "mov r0, r10",
        "3:",
        "cmp r0, r11",
        "ble 4f",
        "mov r0, r11",
        "4:",
        "mov r3, r9",
        "strb r0, [r3]",
        "add r9, r9, lr",
        "ldr r3, [sp]",
        "cmp r9, r3",
        "bne 2b",
        "ldr r0, [sp, #4]",
        "ldr r1, [r0, #8]",
        "ldr r2, [r0, #12]",
        "cmp r1, r2",
        "bne 1b",
        "add sp, #4",
        restore!(),
    )
}
