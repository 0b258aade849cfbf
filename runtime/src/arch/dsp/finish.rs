//! Outputs from sums, four at a time: 11 instructions each, 11.5 with a multiplier for each row.
//!
//! SMMULR of the doubled sum is the doubling high product with its rounding. A right shift leaves
//! the last bit that it shifts out in the carry, so that ADC both rounds and adds the zero point;
//! negative ties go away from zero since one less is shifted. USAT makes a byte of that, above the
//! least one, and three instructions clamp four bytes, which are stored as a word.
//!
//! A sum of 2³⁰ or more can't be doubled; QADD saturates. Behind a multiplier of at least ¼ of a
//! shift by at most [`MAX_RIGHT`], such a sum is beyond every byte, doubled or saturated: see
//! [`scale`]. Other multipliers, and those that don't shift to the right, are rare: the portable
//! function takes those rows.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::super::{CHUNK_ROWS, Finish, Multipliers, Sums, portable};
use crate::features::Features;
use crate::format::{BiasWidth, Clamp};
use crate::requantize::Multiplier;

/// Outputs that are stored at once.
const QUAD: usize = 4;
/// Least fraction that the kernels take, but for 0.
const MIN_VALUE: i32 = 1 << 29;
/// Furthest shift to the right that they take.
const MAX_RIGHT: i32 = 20;

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
        let [min, max] = [clamp.min, clamp.max].map(|bound| bound as u8 ^ 0x80);
        let above = 255u8.wrapping_sub(max);
        Self {
            above: four(above),
            within: four(above.wrapping_add(min)),
            min: four(clamp.min as u8),
        }
    }
}

/// What is the same for all rows, as the kernels load it.
#[repr(C)]
struct Constants {
    outputs: *mut i8,
    rows: usize,
    /// The zero point, above the least byte.
    zero_point: i32,
    bytes: Bytes,
    /// Of the whole layer, where there is one.
    value: i32,
    right: i32,
}

impl Constants {
    fn new(finish: &Finish<'_>, outputs: &mut [i8]) -> Self {
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

/// Fraction and shift to the right of a multiplier that kernels take.
///
/// Where a doubled sum saturates at ±2³¹, its product is 2²⁸ or more, and 256 or more when shifted:
/// with any zero point that is beyond the bytes, like what the sum itself would come to.
pub(super) fn scale(multiplier: Multiplier) -> Option<[i32; 2]> {
    let right = i32::from(multiplier.shift).wrapping_neg();
    match multiplier.value {
        0 => Some([0, 1]),
        value => (value >= MIN_VALUE && (1..=MAX_RIGHT).contains(&right)).then_some([value, right]),
    }
}

/// What becomes of a row's sum, as the kernel loads it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Scale {
    bias: i32,
    value: i32,
    right: i32,
}

/// What becomes of the sums of a chunk of rows: of one layer, where they serve many positions.
pub(super) struct Scales {
    rows: [MaybeUninit<Scale>; CHUNK_ROWS],
    /// The first row, and how many there are.
    held: [usize; 2],
    /// Whether there is one that the kernel doesn't take.
    rare: bool,
}

impl Scales {
    pub(super) const fn new() -> Self {
        Self { rows: [MaybeUninit::uninit(); CHUNK_ROWS], held: [0; 2], rare: false }
    }

    /// The outputs of `rows`, as many as there are and the same again, from their sums of products.
    #[inline(never)]
    pub(super) fn finish(
        &mut self,
        finish: &Finish<'_>,
        rows: Range<usize>,
        sums: &Sums,
        outputs: &mut [i8],
    ) {
        let [first, count] = self.held;
        if first != rows.start || count < outputs.len() {
            self.held = [rows.start, outputs.len()];
            self.rare = self.hold(finish, rows.clone(), outputs.len()).is_none();
        }
        if self.rare || outputs.is_empty() || outputs.len() > CHUNK_ROWS {
            let len = rows.len().max(1);
            for (outputs, sums) in outputs.chunks_mut(len).zip(sums.chunks(len)) {
                portable::finish_rows(finish, rows.start, sums, outputs);
            }
            return;
        }
        let constants = Constants::new(finish, outputs);
        // SAFETY: there are outputs, no more of them than of sums and `rows`, which are whole quads; as
        // many scales are held. What else a last quad has becomes outputs that aren't stored.
        unsafe { finish_by_row(sums.as_ptr(), self.rows.as_ptr().cast(), &constants) }
    }

    #[inline(never)]
    fn hold(&mut self, finish: &Finish<'_>, rows: Range<usize>, count: usize) -> Option<()> {
        let mut row = rows.start;
        for held in self.rows.iter_mut().take(count) {
            let [value, right] = scale(finish.multiplier(row))?;
            held.write(Scale { bias: finish.bias(row), value, right });
            row = row.wrapping_add(1);
            if row >= rows.end {
                row = rows.start;
            }
        }
        Some(())
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

/// As [`Kernels::finish_rows`](super::Kernels::finish_rows).
pub(super) fn finish_rows(finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
    match one_multiplier(finish).map(scale) {
        Some(Some(scale)) => finish_alike(finish, scale, first, sums, outputs),
        Some(None) => portable::finish_rows(finish, first, sums, outputs),
        None => finish_each(finish, first, sums, outputs),
    }
}

/// As [`finish_rows`], with a multiplier for each row; scales need a stack frame of their own.
#[inline(never)]
fn finish_each(finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
    Scales::new().finish(finish, first..usize::MAX, sums, outputs);
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
    let constants = Constants { value, right, ..Constants::new(finish, outputs) };
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
    if let Some((BiasWidth::I32, 0, bytes)) = finish.bias
        && rows.is_multiple_of(QUAD)
        && let Some(words) = bytes.as_chunks::<4>().0.get(first..first.wrapping_add(rows))
    {
        return words.as_ptr().cast();
    }
    for (word, row) in room.iter_mut().take(rows.next_multiple_of(QUAD)).zip(first..) {
        word.write(finish.bias(row));
    }
    room.as_ptr().cast()
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
unsafe extern "C" fn finish_by_row(sums: *const i32, scales: *const Scale, constants: &Constants) {
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
