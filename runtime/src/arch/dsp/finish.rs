//! Outputs from sums in 16 instructions, 20 with a multiplier for each row.
//!
//! SMMULR of the doubled sum is the doubling high product with its rounding. A right shift leaves
//! the last bit that it shifts out in the carry, so that ADC both rounds and adds the zero point;
//! negative ties go away from zero since one less is shifted. BIC by the sign is a maximum with 0:
//! above the minimum, then below the maximum.
//!
//! A sum of 2³⁰ or more can't be doubled, and multipliers of ½ or more shift by nothing or to the
//! left. Both are rare: QADD leaves a mark in the flags where it saturates, the loop ends at such a
//! multiplier, and the portable function does those rows again.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use super::super::{CHUNK_ROWS, Finish, Multipliers, portable};
use crate::format::BiasWidth;

/// What is the same for all rows, as the kernels load it.
#[repr(C)]
struct Constants {
    /// The zero point, above the minimum.
    zero_point: i32,
    /// The maximum, above the minimum.
    span: i32,
    max: i32,
    outputs: *mut i8,
    rows: usize,
    /// Of the whole layer, where there is one: the fraction, and positions to the right.
    value: i32,
    right: i32,
}

/// The outputs of rows from `first` on, from their sums of products.
#[inline(never)]
pub(crate) fn finish_rows(finish: &Finish<'_>, first: usize, sums: &[i32], outputs: &mut [i8]) {
    let mut decoded = [MaybeUninit::uninit(); CHUNK_ROWS];
    let done = try_finish(finish, first, sums, outputs, &mut decoded).unwrap_or(false);
    if !done {
        portable::finish_rows(finish, first, sums, outputs);
    }
}

/// As [`finish_rows`]; `None` or false where the kernels here can't.
fn try_finish(
    finish: &Finish<'_>,
    first: usize,
    sums: &[i32],
    outputs: &mut [i8],
    decoded: &mut [MaybeUninit<i32>; CHUNK_ROWS],
) -> Option<bool> {
    let rows = outputs.len();
    if rows == 0 || rows > sums.len() || rows > CHUNK_ROWS {
        return None;
    }
    let range = first..first.wrapping_add(rows);
    let biases = match finish.bias {
        Some((BiasWidth::I32, 0, bytes)) => {
            bytes.as_chunks::<4>().0.get(range.clone())?.as_ptr().cast()
        }
        _ => {
            let biases = decoded.get_mut(..rows)?;
            decode(finish, first, biases);
            biases.as_ptr().cast()
        }
    };
    let min = i32::from(finish.clamp.min);
    let mut constants = Constants {
        zero_point: i32::from(finish.zero_point).wrapping_sub(min),
        span: i32::from(finish.clamp.max).wrapping_sub(min),
        max: finish.clamp.max.into(),
        outputs: outputs.as_mut_ptr(),
        rows,
        value: 0,
        right: 0,
    };
    let left = match finish.multipliers {
        Multipliers::PerTensor(multiplier) => {
            constants.value = multiplier.value;
            constants.right = i32::from(multiplier.shift).wrapping_neg();
            if constants.right <= 0 {
                return None;
            }
            // SAFETY: there are `rows` > 0 sums, biases (decoded or in the section) and outputs.
            unsafe { finish_by_one(sums.as_ptr(), biases, &constants) }
        }
        Multipliers::PerChannel(table) => {
            let table = table.get(range)?.as_ptr().cast();
            // SAFETY: there are `rows` > 0 sums, biases (decoded or in the section), multipliers of
            // five bytes, and outputs.
            unsafe { finish_by_row(sums.as_ptr(), biases, &constants, table) }
        }
    };
    Some(left == 0)
}

