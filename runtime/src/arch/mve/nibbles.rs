//! Rows of 4-bit weights: 32 columns of four rows in 23 instructions, 0.18 a product.
//!
//! Even and odd columns are loaded apart, once for four rows: by VLD20 and VLD21 where inputs lie on a
//! word, as these demand, else by two loads that gather bytes. A row costs a load of
//! its weights, a shift that leaves the even columns' in the upper nibbles, a mask that does so with the
//! odd ones', and two VMLADAVA: sums are sixteen times what they should be until the end. What is no
//! whole step takes one more, with masked loads, and an odd column some scalar instructions.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::dense::Task;
use super::parameters::Quad;

/// Columns of a step.
pub(super) const STEP: usize = 32;
/// Most columns: sixteen times the largest sum of products of so many fits 32 bits.
pub(super) const MAX_COLUMNS: usize = 1 << 16;

/// Σ w of `columns` weights from the beginning of `row`.
pub(super) fn row_sum(row: &[u8], columns: usize) -> i32 {
    let (Some(row), last) = (row.get(..columns / 2), row.get(columns / 2)) else { return 0 };
    let mut sum = 0;
    if !row.is_empty() {
        // SAFETY: there are so many bytes, one at least.
        sum = unsafe { sum_w4(row.as_ptr(), row.len()) } >> 4;
    }
    match last {
        Some(&last) if !columns.is_multiple_of(2) => sum.wrapping_add(i32::from(last) << 28 >> 28),
        _ => sum,
    }
}

/// Sixteen times the sum of so many pairs of weights.
///
/// # Safety
/// `count` bytes can be read, one at least. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (two arguments in r0 and r1, the result in r0; lr
// saved and restored, the stack as it was). LETP masks loads beyond `count`.
#[unsafe(naked)]
unsafe extern "C" fn sum_w4(weights: *const u8, count: usize) -> i32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r7, lr}}",
        "vmov.i8 q2, #0xf0",
        "movs r2, #0",
        "dlstp.8 lr, r1",
        "2:",
        "vldrb.u8 q0, [r0], #16",
        "vshl.i8 q1, q0, #4",
        "vaddva.s8 r2, q1",
        "vand q0, q0, q2",
        "vaddva.s8 r2, q0",
        "letp lr, 2b",
        "mov r0, r2",
        "pop {{r7, pc}}",
    )
}

/// Products of a row's step, of its rest and of its odd column.
macro_rules! nibble_macros {
    () => {
        concat!(
            // Weights in q2: products with even columns in q0, odd ones in q1.
            ".macro nibble_products sum\n",
            "vshl.i8 q3, q2, #4\n",
            "vmladava.s8 \\sum, q0, q3\n",
            "vand q2, q2, q6\n",
            "vmladava.s8 \\sum, q1, q2\n",
            ".endm\n",
            ".macro nibble_rest row, sum\n",
            "vpst\n",
            "vldrbt.u8 q2, [\\row]\n",
            "nibble_products \\sum\n",
            ".endm\n",
            ".macro nibble_odd row, sum\n",
            "add \\row, \\row, lr\n",
            "ldrb r6, [\\row]\n",
            "lsls r6, r6, #28\n",
            "asrs r6, r6, #24\n",
            "mla \\sum, r6, r9, \\sum\n",
            ".endm\n",
        )
    };
}

/// The pairs that are no whole step, and the odd column.
macro_rules! nibble_rests {
    () => {
        concat!(
            "ldr lr, [r11, #{rest}]\n",
            "cmp lr, #0\n",
            "beq 4f\n",
            "vctp.8 lr\n",
            "vpst\n",
            "vldrbt.u8 q0, [r9, q7]\n",
            "adds r9, #1\n",
            "vpst\n",
            "vldrbt.u8 q1, [r9, q7]\n",
            "nibble_rest r1, r8\n",
            "nibble_rest r3, r10\n",
            "nibble_rest r5, r12\n",
            "nibble_rest r7, r2\n",
            "4:\n",
            "ldr r9, [r11, #{odd}]\n",
            "cmp r9, #0\n",
            "beq 5f\n",
            "ldrsb r9, [r9]\n",
            "nibble_odd r1, r8\n",
            "nibble_odd r3, r10\n",
            "nibble_odd r5, r12\n",
            "nibble_odd r7, r2\n",
        )
    };
}

