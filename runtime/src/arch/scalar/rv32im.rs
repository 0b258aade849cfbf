//! RISC-V of 32 bits with multiplication.
//!
//! A product takes a load, a multiplication and an addition, and four share the input's load: 3.25
//! instructions. Loads reach any column of a step from the row's address, so that five addresses
//! move on, and the loop turns, once every eight columns: 3.44. More rows at once would save as
//! little as more columns. All but `dot_packed` is done in registers that nobody saves.

use core::arch::naked_asm;

use super::{Job, Outputs, Packed, Taps};

/// See [`Kernels`](super::Kernels).
pub(super) const NAME: &str = "rv32im";
/// See [`Kernels`](super::Kernels).
pub(super) const DIVIDES: bool = true;
/// Columns that the unrolled loop takes at once.
pub(super) const STEP: usize = 8;
/// Rows that [`dot_packed`] takes at once.
pub(super) const PACKED_ROWS: usize = 2;

/// The products of columns with four rows, and the way on.
macro_rules! columns_of_rows {
    () => {
        concat!(
            // What was loaded or multiplied is used as late as possible.
            ".macro bitsback_rows at\n",
            "lb t0, \\at(a1)\n",
            "lb t1, \\at(a2)\n",
            "lb t2, \\at(a3)\n",
            "mul t0, t0, a7\n",
            "mul t1, t1, a7\n",
            "mul t2, t2, a7\n",
            "add t3, t3, t0\n",
            "lb t0, \\at(a4)\n",
            "add t4, t4, t1\n",
            "add t5, t5, t2\n",
            "mul t0, t0, a7\n",
            "add t6, t6, t0\n",
            ".endm\n",
            ".macro bitsback_next columns\n",
            "addi a1, a1, \\columns\n",
            "addi a2, a2, \\columns\n",
            "addi a3, a3, \\columns\n",
            "addi a4, a4, \\columns\n",
            "addi a5, a5, \\columns\n",
            ".endm\n",
            ".macro bitsback_columns from, to\n",
            "lb a7, \\from(a5)\n",
            "bitsback_rows \\from\n",
            ".if (\\to)-(\\from)-1\n",
            "bitsback_columns \\from+1, \\to\n",
            ".endif\n",
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
// SAFETY: the body follows the C calling convention (the argument in a0; only a0–a7 and t0–t6 are
// changed). For each block it reads `columns` values at `x` and at four rows, the first `unrolled` by
// eight, and writes 16 bytes of sums; of `job` it changes `weights` and `sums` alone. Words are at
// addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_blocks(job: *mut Job) {
    naked_asm!(
        ".option push",
        ".option arch, +m", // where it is assembled once more for its symbols
        columns_of_rows!(),
        "1:",
        "lw a1, 0(a0)",
        "lw t0, 8(a0)",
        "lw a5, 4(a0)",
        "lw a6, 12(a0)",
        "add a2, a1, t0",
        "add a3, a2, t0",
        "add a4, a3, t0",
        "add t1, a4, t0",
        "sw t1, 0(a0)",
        "li t3, 0",
        "li t4, 0",
        "li t5, 0",
        "li t6, 0",
        "add a6, a6, a5",
        "beq a5, a6, 3f",
        "2:",
        "bitsback_columns 0, {step}",
        "bitsback_next {step}",
        "bne a5, a6, 2b",
        "3:",
        "lw a6, 4(a0)",
        "lw t0, 8(a0)",
        "add a6, a6, t0",
        "beq a5, a6, 5f",
        "4:",
        "lb a7, 0(a5)",
        "lw t0, 16(a0)",
        "add a7, a7, t0",
        "bitsback_rows 0",
        "bitsback_next 1",
        "bne a5, a6, 4b",
        "5:",
        "lw t0, 20(a0)",
        "lw t1, 24(a0)",
        "sw t3, 0(t0)",
        "sw t4, 4(t0)",
        "sw t5, 8(t0)",
        "sw t6, 12(t0)",
        "addi t0, t0, 16",
        "sw t0, 20(a0)",
        "bne t0, t1, 1b",
        "ret",
        ".purgem bitsback_rows",
        ".purgem bitsback_next",
        ".purgem bitsback_columns",
        ".option pop",
        step = const STEP,
    )
}

/// The sum of products of one row.
///
/// # Safety
/// As [`dot_blocks`], with as many weights as inputs; sums don't matter.
// SAFETY: the body follows the C calling convention (the argument and the result in a0; only a0–a7
// and t0–t2 are changed); it reads `columns` values of both vectors.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_row(job: *const Job) -> i32 {
    naked_asm!(
        ".option push",
        ".option arch, +m", // where it is assembled once more for its symbols
        ".macro bitsback_columns from, to",
        "lb t0, \\from(a1)",
        "lb t1, \\from(a2)",
        "mul t0, t0, t1",
        "add a0, a0, t0",
        ".if (\\to)-(\\from)-1",
        "bitsback_columns \\from+1, \\to",
        ".endif",
        ".endm",
        "lw a1, 0(a0)",
        "lw a2, 4(a0)",
        "lw a3, 8(a0)",
        "lw a4, 12(a0)",
        "lw a5, 16(a0)",
        "li a0, 0",
        "add a3, a3, a2",
        "add a4, a4, a2",
        "beq a2, a4, 2f",
        "1:",
        "bitsback_columns 0, {step}",
        "addi a1, a1, {step}",
        "addi a2, a2, {step}",
        "bne a2, a4, 1b",
        "2:",
        "beq a2, a3, 4f",
        "3:",
        "lb t1, 0(a2)",
        "lb t0, 0(a1)",
        "add t1, t1, a5",
        "mul t0, t0, t1",
        "add a0, a0, t0",
        "addi a1, a1, 1",
        "addi a2, a2, 1",
        "bne a2, a3, 3b",
        "4:",
        "ret",
        ".purgem bitsback_columns",
        ".option pop",
        step = const STEP,
    )
}

/// The products of packed columns with two rows, and the way on.
macro_rules! packed_columns {
    () => {
        concat!(
            ".macro bitsback_split words, sum, upper\n",
            "add \\words, \\words, a5\n",
            "add \\sum, \\sum, \\words\n",
            "srli \\words, \\words, 16\n",
            "add \\upper, \\upper, \\words\n",
            ".endm\n",
            // Of a pair of columns in t0–t3.
            ".macro bitsback_row at, row, a, b, c, d\n",
            "lb a6, \\at(\\row)\n",
            "lb a7, \\at+1(\\row)\n",
            "mul t4, t0, a6\n",
            "mul t5, t1, a6\n",
            "mul t6, t2, a7\n",
            "mul a7, t3, a7\n",
            "add t4, t4, t6\n",
            "add t5, t5, a7\n",
            "bitsback_split t4, \\a, \\b\n",
            "bitsback_split t5, \\c, \\d\n",
            ".endm\n",
            ".macro bitsback_pair at\n",
            "lw t0, 8*(\\at)(a3)\n",
            "lw t1, 8*(\\at)+4(a3)\n",
            "lw t2, 8*(\\at)+8(a3)\n",
            "lw t3, 8*(\\at)+12(a3)\n",
            "bitsback_row \\at, a1, s0, s1, s2, s3\n",
            "bitsback_row \\at, a2, s4, s5, s6, s7\n",
            ".endm\n",
            // Of one column in t0, t1.
            ".macro bitsback_last row, a, b, c, d\n",
            "lb a6, 0(\\row)\n",
            "mul t4, t0, a6\n",
            "mul t5, t1, a6\n",
            "bitsback_split t4, \\a, \\b\n",
            "bitsback_split t5, \\c, \\d\n",
            ".endm\n",
            ".macro bitsback_next columns\n",
            "addi a1, a1, \\columns\n",
            "addi a2, a2, \\columns\n",
            "addi a3, a3, 8*\\columns\n",
            ".endm\n",
            // Adds a row's sums to those at t0.
            ".macro bitsback_add at, a, b, c, d\n",
            "slli t1, \\b, 16\n",
            "sub \\a, \\a, t1\n",
            "slli t1, \\d, 16\n",
            "sub \\c, \\c, t1\n",
            "bitsback_add_one \\at, \\a\n",
            "bitsback_add_one \\at+4, \\b\n",
            "bitsback_add_one \\at+8, \\c\n",
            "bitsback_add_one \\at+12, \\d\n",
            ".endm\n",
            ".macro bitsback_add_one at, sum\n",
            "lw t1, \\at(t0)\n",
            "add t1, t1, \\sum\n",
            "sw t1, \\at(t0)\n",
            ".endm\n",
        )
    };
}

/// Adds Σ w·x of rows at four positions to their sums, by [packed](super::Packed) inputs, two rows at a
/// time: 2.3 instructions a product.
///
/// # Safety
/// `job.sums` up to `job.sums_end` are the sums of at least two rows, of an even number of them, to read
/// and write; `job.columns` isn't 0 and neither less than `job.unrolled`, a multiple of four; so many packed
/// columns, and for each row so many weights, `job.stride` from the row before, can be read.
// SAFETY: the body follows the C calling convention (the argument in a0; a0–a7, t0–t6 and, saved and
// restored, s0–s7 are changed, the stack is as it was). For each two rows it reads `columns` weights of both
// and packed columns, the first `unrolled` by four, and changes 32 bytes of sums; of `job` it changes
// `weights` and `sums` alone. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_packed(job: *mut Packed) {
    naked_asm!(
        ".option push",
        ".option arch, +m", // where it is assembled once more for its symbols
        packed_columns!(),
        "addi sp, sp, -32",
        "sw s0, 0(sp)\nsw s1, 4(sp)",
        "sw s2, 8(sp)\nsw s3, 12(sp)",
        "sw s4, 16(sp)\nsw s5, 20(sp)",
        "sw s6, 24(sp)\nsw s7, 28(sp)",
        "li a5, 0x7fff7fff",
        "1:",
        "lw a1, 0(a0)",
        "lw t0, 4(a0)",
        "lw a3, 8(a0)",
        "lw a4, 16(a0)",
        "lw s0, 20(a0)",
        "lw s1, 24(a0)",
        "add a2, a1, t0",
        "add t0, t0, a2",
        "sw t0, 0(a0)",
        "mv s2, s0\nmv s3, s1",
        "mv s4, s0\nmv s5, s1",
        "mv s6, s0\nmv s7, s1",
        "slli a4, a4, 3",
        "add a4, a4, a3",
        "beq a3, a4, 3f",
        "2:",
        "bitsback_pair 0",
        "bitsback_pair 2",
        "bitsback_next 4",
        "bne a3, a4, 2b",
        "3:",
        "lw a4, 12(a0)",
        "lw t0, 8(a0)",
        "slli a4, a4, 3",
        "add a4, a4, t0",
        "beq a3, a4, 5f",
        "4:",
        "lw t0, 0(a3)",
        "lw t1, 4(a3)",
        "bitsback_last a1, s0, s1, s2, s3",
        "bitsback_last a2, s4, s5, s6, s7",
        "bitsback_next 1",
        "bne a3, a4, 4b",
        "5:",
        "lw t0, 28(a0)",
        "bitsback_add 0, s0, s1, s2, s3",
        "bitsback_add 16, s4, s5, s6, s7",
        "addi t0, t0, 32",
        "sw t0, 28(a0)",
        "lw t1, 32(a0)",
        "bne t0, t1, 1b",
        "lw s0, 0(sp)\nlw s1, 4(sp)",
        "lw s2, 8(sp)\nlw s3, 12(sp)",
        "lw s4, 16(sp)\nlw s5, 20(sp)",
        "lw s6, 24(sp)\nlw s7, 28(sp)",
        "addi sp, sp, 32",
        "ret",
        ".purgem bitsback_split",
        ".purgem bitsback_row",
        ".purgem bitsback_pair",
        ".purgem bitsback_last",
        ".purgem bitsback_next",
        ".purgem bitsback_add",
        ".purgem bitsback_add_one",
        ".option pop",
    )
}

