//! Outputs from sums, four at a time: 11 instructions each, 11.5 with a multiplier for each row.
//!
//! SMMULR of the doubled sum is the doubling high product with its rounding. A right shift leaves
//! the last bit that it shifts out in the carry, so that ADC both rounds and adds the zero point;
//! negative ties go away from zero since one less is shifted. USAT makes a byte of that, above the
//! least one, and three instructions clamp four bytes, which are stored as a word. Which multipliers are
//! taken is in `scales`.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use super::super::{CHUNK_ROWS, Finish, Multipliers, Sums};
use super::scales::{Scale, finish_rare, hold, redo, scale, usual};
use crate::features::Features;
use crate::format::Clamp;
use crate::requantize::Multiplier;

/// Outputs that are stored at once.
const QUAD: usize = 4;

/// From four values above the least byte to bytes within a clamp: add saturating, subtract
/// saturating, add.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Bytes {
    above: u32,
    within: u32,
    min: u32,
}

impl Bytes {
    pub(super) fn new(clamp: Clamp) -> Self {
        let four = |byte: u8| u32::from(byte).wrapping_mul(0x0101_0101);
        let (min, max) = (clamp.min as u8, clamp.max as u8);
        // From the greatest byte to 127, and from −128 to the least one as well.
        let above = max ^ 0x7F;
        let within = above.wrapping_add(min ^ 0x80);
        Self { above: four(above), within: four(within), min: four(min) }
    }
}

/// What is the same for all rows, as the kernels load it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Constants {
    pub(super) outputs: *mut i8,
    pub(super) rows: usize,
    /// The zero point, above the least byte.
    zero_point: i32,
    bytes: Bytes,
    /// Of the whole layer, where there is one.
    value: i32,
    right: i32,
}

impl Constants {
    pub(super) fn new(finish: &Finish<'_>, outputs: &mut [i8]) -> Self {
        Self {
            outputs: outputs.as_mut_ptr(),
            rows: outputs.len(),
            zero_point: i32::from(finish.zero_point).wrapping_add(128),
            bytes: Bytes::new(finish.clamp),
            value: 0,
            right: 0,
        }
    }
}

/// The multiplier of all rows, if there is one.
#[inline(always)]
fn one_multiplier(finish: &Finish<'_>) -> Option<Multiplier> {
    match finish.multipliers {
        Multipliers::PerTensor(multiplier) => Some(multiplier),
        Multipliers::PerChannel(_) if Features::BUILT.per_channel => None,
        Multipliers::PerChannel(_) => Some(Multiplier::default()), // refused when it was read
    }
}

/// As [`Kernels::finish_rows`](super::Kernels::finish_rows), where no sum is larger than `most`.
#[inline(never)]
pub(super) fn finish_rows(
    finish: &Finish<'_>,
    (first, most): (usize, u32),
    sums: &Sums,
    outputs: &mut [i8],
) {
    let Some(multiplier) = one_multiplier(finish) else {
        return finish_each(finish, (first, most), sums, outputs);
    };
    let scale = usual(multiplier).or_else(|| {
        let biases = outputs.iter().zip(first..).map(|(_, row)| finish.bias(row).unsigned_abs());
        scale(multiplier, biases.max().unwrap_or_default(), most)
    });
    match scale {
        Some(scale) => finish_alike(finish, scale, first, sums, outputs),
        None => finish_rare(finish, first, sums, outputs),
    }
}

/// As [`finish_rows`], with a multiplier for each row; scales need a stack frame of their own.
#[inline(never)]
fn finish_each(finish: &Finish<'_>, (first, most): (usize, u32), sums: &Sums, outputs: &mut [i8]) {
    let mut room = [const { MaybeUninit::uninit() }; CHUNK_ROWS];
    let Some(places) = room.get_mut(..outputs.len()) else { return };
    if places.is_empty() {
        return;
    }
    let rare = hold(places, finish, first, most);
    let constants = Constants::new(finish, outputs);
    // SAFETY: there are outputs, no more of them than of sums and of scales, which are whole quads and as
    // many of which `hold` has written. What else a last quad has becomes outputs that aren't stored.
    unsafe { finish_by_row(sums.as_ptr(), places.as_ptr().cast(), &constants) }
    if rare {
        // SAFETY: `hold` has written all places.
        unsafe { redo(places, finish, first, sums, outputs) };
    }
}

