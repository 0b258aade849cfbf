//! Dense layers in blocks of pairs, whose columns are gathered.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::dense::Task;
use super::parameters::Quad;
use super::products::OFFSETS;

/// As [`quads_offset_w8a8`](super::dense), of rows in blocks of pairs: 21 instructions for 64 products. VQADD says where a weight
/// is no byte: see [`pairs_are_bytes`].
///
/// # Safety
/// As there, but that weights are blocks of `task.row_len` bytes a row, and `task.steps` inputs are multiplied.
// SAFETY: as there; LETP masks loads of columns beyond `steps`, whose bytes are within a block.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn quads_pairs_w8a8(
    task: *const Task,
    weights: *const u8,
    quads: *const Quad,
    outputs: *mut i8,
    end: *mut i8,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "mov r11, r0", "mov r4, r2",
        "mov r0, r3", "mov r7, r1",
        "movw r3, #:lower16:{offsets}", "movt r3, #:upper16:{offsets}",
        "vldrb.u8 q6, [r3]", "movs r3, #1",
        "vadd.i8 q5, q6, r3",
        "ldrd r2, r3, [r11, #{offset}]",
        "vdup.8 q3, r2", "vdup.32 q7, r3",
        "ldr r6, [r11, #24]",
        "1:",
        "ldr r9, [r11]",
        "mov r1, r7",
        "add r5, r7, #8",
        "ldrd r8, r10, [r4]",
        "ldrd r12, r2, [r4, #8]",
        "dlstp.8 lr, r6",
        "2:",
        "vldrb.u8 q0, [r9], #16", "veor q0, q0, q7",
        "vldrb.u8 q1, [r1, q6]", "vmladava.s8 r8, q0, q1",
        "vmladava.s8 r8, q3, q1", "vldrb.u8 q2, [r1, q5]",
        "vshr.u8 q1, q1, #7", "vqadd.s8 q2, q2, q1",
        "vmladava.s8 r10, q0, q2", "vmladava.s8 r10, q3, q2",
        "vldrb.u8 q1, [r5, q6]", "vmladava.s8 r12, q0, q1",
        "vmladava.s8 r12, q3, q1", "vldrb.u8 q2, [r5, q5]",
        "vshr.u8 q1, q1, #7", "vqadd.s8 q2, q2, q1",
        "vmladava.s8 r2, q0, q2", "vmladava.s8 r2, q3, q2",
        "adds r1, #64", "adds r5, #64",
        "letp lr, 2b",
        "ldr r3, [r11, #4]",
        "add r7, r7, r3, lsl #2", // the next block
        "vmov q0[2], q0[0], r8, r12", "vmov q0[3], q0[1], r10, r2",
        "ldr r3, [r11, #{offset}+8]",
        "vmul.i32 q0, q0, r3",
        "vldrw.32 q1, [r4, #32]",
        "vmov.i32 q4, #0", "vmax.s32 q2, q1, q4",
        "vshl.s32 q0, q0, q2",
        "vldrw.32 q2, [r4, #16]",
        "vqrdmulh.s32 q0, q0, q2", "vmin.s32 q1, q1, q4",
        "adds r4, #48", "vand q2, q0, q1",
        "vshr.s32 q2, q2, #31", "vqadd.s32 q0, q0, q2",
        "vrshl.s32 q0, q0, q1",
        "ldr r3, [r11, #20]",
        "vqadd.s32 q0, q0, r3",
        "ldrd r2, r3, [r11, #12]",
        "vdup.32 q1, r2", "vmax.s32 q0, q0, q1",
        "vdup.32 q1, r3", "vmin.s32 q0, q0, q1",
        "vstrb.32 q0, [r0], #4",
        "ldr r3, [sp, #100]",
        "cmp r0, r3",
        "bne 1b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
        offset = const offset_of!(Task, offset),
        offsets = sym OFFSETS,
    )
}

/// Whether nothing was saturated since the last time; 0 if something was. The rest of the kernels saturates
/// next to nothing, and portable kernels do again what isn't sure.
///
/// # Safety
/// The core has access to its vectors.
// SAFETY: the body follows the C calling convention (the result in r0) and changes no flag but QC.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn pairs_are_bytes() -> usize {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "vmrs r1, fpscr",
        "bic r2, r1, #0x08000000", // QC
        "vmsr fpscr, r2",
        "mvn r0, r1",
        "and r0, r0, #0x08000000",
        "bx lr",
    )
}