/// The sums of products of one channel at positions that are a step apart, two at a time.
///
/// # Safety
/// `job.count` isn't 0, and so many sums, rounded up to two, can be written; from `job.taps` to
/// `job.taps_end` are at least three taps, a multiple of three; all inputs that they lead to from each
/// position can be read.
// SAFETY: the body follows the C calling convention (the argument in a0; only a0–a7 and t0–t6 are
// changed). Of each position it reads the taps' inputs alone: where one is left, it counts as two. Words are
// at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn dot_taps(job: *const Taps) {
    naked_asm!(
        ".option push",
        ".option arch, +m", // where it is assembled once more for its symbols
        ".macro bitsback_tap at",
        "lw t0, 8*(\\at)(a7)",
        "lw t1, 8*(\\at)+4(a7)",
        "add t2, a1, t0",
        "add t0, a6, t0",
        "lb t2, 0(t2)",
        "lb t0, 0(t0)",
        "mul t2, t2, t1",
        "mul t0, t0, t1",
        "add t3, t3, t2",
        "add t4, t4, t0",
        ".if (\\at)-{step}+1",
        "bitsback_tap \\at+1",
        ".endif",
        ".endm",
        "lw a1, 0(a0)",  // the position
        "lw a2, 4(a0)",  // the step
        "lw a3, 8(a0)",  // how many
        "lw a4, 16(a0)", // the taps' end
        "lw a5, 24(a0)", // the sums
        "li t6, 1",
        "1:",
        "mv a6, a1",
        "beq a3, t6, 2f",
        "add a6, a1, a2",
        "2:",
        "lw a7, 12(a0)",
        "lw t3, 20(a0)",
        "mv t4, t3",
        "3:",
        "bitsback_tap 0",
        "addi a7, a7, 8*{step}",
        "bne a7, a4, 3b",
        "sw t3, 0(a5)",
        "sw t4, 4(a5)",
        "addi a5, a5, 8",
        "add a1, a6, a2",
        "addi a3, a3, -2",
        "bgtz a3, 1b",
        "ret",
        ".purgem bitsback_tap",
        ".option pop",
        step = const super::TAPS_STEP,
    )
}

