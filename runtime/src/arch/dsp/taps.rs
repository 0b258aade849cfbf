//! The weights of a depthwise convolution as its kernel meets them: tap after tap, column by column, 11
//! instructions each, the way to its pixel included.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use super::super::{Matrix, Sight, Span};
use super::depthwise::LANES;
use crate::format::Fields;

/// Most taps of a window: 7 × 7, which take no more stack than a filter elsewhere.
pub(super) const TAPS_MAX: usize = 49;

/// A tap of four channels; kernels know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Tap {
    /// Bytes from the window's first value inside the image, were all columns inside, to this one's.
    at: usize,
    weights: [i16; LANES],
}

/// Arranges the weights of the channels from `first` on, of a span's rows of taps; `None` where some aren't there.
#[inline(never)]
pub(super) fn arrange(
    sight: &Sight<'_>,
    matrix: &Matrix<'_>,
    first: usize,
    rows: &Span,
    taps: &mut [MaybeUninit<Tap>; TAPS_MAX],
) -> Option<()> {
    let &Sight { input, size: [_, width], channels, dilation, .. } = sight;
    let mut row = matrix.bytes_from(first);
    let mut order = Order {
        index: rows.first.wrapping_mul(width),
        at: 0,
        columns: width,
        tap: dilation[1].wrapping_mul(channels),
        rows: rows.len,
        width,
        down: dilation[0].wrapping_mul(input[1]).wrapping_mul(channels),
        row_len: matrix.row_len,
    };
    let taps = taps.get_mut(..rows.len.checked_mul(width)?)?;
    if matrix.bits() == 8 && !taps.is_empty() {
        row.get(..matrix.row_len.checked_mul(LANES - 1)?.checked_add(matrix.columns)?)?;
        // SAFETY: `taps` has a place for each tap of the rows, of which there is one at least; those of
        // four rows of weights can be read, as was just checked: `arrange_bytes`' conditions.
        unsafe { arrange_bytes(row.as_ptr(), taps.as_mut_ptr().cast(), &mut order) };
        return Some(());
    }
    for lane in 0..LANES {
        let mut places = taps.iter_mut();
        for column in 0..width {
            for down in 0..rows.len {
                let index = order.index.wrapping_add(column).wrapping_add(down.wrapping_mul(width));
                let at = column.wrapping_mul(order.tap).wrapping_add(down.wrapping_mul(order.down));
                let place = places.next()?;
                if lane == 0 {
                    place.write(Tap { at, weights: [0; LANES] });
                }
                // SAFETY: the first lane's turn has written all places.
                let tap = unsafe { place.assume_init_mut() };
                *tap.weights.get_mut(lane)? = Fields::new(row, matrix.bits(), index).take() as i16;
            }
        }
        row = row.get(matrix.row_len..).unwrap_or_default();
    }
    Some(())
}

/// How weights are arranged; the kernel knows the order and goes on with it.
#[repr(C)]
struct Order {
    /// Of a column: the first weight, the way to its pixel, and how many columns there are.
    index: usize,
    at: usize,
    columns: usize,
    /// To the next column's pixel.
    tap: usize,
    rows: usize,
    /// To the next row's weight, pixel, and to the next channel's weights.
    width: usize,
    down: usize,
    row_len: usize,
}

/// Arranges bytes.
///
/// # Safety
/// `order` has columns and rows; so many taps can be written, and the weights that it leads to be read from
/// `weights` on, of four channels.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was). It reads a byte of each channel and writes three words a step. LDM,
// LDRD and STM are at words of `order` and of taps.
#[unsafe(naked)]
unsafe extern "C" fn arrange_bytes(weights: *const u8, taps: *mut Tap, order: &mut Order) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r2, r4-r11, lr}}",
        "mov r5, r1",
        "ldrd r11, r12, [r2, #20]",
        "ldr r3, [r2, #28]",
        "add r1, r0, r3",
        "add r2, r1, r3",
        "add r3, r2, r3",
        "1:", // a column
        "ldr r10, [sp]",
        "ldm r10, {{r4, r6-r8, lr}}",
        "add r8, r8, r6",
        "add r9, r4, #1",
        "subs r7, r7, #1",
        "strd r9, r8, [r10]",
        "str r7, [r10, #8]",
        "2:",
        "ldrsb r8, [r0, r4]",
        "ldrsb r10, [r1, r4]",
        "ldrsb r9, [r2, r4]",
        "ldrsb r7, [r3, r4]",
        "pkhbt r8, r8, r10, lsl #16",
        "pkhbt r9, r9, r7, lsl #16",
        "stm r5!, {{r6, r8, r9}}",
        "add r4, r4, r11",
        "add r6, r6, r12",
        "subs lr, lr, #1",
        "bne 2b",
        "ldr r10, [sp]",
        "ldr r7, [r10, #8]",
        "cmp r7, #0",
        "bne 1b",
        "pop {{r2, r4-r11, pc}}",
    )
}