/// As [`finish_rows`], with one multiplier.
#[inline(never)]
fn finish_alike(
    finish: &Finish<'_>,
    [value, right]: [i32; 2],
    first: usize,
    sums: &Sums,
    outputs: &mut [i8],
) {
    let mut room = [MaybeUninit::uninit(); CHUNK_ROWS];
    let rows = outputs.len();
    if rows == 0 || rows > CHUNK_ROWS {
        return;
    }
    let mut constants = Constants::new(finish, outputs);
    (constants.value, constants.right) = (value, right);
    let biases = words(finish, first, rows, &mut room);
    // SAFETY: there are `rows` > 0 outputs, no more of them than of sums, which are whole quads, and
    // as many quads of biases, as `words` says.
    unsafe { finish_by_one(sums.as_ptr(), biases, &constants) }
}

/// Biases of so many rows from `first` on, as they are added: where the file has them, if they are
/// such words, or in `room`. They can be read up to whole quads, at any address.
#[inline(always)]
fn words(
    finish: &Finish<'_>,
    first: usize,
    rows: usize,
    room: &mut [MaybeUninit<i32>; CHUNK_ROWS],
) -> *const i32 {
    let (width, shift, bytes) = match finish.bias {
        Some((width, shift, bytes)) => (width.bytes(), shift, bytes),
        None => (0, 0, &[][..]),
    };
    let biases = bytes.get(first.wrapping_mul(width)..).unwrap_or_default();
    // A layer that was found has biases for all rows.
    let width = if biases.len() < rows.wrapping_mul(width) { 0 } else { width };
    if width == size_of::<i32>() && shift == 0 && rows.is_multiple_of(QUAD) {
        return biases.as_ptr().cast();
    }
    let places = room.get_mut(..rows).unwrap_or_default();
    if !places.is_empty() {
        let ends = places.as_mut_ptr_range();
        // SAFETY: `ends` bound `rows` > 0 words to write; as many biases of `width` bytes are in `biases`.
        unsafe { widen(biases.as_ptr(), ends.start.cast(), ends.end.cast(), width, shift.into()) };
    }
    room.as_ptr().cast()
}

/// Biases of `width` bytes, none of them if that is 0, as words, shifted left.
///
/// # Safety
/// `to` and `end` bound at least one word to write; as many biases can be read, at any address.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4 and lr saved and
// restored, the stack as it was). It reads a bias and writes a word a step, up to `end`. LDR, LDRSH and STR take
// any address.
#[unsafe(naked)]
unsafe extern "C" fn widen(
    biases: *const u8,
    to: *mut i32,
    end: *mut i32,
    width: usize,
    shift: u32,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro widen load, len",
        "7:",
        "\\load r12, [r0], #\\len",
        "lsl r12, r12, r4",
        "str r12, [r1], #4",
        "cmp r1, r2",
        "bne 7b",
        "pop {{r4, pc}}",
        ".endm",
        "push {{r4, lr}}",
        "ldr r4, [sp, #8]",
        "cmp r3, #2",
        "bhi 4f",
        "beq 2f",
        "cbnz r3, 1f",
        "3:",
        "str r3, [r1], #4",
        "cmp r1, r2",
        "bne 3b",
        "pop {{r4, pc}}",
        "1:",
        "widen ldrsb, 1",
        "2:",
        "widen ldrsh, 2",
        "4:",
        "widen ldr, 4",
        ".purgem widen",
    )
}

