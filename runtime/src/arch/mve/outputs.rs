//! From sums to outputs: of quads that hold them, and at three positions; and the larger ones of sums.
//!
//! At three positions, the parameters of four rows are loaded once: 31 instructions for twelve outputs. VQRDMULH
//! and VRSHL round as [`crate::requantize`] says, but for ties of negative numbers, which VRSHL rounds up:
//! one less, where the number is negative and the shift isn't 0, mends that.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::dense;
use super::parameters::Quad;
use super::products::Six;

/// What the kernels are told; they know the order.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub(super) sums: *const Six,
    pub(super) quads: *const Quad,
    pub(super) rows: usize,
    pub(super) zero_point: i32,
    pub(super) y: [*mut i8; 3],
    pub(super) min: i32,
    pub(super) max: i32,
}

/// Rescales sums in q0 by multipliers in q4 and shifts to the right in q5, with q1.
macro_rules! scale_right {
    () => {
        "vqrdmulh.s32 q0, q0, q4\n\
         vshr.s32 q1, q0, #31\n\
         vqadd.s32 q0, q0, q1\n\
         vrshl.s32 q0, q0, q5"
    };
}

/// The same by any shifts, with zeros in q6.
macro_rules! scale_any {
    () => {
        "vmax.s32 q1, q5, q6\n\
         vshl.s32 q0, q0, q1\n\
         vqrdmulh.s32 q0, q0, q4\n\
         vmin.s32 q1, q5, q6\n\
         vand q1, q0, q1\n\
         vshr.s32 q1, q1, #31\n\
         vqadd.s32 q0, q0, q1\n\
         vmin.s32 q1, q5, q6\n\
         vrshl.s32 q0, q0, q1"
    };
}

/// A kernel of quads' outputs, which rescales in its own way.
macro_rules! quads {
    ($(#[$doc:meta])* $name:ident, $scale:expr) => {
        $(#[$doc])*
        // SAFETY: the body follows the C calling convention (four arguments in r0-r3; r4, lr and q4-q6 saved
        // and restored, the stack as it was). Each turn reads a quad, whose words are aligned, and writes four bytes.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(
            task: *const dense::Task,
            quads: *const Quad,
            count: usize,
            outputs: *mut i8,
        ) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                "push {{r4, lr}}",
                "vpush {{d8-d13}}",
                "ldrd r12, r4, [r0, #{limits}]",
                "vdup.32 q2, r12",
                "vdup.32 q3, r4",
                "ldr r0, [r0, #{zero_point}]",
                "vmov.i32 q6, #0",
                "dls lr, r2",
                "2:",
                "vldrw.u32 q0, [r1], #48",
                "vldrw.u32 q4, [r1, #-32]",
                "vldrw.u32 q5, [r1, #-16]",
                $scale,
                "vqadd.s32 q0, q0, r0",
                "vmax.s32 q0, q0, q2",
                "vmin.s32 q0, q0, q3",
                "vstrb.32 q0, [r3], #4",
                "le lr, 2b",
                "vpop {{d8-d13}}",
                "pop {{r4, pc}}",
                limits = const offset_of!(dense::Task, limits),
                zero_point = const offset_of!(dense::Task, zero_point),
            )
        }
    };
}

quads! {
    /// Outputs of quads whose biases are sums, of rows that all shift to the right.
    ///
    /// # Safety
    /// There are `count` quads, one at least, and four outputs to write for each. The core has access to its
    /// vectors.
    quads_right,
    scale_right!()
}

quads! {
    /// The same of rows with any shifts.
    ///
    /// # Safety
    /// As [`quads_right`].
    quads_any,
    scale_any!()
}

/// A kernel of outputs at three positions, which rescales in its own way.
macro_rules! outputs {
    ($(#[$doc:meta])* $name:ident, $before:literal, $scale:expr) => {
        $(#[$doc])*
        // SAFETY: the body follows the C calling convention (the argument in r0; r4-r10, lr and q4-q7 saved
        // and restored, the stack as it was). LETP masks loads and stores beyond `rows`. Words are loaded
        // from the task, from sums by their addresses in q7, and from the parameters.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(task: *const Task) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                ".macro position_outputs at, y",
                "vldrw.u32 q0, [q7, #\\at]",
                $scale,
                "vqadd.s32 q0, q0, r4",
                "vmax.s32 q0, q0, q2",
                "vmin.s32 q0, q0, q3",
                "vstrb.32 q0, [\\y], #4",
                ".endm",
                "push {{r4-r10, lr}}",
                "vpush {{d8-d15}}",
                "ldm r0, {{r0, r1, r3, r4, r5, r6, r7, r8, r9}}",
                "vdup.32 q2, r8",
                "vdup.32 q3, r9",
                "add r8, r0, #4",
                "add r9, r0, #24",
                "add r10, r0, #28",
                "vmov q7[2], q7[0], r0, r9",
                "vmov q7[3], q7[1], r8, r10",
                "movs r0, #48",
                $before,
                "adds r1, #16",
                "dlstp.32 lr, r3",
                "2:",
                "vldrw.u32 q4, [r1], #48",
                "vldrw.u32 q5, [r1, #-32]",
                "position_outputs 0, r5",
                "position_outputs 8, r6",
                "position_outputs 16, r7",
                "vadd.i32 q7, q7, r0",
                "letp lr, 2b",
                "vpop {{d8-d15}}",
                "pop {{r4-r10, pc}}",
                ".purgem position_outputs",
            )
        }
    };
}

outputs! {
    /// Outputs of rows that all shift to the right.
    ///
    /// # Safety
    /// `task.rows` isn't 0; there are that many sums, filled up to pairs, and quads to read, and
    /// at each position outputs to write. The core has access to its vectors.
    outputs_right,
    "",
    scale_right!()
}

outputs! {
    /// Outputs of rows with any shifts.
    ///
    /// # Safety
    /// As [`outputs_right`].
    outputs_any,
    "vmov.i32 q6, #0",
    scale_any!()
}

/// Makes each of `sums` the larger one of it and of another.
///
/// # Safety
/// `count` isn't 0; there are that many words, and as many of `others`. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2; lr saved and restored, the
// stack as it was). LETP masks loads and stores beyond `count`.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn raise(sums: *mut Six, others: *const Six, count: usize) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r7, lr}}",
        "dlstp.32 lr, r2",
        "2:",
        "vldrw.u32 q0, [r0]",
        "vldrw.u32 q1, [r1], #16",
        "vmax.s32 q0, q0, q1",
        "vstrw.32 q0, [r0], #16",
        "letp lr, 2b",
        "pop {{r7, pc}}",
    )
}
