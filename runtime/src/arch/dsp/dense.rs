//! Four rows over one vector of inputs, so that an input is loaded once for four products.
//!
//! Per four columns and four rows that is 21 instructions, and two for the loop every eight
//! columns: 1.375 a product. Pairs of rows (`pairs`) take less.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;
use core::slice;

use super::super::kernels::{self, Lanes as _};
use super::super::{BLOCK_ROWS as ROWS, CHUNK_ROWS, Finish, Matrix, Sums, portable};
use super::finish::finish_rows;
use super::pairs::{blocks as all_blocks, dot_pairs};
use super::scales::{finish_rare, most};
use super::{Dsp, GROUP, nibbles, twice};
use crate::format::Layout;

/// Most inputs that are spread: 2 KiB of stack. Longer ones take the portable kernel.
const MAX_GROUPS: usize = 256;

/// Rows that are multiplied at once where a layer has no more.
const FEW: usize = 2;

/// Four inputs at 16 bits: 0 and 2 in the first word, 1 and 3 in the second, as SXTB16 spreads
/// four weights.
pub(super) type Group = [u32; 2];

/// Inputs of a layer.
pub(crate) struct Inputs<'a> {
    /// Spread and with their offset; none where no kernel here takes them.
    groups: &'a [Group],
    x: &'a [i8],
    offset: i16,
}

/// Room for inputs to be spread.
pub(crate) struct Lanes([MaybeUninit<Group>; MAX_GROUPS]);

impl kernels::Inputs for Inputs<'_> {
    #[inline(always)]
    fn plain(&self) -> (&[i8], i16) {
        (self.x, self.offset)
    }
}

impl kernels::Lanes for Lanes {
    type Inputs<'a> = Inputs<'a>;

    #[inline(always)]
    fn new() -> Self {
        Self([MaybeUninit::uninit(); MAX_GROUPS])
    }

    /// Spread where a kernel here takes them.
    fn prepare<'a>(&'a mut self, matrix: &Matrix<'_>, x: &'a [i8], offset: i16) -> Inputs<'a> {
        let groups = match matrix.bits() {
            8 => self.spread(x, offset),
            nibbles::BITS => self.spread_for_nibbles(x, offset),
            _ => None,
        };
        Inputs { groups: groups.unwrap_or_default(), x, offset }
    }
}

impl Lanes {
    /// All outputs, a chunk of rows at a time.
    pub(super) fn finish(
        &mut self,
        matrix: &Matrix<'_>,
        x: &[i8],
        offset: i16,
        finish: &Finish<'_>,
        output: &mut [i8],
    ) -> Option<()> {
        if let Some(sums) = dot_few(matrix, x, offset) {
            finish_rare(finish, 0, &sums, output); // to prepare scales takes longer
            return Some(());
        }
        let mut sums = zeros();
        let groups = self.prepare(matrix, x, offset).groups;
        let is_packed = matrix.bits() == 8 && matrix.layout() == Layout::RowMajor;
        let (mut first, most) = (0usize, if matrix.bits() > 8 { u32::MAX } else { most(x.len()) });
        for outputs in output.chunks_mut(CHUNK_ROWS) {
            if !(is_packed && dot_packed(matrix, first, groups, &mut sums) >= outputs.len()) {
                dot_rows(matrix, first, &Inputs { groups, x, offset }, &mut sums);
            }
            finish_rows(finish, (first, most), &sums, outputs);
            first = first.wrapping_add(CHUNK_ROWS);
        }
        Some(())
    }

    /// Spreads x + offset; what is missing in the last group is 0. `None` when there are too many.
    #[inline(never)]
    fn spread(&mut self, x: &[i8], offset: i16) -> Option<&[Group]> {
        let groups = self.0.get_mut(..x.len().div_ceil(GROUP))?;
        let ends = x.as_ptr_range();
        // SAFETY: `ends` bound `x`, and there is a group for each of its words, and one more for what is left:
        // `spread_words`' conditions.
        unsafe { spread_words(ends.start, ends.end, groups.as_mut_ptr().cast(), twice(offset)) };
        // SAFETY: all groups are written.
        Some(unsafe { slice::from_raw_parts(groups.as_ptr().cast(), groups.len()) })
    }

