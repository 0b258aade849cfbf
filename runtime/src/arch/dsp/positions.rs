//! A convolution's rows at four positions at once, so that a weight is loaded and spread once for
//! four products.
//!
//! A packed row takes 13 instructions per four columns and four positions, 0.81 a product, and two
//! for the loop every eight columns. A pair of rows takes 12 per two columns, 0.75 a product, and
//! three for the loop. What limits both are the fourteen registers: eight sums, two inputs, two
//! weights and two addresses leave none for the loop's end, which lies on the stack.

use core::arch::naked_asm;
use core::ops::Range;

use super::super::{BLOCK_ROWS as ROWS, CHUNK_ROWS, Matrix, PATCH_MAX, Stretches, Sums};
use super::{GROUP, twice};
use crate::format::unpack;

/// Positions that a kernel takes at once.
pub(crate) const POSITIONS: usize = 4;

/// Four columns at all positions: columns 0 and 2, then columns 1 and 3.
type Group = [[u32; POSITIONS]; 2];

/// What is copied at once when a patch is gathered: the last of a row may copy as many bytes less
/// one beyond it.
const CHUNK: usize = 8;

/// Room for what lies under the kernel at each position, spread and with its offset.
pub(crate) struct Patches {
    groups: [Group; PATCH_MAX / GROUP],
    scratch: Scratch,
    columns: usize,
    recipe: Recipe,
    /// Bytes from a window's first to the last that is read with it.
    reach: usize,
}

/// A patch before it is spread; then a row that had to be unpacked.
type Scratch = [i8; PATCH_MAX + CHUNK];

/// How windows become patches, as the kernel loads it.
#[repr(C)]
struct Recipe {
    /// Rows of a window, or 0 when the patch is in `scratch` already.
    rows: usize,
    /// Bytes of such a row.
    len: usize,
    /// Bytes from one to the next.
    stride: usize,
    /// Groups.
    count: usize,
    /// The offset, twice.
    offsets: u32,
    /// The last group's columns, the rest being 0.
    masks: [u32; 2],
}

/// Patches, ready for [`dot_patches`].
pub(crate) struct Prepared<'a> {
    groups: &'a [Group],
    scratch: &'a mut Scratch,
    columns: usize,
}

impl Patches {
    /// For patches of `columns` values (at most [`PATCH_MAX`]), to each of which `offset` is added;
    /// `window` are the stretches of a window that lies inside the image.
    pub(crate) fn new(columns: usize, offset: i16, window: Stretches) -> Self {
        let columns = columns.min(PATCH_MAX);
        let Stretches { rows, len, stride } = window;
        let count = columns.div_ceil(GROUP);
        let masks = match count.wrapping_mul(GROUP).wrapping_sub(columns) {
            0 => [u32::MAX; 2],
            1 => [u32::MAX, 0xFFFF],
            2 => [0xFFFF; 2],
            _ => [0xFFFF, 0],
        };
        // Rows of a window fill a patch exactly; nothing is read without it.
        let reach = if len > 0 && rows.checked_mul(len) == Some(columns) {
            let last = rows.wrapping_sub(1).saturating_mul(stride);
            last.saturating_add(len.saturating_add(CHUNK - 1) & !(CHUNK - 1))
        } else {
            usize::MAX
        };
        let groups = [[[0; POSITIONS]; 2]; PATCH_MAX / GROUP];
        let recipe = Recipe { rows, len, stride, count, offsets: twice(offset), masks };
        Self { groups, scratch: [0; PATCH_MAX + CHUNK], columns, recipe, reach }
    }

    /// Makes the window that begins with `from` the patch of position number `slot`, of
    /// [`POSITIONS`]; false where too little follows, or windows aren't stretches.
    #[inline(always)]
    pub(crate) fn fill_window(&mut self, slot: usize, from: &[i8]) -> bool {
        let fits = from.len() >= self.reach;
        if fits {
            // SAFETY: `reach` bytes can be read: all rows of the window, each up to the next whole
            // chunk. (See `spread`.)
            unsafe { self.spread(slot, from.as_ptr(), self.recipe.rows) };
        }
        fits
    }

    /// Lets `gather` write the patch of position number `slot`, of [`POSITIONS`].
    #[inline(always)]
    pub(crate) fn fill(&mut self, slot: usize, gather: impl FnOnce(&mut [i8])) {
        gather(self.scratch.get_mut(..self.columns).unwrap_or_default());
        let rows = 0;
        // SAFETY: no rows are read. (See `spread`.)
        unsafe { self.spread(slot, core::ptr::null(), rows) };
    }