/// Outputs of rows, each from a sum and a bias, with one multiplier whose `right` is positive: its
/// `apply`, the zero point, the clamp.
///
/// # Safety
/// `constants.rows` isn't 0, and so many outputs can be written; as many sums and biases, filled up
/// to whole quads, can be read.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and
// restored, the stack as it was), reads four words of sums and of biases a step and writes four
// bytes, in the last step as many as are left. LDR and STR take any address, and LDRD is at
// multiples of four, as sums are words.
#[unsafe(naked)]
unsafe extern "C" fn finish_by_one(sums: *const i32, biases: *const i32, constants: &Constants) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro finish_one sum, to",
        "ldr r12, [r1], #4",
        "add \\sum, \\sum, r12",
        "qadd \\sum, \\sum, \\sum",
        "smmulr \\sum, \\sum, r8",
        "add \\sum, \\sum, \\sum, asr #31",
        "asrs \\sum, \\sum, r9",
        "adc \\sum, \\sum, r4",
        "usat \\to, #8, \\sum",
        ".endm",
        "push {{r4-r11, lr}}",
        "ldm r2, {{r2-r9}}",
        "1:",
        "ldrd r10, r11, [r0], #8",
        "finish_one r10, lr",
        "finish_one r11, r11",
        "bfi lr, r11, #8, #8",
        "ldrd r10, r11, [r0], #8",
        "finish_one r10, r10",
        "bfi lr, r10, #16, #8",
        "finish_one r11, r11",
        "bfi lr, r11, #24, #8",
        "uqadd8 lr, lr, r5",
        "uqsub8 lr, lr, r6",
        "uadd8 lr, lr, r7",
        "subs r3, r3, #4",
        "blo {last}",
        "str lr, [r2], #4",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        ".purgem finish_one",
        last = sym store_last,
    )
}

/// As [`finish_by_one`] with a bias and a multiplier for each row.
///
/// # Safety
/// As there, with scales instead of biases.
// SAFETY: as there, with three words of scales instead of one of biases; LDM is at multiples of
// four, as they are words.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn finish_by_row(
    sums: *const i32,
    scales: *const Scale,
    constants: &Constants,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro finish_row sum, to",
        "ldm r1!, {{r8-r10}}",
        "add \\sum, \\sum, r8",
        "qadd \\sum, \\sum, \\sum",
        "smmulr \\sum, \\sum, r9",
        "add \\sum, \\sum, \\sum, asr #31",
        "asrs \\sum, \\sum, r10",
        "adc \\sum, \\sum, r4",
        "usat \\to, #8, \\sum",
        ".endm",
        "push {{r4-r11, lr}}",
        "ldm r2, {{r2-r7}}",
        "1:",
        "ldrd r11, r12, [r0], #8",
        "finish_row r11, lr",
        "finish_row r12, r12",
        "bfi lr, r12, #8, #8",
        "ldrd r11, r12, [r0], #8",
        "finish_row r11, r11",
        "bfi lr, r11, #16, #8",
        "finish_row r12, r12",
        "bfi lr, r12, #24, #8",
        "uqadd8 lr, lr, r5",
        "uqsub8 lr, lr, r6",
        "uadd8 lr, lr, r7",
        "subs r3, r3, #4",
        "blo {last}",
        "str lr, [r2], #4",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        ".purgem finish_row",
        last = sym store_last,
    )
}

/// The end of the kernels above where less than a quad is left.
// SAFETY: reached by a branch from them alone, with r4–r11 and lr on the stack, four outputs in lr,
// and in r3 how many are left, less four: its last two bits say how many are. So many are written
// at r2. It ends those functions by the C calling convention (r4–r11 and the stack as they were).
#[unsafe(naked)]
unsafe extern "C" fn store_last() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "lsls r3, r3, #31",   // C: a half-word, N: a byte
        "bcc 1f",
        "strh lr, [r2], #2",
        "lsr lr, lr, #16",
        "1:",
        "bpl 2f",
        "strb lr, [r2]",
        "2:",
        "pop {{r4-r11, pc}}",
    )
}
