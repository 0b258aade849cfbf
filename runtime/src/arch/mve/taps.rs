//! The kernels of depthwise convolutions, at some positions: all channels that are held.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::depthwise::Task;

/// A kernel, which loads a vector of taps to q0 and rescales four sums in q0 by multipliers in q4 and shifts in q1, in
/// its own way.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $taps:expr, $scale:expr) => {
        $(#[$doc])*
        // SAFETY: the body follows the C calling convention (the argument in r0; r4-r11, lr and q4-q7 saved
        // and restored, the stack as it was). Each turn takes four channels: it reads weights of whole vectors
        // and a quad, and writes four outputs. Loads of inputs are of taps.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(task: &mut Task) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                ".macro channel sum",
                "ldr r2, [r11, #{taps}]",
                "3:",
                $taps,
                "vldrb.s16 q1, [r5], #8",
                "vmladava.s16 \\sum, q0, q1",
                "cmp r2, r12",
                "bne 3b",
                "adds r1, #1",
                "add r5, r5, r7",
                ".endm",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "sub sp, sp, #4",
                "mov r11, r0",
                "ldrd r1, r2, [r11, #{min}]",
                "vdup.32 q2, r1", "vdup.32 q3, r2",
                "ldr r0, [r11, #{outside}]",
                "vdup.16 q5, r0",
                "ldr r12, [r11, #{taps_end}]",
                "ldr r7, [r11, #{beyond}]",
                "1:", // a position
                "ldrd r1, r0, [r11, #{x}]",
                "ldm r11, {{r3, r5, lr}}",
                "2:", // four channels
                "str lr, [sp]",
                "ldm r3!, {{r4, r6, r8, r10}}",
                "channel r4", "channel r6", "channel r8", "channel r10",
                "ldr lr, [sp]",
                "vmov q0[2], q0[0], r4, r8",
                "vmov q0[3], q0[1], r6, r10",
                "vldrw.u32 q4, [r3], #16",
                "vldrw.u32 q1, [r3], #16",
                $scale,
                "ldr r4, [r11, #{zero_point}]",
                "vqadd.s32 q0, q0, r4",
                "vmax.s32 q0, q0, q2",
                "vmin.s32 q0, q0, q3",
                "vstrb.32 q0, [r0], #4",
                "le lr, 2b",
                "ldrd r1, r0, [r11, #{x}]",
                "ldrd r4, r5, [r11, #{next}]",
                "add r1, r1, r4",
                "add r0, r0, r5",
                "strd r1, r0, [r11, #{x}]",
                "ldr r4, [r11, #{count}]",
                "subs r4, #1",
                "str r4, [r11, #{count}]",
                "bne 1b",
                "add sp, sp, #4",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
                ".purgem channel",
                min = const offset_of!(Task, min), outside = const offset_of!(Task, outside),
                x = const offset_of!(Task, x), next = const offset_of!(Task, next),
                beyond = const offset_of!(Task, beyond),
                count = const offset_of!(Task, count),
                zero_point = const offset_of!(Task, zero_point),
                taps = const offset_of!(Task, taps), taps_end = const offset_of!(Task, taps) + 4,
            )
        }
    };
}

/// Taps of which some may be masked.
macro_rules! masked {
    () => {
        "vldrh.u16 q6, [r2], #16\n\
         ldr lr, [r2], #4\n\
         vmsr p0, lr\n\
         vpst\n\
         vldrbt.s16 q0, [r1, q6]\n\
         vpsel q0, q0, q5"
    };
}

/// Four sums of rows that shift to the right, as in [`super::outputs`].
macro_rules! right {
    () => {
        "vqrdmulh.s32 q0, q0, q4\n\
         vshr.s32 q4, q0, #31\n\
         vqadd.s32 q0, q0, q4\n\
         vrshl.s32 q0, q0, q1"
    };
}

kernel! {
    /// Windows inside the image, of rows that shift to the right.
    ///
    /// # Safety
    /// `task` has parameters of its quads of channels, which aren't none, vectors of taps, not none, and positions.
    /// From `x` on, each tap has values of all channels to read at each position, and from `y` on, each position has
    /// them to write. The core has access to its vectors.
    inside_right,
    "vldrh.u16 q6, [r2], #20\n\
     vldrb.s16 q0, [r1, q6]",
    right!()
}

kernel! {
    /// The same of windows of which some taps are masked.
    ///
    /// # Safety
    /// As [`inside_right`], but for taps that are masked.
    edge_right,
    masked!(),
    right!()
}

kernel! {
    /// The same of rows that shift to the left or not at all, too.
    ///
    /// # Safety
    /// As [`edge_right`].
    edge_any,
    masked!(),
    "vmov.i32 q6, #0\n\
     vmax.s32 q7, q1, q6\n\
     vshl.s32 q0, q0, q7\n\
     vmin.s32 q1, q1, q6\n\
     vqrdmulh.s32 q0, q0, q4\n\
     vand q4, q0, q1\n\
     vshr.s32 q4, q4, #31\n\
     vqadd.s32 q0, q0, q4\n\
     vrshl.s32 q0, q0, q1"
}
