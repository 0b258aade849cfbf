//! Cortex-M4 and M7: two 16-bit products and their sum an instruction (SMLAD).
//!
//! Inputs are spread to 16 bits once, with their offset added, and then meet all rows: as a vector
//! in dense layers (`dense`), at four positions at once in convolutions (`positions`). Four weights
//! are a word, which SXTB16 spreads to two words: columns 0 and 2, columns 1 and 3. Inputs have the
//! same order, so that nothing needs to be shuffled.

mod add;
mod bets;
mod dense;
mod depthwise;
mod finish;
mod lists;
mod nibbles;
mod pairs;
mod patches;
mod pixels;
mod positions;
mod scales;
mod squares;
mod taps;
mod threes;
mod windows;

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ops::Range;

use super::{Addition, CHUNK_ROWS, DotListed, Finish, Kernels, Matrix, Sight, Sums};
use crate::format::Layout;

pub(crate) use patches::{Patches, Place};

/// Those of cores with the DSP extension.
pub(crate) struct Dsp;

impl Kernels for Dsp {
    const NAME: &'static str = "dsp";
    const HAS_BYTES: bool = true;
    const HAS_NARROW: bool = true;
    const HAS_DEPTHWISE: bool = true;
    const POSITIONS: usize = 4;
    const PATCH_MAX: usize = usize::MAX; // in pieces
    const OUTPUTS_MAX: usize = CHUNK_ROWS; // sums are compared
    const DECODED_MAX: usize = 1200; // four filters of 5 × 5 × 12
    const DENSE_LAYOUT: Layout = Layout::Pairs;
    const DOT_LISTED: Option<DotListed> = Some(lists::dot_listed);
    type Lanes = dense::Lanes;

    #[inline(always)]
    fn finish(
        lanes: &mut dense::Lanes,
        matrix: &Matrix<'_>,
        x: &[i8],
        offset: i16,
        finish: &Finish<'_>,
        outputs: &mut [i8],
    ) -> Option<()> {
        lanes.finish(matrix, x, offset, finish, outputs)
    }

    #[inline(always)]
    fn dot_rows(matrix: &Matrix<'_>, first: usize, inputs: &dense::Inputs<'_>, sums: &mut Sums) {
        dense::dot_rows(matrix, first, inputs, sums);
    }

    #[inline(always)]
    fn finish_rows(finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
        finish::finish_rows(finish, (first, u32::MAX), sums, outputs);
    }

    #[inline(always)]
    fn depthwise_layer(
        sight: &Sight<'_>,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        output: &mut [i8],
        rare: &mut dyn FnMut(usize, &mut [i8]),
    ) -> Option<()> {
        if threes::takes(sight) {
            threes::depthwise(sight, matrix, finish, output, rare)
        } else {
            depthwise::depthwise(sight, matrix, finish, output, rare)
        }
    }

    #[inline(always)]
    fn add(
        arena: &mut [i8],
        operands: [Range<usize>; 2],
        output: Range<usize>,
        addition: &Addition,
    ) -> Option<()> {
        add::add(arena, operands, output, addition)
    }

    #[inline(always)]
    fn sum_pixels(values: &[i8], size: [usize; 2], steps: [usize; 2], sums: &mut [i32]) {
        pixels::sum_pixels(values, size, steps, sums);
    }

    #[inline(always)]
    fn copy_rows(from: &[i8], to: &mut [i8], rows: usize, len: usize, strides: [usize; 2]) {
        patches::copy_rows(from, to, rows, len, strides);
    }

    #[inline(always)]
    fn put_filter(weights: &[u8], row: &mut [u8]) {
        lists::put_filter(weights, row);
    }

    #[inline(always)]
    fn fill(values: &mut [i8], value: i8) {
        patches::fill(values, value);
    }

    #[inline(always)]
    fn add_scores(evidence: &mut [u16; 4], scores: &[u8; 4], most: i32) -> i32 {
        bets::add_scores(evidence, scores, most)
    }

    #[inline(always)]
    fn lose(evidence: &mut [u16; 4], events: &[[u8; 2]; 4]) {
        bets::lose(evidence, events);
    }

    /// Those that are narrower than a byte are unpacked once for all positions.
    #[inline(always)]
    fn is_direct(bits: u8) -> bool {
        bits <= 8
    }
}

/// Columns of a group, and bytes of a word.
const GROUP: usize = 4;

/// Makes all words zero: in less code, and for arrays of our sizes in less time, than what the
/// compiler calls where it compiles for size.
#[inline(never)]
fn clear<T>(value: &mut MaybeUninit<T>) {
    const { assert!(size_of::<T>() % size_of::<u32>() == 0 && align_of::<T>() == align_of::<u32>()) }
    // SAFETY: from the start of `value` on, 32 bytes are written while so many are left, and then
    // words while there are any: all of `value`, and nothing else; STM is at a multiple of four.
    unsafe {
        asm!(
            "b 2f",
            "1:",
            "stm {to}!, {{r2-r5}}",
            "stm {to}!, {{r2-r5}}",
            "2:",
            "subs {left}, {left}, #32",
            "bhs 1b",
            "adds {left}, {left}, #32",
            "b 4f",
            "3:",
            "str r2, [{to}], #4",
            "4:",
            "subs {left}, {left}, #4",
            "bhs 3b",
            left = inout(reg) size_of::<T>() => _,
            to = inout(reg) value.as_mut_ptr() => _,
            in("r2") 0,
            in("r3") 0,
            in("r4") 0,
            in("r5") 0,
            options(nostack),
        );
    }
}

/// An offset in both halves of a word.
const fn twice(offset: i16) -> u32 {
    (offset as u16 as u32).wrapping_mul(0x1_0001)
}

/// Four bytes of `word`, sign-extended to 16 bits, plus `offsets`: 0 and 2, 1 and 3.
#[inline(always)]
fn spread(offsets: u32, word: u32) -> [u32; 2] {
    let (even, odd);
    // SAFETY: both instructions compute registers from registers; they touch neither memory nor
    // flags, and every core that this module is compiled for has them (build.rs).
    unsafe {
        asm!(
            "sxtab16 {even}, {offsets}, {word}",
            "sxtab16 {odd}, {offsets}, {word}, ror #8",
            even = out(reg) even,
            odd = lateout(reg) odd,
            offsets = in(reg) offsets,
            word = in(reg) word,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [even, odd]
}
