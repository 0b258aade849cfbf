//! Dense layers in blocks of pairs: every row's columns are gathered, sixteen at a time.
//!
//! The second row of a pair is its byte B′, and one more where the first row's A is negative: ΣB·x is ΣB′·x and
//! the sum of those x. With VPT, which finds them, 64 products take fifteen instructions, all exact. Inputs
//! x + 128, which are no signed bytes, are unsigned ones, u. A + 128 is one, too, and ΣA·u is that product less
//! 128·Σu, which is the same for all rows; and A as it lies there, if that is taken for an unsigned byte, is A, or
//! A + 256 where A is negative, which tells the sum of those u: eighteen instructions. Other offsets take nineteen,
//! with B as a byte; portable kernels do again what has a B that is none.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::dense::{Quads, Task};
use super::parameters::Quad;
use super::products::OFFSETS;

/// Most columns of inputs x + 128: 256·Σu stays within 32 bits.
const MAX_COLUMNS: usize = 1 << 16;

/// The kernel for inputs with an offset, and what it is told of it; `None` where there are too many inputs.
pub(super) fn kernel(x: &[i8], offset: i16) -> Option<(Quads, i32)> {
    Some(match offset {
        0 => (quads_pairs_w8a8, 0),
        128 => {
            let len =
                i32::try_from(x.len()).ok().filter(|_| x.len() <= MAX_COLUMNS && !x.is_empty())?;
            // SAFETY: there are inputs.
            let sum = unsafe { sum_i8(x.as_ptr(), x.len()) }.wrapping_add(len.wrapping_mul(128));
            (quads_pairs_w8u8, sum.wrapping_mul(128))
        }
        _ => (quads_pairs_offset_w8a8, offset.into()),
    })
}

/// The sum of some values.
///
/// # Safety
/// `count` values can be read, one at least. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (two arguments in r0 and r1, the result in r0; lr saved and
// restored, the stack as it was). LETP masks loads beyond `count`.
#[unsafe(naked)]
unsafe extern "C" fn sum_i8(values: *const i8, count: usize) -> i32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r7, lr}}",
        "movs r2, #0",
        "dlstp.8 lr, r1",
        "2:",
        "vldrb.u8 q0, [r0], #16",
        "vaddva.s8 r2, q0",
        "letp lr, 2b",
        "mov r0, r2",
        "pop {{r7, pc}}",
    )
}

/// A kernel of pairs, whose first rows' bytes are loaded to q1, the second ones' to q2: with sums in r2, r8, r10
/// and r12, and r0, r6, r7 and q3 for it to use as it likes. What it does before all quads, before a quad's loop,
/// with an input, with a pair and two sums, and when they are complete.
macro_rules! quads {
    (
        $(#[$doc:meta])* $name:ident, $before:literal, $quad:literal, $input:literal, $pair:literal,
        $after:literal
    ) => {
        $(#[$doc])*
        // SAFETY: the body follows the C calling convention (three arguments in r0-r2; r4-r11, lr and q4-q7 saved
        // and restored, the stack as it was). Loads in the loop are masked by LETP beyond `steps`; the bytes of a
        // column are within a block. Each turn reads and writes the biases of one quad, whose words are aligned.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(task: *const Task, weights: *const u8, quads: *mut Quad) {
            naked_asm!(
                env!("BITSBACK_CPU"), // see build.rs
                ".macro pair_products first, second, low, high, third",
                "vldrb.u8 q1, [r1, \\first]",
                "vldrb.u8 q2, [r1, \\second]",
                $pair,
                ".endm",
                "push {{r4-r11, lr}}",
                "vpush {{d8-d15}}",
                "mov r11, r0",
                "mov r4, r2",
                "movw r3, #:lower16:{offsets}",
                "movt r3, #:upper16:{offsets}",
                "vldrb.u8 q4, [r3]",
                "movs r3, #1",
                "vadd.i8 q5, q4, r3",
                "movs r3, #8",
                "vadd.i8 q6, q4, r3",
                "vadd.i8 q7, q5, r3",
                "ldr r5, [r11, #{steps}]",
                "ldr r7, [r11, #{offset}]",
                $before,
                "1:",
                "ldr r9, [r11]",
                "ldm r4, {{r2, r8, r10, r12}}",
                $quad,
                "dlstp.8 lr, r5",
                "2:",
                "vldrb.u8 q0, [r9], #16",
                $input,
                "pair_products q4, q5, r2, r8, r0",
                "pair_products q6, q7, r10, r12, r6",
                "adds r1, #64",
                "letp lr, 2b",
                $after,
                "stm r4, {{r2, r8, r10, r12}}",
                "ldrd r3, r6, [r11, #8]",
                "subs r1, r1, r3", // the next block
                "adds r4, #48",
                "cmp r4, r6",
                "bne 1b",
                "vpop {{d8-d15}}",
                "pop {{r4-r11, pc}}",
                ".purgem pair_products",
                offset = const offset_of!(Task, offset), steps = const offset_of!(Task, steps),
                offsets = sym OFFSETS,
            )
        }
    };
}

quads! {
    /// As [`quads_w8a8`](super::dense), of rows in blocks of pairs.
    ///
    /// # Safety
    /// As there, but that weights are blocks of `task.row_len` bytes a row, and `task.beyond` and a block's bytes are
    /// those of `task.steps` columns, filled up to a multiple of 16.
    quads_pairs_w8a8,
    "",
    "",
    "",
    "vmladava.s8 \\low, q0, q1\n\
     vmladava.s8 \\high, q0, q2\n\
     vpt.s8 lt, q1, zr\n\
     vaddvat.s8 \\high, q0",
    ""
}

quads! {
    /// The same of inputs with an offset that is a byte, at `task.offset`. VQADD tells of second rows' weights that
    /// aren't bytes: see [`pairs_are_bytes`](super::products::pairs_are_bytes).
    ///
    /// # Safety
    /// As there.
    quads_pairs_offset_w8a8,
    "vdup.8 q3, r7",
    "",
    "",
    "vmladava.s8 \\low, q0, q1\n\
     vmladava.s8 \\low, q3, q1\n\
     vshr.u8 q1, q1, #7\n\
     vqadd.s8 q2, q2, q1\n\
     vmladava.s8 \\high, q0, q2\n\
     vmladava.s8 \\high, q3, q2",
    ""
}

quads! {
    /// The same of inputs x + 128, at most [`MAX_COLUMNS`], 128 times whose sum is at `task.offset`.
    ///
    /// # Safety
    /// As there.
    quads_pairs_w8u8,
    "movs r3, #128\n\
     vdup.8 q3, r3",
    "mov r0, r2\n\
     subs r2, r2, r7\n\
     sub r8, r8, r7\n\
     mov r6, r10\n\
     sub r10, r10, r7\n\
     sub r12, r12, r7",
    "veor q0, q0, q3",
    "vmladava.u8 \\third, q0, q1\n\
     veor q1, q1, q3\n\
     vmladava.u8 \\low, q0, q1\n\
     veor q2, q2, q3\n\
     vmladava.u8 \\high, q0, q2",
    "subs r0, r0, r2\n\
     add r8, r8, r0, lsr #8\n\
     sub r6, r6, r10\n\
     add r12, r12, r6, lsr #8"
}
