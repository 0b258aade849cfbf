//! Sums over pixels, four channels at a time: SXTAB16 adds two bytes to two sums of 16 bits, so that
//! four values take six instructions, the loop's included.

use core::arch::naked_asm;

/// Channels that are taken at once.
const LANES: usize = 4;
/// Most pixels whose sums fit 16 bits.
const PIXELS_MAX: usize = 255;

/// As [`Kernels::sum_pixels`](super::Kernels::sum_pixels).
#[inline(never)]
pub(super) fn sum_pixels(values: &[i8], size: [usize; 2], steps: [usize; 2], sums: &mut [i32]) {
    let done = sum_fours(values, size, steps, sums).unwrap_or_default();
    let ([rows, columns], [down, right]) = (size, steps);
    for (sum, channel) in sums.iter_mut().zip(0usize..).skip(done) {
        *sum = 0;
        for row in 0..rows {
            let from = row.wrapping_mul(down).wrapping_add(channel);
            // `max(1)`: steps aren't 0, but the compiler can't know.
            let row = values.get(from..).unwrap_or_default().iter().step_by(right.max(1));
            *sum = row.take(columns).fold(*sum, |sum, &x| sum.wrapping_add(x.into()));
        }
    }
}

/// Sums of whole groups of channels; returns how many they are.
#[inline(always)]
fn sum_fours(
    values: &[i8],
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
    sums: &mut [i32],
) -> Option<usize> {
    let count = sums.len() & !(LANES - 1);
    let ends = sums.get_mut(..count)?.as_mut_ptr_range();
    let last = rows.checked_sub(1)?.checked_mul(down)?;
    let last = last.checked_add(columns.checked_sub(1)?.checked_mul(right)?)?;
    if columns > PIXELS_MAX || count == 0 || last.checked_add(count)? > values.len() {
        return None;
    }
    let rest = down.wrapping_sub(columns.wrapping_mul(right));
    let block = Block { rows, columns, right, rest, sums_end: ends.end };
    // SAFETY: there are sums, in whole groups, rows and columns, at most PIXELS_MAX; and as many channels
    // as sums can be read of the last pixel, so of all: `sum_block`'s conditions.
    unsafe { sum_block(values.as_ptr(), &block, ends.start) };
    Some(count)
}

/// What is summed; the kernel knows the order.
#[repr(C)]
struct Block {
    rows: usize,
    columns: usize,
    /// Values from a pixel to the next, and from behind a row to the next one.
    right: usize,
    rest: usize,
    sums_end: *mut i32,
}

/// The sums of groups of four channels.
///
/// # Safety
/// `block` has rows, and columns, at most PIXELS_MAX. `sums` and `block.sums_end` bound a multiple of
/// four sums, not none, that can be written; as many bytes of each pixel can be read.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was). It reads a word of each pixel, and writes four sums for every group, which it
// adds to before there are more than PIXELS_MAX pixels in the sums of 16 bits. LDR takes any address; LDM,
// LDRD and STRD are at words of `block` and of sums.
#[unsafe(naked)]
unsafe extern "C" fn sum_block(values: *const i8, block: &Block, sums: *mut i32) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "ldm r1, {{r3-r7}}",
        "1:", // channels
        "mov r8, #0",
        "mov r9, #0",
        "strd r8, r9, [r2]",
        "strd r8, r9, [r2, #8]",
        "mov r10, r3",
        "mov r11, r0",
        "mov r1, #{most}",
        "2:", // a row
        "subs r1, r1, r4",
        "bmi 5f",
        "mov r12, r4",
        "3:",
        "ldr lr, [r11]",
        "add r11, r11, r5",
        "sxtab16 r8, r8, lr",
        "sxtab16 r9, r9, lr, ror #8",
        "subs r12, r12, #1",
        "bne 3b",
        "add r11, r11, r6",
        "subs r10, r10, #1",
        "bne 2b",
        "5:", // no more rows, or no more room
        "ldrd r12, lr, [r2]",
        "sxtah r12, r12, r8",
        "sxtah lr, lr, r9",
        "strd r12, lr, [r2]",
        "ldrd r12, lr, [r2, #8]",
        "add r12, r12, r8, asr #16",
        "add lr, lr, r9, asr #16",
        "strd r12, lr, [r2, #8]",
        "mov r8, #0",
        "mov r9, #0",
        "mov r1, #{most}",
        "cmp r10, #0",
        "bne 2b",
        "add r2, r2, #16",
        "add r0, r0, #4",
        "cmp r2, r7",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        most = const PIXELS_MAX,
    )
}
