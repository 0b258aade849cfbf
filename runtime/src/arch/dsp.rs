//! Cortex-M4 and M7: two 16-bit products and their sum an instruction (SMLAD).
//!
//! Four rows go over the inputs at once, so that an input is loaded once for four products. Inputs
//! are spread to 16 bits before ([`Lanes`]), once for all rows and with their offset added; four
//! weights are a word, which SXTB16 spreads to two words. Per four columns and four rows that is
//! 21 instructions, and two for the loop every eight columns: 1.375 a product. In the layout of
//! pairs half of the weights need no spreading: 14 instructions, 0.91 a product.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;
use core::slice;

use super::portable::dot_block_slowly;
pub(crate) use super::portable::{add, copy, dot, dot_strided, is_direct, row_sum};
use super::{BLOCK_ROWS as ROWS, Ends, Matrix};

/// Most inputs that are spread: 2 KiB of stack. Longer ones take the portable kernel.
const MAX_GROUPS: usize = 256;
/// Columns of a group, and bytes of a word.
const GROUP: usize = 4;

/// Four inputs at 16 bits: 0 and 2 in the first word, 1 and 3 in the second, as SXTB16 spreads
/// four weights.
type Group = [u32; 2];

/// Inputs of a layer.
pub(crate) struct Inputs<'a> {
    /// Spread and with their offset; none where no kernel here takes them.
    groups: &'a [Group],
    x: &'a [i8],
    offset: i16,
}

/// Room for inputs to be spread.
pub(crate) struct Lanes([MaybeUninit<Group>; MAX_GROUPS]);

impl Lanes {
    pub(crate) const fn new() -> Self {
        Self([MaybeUninit::uninit(); MAX_GROUPS])
    }

    /// The inputs x + offset, spread where a kernel here takes them.
    pub(crate) fn prepare<'a>(
        &'a mut self,
        matrix: &Matrix<'_>,
        x: &'a [i8],
        offset: i16,
    ) -> Inputs<'a> {
        let groups =
            if matrix.bits == 8 { self.spread(x, offset).unwrap_or_default() } else { &[] };
        Inputs { groups, x, offset }
    }

    /// `None`: there is no kernel here that finishes outputs.
    pub(crate) fn finish<B, M>(
        &mut self,
        _: &Matrix<'_>,
        _: &[i8],
        _: i16,
        _: &Ends<B, M>,
        _: &mut [i8],
    ) -> Option<()> {
        None
    }

    /// Spreads x + offset; what is missing in the last group is 0. `None` when there are none, or
    /// too many.
    #[inline(never)]
    fn spread(&mut self, x: &[i8], offset: i16) -> Option<&[Group]> {
        let (words, rest) = x.as_chunks::<GROUP>();
        let groups = self.0.get_mut(..x.len().div_ceil(GROUP))?;
        let offsets = u32::from(offset as u16).wrapping_mul(0x1_0001);
        let (whole, last) = groups.split_at_mut_checked(words.len())?;
        for (group, &word) in whole.iter_mut().zip(words) {
            group.write(spread(offsets, u32::from_le_bytes(word.map(|x| x as u8))));
        }
        if let Some(last) = last.first_mut() {
            let mut lanes =
                rest.iter().map(|&x| u32::from(i16::from(x).wrapping_add(offset) as u16));
            let mut lane = || lanes.next().unwrap_or_default();
            let [x0, x1, x2] = [lane(), lane(), lane()];
            last.write([x0 | x2 << 16, x1]);
        }
        // SAFETY: `groups` has one group for each whole word of `x`, which the loop wrote, and one
        // more where values remain, which the branch wrote; so all of them are written.
        Some(unsafe { slice::from_raw_parts(groups.as_ptr().cast(), groups.len()) })
    }
}