    /// Copies `rows` of a window to `scratch` and spreads what is there; what is missing in the
    /// last group is 0.
    ///
    /// # Safety
    /// `rows` is 0, or `recipe.rows` and `from` begins a window of which `reach` bytes can be read.
    unsafe fn spread(&mut self, slot: usize, from: *const i8, rows: usize) {
        if self.recipe.count == 0 || slot >= POSITIONS {
            return;
        }
        let to = self.groups.as_mut_ptr().cast::<u32>().wrapping_add(slot);
        let scratch = self.scratch.as_mut_ptr();
        // SAFETY: the caller's promise for `from`, and `new` has set `reach` only if rows · len is
        // `columns`, so that `scratch` holds all rows with a chunk to spare. There are `count` > 0
        // groups, as `columns` is at most PATCH_MAX, so that from position `slot` of the first on
        // there are 2 · count words, one every POSITIONS words; `scratch` has four bytes per
        // group. Those are `spread_patch`'s conditions.
        unsafe { spread_patch(from, to, scratch, rows, &self.recipe) };
    }

    /// The patches as [`dot_patches`] takes them.
    pub(crate) fn prepare(&mut self, _: &Matrix<'_>) -> Prepared<'_> {
        let groups = self.groups.get(..self.recipe.count).unwrap_or_default();
        Prepared { groups, scratch: &mut self.scratch, columns: self.columns }
    }
}

/// Σ w·(x + offset) of a chunk of rows for each position; what stands beyond the last row, or for
/// positions that weren't filled, has no meaning.
#[inline(never)]
pub(crate) fn dot_patches(
    matrix: &Matrix<'_>,
    first: usize,
    patches: &mut Prepared<'_>,
    sums: &mut [Sums; POSITIONS],
) {
    let done = dot_pairs(matrix.blocks(first), patches.groups, sums);
    let rows = matrix.rows.saturating_sub(first).min(CHUNK_ROWS);
    if done < rows {
        dot_packed(matrix, first, done..rows, patches, sums);
    }
}

/// Blocks of pairs, at most a chunk; returns how many rows these were.
fn dot_pairs(pairs: &[u8], groups: &[Group], sums: &mut [Sums; POSITIONS]) -> usize {
    // Half as long as the groups: 16 bytes for 32.
    let len = size_of_val(groups) / 2;
    let blocks = pairs.len().checked_div(len).unwrap_or_default().min(CHUNK_ROWS / ROWS);
    let ends = groups.as_ptr_range();
    let (mut weights, mut out) = (pairs.as_ptr(), sums.as_mut_ptr().cast::<i32>());
    for _ in 0..blocks {
        // SAFETY: there are blocks only where `groups` aren't empty, and `ends` bound them; `pairs`
        // has `len` bytes, 16 for each group, from `weights` on, so that the second pair's begin
        // within them; each position of `sums` has ROWS sums for each block, and the positions
        // are CHUNK_ROWS words apart. Those are `dot2_pairs`' conditions.
        unsafe {
            dot2_pairs(ends.start, weights, ends.end, out);
            dot2_pairs(ends.start, weights.wrapping_add(8), ends.end, out.wrapping_add(2));
        }
        (weights, out) = (weights.wrapping_add(len), out.wrapping_add(ROWS));
    }
    blocks.wrapping_mul(ROWS)
}

/// Some of a chunk's rows that are packed, each by itself.
#[inline(never)]
fn dot_packed(
    matrix: &Matrix<'_>,
    first: usize,
    rows: Range<usize>,
    patches: &mut Prepared<'_>,
    sums: &mut [Sums; POSITIONS],
) {
    let groups = patches.groups;
    if groups.is_empty() {
        *sums = [[0; CHUNK_ROWS]; POSITIONS];
        return;
    }
    let ends = groups.as_ptr_range();
    let mut bytes = matrix.bytes_from(first.wrapping_add(rows.start));
    for row in rows.start..rows.end.min(CHUNK_ROWS) {
        let whole = groups.len().wrapping_mul(GROUP);
        let weights = if matrix.bits == 8 && bytes.len() >= whole {
            bytes.as_ptr()
        } else {
            // `whole` bytes can be read of it: it is no shorter than the longest patch.
            let room = patches.scratch.get_mut(..patches.columns).unwrap_or_default();
            unpack(bytes, matrix.bits, 0, room);
            patches.scratch.as_ptr().cast()
        };
        let out = sums.as_mut_ptr().cast::<i32>().wrapping_add(row);
        // SAFETY: `groups` isn't empty and `ends` bound it; `weights` has four bytes for each of
        // its groups, in the weight section or in `scratch`; each position of `sums` has CHUNK_ROWS
        // words, more than `row`. Those are `dot_row`'s conditions.
        unsafe { dot_row(ends.start, weights, ends.end, out) };
        bytes = bytes.get(matrix.row_len..).unwrap_or_default();
    }
}

/// Copies `rows` of a window to `scratch`, one behind the other, and spreads `count` groups of it
/// to every fourth word from `to` on.
///
/// # Safety
/// `recipe.count` isn't 0; 2 · `count` words, each 16 bytes after the one before, can be written
/// from `to` on. `scratch` has 4 · `count` bytes, and room for `rows` rows of `len` > 0 and the
/// rest of a chunk; as many can be read from each row of the window.
// SAFETY: the body follows the C calling convention (arguments in r0–r3 and on the stack, r4–r11
// and lr saved and restored, the stack as it was). It reads and writes rows by chunks of eight
// bytes, the last of which begins within its row; then it reads a word of `scratch` and writes two
// of `to` a step, `count` steps, and the last two again. LDR and STR take any address.
#[unsafe(naked)]
unsafe extern "C" fn spread_patch(
    from: *const i8,
    to: *mut u32,
    scratch: *mut i8,
    rows: usize,
    recipe: &Recipe,
) {
    naked_asm!(
        ".macro spread_group",
        "ldr r4, [r2], #4",
        "sxtab16 r12, r7, r4",
        "sxtab16 r4, r7, r4, ror #8",
        "str r12, [r1], #16",
        "str r4, [r1], #16",
        ".endm",
        "push {{r4-r11, lr}}",
        "ldr r4, [sp, #36]",
        "ldm r4, {{r4-r9, lr}}", // r5 a row's length, r6 their distance, r7 groups, r8 offsets, r9 and lr masks
        "cbz r3, 6f",
        "mov r4, r2",
        "1:",
        "ldr r10, [r0]",
        "ldr r11, [r0, #4]",
        "str r10, [r4]",
        "str r11, [r4, #4]",
        "subs r12, r5, #8",
        "bhi 4f",
        "2:",
        "add r0, r0, r6",
        "add r4, r4, r5",
        "subs r3, r3, #1",
        "bne 1b",
        "6:",
        // Two groups a turn; an odd number of them starts at the second.
        "mov r3, r7",
        "mov r7, r8",
        "lsls r12, r3, #31",
        "bpl 3f",
        "add r3, r3, #1",
        "b 7f",
        "3:",
        "spread_group",
        "7:",
        "spread_group",
        "subs r3, r3, #2",
        "bne 3b",
        "and r12, r12, r9",
        "and r4, r4, lr",
        "str r12, [r1, #-32]",
        "str r4, [r1, #-16]",
        "pop {{r4-r11, pc}}",
        // A row of more than a chunk: the others, then back.
        "4:",
        "push {{r0, r4}}",
        "5:",
        "ldr r10, [r0, #8]!",
        "ldr r11, [r0, #4]",
        "str r10, [r4, #8]!",
        "str r11, [r4, #4]",
        "subs r12, r12, #8",
        "bhi 5b",
        "pop {{r0, r4}}",
        "b 2b",
        ".purgem spread_group",
    )
}

/// The sums of a pair of rows at four positions, CHUNK_ROWS words apart, second row after first.
///
/// As in a dense layer (see `dot4_pairs`): SMLAD with half-words A + 256·B, and with their low
/// bytes; a subtraction and a shift leave ΣB·x.
///
/// # Safety
/// `x` and `end` bound at least one group; `weights` points to as many blocks' groups of 16 bytes,
/// or 8 bytes into the first of them; two sums can be written every 256 bytes.
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
        "strd r4, r8, [r3]",
        "subs r9, r9, r5",
        "asrs r9, r9, #8",
        "strd r5, r9, [r3, #256]",
        "subs r10, r10, r6",
        "asrs r10, r10, #8",
        "strd r6, r10, [r3, #512]",
        "subs r11, r11, r7",
        "asrs r11, r11, #8",
        "strd r7, r11, [r3, #768]",
        "pop {{r4-r11, pc}}",
        ".purgem dot2_word",
    )
}

/// The sums of a row of bytes at four positions, CHUNK_ROWS words apart.
///
/// # Safety
/// `x` and `end` bound at least one group; `weights` has four bytes for each; a sum can be written
/// every 256 bytes.
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
        "str r5, [r3, #256]",
        "str r6, [r3, #512]",
        "str r7, [r3, #768]",
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
