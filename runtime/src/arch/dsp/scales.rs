//! What becomes of rows' sums, prepared for the kernels of `finish`, and which rows these don't take.
//!
//! A sum of 2³⁰ or more can't be doubled; QADD saturates. Behind a multiplier of at least ¼ of a
//! shift by at most [`MAX_RIGHT`], such a sum is beyond every byte, doubled or saturated: see
//! [`usual`]. Behind others, rows are taken whose sums stay below that ([`scale`]). What remains, and
//! those that don't shift to the right, is rare: the portable function takes those rows alone.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::super::{CHUNK_ROWS, Finish, Multipliers, Sums};
use super::finish::{Constants, finish_by_row};
use crate::features::Features;
use crate::format::CHANNEL_MULTIPLIER_LEN;
use crate::requantize::Multiplier;

/// Least fraction that the kernels take, but for 0.
const MIN_VALUE: i32 = 1 << 29;
/// Furthest shift to the right that they take.
const MAX_RIGHT: i32 = 20;

/// Fraction and shift to the right of a multiplier that kernels take behind any sum.
///
/// Where a doubled sum saturates at ±2³¹, its product is 2²⁸ or more, and 256 or more when shifted:
/// with any zero point that is beyond the bytes, like what the sum itself would come to.
pub(super) fn usual(multiplier: Multiplier) -> Option<[i32; 2]> {
    let right = i32::from(multiplier.shift).wrapping_neg();
    match multiplier.value {
        0 => Some([0, 1]),
        value => (value >= MIN_VALUE && (1..=MAX_RIGHT).contains(&right)).then_some([value, right]),
    }
}

/// As [`usual`], or of a multiplier that the kernels take behind sums that can be doubled: with
/// a bias of that size, where no sum of products is larger than `most`.
pub(super) fn scale(multiplier: Multiplier, bias: u32, most: u32) -> Option<[i32; 2]> {
    usual(multiplier).or_else(|| {
        let right = i32::from(multiplier.shift).wrapping_neg();
        let doubles = bias.saturating_add(most) < 1 << 30;
        let shifts = (1..=31).contains(&right) && multiplier.value >= 0;
        (doubles && shifts).then_some([multiplier.value, right])
    })
}

/// Most that a sum of products of so many weights of a byte comes to.
pub(super) fn most(columns: usize) -> u32 {
    // Of more columns than these, it is beyond whatever kernels take.
    (columns.min(1 << 16) as u32).wrapping_mul(128 * 255)
}

/// What becomes of a row's sum, as the kernel loads it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Scale {
    pub(super) bias: i32,
    pub(super) value: i32,
    pub(super) right: i32,
}

impl Scale {
    /// Whether the kernel doesn't take the row.
    pub(super) fn is_rare(&self) -> bool {
        self.right == RARE
    }
}

/// What becomes of the sums of a chunk of rows: of one layer, where they serve many positions.
pub(super) struct Scales {
    rows: [MaybeUninit<Scale>; CHUNK_ROWS],
    constants: MaybeUninit<Constants>,
    /// The first row, and how many there are; none when all is zeros.
    held: [usize; 2],
    /// Whether there are rows that the kernel doesn't take.
    rare: u32,
}

impl Scales {
    /// The outputs of `rows`, as many as there are and the same again, from their sums of products,
    /// none of them larger than `most`.
    #[inline(never)]
    pub(super) fn finish(
        &mut self,
        finish: &Finish<'_>,
        (rows, most): (Range<usize>, u32),
        sums: &Sums,
        outputs: &mut [i8],
    ) {
        let (count, [first, held]) = (outputs.len(), self.held);
        if count == 0 || count > CHUNK_ROWS {
            return;
        }
        if first != rows.start || held < count {
            self.held = [rows.start, count];
            self.constants.write(Constants::new(finish, outputs));
            let mut rare = false;
            let places = self.rows.get_mut(..count).unwrap_or_default();
            for places in places.chunks_mut(rows.len().max(1)) {
                rare |= hold(places, finish, rows.start, most);
            }
            self.rare = rare.into();
        }
        // SAFETY: `held` isn't 0 any more, so that they were written, above or at an earlier call.
        let constants = unsafe { self.constants.assume_init_mut() };
        (constants.outputs, constants.rows) = (outputs.as_mut_ptr(), count);
        // SAFETY: there are outputs, no more of them than of sums and `rows`, which are whole quads; as
        // many scales are held. What else a last quad has becomes outputs that aren't stored.
        unsafe { finish_by_row(sums.as_ptr(), self.rows.as_ptr().cast(), constants) }
        if self.rare != 0 {
            let places = self.rows.get(..count).unwrap_or_default();
            let len = rows.len().max(1);
            for ((places, outputs), sums) in
                places.chunks(len).zip(outputs.chunks_mut(len)).zip(sums.chunks(len))
            {
                // SAFETY: all rows that are held were written.
                unsafe { redo(places, finish, rows.start, sums, outputs) };
            }
        }
    }
}

/// Makes the outputs of the rows that the kernel doesn't take.
///
/// # Safety
/// All places are written.
#[inline(never)]
pub(super) unsafe fn redo(
    places: &[MaybeUninit<Scale>],
    finish: &Finish<'_>,
    first: usize,
    sums: &[i32],
    outputs: &mut [i8],
) {
    for (((place, row), sum), y) in
        places.iter().zip(first..).zip(sums.chunks(1)).zip(outputs.chunks_mut(1))
    {
        // SAFETY: as promised.
        if unsafe { place.assume_init_ref() }.is_rare() {
            finish_rare(finish, row, sum, y);
        }
    }
}

