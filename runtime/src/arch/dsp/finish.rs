//! Outputs from sums, four at a time: 11 instructions each, 11.5 with a multiplier for each row.
//!
//! SMMULR of the doubled sum is the doubling high product with its rounding. A right shift leaves
//! the last bit that it shifts out in the carry, so that ADC both rounds and adds the zero point;
//! negative ties go away from zero since one less is shifted. USAT makes a byte of that, above the
//! least one, and three instructions clamp four bytes, which are stored as a word.
//!
//! A sum of 2³⁰ or more can't be doubled; QADD saturates. Behind a multiplier of at least ¼ of a
//! shift by at most [`MAX_RIGHT`], such a sum is beyond every byte, doubled or saturated: see
//! [`usual`]. Behind others, rows are taken whose sums stay below that ([`scale`]). What remains, and
//! those that don't shift to the right, is rare: the portable function takes those rows alone.

use core::arch::naked_asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::super::{CHUNK_ROWS, Finish, Multipliers, Sums, portable};
use crate::features::Features;
use crate::format::{BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp};
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
#[derive(Clone, Copy)]
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

/// Fraction and shift to the right of a multiplier that kernels take behind any sum.
///
/// Where a doubled sum saturates at ±2³¹, its product is 2²⁸ or more, and 256 or more when shifted:
/// with any zero point that is beyond the bytes, like what the sum itself would come to.
fn usual(multiplier: Multiplier) -> Option<[i32; 2]> {
    let right = i32::from(multiplier.shift).wrapping_neg();
    match multiplier.value {
        0 => Some([0, 1]),
        value => (value >= MIN_VALUE && (1..=MAX_RIGHT).contains(&right)).then_some([value, right]),
    }
}

/// As [`usual`], or of a multiplier that the kernels take behind sums that can be doubled: with
/// a bias of that size, where no sum of products is larger than `most`.
fn scale(multiplier: Multiplier, bias: u32, most: u32) -> Option<[i32; 2]> {
    usual(multiplier).or_else(|| {
        let right = i32::from(multiplier.shift).wrapping_neg();
        let doubles = bias.saturating_add(most) < 1 << 30;
        let shifts = (1..=31).contains(&right) && multiplier.value >= 0;
        (doubles && shifts).then_some([multiplier.value, right])
    })
}

/// Most that a sum of products of so many weights of a byte comes to.
pub(super) fn most(columns: usize) -> u32 {
    u32::try_from(columns).map_or(u32::MAX, |columns| columns.saturating_mul(128 * 255))
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
unsafe fn redo(
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
            portable::finish_rows(finish, row, sum, y);
        }
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
        (places, row) = (rest, row.wrapping_add(1));
    }
}

/// Holds rows from number `row` on up to the first without a usual multiplier of its own, or whose bias
/// ends near the last one's end; returns how many these were.
fn hold_usual(places: &mut [MaybeUninit<Scale>], finish: &Finish<'_>, row: usize) -> usize {
    let (Some((width, shift, bytes)), Multipliers::PerChannel(table)) =
        (finish.bias, finish.multipliers)
    else {
        return 0;
    };
    let width = width.bytes();
    let biases = bytes.get(row.wrapping_mul(width)..).unwrap_or_default();
    let table = table.get(row..).unwrap_or_default();
    // Of the last biases, the words reach beyond their end.
    let behind = size_of::<u32>().saturating_sub(width);
    let words = biases.len().saturating_sub(behind).checked_div(width).unwrap_or_default();
    let count = places.len().min(words).min(table.len());
    if count == 0 || !Features::BUILT.per_channel {
        return 0;
    }
    let stored = Stored {
        biases: biases.as_ptr(),
        width,
        unused: behind.wrapping_mul(8),
        shift: shift.into(),
    };
    // SAFETY: there are `count` > 0 multipliers in `table` and `places`, and from the start of each
    // of as many biases on, `width` bytes apart, a word can be read, `unused` bits of which aren't the
    // bias's: `hold_rows`' conditions.
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
        None => portable::finish_rows(finish, first, sums, outputs),
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
    let words = room.iter_mut().take(rows.next_multiple_of(QUAD));
    if let Some((BiasWidth::I16, shift, bytes)) = finish.bias {
        let halves = bytes.as_chunks::<2>().0.get(first..).unwrap_or_default();
        let biases = halves.iter().map(|&half| i32::from(i16::from_le_bytes(half)));
        for (word, bias) in words.zip(biases.chain(core::iter::repeat(0))) {
            word.write(bias.wrapping_shl(shift.into()));
        }
    } else {
        for (word, row) in words.zip(first..) {
            word.write(finish.bias(row));
        }
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
