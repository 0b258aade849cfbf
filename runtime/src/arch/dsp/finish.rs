//! Outputs from sums: 27 instructions each, where the compiler's code takes three times as many.
//!
//! The doubling high product's rounding is one carry into the high word of SMULL. A right shift
//! leaves the last bit that it shifts out in the carry, so that ADC both rounds and adds the zero
//! point; ties of negative values go away from zero since one less was shifted.

use core::arch::naked_asm;

use super::super::{BLOCK_ROWS as ROWS, Finish, Multipliers};
use crate::format::{BiasWidth, CHANNEL_MULTIPLIER_LEN};

/// What is the same for all rows, as the kernel loads it.
#[repr(C)]
struct Constants {
    /// Bytes from one multiplier to the next.
    multiplier_step: usize,
    zero_point: i32,
    min: i32,
    max: i32,
    outputs: *mut i8,
    rows: usize,
}

/// The outputs of a block of rows, as many as there is room for, from their sums of products.
#[inline(never)]
pub(crate) fn finish_block(
    finish: &Finish<'_>,
    first: usize,
    sums: &[i32; ROWS],
    outputs: &mut [i8],
) {
    let rows = outputs.len().min(ROWS);
    let decoded;
    let biases = match finish.bias {
        Some((BiasWidth::I32, 0, bytes)) => {
            let (biases, _) = bytes.as_chunks::<4>();
            match biases.get(first..first.wrapping_add(rows)) {
                Some(biases) => biases.as_ptr().cast::<i32>(),
                None => return,
            }
        }
        _ => {
            decoded = finish.biases(first);
            decoded.as_ptr()
        }
    };
    let (multipliers, multiplier_step) = match &finish.multipliers {
        Multipliers::PerTensor(multiplier) => (core::ptr::from_ref(multiplier).cast::<u8>(), 0),
        Multipliers::PerChannel(table) => match table.get(first..first.wrapping_add(rows)) {
            Some(table) => (table.as_ptr().cast(), CHANNEL_MULTIPLIER_LEN),
            None => return,
        },
    };
    let constants = Constants {
        multiplier_step,
        zero_point: finish.zero_point.into(),
        min: finish.clamp.min.into(),
        max: finish.clamp.max.into(),
        outputs: outputs.as_mut_ptr(),
        rows,
    };
    if rows > 0 {
        // SAFETY: there are `rows` > 0 biases, decoded or in the section, as many multipliers of
        // five bytes (or one for all, which `repr(C)` has the fraction and then the shift), no
        // fewer sums, and as many outputs. Those are `finish_rows`' conditions.
        unsafe { finish_rows(sums, biases, multipliers, &constants) };
    }
}

/// Outputs of rows, each from a sum, a bias and a multiplier: `Multiplier::apply`, the zero point,
/// the clamp.
///
/// # Safety
/// `constants.rows` isn't 0; as many sums and biases can be read, five bytes at `multipliers` and,
/// for each further row, that many bytes further on; as many outputs can be written.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r11 and lr saved and
// restored, the stack as it was), reads a word of sums and of biases, and a word and a byte of
// multipliers a step, and writes a byte, `rows` steps. LDR takes any address.
#[unsafe(naked)]
unsafe extern "C" fn finish_rows(
    sums: *const [i32; ROWS],
    biases: *const i32,
    multipliers: *const u8,
    constants: *const Constants,
) {
    naked_asm!(
        "push {{r4-r11, lr}}",
        "ldm r3, {{r4-r9}}",
        "1:",
        "ldr r10, [r0], #4",
        "ldr r11, [r1], #4",
        "ldrsb lr, [r2, #4]",
        "ldr r3, [r2]",
        "add r2, r2, r4",
        "add r10, r10, r11",
        "usat r11, #5, lr", // positions to the left, 0 where they are to the right
        "lsl r10, r10, r11",
        "smull r12, r11, r10, r3",
        "adds r12, r12, #0x40000000",
        "adc r11, r11, #0",
        "lsl r11, r11, #1",
        "orr r11, r11, r12, lsr #31",
        "rsbs lr, lr, #0",
        "ble 3f",
        "add r11, r11, r11, asr #31",
        "asrs r11, r11, lr",
        "adc r11, r11, r5",
        "2:",
        "cmp r11, r6",
        "it lt",
        "movlt r11, r6",
        "cmp r11, r7",
        "it gt",
        "movgt r11, r7",
        "strb r11, [r8], #1",
        "subs r9, r9, #1",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        "3:",
        "qadd r11, r11, r5",
        "b 2b",
    )
}
