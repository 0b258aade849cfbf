//! Sums of pixels, for poolings: four instructions for eight channels of a pixel.

use core::arch::naked_asm;

/// Most pixels whose sum fits 16 bits.
const PIXELS: usize = 256;
/// Channels at once.
const LANES: usize = 8;

/// As [`Kernels::sum_pixels`](crate::arch::Kernels::sum_pixels); `None` where there are too many pixels or too
/// few channels, or some aren't there.
#[inline(never)]
pub(super) fn sum(
    values: &[i8],
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
    sums: &mut [i32],
) -> Option<()> {
    let last = |count: usize, step: usize| count.checked_sub(1)?.checked_mul(step);
    let end = last(rows, down)?.checked_add(last(columns, right)?)?.checked_add(sums.len())?;
    let last = sums.len().checked_sub(LANES)?;
    if end > values.len() || rows.checked_mul(columns)? > PIXELS {
        return None;
    }
    let task = [rows, columns, down, right];
    for first in (0..sums.len()).step_by(LANES) {
        let first = first.min(last); // the last group ends with the last channel
        let mut eight = [0; LANES];
        // SAFETY: there are rows and columns, and of each pixel as many values as sums, eight of them from
        // `first` on, as just checked: `sum_i8`'s conditions.
        unsafe { sum_i8(values.as_ptr().wrapping_add(first), &task, &mut eight) };
        for (to, sum) in sums.get_mut(first..)?.iter_mut().zip(eight) {
            *to = sum.into();
        }
    }
    Some(())
}

/// Sums of eight channels of pixels.
///
/// # Safety
/// `task` has rows and columns, which aren't none, and bytes from a row to the next and from a pixel to the next;
/// of each pixel, eight bytes from `from` on can be read. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2; r4-r7 and lr saved and restored,
// the stack as it was). Loads are of each pixel's eight bytes, and the sums are stored at `sums`, sixteen bytes
// of half-words.
#[unsafe(naked)]
unsafe extern "C" fn sum_i8(from: *const i8, task: &[usize; 4], sums: &mut [i16; LANES]) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r7, lr}}",
        "ldm r1, {{r4-r7}}",
        "vmov.i32 q0, #0",
        "1:",
        "mov r3, r0",
        "dls lr, r5",
        "2:",
        "vldrb.s16 q1, [r3]",
        "add r3, r3, r7",
        "vadd.i16 q0, q0, q1",
        "le lr, 2b",
        "add r0, r0, r6",
        "subs r4, #1",
        "bne 1b",
        "vstrh.16 q0, [r2]",
        "pop {{r4-r7, pc}}",
    )
}