    /// As [`Self::spread`], as 4-bit weights meet them: two groups for eight inputs.
    #[inline(never)]
    fn spread_for_nibbles(&mut self, x: &[i8], offset: i16) -> Option<&[Group]> {
        let (words, rest) = x.as_chunks::<8>();
        let groups = self.0.get_mut(..x.len().div_ceil(8).wrapping_mul(2))?;
        let (pairs, _) = groups.as_chunks_mut::<2>();
        let (whole, last) = pairs.split_at_mut_checked(words.len())?;
        for (pair, &word) in whole.iter_mut().zip(words) {
            let [first, second] = nibbles::spread_word(word, offset);
            pair[0].write(first);
            pair[1].write(second);
        }
        if let Some([first, second]) = last.first_mut() {
            let mut lanes =
                rest.iter().map(|&x| u32::from(i16::from(x).wrapping_add(offset) as u16));
            let mut lane = || lanes.next().unwrap_or_default();
            let [x0, x1, x2, x3] = [lane(), lane(), lane(), lane()];
            let [x4, x5, x6] = [lane(), lane(), lane()];
            first.write([x0 | x4 << 16, x1 | x5 << 16]);
            second.write([x2 | x6 << 16, x3]);
        }
        // SAFETY: `groups` has two groups for each whole word of `x`, which the loop wrote, and two
        // more where values remain, which the branch wrote; so all of them are written.
        Some(unsafe { slice::from_raw_parts(groups.as_ptr().cast(), groups.len()) })
    }
}

/// Spreads inputs.
///
/// # Safety
/// `x` and `end` bound inputs to read, at any address; a group for each four, and for those that are left, can
/// be written.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r7 saved and restored, the stack as
// it was). It reads a word for each group that it writes, one if they are odd in number, then two a step up
// to the last whole one, and then the bytes up to `end` for a last group, if there are any. LDR takes any
// address; STRD and STM are at multiples of four, as groups consist of words.
#[unsafe(naked)]
unsafe extern "C" fn spread_words(x: *const i8, end: *const i8, to: *mut Group, offsets: u32) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r7}}",
        "subs r12, r1, r0",
        "and r4, r12, #3",
        "sub r1, r1, r4",
        "tst r12, #4",
        "beq 2f",
        "ldr r4, [r0], #4",
        "sxtab16 r5, r3, r4, ror #8",
        "sxtab16 r4, r3, r4",
        "strd r4, r5, [r2], #8",
        "b 2f",
        "1:",
        "ldr r4, [r0], #4",
        "ldr r6, [r0], #4",
        "sxtab16 r5, r3, r4, ror #8",
        "sxtab16 r7, r3, r6, ror #8",
        "sxtab16 r4, r3, r4",
        "sxtab16 r6, r3, r6",
        "stm r2!, {{r4-r7}}",
        "2:",
        "cmp r0, r1",
        "bne 1b",
        "ands r12, r12, #3",
        "beq 4f",
        "ldrsb r4, [r0]",
        "add r4, r4, r3",
        "uxth r4, r4",
        "movs r5, #0",
        "cmp r12, #2",
        "blo 3f",
        "ldrsb r5, [r0, #1]",
        "add r5, r5, r3",
        "uxth r5, r5",
        "beq 3f",
        "ldrsb r6, [r0, #2]",
        "add r6, r6, r3",
        "orr r4, r4, r6, lsl #16",
        "3:",
        "strd r4, r5, [r2]",
        "4:",
        "pop {{r4-r7}}",
        "bx lr",
    )
}

/// Sums to begin with, in 18 instructions: what the compiler calls takes 360 where it compiles for
/// size.
fn zeros() -> Sums {
    let mut sums = MaybeUninit::<Sums>::uninit();
    // SAFETY: 16 times four words are the 64 of `sums`, which are all written and nothing else;
    // their address is a multiple of four.
    unsafe {
        asm!(
            ".rept 16",
            "stm {to}!, {{r2-r5}}",
            ".endr",
            to = inout(reg) sums.as_mut_ptr() => _,
            in("r2") 0,
            in("r3") 0,
            in("r4") 0,
            in("r5") 0,
            options(nostack, preserves_flags),
        );
        sums.assume_init()
    }
}

/// As [`Kernels::dot_rows`](super::Kernels::dot_rows).
#[inline(never)]
pub(super) fn dot_rows(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>, sums: &mut Sums) {
    let groups = inputs.groups;
    let left = matrix.rows.saturating_sub(first);
    let nibbles = match matrix.bits() {
        nibbles::BITS => match nibbles::dot_rows(matrix, first, (groups, inputs.offset), sums) {
            rows if rows >= left => return,
            rows => rows / ROWS,
        },
        _ => 0,
    };
    let (blocks, _) = sums.as_chunks_mut::<ROWS>();
    let rows = left.div_ceil(ROWS).min(blocks.len());
    let blocks = blocks.get_mut(..rows).unwrap_or_default();
    let paired = match matrix.layout() {
        Layout::RowMajor => 0,
        Layout::Pairs => dot_pairs(all_blocks(matrix, first), groups, blocks),
    };
    let done = nibbles.max(paired);
    let mut first = first.wrapping_add(done.wrapping_mul(ROWS));
    let blocks = blocks.get_mut(done..).unwrap_or_default();
    let done = match matrix.bits() {
        8 => dot_packed(matrix, first, groups, blocks.as_flattened_mut()).div_ceil(ROWS),
        _ => 0,
    };
    first = first.wrapping_add(done.wrapping_mul(ROWS));
    for sums in blocks.get_mut(done..).unwrap_or_default() {
        *sums = portable::dot_block::<Dsp>(matrix, first, inputs.x, inputs.offset);
        first = first.wrapping_add(ROWS);
    }
}

