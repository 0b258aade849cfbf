//! A convolution's rows at four positions at once, so that a weight is loaded and spread once for
//! four products.
//!
//! A packed row takes 13 instructions per four columns and four positions, 0.81 a product, and two
//! for the loop every eight columns. A pair of rows takes 12 per two columns, 0.75 a product, and
//! three for the loop. What limits both are the fourteen registers: eight sums, two inputs, two
//! weights and two addresses leave none for the loop's end, which lies on the stack.

use core::arch::naked_asm;

use super::super::{BLOCK_ROWS as ROWS, Matrix, PATCH_MAX};
use super::{GROUP, twice};
use crate::format::unpack;

/// Positions that a kernel takes at once.
pub(crate) const POSITIONS: usize = 4;

/// Four columns at all positions: columns 0 and 2, then columns 1 and 3.
type Group = [[u32; POSITIONS]; 2];
/// Sums of a block of rows, position after position.
type Sums = [[i32; ROWS]; POSITIONS];

/// Room for what lies under the kernel at each position, spread and with its offset.
pub(crate) struct Patches {
    groups: [Group; PATCH_MAX / GROUP],
    /// A patch before it is spread; then a row that had to be unpacked.
    scratch: [i8; PATCH_MAX],
    columns: usize,
    offset: i16,
}

/// Patches, ready for [`dot_patches`].
pub(crate) struct Prepared<'a> {
    groups: &'a [Group],
    scratch: &'a mut [i8; PATCH_MAX],
    columns: usize,
}

impl Patches {
    /// For patches of `columns` values (at most [`PATCH_MAX`]), to each of which `offset` is added.
    pub(crate) fn new(columns: usize, offset: i16) -> Self {
        let columns = columns.min(PATCH_MAX);
        let groups = [[[0; POSITIONS]; 2]; PATCH_MAX / GROUP];
        Self { groups, scratch: [0; PATCH_MAX], columns, offset }
    }

    /// Lets `gather` write the patch of position number `slot`, of [`POSITIONS`].
    #[inline(always)]
    pub(crate) fn fill(&mut self, slot: usize, gather: impl FnOnce(&mut [i8])) {
        gather(self.scratch.get_mut(..self.columns).unwrap_or_default());
        self.spread(slot % POSITIONS);
    }

    /// Spreads the patch in `scratch`; what is missing in its last group is 0.
    #[inline(never)]
    fn spread(&mut self, slot: usize) {
        let count = self.columns.div_ceil(GROUP);
        let Some(groups) = self.groups.get_mut(..count) else { return };
        if let Some(to) = groups.as_flattened_mut().as_flattened_mut().get_mut(slot..)
            && count > 0
        {
            // SAFETY: there are `count` > 0 groups from `groups` on, so that from position `slot` of
            // the first on there are 2 · count words, one every POSITIONS words; `scratch` has
            // four bytes per group, since PATCH_MAX is a multiple of four. Those are
            // `spread_patch`'s conditions.
            unsafe {
                spread_patch(self.scratch.as_ptr(), to.as_mut_ptr(), count, twice(self.offset));
            }
        }
        let missing = count.wrapping_mul(GROUP).wrapping_sub(self.columns);
        if let ([.., [even, odd]], 1..) = (groups, missing)
            && let (Some(even), Some(odd)) = (even.get_mut(slot), odd.get_mut(slot))
        {
            const LOW: u32 = 0xFFFF;
            *odd = if missing == 3 { 0 } else { *odd & LOW };
            *even = if missing == 1 { *even } else { *even & LOW };
        }
    }

