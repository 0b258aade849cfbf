//! Sums over pixels, four channels at a time: SXTAB16 adds two bytes to two sums of 16 bits, so that
//! four values take six instructions, the loop's included.

use core::arch::naked_asm;

use super::super::{CHUNK_ROWS, portable};

/// Channels that are taken at once.
const LANES: usize = 4;
/// Most pixels whose sums fit 16 bits.
const PIXELS_MAX: usize = 255;

/// As [`Kernels::sum_pixels`](super::Kernels::sum_pixels).
#[inline(never)]
pub(super) fn sum_pixels(values: &[i8], size: [usize; 2], steps: [usize; 2], sums: &mut [i32]) {
    let whole = sums.len() & !(LANES - 1);
    let (fours, rest) = sums.split_at_mut_checked(whole).unwrap_or_default();
    if sum_fours(values, size, steps, fours).is_none() {
        portable::sum_pixels(values, size, steps, fours);
    }
    if !rest.is_empty() {
        portable::sum_pixels(values.get(whole..).unwrap_or_default(), size, steps, rest);
    }
}

/// Sums of whole groups of channels; `None` where values are missing or sums are too many.
fn sum_fours(
    values: &[i8],
    [rows, columns]: [usize; 2],
    [down, right]: [usize; 2],
    sums: &mut [i32],
) -> Option<()> {
    // Rows whose sums fit, or a part of one.
    let width = columns.min(PIXELS_MAX);
    let at_once = PIXELS_MAX.checked_div(width)?.min(rows);
    let mut top = 0usize;
    while top < rows {
        let height = at_once.min(rows.wrapping_sub(top));
        let mut left = 0usize;
        while left < columns {
            let width = width.min(columns.wrapping_sub(left));
            let from = top.checked_mul(down)?.checked_add(left.checked_mul(right)?)?;
            let values = values.get(from..)?;
            let block = Block::new(values, [height, width], [down, right], sums.len())?;
            if top == 0 && left == 0 {
                block.sum(values, sums)?;
            } else {
                let mut others = [0; CHUNK_ROWS];
                let others = others.get_mut(..sums.len())?;
                block.sum(values, others)?;
                sums.iter_mut()
                    .zip(others)
                    .for_each(|(sum, &mut other)| *sum = sum.wrapping_add(other));
            }
            left = left.wrapping_add(width);
        }
        top = top.wrapping_add(height);
    }
    Some(())
}

/// Pixels that are summed at once; the kernel knows the order.
#[repr(C)]
struct Block {
    rows: usize,
    columns: usize,
    /// Values from a pixel to the next, and from behind a row to the next one.
    right: usize,
    rest: usize,
    sums_end: *mut i32,
}

impl Block {
    /// So many rows and columns, if all of their channels are among the values.
    fn new(
        values: &[i8],
        [rows, columns]: [usize; 2],
        [down, right]: [usize; 2],
        channels: usize,
    ) -> Option<Self> {
        let bottom = rows.checked_sub(1)?.checked_mul(down)?;
        let last = bottom.checked_add(columns.checked_sub(1)?.checked_mul(right)?)?;
        let rest = down.wrapping_sub(columns.wrapping_mul(right));
        let is_within = last.checked_add(channels)? <= values.len();
        is_within.then_some(Self { rows, columns, right, rest, sums_end: core::ptr::null_mut() })
    }

    /// Sums up; `None` where there is nothing to do.
    fn sum(mut self, values: &[i8], sums: &mut [i32]) -> Option<()> {
        let ends = sums.as_mut_ptr_range();
        self.sums_end = ends.end;
        if sums.is_empty() {
            return None;
        }
        // SAFETY: there are sums, in groups of LANES as `sum_pixels` cuts them; there are pixels, and `new`
        // has shown that as many channels as sums can be read of the last, so of all. There are at
        // most PIXELS_MAX: `sum_block`'s conditions.
        unsafe { sum_block(values.as_ptr(), &self, ends.start) };
        Some(())
    }
}

/// The sums of groups of four channels.
///
/// # Safety
/// `block` has rows and columns, and at most PIXELS_MAX pixels. `sums` and `block.sums_end` bound a
/// multiple of four sums, not none, that can be written; as many bytes of each pixel can be read.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was). It reads a word of each pixel and writes four sums a step. LDR takes
// any address; LDM and STM are at words of `block` and of sums.
#[unsafe(naked)]
unsafe extern "C" fn sum_block(values: *const i8, block: &Block, sums: *mut i32) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "ldm r1, {{r3-r7}}",
        "1:", // channels
        "mov r8, #0",
        "mov r9, #0",
        "mov r10, r3",
        "mov r11, r0",
        "2:", // a row
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
        "sxth r10, r8",
        "sxth r11, r9",
        "asr r12, r8, #16",
        "asr lr, r9, #16",
        "stm r2!, {{r10, r11, r12, lr}}",
        "add r0, r0, #4",
        "cmp r2, r7",
        "bne 1b",
        "pop {{r4-r11, pc}}",
    )
}
