//! The kernels of depthwise convolutions, at some positions: all channels that are held.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::depthwise::Task;

/// A kernel, which puts constants into registers, adds a channel's products to a sum, and rescales four sums in
/// q0, in its own way.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $before:expr, $quad:expr, $channel:expr, $scale:expr) => {
        $(#[$doc])*
        // SAFETY: the body follows the C calling convention (the argument in r0; r4-r11, lr and q4-q7 saved
        // and restored, the stack as it was). Each turn takes four channels: it reads weights of whole vectors
        // and a quad, and writes four outputs. Loads of inputs are of taps.
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(task: &mut Task) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                ".macro channel sum",
                $channel,
                "adds r1, #1",
                ".endm",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "sub sp, sp, #4",
                "mov r11, r0",
                "ldrd r1, r2, [r11, #{min}]",
                "vdup.32 q2, r1", "vdup.32 q3, r2",
                "ldr r0, [r11, #{outside}]",
                "vdup.16 q5, r0",
                $before,
                "1:", // a position
                "ldrd r1, r0, [r11, #{x}]",
                "ldm r11, {{r3, r5, lr}}",
                "2:", // four channels
                "str lr, [sp]",
                "ldm r3!, {{r4, r6, r8, r10}}",
                $quad,
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
                count = const offset_of!(Task, count),
                zero_point = const offset_of!(Task, zero_point),
                edge = const offset_of!(Task, edge),
                taps = const offset_of!(Task, taps), taps_end = const offset_of!(Task, taps) + 4,
            )
        }
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
    /// Windows of up to eight taps inside the image.
    ///
    /// # Safety
    /// `task` has parameters of its quads of channels, which aren't none, and one vector of taps, and positions.
    /// From `x` on, each tap at each position has values of all channels to read, and from `y` on, each position
    /// has them to write. The core has access to its vectors.
    inside_1,
    "ldr r0, [r11, #{taps}]\n\
     // {taps_end} {edge}\n\
     vldrh.u16 q6, [r0]",
    "",
    "vldrb.s16 q0, [r1, q6]\n\
     vldrb.s16 q1, [r5], #8\n\
     vmladava.s16 \\sum, q0, q1",
    right!()
}

kernel! {
    /// Windows of nine to sixteen taps inside the image.
    ///
    /// # Safety
    /// As [`inside_1`], with two vectors of taps.
    inside_2,
    "ldr r0, [r11, #{taps}]\n\
     // {taps_end} {edge}\n\
     vldrh.u16 q6, [r0]\n\
     vldrh.u16 q7, [r0, #20]",
    "",
    "vldrb.s16 q0, [r1, q6]\n\
     vldrb.s16 q1, [r5], #8\n\
     vmladava.s16 \\sum, q0, q1\n\
     vldrb.s16 q0, [r1, q7]\n\
     vldrb.s16 q1, [r5], #8\n\
     vmladava.s16 \\sum, q0, q1",
    right!()
}

kernel! {
    /// Windows with up to eight taps inside the image and up to eight beyond it.
    ///
    /// # Safety
    /// As [`inside_1`], with two vectors of weights and an edge's taps, of those inside.
    edge_parted,
    "ldr r2, [r11, #{edge}]\n\
     // {taps} {taps_end}\n\
     vldrh.u16 q6, [r2]\n\
     vldrh.u16 q7, [r2, #16]",
    "vldrh.u16 q4, [r2, #32]",
    "vldrb.s16 q0, [r1, q6]\n\
     vldrb.s16 q1, [r5, q7]\n\
     vmladava.s16 \\sum, q0, q1\n\
     vldrb.s16 q1, [r5, q4]\n\
     vmladava.s16 \\sum, q5, q1\n\
     adds r5, #16",
    right!()
}

/// A channel of any number of vectors.
macro_rules! any_vectors {
    () => {
        "ldr r2, [r11, #{taps}]\n\
         3:\n\
         vldrh.u16 q6, [r2], #16\n\
         ldr lr, [r2], #4\n\
         vmsr p0, lr\n\
         vpst\n\
         vldrbt.s16 q0, [r1, q6]\n\
         vpsel q0, q0, q5\n\
         vldrb.s16 q1, [r5], #8\n\
         vmladava.s16 \\sum, q0, q1\n\
         cmp r2, r12\n\
         bne 3b"
    };
}

kernel! {
    /// Windows of any number of taps, of which some may be masked.
    ///
    /// # Safety
    /// As [`inside_1`], with vectors of taps, of those that aren't masked.
    edge_right,
    "ldr r12, [r11, #{taps_end}] // {edge}",
    "",
    any_vectors!(),
    right!()
}

kernel! {
    /// The same for rows that shift to the left or not at all, too.
    ///
    /// # Safety
    /// As [`edge_right`].
    edge_any,
    "ldr r12, [r11, #{taps_end}] // {edge}",
    "",
    any_vectors!(),
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
