//! Sums of two tensors: 27 instructions for four, 6.75 a value, of which 18 are three roundings.

use core::arch::naked_asm;
use core::ops::Range;

use super::Addition;

/// As [`Kernels::add`](super::Kernels::add).
pub(super) fn add(
    arena: &mut [i8],
    [a, b]: [Range<usize>; 2],
    output: Range<usize>,
    addition: &Addition,
) -> Option<()> {
    let count = output.len();
    if count == 0 || a.len() != count || b.len() != count {
        return None;
    }
    arena.get(output.clone()).and(arena.get(a.clone())).and(arena.get(b.clone()))?;
    let base = arena.as_mut_ptr();
    let [a, b, y] = [a, b, output].map(|range| base.wrapping_add(range.start));
    // SAFETY: all three ranges lie within the arena, as just checked, and are `count` bytes, not
    // none; the pointers are derived from the one exclusive borrow. Those are `add_i8`'s conditions.
    unsafe { add_i8(a, b, y, count, addition) };
    Some(())
}

/// Adds `count` values, with constants as [`Addition`] says; rounding is as in `dense::quads_w8a8`.
///
/// # Safety
/// `count` isn't 0; so many bytes of `a` and `b` can be read and of `y` written. They may be the
/// same ones, or others. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3 and one on the stack;
// r4-r9, lr and q4-q7 saved and restored, the stack as it was). LETP masks loads and stores beyond
// `count`; constants are read at their places in `Addition`, which is of words.
#[unsafe(naked)]
unsafe extern "C" fn add_i8(
    a: *const i8,
    b: *const i8,
    y: *mut i8,
    count: usize,
    addition: *const Addition,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro add_round sum, shift",
        "vand q2, \\sum, \\shift",
        "vshr.s32 q2, q2, #31",
        "vqadd.s32 \\sum, \\sum, q2",
        "vrshl.s32 \\sum, \\sum, \\shift",
        ".endm",
        "push {{r4-r9, lr}}",
        "vpush {{d8-d15}}",
        "ldr r12, [sp, #92]",
        "ldrd r4, r5, [r12, #24]",
        "vdup.32 q3, r4",
        "vdup.32 q4, r5",
        "ldr r6, [r12, #32]",
        "vdup.32 q5, r6",
        "ldrd r4, r5, [r12, #36]",
        "vdup.32 q6, r4",
        "vdup.32 q7, r5",
        "ldm r12, {{r4-r9}}",
        "dlstp.32 lr, r3",
        "2:",
        "vldrb.s32 q0, [r0], #4",
        "vldrb.s32 q1, [r1], #4",
        "vsub.i32 q0, q0, r4",
        "vsub.i32 q1, q1, r5",
        "vshl.i32 q0, q0, #20",
        "vshl.i32 q1, q1, #20",
        "vqrdmulh.s32 q0, q0, r6",
        "vqrdmulh.s32 q1, q1, r7",
        "add_round q0, q3",
        "add_round q1, q4",
        "vadd.i32 q0, q0, q1",
        "vqrdmulh.s32 q0, q0, r8",
        "add_round q0, q5",
        "vqadd.s32 q0, q0, r9",
        "vmax.s32 q0, q0, q6",
        "vmin.s32 q0, q0, q7",
        "vstrb.32 q0, [r2], #4",
        "letp lr, 2b",
        "vpop {{d8-d15}}",
        "pop {{r4-r9, pc}}",
        ".purgem add_round",
    )
}