/// Four bytes of `word`, sign-extended to 16 bits, plus `offsets`.
#[inline(always)]
fn spread(offsets: u32, word: u32) -> Group {
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

/// Σ w·(x + offset) of a block of rows; what stands beyond the last row has no meaning.
#[inline(never)]
pub(crate) fn dot_block(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>) -> [i32; ROWS] {
    let groups = inputs.groups;
    let sums = if groups.is_empty() {
        None
    } else if let Some(pairs) = matrix.block(first) {
        dot_pairs(pairs, groups)
    } else {
        dot_rows(matrix, first, groups)
    };
    sums.unwrap_or_else(|| dot_block_slowly(matrix, first, inputs.x, inputs.offset))
}

/// A block of pairs, where the file's place in memory lets it be read as words.
fn dot_pairs(pairs: &[u8], groups: &[Group]) -> Option<[i32; ROWS]> {
    let weights = pairs.as_ptr().cast::<[u32; ROWS]>();
    if groups.is_empty() || !weights.is_aligned() || pairs.len() < size_of_val(groups) * 2 {
        return None;
    }
    let (mut sums, ends) = ([0; ROWS], groups.as_ptr_range());
    // SAFETY: `groups` isn't empty and `ends` bound it; `weights` are aligned to words and as many
    // as there are groups, since theirs are twice as long; `sums` is a live array of four. Those
    // are `dot4_pairs`' conditions.
    unsafe { dot4_pairs(ends.start, weights, ends.end, &mut sums) };
    Some(sums)
}

/// Four packed rows, or the last one again where there are fewer, unless their words reach beyond
/// the weight section. Within it, they meet zeros of `groups` where they reach into what follows.
fn dot_rows(matrix: &Matrix<'_>, first: usize, groups: &[Group]) -> Option<[i32; ROWS]> {
    let bytes = matrix.bytes_from(first);
    let rows_after = matrix.rows.saturating_sub(first).saturating_sub(1);
    let start = |row: usize| row.min(rows_after).saturating_mul(matrix.row_len);
    let starts = [0, start(1), start(2), start(3)];
    let len = size_of_val(groups) / 2;
    if groups.is_empty() || bytes.len() < starts[3].checked_add(len)? {
        return None;
    }
    let rows = starts.map(|start| bytes.as_ptr().wrapping_add(start));
    let (mut sums, ends) = ([0; ROWS], groups.as_ptr_range());
    // SAFETY: `groups` isn't empty and `ends` bound it; from each start there are four bytes per
    // group within `bytes`: from the last one as just checked, and none is greater, as
    // saturated products keep their factors' order; `sums` is a
    // live array of four. Those are `dot4_w8a8`'s conditions.
    unsafe { dot4_w8a8(ends.start, ends.end, &rows, &mut sums) };
    Some(sums)
}

/// The sums of products of a block of pairs and the groups from `x` to `end`.
///
/// A half-word of weights is A + 256·B: SMLAD with it gives ΣA·x + 256·ΣB·x, with its low bytes
/// spread by SXTB16 it gives ΣA·x, and a subtraction and a shift leave ΣB·x, all modulo 2³².
/// [`crate::Model::parse`] has shown |ΣB·x| < 2²³, so the shift loses nothing.
///
/// # Safety
/// `x` and `end` bound at least one group, there are as many groups of weights, and the results can
/// be written.
// SAFETY: the body follows the C calling convention (four arguments in r0–r3, r4–r11 and lr saved
// and restored, the stack as it was), reads `x` up to `end` by eight bytes a step and the weights
// by sixteen, and writes 16 bytes to `sums` alone. LDRD, LDM and STM are at addresses that are
// multiples of four, since all consist of words.
#[unsafe(naked)]
unsafe extern "C" fn dot4_pairs(
    x: *const Group,
    weights: *const [u32; ROWS],
    end: *const Group,
    sums: *mut [i32; ROWS],
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro dot4_pair word, input, low, both",
        "smlad \\both, \\word, \\input, \\both",
        "sxtb16 \\word, \\word",
        "smlad \\low, \\word, \\input, \\low",
        ".endm",
        ".macro dot4_pair_group",
        "ldrd r3, r12, [r0], #8",
        "ldm r1!, {{r8-r11}}",
        "dot4_pair r8, r3, r4, r5",
        "dot4_pair r9, r12, r4, r5",
        "dot4_pair r10, r3, r6, r7",
        "dot4_pair r11, r12, r6, r7",
        ".endm",
        "push {{r3-r11, lr}}",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        // Four groups a turn; a first turn of fewer starts late: 0–3 groups are skipped.
        "sub r12, r2, r0",
        "ands r12, r12, #24",
        "beq 1f",
        "cmp r12, #16",
        "bhi 2f",
        "beq 3f",
        "b 4f",
        "1:",
        "dot4_pair_group",
        "2:",
        "dot4_pair_group",
        "3:",
        "dot4_pair_group",
        "4:",
        "dot4_pair_group",
        "cmp r0, r2",
        "bne 1b",
        "subs r5, r5, r4",
        "asrs r5, r5, #8",
        "subs r7, r7, r6",
        "asrs r7, r7, #8",
        "pop {{r3}}",
        "stm r3, {{r4-r7}}",
        "pop {{r4-r11, pc}}",
        ".purgem dot4_pair",
        ".purgem dot4_pair_group",
    )
}

/// The sums of products of four rows of bytes and the groups from `x` to `end`.
///
/// # Safety
/// `x` and `end` bound at least one group, each of the four rows has four bytes per group to read,
/// and the results can be written. No alignment of rows is needed: LDR takes any.
// SAFETY: the body follows the C calling convention (four arguments in r0–r3, r4–r11 and lr saved
// and restored, the stack as it was), reads `x` up to `end` by eight bytes a step and each row by
// four, and writes 16 bytes to `sums` alone. LDRD and STM are at addresses that are multiples of
// four, since groups and sums consist of words.
#[unsafe(naked)]
unsafe extern "C" fn dot4_w8a8(
    x: *const Group,
    end: *const Group,
    rows: *const [*const u8; ROWS],
    sums: *mut [i32; ROWS],
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro dot4_row row, sum",
        "ldr r12, [\\row], #4",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "smlad \\sum, lr, r10, \\sum",
        "smlad \\sum, r12, r11, \\sum",
        ".endm",
        ".macro dot4_group",
        "ldrd r10, r11, [r0], #8",
        "dot4_row r2, r6",
        "dot4_row r3, r7",
        "dot4_row r4, r8",
        "dot4_row r5, r9",
        ".endm",
        "push {{r3-r11, lr}}",
        "ldm r2, {{r2-r5}}",
        "movs r6, #0",
        "movs r7, #0",
        "mov r8, r6",
        "mov r9, r6",
        "sub r12, r1, r0",
        "tst r12, #8", // an odd number of groups starts at the second half
        "bne 2f",
        "1:",
        "dot4_group",
        "2:",
        "dot4_group",
        "cmp r0, r1",
        "bne 1b",
        "pop {{r3}}",
        "stm r3, {{r6-r9}}",
        "pop {{r4-r11, pc}}",
        ".purgem dot4_row",
        ".purgem dot4_group",
    )
}