/// The outputs of rows that no kernel takes, in little code.
#[inline(never)]
pub(super) fn finish_rare(finish: &Finish<'_>, first: usize, sums: &[i32], outputs: &mut [i8]) {
    for ((y, &sum), row) in outputs.iter_mut().zip(sums).zip(first..) {
        *y = finish.output(row, sum.wrapping_add(finish.bias(row)));
    }
}

/// The shift of a row that the kernel doesn't take.
const RARE: i32 = 0;

/// Holds the scales of rows from number `row` on in all of these places, where no sum is larger than
/// `most`. Returns whether there is one that the kernel doesn't take, whose shift is [`RARE`].
#[inline(never)]
pub(super) fn hold(
    mut places: &mut [MaybeUninit<Scale>],
    finish: &Finish<'_>,
    mut row: usize,
    most: u32,
) -> bool {
    let mut rare = false;
    loop {
        let taken = hold_usual(places, finish, row);
        let Some((place, rest)) = places.get_mut(taken..).and_then(<[_]>::split_first_mut) else {
            return rare;
        };
        row = row.wrapping_add(taken);
        let bias = finish.bias(row);
        let scale = scale(finish.multiplier(row), bias.unsigned_abs(), most);
        rare |= scale.is_none();
        let [value, right] = scale.unwrap_or([0, RARE]);
        place.write(Scale { bias, value, right });
        if rest.is_empty() {
            return rare;
        }
        (places, row) = (rest, row.wrapping_add(1));
    }
}

/// What is read, again and again, where there are no biases.
static NO_BIAS: u32 = 0;

/// Holds rows from number `row` on up to the first without a usual multiplier of its own, or whose bias
/// ends near the last one's end; returns how many these were.
fn hold_usual(places: &mut [MaybeUninit<Scale>], finish: &Finish<'_>, row: usize) -> usize {
    let Multipliers::PerChannel(table) = finish.multipliers else { return 0 };
    let table = table.get(row..).unwrap_or_default();
    let (biases, width, shift, words) = match finish.bias {
        None => ((&raw const NO_BIAS).cast(), 0, 0, usize::MAX),
        Some((width, shift, bytes)) => {
            let width = width.bytes();
            let biases = bytes.get(row.wrapping_mul(width)..).unwrap_or_default();
            // Of the last biases, the words reach beyond their end.
            let behind = size_of::<u32>().saturating_sub(width);
            let words = biases.len().saturating_sub(behind).checked_div(width);
            (biases.as_ptr(), width, shift, words.unwrap_or_default())
        }
    };
    let count = places.len().min(words).min(table.len());
    if count == 0 || !Features::BUILT.per_channel {
        return 0;
    }
    let stored = Stored {
        biases,
        width,
        unused: if width == 0 { 0 } else { size_of::<u32>().saturating_sub(width).wrapping_mul(8) },
        shift: shift.into(),
    };
    // SAFETY: there are `count` > 0 multipliers in `table` and `places`, and from the start of each
    // of as many biases on, `width` bytes apart, a word can be read, or the same again where there are
    // none, `unused` bits of which aren't the bias's: `hold_rows`' conditions.
    unsafe { hold_rows(table.as_ptr(), places.as_mut_ptr().cast(), count, &stored) }
}

/// Where biases lie, as the kernel loads it.
#[repr(C)]
struct Stored {
    biases: *const u8,
    /// Bytes of each.
    width: usize,
    /// Bits of a word that aren't.
    unused: usize,
    /// Positions that they are shifted left.
    shift: usize,
}

/// Unpacks the scales of rows up to the first whose multiplier isn't [`usual`], or is 0; returns how many
/// these are.
///
/// # Safety
/// `count` isn't 0; so many multipliers can be read, and scales be written. From `stored.biases` on,
/// a word can be read every `stored.width` bytes, as many times.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r11 saved and restored,
// the stack as it was). It reads a word of biases, and a word and a byte of multipliers a step, and
// writes three words of scales, `count` steps or fewer. LDR takes any address; STM is at
// multiples of four, as scales consist of words.
#[unsafe(naked)]
unsafe extern "C" fn hold_rows(
    multipliers: *const [u8; CHANNEL_MULTIPLIER_LEN],
    scales: *mut Scale,
    count: usize,
    stored: &Stored,
) -> usize {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r2, r4-r11}}",
        "ldm r3, {{r8-r11}}",
        "1:",
        "ldr r4, [r8]",
        "ldr r5, [r0], #4",
        "ldrsb r6, [r0], #1",
        "add r8, r8, r9",
        "mvns r12, r6",
        "cmp r12, #{max_right}", // from −1, which is 0 here, on
        "bhs 2f",
        "cmp r5, #{min_value}",
        "blt 2f",
        "lsl r4, r4, r10",
        "asr r4, r4, r10",
        "lsl r4, r4, r11",
        "rsbs r6, r6, #0",
        "stm r1!, {{r4-r6}}",
        "subs r2, r2, #1",
        "bne 1b",
        "2:",
        "pop {{r0, r4-r11}}",
        "subs r0, r0, r2",
        "bx lr",
        max_right = const MAX_RIGHT,
        min_value = const MIN_VALUE,
    )
}
