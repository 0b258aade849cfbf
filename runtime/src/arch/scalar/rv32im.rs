//! RISC-V of 32 bits with multiplication.
//!
//! A product takes a load, a multiplication and an addition, and four share the input's load: 3.25
//! instructions. Loads reach any column of a step from the row's address, so that five addresses
//! move on, and the loop turns, once every eight columns: 3.44. More rows at once would save as
//! little as more columns. All is done in registers that nobody saves.

use core::arch::naked_asm;

use super::Job;

/// See [`Kernels`](super::Kernels).
pub(super) const NAME: &str = "rv32im";
/// See [`Kernels`](super::Kernels).
pub(super) const DIVIDES: bool = true;
/// Columns that the unrolled loop takes at once.
pub(super) const STEP: usize = 8;

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