/// Biases of rows from `first` on, 0 where there are none: all of them are written.
#[inline(never)]
fn decode(finish: &Finish<'_>, first: usize, biases: &mut [MaybeUninit<i32>]) {
    for bias in biases.iter_mut() {
        bias.write(0);
    }
    let Some((width, shift, bytes)) = finish.bias else { return };
    let bytes = bytes.get(first.wrapping_mul(width.bytes())..).unwrap_or_default();
    let shift = u32::from(shift);
    match width {
        BiasWidth::I8 => {
            for (bias, &byte) in biases.iter_mut().zip(bytes) {
                bias.write(i32::from(byte as i8).wrapping_shl(shift));
            }
        }
        BiasWidth::I16 => {
            for (bias, &pair) in biases.iter_mut().zip(bytes.as_chunks().0) {
                bias.write(i32::from(i16::from_le_bytes(pair)).wrapping_shl(shift));
            }
        }
        BiasWidth::I32 => {
            for (bias, &word) in biases.iter_mut().zip(bytes.as_chunks().0) {
                bias.write(i32::from_le_bytes(word).wrapping_shl(shift));
            }
        }
    }
}

/// Outputs of rows, each from a sum and a bias, with one multiplier whose `right` is positive: its
/// `apply`, the zero point, the clamp. Returns 0, or something else when a sum was too large.
///
/// # Safety
/// `constants.rows` isn't 0; as many sums and biases can be read, and outputs written.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was), reads a word of sums and of biases a step and writes a byte,
// `rows` steps. LDR takes any address.
#[unsafe(naked)]
unsafe extern "C" fn finish_by_one(
    sums: *const i32,
    biases: *const i32,
    constants: &Constants,
) -> u32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "ldm r2, {{r4-r10}}",
        "movs r3, #0",
        "msr apsr_nzcvq, r3",
        "1:",
        "ldr r11, [r0], #4",
        "ldr r12, [r1], #4",
        "add r11, r11, r12",
        "qadd r11, r11, r11",
        "smmulr r11, r11, r9",
        "add r11, r11, r11, asr #31",
        "asrs r11, r11, r10",
        "adc r11, r11, r4",
        "bic r11, r11, r11, asr #31",
        "sub r11, r5, r11",
        "bic r11, r11, r11, asr #31",
        "sub r11, r6, r11",
        "strb r11, [r7], #1",
        "subs r8, r8, #1",
        "bne 1b",
        "mrs r0, apsr",
        "and r0, r0, #0x08000000", // Q: a doubled sum saturated
        "pop {{r4-r11, pc}}",
    )
}

/// As [`finish_by_one`] with a multiplier of five bytes for each row. Stops, with something else
/// than 0, at one that doesn't shift to the right.
///
/// # Safety
/// As there, and five bytes for each row can be read at `multipliers`.
// SAFETY: as there, and five bytes of multipliers a step.
#[unsafe(naked)]
unsafe extern "C" fn finish_by_row(
    sums: *const i32,
    biases: *const i32,
    constants: &Constants,
    multipliers: *const u8,
) -> u32 {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "ldm r2, {{r4-r8}}",
        "movs r9, #0",
        "msr apsr_nzcvq, r9",
        "1:",
        "ldr r11, [r0], #4",
        "ldr r12, [r1], #4",
        "ldr r9, [r3], #4",
        "ldrsb r10, [r3], #1",
        "add r11, r11, r12",
        "qadd r11, r11, r11",
        "smmulr r11, r11, r9",
        "rsbs r10, r10, #0",
        "ble 2f",
        "add r11, r11, r11, asr #31",
        "asrs r11, r11, r10",
        "adc r11, r11, r4",
        "bic r11, r11, r11, asr #31",
        "sub r11, r5, r11",
        "bic r11, r11, r11, asr #31",
        "sub r11, r6, r11",
        "strb r11, [r7], #1",
        "subs r8, r8, #1",
        "bne 1b",
        "mrs r0, apsr",
        "and r0, r0, #0x08000000", // Q: a doubled sum saturated
        "pop {{r4-r11, pc}}",
        "2:",
        "mov r0, r8",
        "pop {{r4-r11, pc}}",
    )
}