/// Packed rows from `first` on, as many as there are sums; returns how many these were: all, or whole blocks of
/// four, as words that rows end within reach beyond the weight section. Within it, they meet zeros of `groups`.
#[inline(never)]
fn dot_packed(matrix: &Matrix<'_>, first: usize, groups: &[Group], sums: &mut [i32]) -> usize {
    let (len, rows) = (matrix.row_len, matrix.rows.saturating_sub(first).min(sums.len()));
    let bytes = match matrix.layout() {
        Layout::RowMajor => matrix.bytes.get(first.wrapping_mul(len)..).unwrap_or_default(),
        Layout::Pairs => matrix.bytes_from(first),
    };
    let reach = size_of_val(groups) / 2;
    let Some(behind) = bytes.len().checked_sub(reach) else { return 0 };
    let within = behind.checked_div(len).unwrap_or_default().wrapping_add(1);
    let rows = if within >= rows { rows } else { within & !(ROWS - 1) };
    let (blocks, _) = sums.as_chunks_mut::<ROWS>();
    let Some(blocks) = blocks.get_mut(..rows.div_ceil(ROWS)) else { return 0 };
    if groups.is_empty() || rows == 0 {
        return 0;
    }
    let next = bytes.as_ptr();
    let last = next.wrapping_add(rows.wrapping_sub(1).wrapping_mul(len));
    let mut packed = Rows { next, last, len };
    let (x, to) = (groups.as_ptr_range(), blocks.as_mut_ptr_range());
    // SAFETY: `groups` aren't empty and `x` bounds them; `to` bounds at least one block, and there are rows for
    // all blocks: four for each but the last one. From each row, up to `last`, four bytes per group can be read:
    // `within` of them. Those are `dot4_w8a8`'s conditions.
    unsafe { dot4_w8a8(x.start, x.end, &mut packed, to.start, to.end) };
    rows
}

/// The sums of one row or two of a layer that has no more, over inputs that aren't spread; `None` where
/// there are more, or they aren't whole groups of bytes.
fn dot_few(matrix: &Matrix<'_>, x: &[i8], offset: i16) -> Option<[i32; FEW]> {
    let is_taken = matrix.rows <= FEW && matrix.bits() == 8 && x.len().is_multiple_of(GROUP);
    if !is_taken || x.is_empty() || matrix.columns != x.len() {
        return None;
    }
    let last = matrix.rows.checked_sub(1)?.wrapping_mul(matrix.row_len);
    let bytes = matrix.bytes.get(..last.checked_add(x.len())?)?;
    let rows = [bytes.as_ptr(), bytes.as_ptr().wrapping_add(last)];
    let (ends, mut sums) = (x.as_ptr_range(), [0; FEW]);
    // SAFETY: `ends` bound inputs, whole groups and one at least; from the first row's beginning, and from the
    // last one's, as many bytes can be read. Those are `dot2_bytes`' conditions.
    unsafe { dot2_bytes(ends.start, ends.end, &rows, &mut sums, twice(offset)) };
    Some(sums)
}