/// A kernel of rows of nibbles, which loads the inputs of a step, at r9, in its own way: even columns to
/// q0, odd ones to q1.
macro_rules! quads {
    ($(#[$doc:meta])* $name:ident, $loads:literal) => {
        $(#[$doc])*
        // SAFETY: the body follows the C calling convention (three arguments in r0-r2; r4-r11, lr and q6-q7 saved
        // and restored, the stack as it was). Loads of the rest are masked. Each turn reads and writes the biases of
        // one quad, whose words are aligned.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(task: *const Task, weights: *const u8, quads: *mut Quad) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                nibble_macros!(),
                "push {{r4-r11, lr}}",
                "vpush {{d12-d15}}",
                "sub sp, sp, #8",
                "mov r11, r0",
                "mov r4, r2",
                "vmov.i8 q6, #0xf0",
                "movs r2, #0",
                "vidup.u8 q7, r2, #2",
                "1:",
                "ldrd r9, r6, [r11]",
                "str r1, [sp]",
                "adds r3, r1, r6",
                "adds r5, r3, r6",
                "adds r7, r5, r6",
                "movs r2, #0",
                "mov r8, r2",
                "mov r10, r2",
                "mov r12, r2",
                "ldr lr, [r11, #{steps}]",
                "wls lr, lr, 3f",
                "2:",
                $loads,
                "vldrb.u8 q2, [r1], #16",
                "nibble_products r8",
                "vldrb.u8 q2, [r3], #16",
                "nibble_products r10",
                "vldrb.u8 q2, [r5], #16",
                "nibble_products r12",
                "vldrb.u8 q2, [r7], #16",
                "nibble_products r2",
                "le lr, 2b",
                "3:",
                nibble_rests!(),
                "5:",
                "vmov q0[2], q0[0], r8, r12",
                "vmov q0[3], q0[1], r10, r2",
                "ldrd r6, r3, [r11, #4]",
                "ldr r1, [sp]",
                "add r1, r1, r6, lsl #2", // the row after the fourth
                "vshr.s32 q0, q0, #4",
                "vldrw.u32 q1, [r4]",
                "vadd.i32 q0, q0, q1",
                "vstrw.32 q0, [r4], #48",
                "ldr r3, [r11, #12]",
                "cmp r4, r3",
                "bne 1b",
                "add sp, sp, #8",
                "vpop {{d12-d15}}",
                "pop {{r4-r11, pc}}",
                ".purgem nibble_products",
                ".purgem nibble_rest",
                ".purgem nibble_odd",
                steps = const offset_of!(Task, steps), rest = const offset_of!(Task, rest),
                odd = const offset_of!(Task, odd),
            )
        }
    };
}

quads! {
    /// As [`super::dense::quads_w8a8`], with rows of nibbles.
    ///
    /// # Safety
    /// `task.x` has `task.steps` times 32 and `task.rest` times two bytes to read, and one at `task.odd` if
    /// that isn't null; from `quads` to `task.end` there are quads, one at least; for each row of them there are
    /// `task.row_len` bytes of weights, sixteen for each step, one for each of the rest and one if there is an odd
    /// column. Inputs lie on a word, which VLD2 loads. The core has access to its vectors.
    quads_w4a8, "vld20.8 {{q0, q1}}, [r9]\nvld21.8 {{q0, q1}}, [r9]!"
}

quads! {
    /// As [`quads_w4a8`], of inputs at any address, which are gathered byte by byte.
    ///
    /// # Safety
    /// As there, but for where inputs lie.
    quads_w4a8_apart,
    "vldrb.u8 q0, [r9, q7]\nadds r9, #1\nvldrb.u8 q1, [r9, q7]\nadds r9, #31"
}