/// The outputs of rows from their sums: 18 instructions each.
///
/// With a fraction b, the upper word of a·2b, a signed, is ⌊a·b / 2³¹⌋, and the highest bit of the lower word
/// is what rounds it half up. The second rounding shifts in two steps, the last one by one position, and adds
/// the half between them; shifts are 1 to 31.
///
/// # Safety
/// From `job.scales` to `job.scales_end` is at least one scale; at `job.sums`, and `job.sums_step` bytes
/// further for each row more, are as many sums, not none, as there are steps of `job.stride` bytes in
/// `job.span`; so many outputs from `job.outputs` on, and from each byte behind it on for each row more,
/// can be written. What comes of a rare row has no meaning.
// SAFETY: the body follows the C calling convention (the argument in a0; only a0–a7 and t0–t6 are
// changed). It reads the sums and writes the outputs of the contract alone; of `job` it changes `sums`,
// `scales` and `outputs`. Words are at addresses that are multiples of four.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn outputs(job: *mut Outputs) {
    naked_asm!(
        ".option push",
        ".option arch, +m", // where it is assembled once more for its symbols
        "lw t4, 24(a0)",
        "lw a6, 28(a0)",
        "lw a7, 32(a0)",
        "lw t3, 36(a0)",
        "lw t6, 8(a0)",
        "1:",
        "lw a2, 0(t6)",
        "lw a3, 4(t6)",
        "addi t6, t6, 12",
        "slli a2, a2, 1",
        "addi a3, a3, -1",
        "lw t5, 0(a0)",
        "lw t0, 4(a0)",
        "add t0, t0, t5",
        "sw t0, 0(a0)",
        "lw a4, 16(a0)",
        "addi t0, a4, 1",
        "sw t0, 16(a0)",
        "lw a5, 20(a0)",
        "add a5, a5, a4",
        "2:", // a2: the doubled fraction; a3: the shift less one
        "lw t0, 0(t5)",
        "addi t5, t5, 4",
        "mul t1, t0, a2",
        "mulhsu t0, t0, a2",
        "srli t1, t1, 31",
        "add t0, t0, t1",
        "srai t1, t0, 31",
        "add t0, t0, t1",
        "sra t0, t0, a3",
        "addi t0, t0, 1",
        "srai t0, t0, 1",
        "add t0, t0, a6",
        "bge t0, a7, 3f",
        "mv t0, a7",
        "3:",
        "bge t3, t0, 4f",
        "mv t0, t3",
        "4:",
        "sb t0, 0(a4)",
        "add a4, a4, t4",
        "bne a4, a5, 2b",
        "lw t0, 12(a0)",
        "bne t6, t0, 1b",
        "ret",
        ".option pop",
    )
}