/// The sums of products of two rows of bytes and the inputs from `x` to `end`, plus their offset.
///
/// # Safety
/// `x` and `end` bound whole groups, one at least; each of `rows` has as many bytes to read. No alignment is
/// needed: LDR takes any.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4–r10 and lr saved and
// restored, the stack as it was). It reads a word of `x` and of both rows a step, up to `end`, and writes two
// sums, which are words.
#[unsafe(naked)]
unsafe extern "C" fn dot2_bytes(
    x: *const i8,
    end: *const i8,
    rows: &[*const u8; FEW],
    sums: &mut [i32; FEW],
    offsets: u32,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro dot2_bytes_row row, sum",
        "ldr r12, [\\row], #4",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "smlad \\sum, lr, r8, \\sum",
        "smlad \\sum, r12, r9, \\sum",
        ".endm",
        ".macro dot2_bytes_group",
        "ldr r9, [r0], #4",
        "sxtab16 r8, r10, r9",
        "sxtab16 r9, r10, r9, ror #8",
        "dot2_bytes_row r2, r4",
        "dot2_bytes_row r3, r5",
        ".endm",
        "push {{r3-r10, lr}}",
        "ldr r10, [sp, #36]",
        "ldrd r2, r3, [r2]",
        "movs r4, #0",
        "movs r5, #0",
        // Four groups are a turn; a first turn of fewer starts late.
        "sub r6, r1, r0",
        "ands r6, r6, #12",
        "beq 1f",
        "cmp r6, #8",
        "bhi 2f",
        "beq 3f",
        "b 4f",
        "1:",
        "dot2_bytes_group",
        "2:",
        "dot2_bytes_group",
        "3:",
        "dot2_bytes_group",
        "4:",
        "dot2_bytes_group",
        "cmp r0, r1",
        "bne 1b",
        "pop {{r3}}",
        "strd r4, r5, [r3]",
        "pop {{r4-r10, pc}}",
        ".purgem dot2_bytes_group",
        ".purgem dot2_bytes_row",
    )
}

/// Rows of bytes as the kernel goes through them.
#[repr(C)]
struct Rows {
    next: *const u8,
    last: *const u8,
    /// From one to the next.
    len: usize,
}

/// A group of inputs at r0, which moves on, and its products with two rows, or four: at r2 to r5, sums in r6 to r9.
macro_rules! dot_groups {
    () => {
        ".macro dot4_row row, sum
        ldr r12, [\\row], #4
        sxtb16 lr, r12
        sxtb16 r12, r12, ror #8
        smlad \\sum, lr, r10, \\sum
        smlad \\sum, r12, r11, \\sum
        .endm
        .macro dot2_group
        ldrd r10, r11, [r0], #8
        dot4_row r2, r6
        dot4_row r3, r7
        .endm
        .macro dot4_group
        dot2_group
        dot4_row r4, r8
        dot4_row r5, r9
        .endm"
    };
}

/// The sums of products of blocks of rows and the groups from `x` to `end`. Where fewer than four rows are left
/// for the last block, other sums have no meaning.
///
/// # Safety
/// `x` and `end` bound at least one group, `sums` and `sums_end` at least one block of sums to write. There are
/// rows up to `last` for all blocks, four each, but for the last block, for which there is one at least; each
/// row has four bytes per group to read, at any address.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4–r11 and lr saved
// and restored, the stack as it was). It reads `x` up to `end` by eight bytes a step and rows by four, those
// behind the last one being the last one again, and writes 16 or 8 bytes of each block's sums. LDRD, STRD and
// STM are at addresses that are multiples of four, since groups and sums consist of words.
#[unsafe(naked)]
unsafe extern "C" fn dot4_w8a8(
    x: *const Group,
    end: *const Group,
    rows: &mut Rows,
    sums: *mut [i32; ROWS],
    sums_end: *mut [i32; ROWS],
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        dot_groups!(),
        "push {{r0-r11, lr}}",
        "1:", // a block
        "ldr r12, [sp, #8]",
        "ldm r12, {{r2, r9, r10}}",
        "ldrd r0, r1, [sp]",
        "movs r6, #0",
        "movs r7, #0",
        "add r3, r2, r10",
        "add r4, r3, r10",
        "add r5, r4, r10",
        "cmp r5, r9",
        "bhi 4f",
        "7:",
        "add r8, r5, r10",
        "str r8, [r12]",
        "mov r8, r6",
        "mov r9, r6",
        "sub r12, r1, r0",
        "tst r12, #8", // an odd number of groups starts at the second half
        "bne 3f",
        "2:",
        "dot4_group",
        "3:",
        "dot4_group",
        "cmp r0, r1",
        "bne 2b",
        "ldr r3, [sp, #12]",
        "ldr r2, [sp, #52]",
        "stm r3!, {{r6-r9}}",
        "str r3, [sp, #12]",
        "cmp r3, r2",
        "bne 1b",
        "pop {{r0-r11, pc}}",
        "4:", // three rows, or two or one
        "cmp r3, r9",
        "mov r5, r9",
        "blo 7b",
        "mov r3, r9",
        "sub r12, r1, r0",
        "tst r12, #8",
        "bne 6f",
        "5:",
        "dot2_group",
        "6:",
        "dot2_group",
        "cmp r0, r1",
        "bne 5b",
        "ldr r3, [sp, #12]",
        "strd r6, r7, [r3]",
        "pop {{r0-r11, pc}}",
        ".purgem dot4_row",
        ".purgem dot2_group",
        ".purgem dot4_group",
    )
}