    /// The patches as [`dot_patches`] takes them.
    pub(crate) fn prepare(&mut self, _: &Matrix<'_>) -> Prepared<'_> {
        let groups = self.groups.get(..self.columns.div_ceil(GROUP)).unwrap_or_default();
        Prepared { groups, scratch: &mut self.scratch, columns: self.columns }
    }
}

/// Σ w·(x + offset) of a block of rows for each position; what stands beyond the last row, or for
/// positions that weren't filled, has no meaning.
#[inline(never)]
pub(crate) fn dot_patches(matrix: &Matrix<'_>, first: usize, patches: &mut Prepared<'_>) -> Sums {
    let mut sums = [[0; ROWS]; POSITIONS];
    let groups = patches.groups;
    if groups.is_empty() {
        return sums;
    }
    let ends = groups.as_ptr_range();
    if let Some(pairs) = matrix.block(first) {
        if pairs.len() >= size_of_val(groups) / 2 {
            let (weights, out) = (pairs.as_ptr(), sums.as_mut_ptr().cast::<i32>());
            // SAFETY: `groups` isn't empty and `ends` bound it; there are 16 bytes of weights for
            // each of its groups, so that the second pair's begin within them; `sums` has ROWS
            // sums for each position. Those are `dot2_pairs`' conditions.
            unsafe {
                dot2_pairs(ends.start, weights, ends.end, out);
                dot2_pairs(ends.start, weights.wrapping_add(8), ends.end, out.wrapping_add(2));
            }
        }
        return sums;
    }
    let mut rows = matrix.bytes_from(first);
    for row in 0..ROWS.min(matrix.rows.saturating_sub(first)) {
        let whole = groups.len().wrapping_mul(GROUP);
        let weights = if matrix.bits == 8 && rows.len() >= whole {
            rows.as_ptr()
        } else {
            // `whole` bytes can be read of it, as it is no shorter than the patches.
            let room = patches.scratch.get_mut(..patches.columns).unwrap_or_default();
            unpack(rows, matrix.bits, 0, room);
            patches.scratch.as_ptr().cast()
        };
        let out = sums.as_mut_ptr().cast::<i32>().wrapping_add(row);
        // SAFETY: `groups` isn't empty and `ends` bound it; `weights` has four bytes for each of
        // its groups, in the weight section or in `scratch`; `sums` has ROWS sums for each
        // position, `row` is one of them. Those are `dot_row`'s conditions.
        unsafe { dot_row(ends.start, weights, ends.end, out) };
        rows = rows.get(matrix.row_len..).unwrap_or_default();
    }
    sums
}

/// Spreads `count` words of bytes, plus `offsets`, to every fourth word from `to` on.
///
/// # Safety
/// `count` isn't 0; 4 · `count` bytes can be read and 2 · `count` words, each 16 bytes after the
/// one before, written.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4 and lr saved and
// restored, the stack as it was), reads a word and writes two a step, `count` steps.
#[unsafe(naked)]
unsafe extern "C" fn spread_patch(from: *const i8, to: *mut u32, count: usize, offsets: u32) {
    naked_asm!(
        ".macro spread_group",
        "ldr r4, [r0], #4",
        "sxtab16 r12, r3, r4",
        "sxtab16 r4, r3, r4, ror #8",
        "str r12, [r1], #16",
        "str r4, [r1], #16",
        ".endm",
        "push {{r4, lr}}",
        // Two groups a turn; an odd number of them starts at the second.
        "lsls r12, r2, #31",
        "add r2, r2, #1",
        "bne 2f",
        "sub r2, r2, #1",
        "1:",
        "spread_group",
        "2:",
        "spread_group",
        "subs r2, r2, #2",
        "bne 1b",
        "pop {{r4, pc}}",
        ".purgem spread_group",
    )
}

/// The sums of a pair of rows at four positions, ROWS words apart, second row after first.
///
/// As in a dense layer (see `dot4_pairs`): SMLAD with half-words A + 256·B, and with their low
/// bytes; a subtraction and a shift leave ΣB·x.
///
/// # Safety
/// `x` and `end` bound at least one group; `weights` points to as many blocks' groups of 16 bytes,
/// or 8 bytes into the first of them; two sums can be written every 16 bytes.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r11 and lr saved and
// restored, the stack as it was), reads `x` up to `end` by 32 bytes a step, the weights by the first
// eight of 16 bytes, and writes four times 8 bytes. LDRD and STRD are at multiples of four, as
// groups and sums consist of words; LDR takes any address.
#[unsafe(naked)]
unsafe extern "C" fn dot2_pairs(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut i32,
) {
    naked_asm!(
        ".macro dot2_word step",
        "ldr r12, [r1], #\\step",
        "ldrd r2, r3, [r0], #8",
        "sxtb16 lr, r12",
        "smlad r8, r2, r12, r8",
        "smlad r9, r3, r12, r9",
        "smlad r4, r2, lr, r4",
        "smlad r5, r3, lr, r5",
        "ldrd r2, r3, [r0], #8",
        "smlad r10, r2, r12, r10",
        "smlad r11, r3, r12, r11",
        "smlad r6, r2, lr, r6",
        "smlad r7, r3, lr, r7",
        ".endm",
        "push {{r2-r11, lr}}",
        "sub r12, r2, r0",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "mov r8, r4",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        "tst r12, #32", // an odd number of groups starts at the second half
        "bne 2f",
        "1:",
        "dot2_word 4",
        "dot2_word 12",
        "2:",
        "dot2_word 4",
        "dot2_word 12",
        "ldr r2, [sp]",
        "cmp r0, r2",
        "bne 1b",
        "pop {{r2, r3}}",
        "subs r8, r8, r4",
        "asrs r8, r8, #8",
        "strd r4, r8, [r3], #16",
        "subs r9, r9, r5",
        "asrs r9, r9, #8",
        "strd r5, r9, [r3], #16",
        "subs r10, r10, r6",
        "asrs r10, r10, #8",
        "strd r6, r10, [r3], #16",
        "subs r11, r11, r7",
        "asrs r11, r11, #8",
        "strd r7, r11, [r3]",
        "pop {{r4-r11, pc}}",
        ".purgem dot2_word",
    )
}

/// The sums of a row of bytes at four positions, ROWS words apart.
///
/// # Safety
/// `x` and `end` bound at least one group; `weights` has four bytes for each; a sum can be written
/// every 16 bytes.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r11 and lr saved and
// restored, the stack as it was), reads `x` up to `end` by 32 bytes a step, the weights by four,
// and writes four words. LDM is at multiples of four, as groups consist of words; LDR takes any
// address.
#[unsafe(naked)]
unsafe extern "C" fn dot_row(
    x: *const Group,
    weights: *const u8,
    end: *const Group,
    sums: *mut i32,
) {
    naked_asm!(
        ".macro dot_row_group",
        "ldr r12, [r1], #4",
        "ldm r0!, {{r8-r11}}",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "smlad r4, r8, lr, r4",
        "smlad r5, r9, lr, r5",
        "smlad r6, r10, lr, r6",
        "smlad r7, r11, lr, r7",
        "ldm r0!, {{r8-r11}}",
        "smlad r4, r8, r12, r4",
        "smlad r5, r9, r12, r5",
        "smlad r6, r10, r12, r6",
        "smlad r7, r11, r12, r7",
        ".endm",
        "push {{r4-r11, lr}}",
        "movs r4, #0",
        "movs r5, #0",
        "movs r6, #0",
        "movs r7, #0",
        "sub r12, r2, r0",
        "tst r12, #32", // an odd number of groups starts at the second half
        "bne 2f",
        "1:",
        "dot_row_group",
        "2:",
        "dot_row_group",
        "cmp r0, r2",
        "bne 1b",
        "str r4, [r3]",
        "str r5, [r3, #16]",
        "str r6, [r3, #32]",
        "str r7, [r3, #48]",
        "pop {{r4-r11, pc}}",
        ".purgem dot_row_group",
    )
}

/// Copies `rows` stretches of `len` values, from `strides[0]` apart to `strides[1]` apart; nothing
/// where they don't fit.
#[inline(never)]
pub(crate) fn copy_rows(
    from: &[i8],
    to: &mut [i8],
    rows: usize,
    len: usize,
    [from_stride, to_stride]: [usize; 2],
) {
    let fits = |room: usize, stride: usize| {
        let last = rows.checked_sub(1).and_then(|steps| steps.checked_mul(stride));
        last.and_then(|last| last.checked_add(len)).is_some_and(|end| end <= room)
    };
    if len == 0 || from_stride < len || to_stride < len {
        return;
    }
    if fits(from.len(), from_stride) && fits(to.len(), to_stride) {
        let steps = [len, from_stride, to_stride];
        // SAFETY: there is a row at least, as `fits` says so of no others, rows aren't empty and
        // don't overlap, and the last of them ends within its slice, so that all do. Those are
        // `copy_stretches`' conditions.
        unsafe { copy_stretches(from.as_ptr(), to.as_mut_ptr(), rows, &steps) };
    }
}

/// Copies `rows` stretches.
///
/// # Safety
/// `rows` isn't 0. From `from` on, `rows` stretches of `steps[0]` > 0 bytes, each `steps[1]` after
/// the one before, can be read, and `steps[2]` apart from `to` on written; steps are no less than
/// stretches.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r8 and lr saved and
// restored, the stack as it was); a stretch is its words, then a half-word and a byte where its
// length has them. LDR, STR, LDRH and STRH take any address.
#[unsafe(naked)]
unsafe extern "C" fn copy_stretches(
    from: *const i8,
    to: *mut i8,
    rows: usize,
    steps: *const [usize; 3],
) {
    naked_asm!(
        "push {{r4-r8, lr}}",
        "ldm r3, {{r4-r6}}",
        "subs r5, r5, r4",
        "subs r6, r6, r4",
        "1:",
        "lsrs r3, r4, #3",
        "beq 3f",
        "2:",
        "ldr r7, [r0], #4",
        "ldr r8, [r0], #4",
        "str r7, [r1], #4",
        "str r8, [r1], #4",
        "subs r3, r3, #1",
        "bne 2b",
        "3:",
        "lsls r3, r4, #29", // N: a word
        "bpl 4f",
        "ldr r7, [r0], #4",
        "str r7, [r1], #4",
        "4:",
        "lsls r3, r4, #31", // C: a half-word, Z not: a byte
        "bcc 5f",
        "ldrh r7, [r0], #2",
        "strh r7, [r1], #2",
        "5:",
        "beq 6f",
        "ldrb r7, [r0], #1",
        "strb r7, [r1], #1",
        "6:",
        "add r0, r0, r5",
        "add r1, r1, r6",
        "subs r2, r2, #1",
        "bne 1b",
        "pop {{r4-r8, pc}}",
    )
}
