//! What lies under a convolution's kernel at four positions, gathered and spread.
//!
//! Spread values take eight bytes a column. To keep the stack small, patches of more than
//! [`PIECE_MAX`] columns are gathered and multiplied in pieces.

use core::arch::naked_asm;

use super::super::{Finish, Matrix, PATCH_MAX, Stretches, Sums};
use super::finish::Scales;
use super::positions::{Group, POSITIONS};
use super::{GROUP, squares, twice};

/// Most columns of a piece, a multiple of four: a third of 5 × 5 × 20, and 3 × 3 × 16.
const PIECE_MAX: usize = 168;

/// What is copied at once when a patch is gathered: the last of a row may copy as many bytes less
/// one beyond it.
const CHUNK: usize = 8;

/// Room for patches, apart from [`Patches`] so that it is never moved.
pub(crate) struct Room {
    groups: [Group; PIECE_MAX / GROUP],
    /// A position's patch, or the rows of its window that the piece is of, before it is spread;
    /// then a row of weights that had to be unpacked.
    pub(super) scratch: [i8; PATCH_MAX + CHUNK],
    scales: Scales,
}

impl Room {
    #[inline(always)] // else it is made elsewhere and copied
    pub(crate) const fn new() -> Self {
        Self {
            groups: [[[0; POSITIONS]; 2]; PIECE_MAX / GROUP],
            scratch: [0; PATCH_MAX + CHUNK],
            scales: Scales::new(),
        }
    }

    /// The room for groups, as words.
    pub(super) fn words(&mut self) -> &mut [[u32; POSITIONS]] {
        self.groups.as_flattened_mut()
    }
}

/// A piece of what lies under the kernel at each position, spread and with its offset.
pub(crate) struct Patches<'r> {
    pub(super) room: &'r mut Room,
    /// Values of a patch.
    columns: usize,
    /// Rows of a window that lies inside the image.
    window: Stretches,
    /// Groups of a whole piece; the last one may have fewer.
    step: usize,
    /// The piece's number.
    piece: Option<usize>,
    /// The piece's first column.
    pub(super) start: usize,
    recipe: Recipe,
    /// Bytes from a window's first to the first that is read with it for this piece, and from
    /// there to the last.
    reach: [usize; 2],
}

/// How windows become patches, as the kernel loads it.
#[repr(C)]
struct Recipe {
    /// Bytes of `scratch` before the piece.
    skip: usize,
    /// Bytes of a window's row.
    len: usize,
    /// Bytes from one to the next.
    stride: usize,
    /// Groups.
    count: usize,
    /// The offset, twice.
    offsets: u32,
    /// The last group's columns, the rest being 0.
    masks: [u32; 2],
    /// Rows of the window that the piece is of.
    rows: usize,
}

impl<'r> Patches<'r> {
    /// For patches of `columns` values (at most [`PATCH_MAX`]), to each of which `offset` is added;
    /// `window` are the stretches of a window that lies inside the image.
    #[inline(always)]
    pub(crate) fn new(room: &'r mut Room, columns: usize, offset: i16, window: Stretches) -> Self {
        let columns = columns.min(PATCH_MAX);
        let pieces = columns.div_ceil(PIECE_MAX).max(1);
        // Pieces of almost the same size, none of them over PIECE_MAX, which is whole groups.
        let step = columns.div_ceil(GROUP).checked_div(pieces).unwrap_or_default();
        let rest = usize::from(step.wrapping_mul(pieces) < columns.div_ceil(GROUP));
        let recipe = Recipe {
            skip: 0,
            len: window.len,
            stride: window.stride,
            count: 0,
            offsets: twice(offset),
            masks: [0; 2],
            rows: 0,
        };
        Self {
            room,
            columns,
            window,
            step: step.wrapping_add(rest),
            piece: None,
            start: 0,
            recipe,
            reach: [0, usize::MAX],
        }
    }

    /// How many pieces patches are gathered in, one after the other.
    pub(crate) fn pieces(&self) -> usize {
        self.columns.div_ceil(GROUP).div_ceil(self.step.max(1))
    }

    /// What follows is about that piece.
    #[inline(always)]
    pub(crate) fn begin(&mut self, piece: usize) {
        if self.piece != Some(piece) {
            self.piece = Some(piece);
            self.cut(piece);
        }
    }

    #[inline(never)]
    fn cut(&mut self, piece: usize) {
        let Stretches { rows, len, stride } = self.window;
        self.start = piece.wrapping_mul(self.step).wrapping_mul(GROUP).min(self.columns);
        let left = self.columns.wrapping_sub(self.start);
        let count = left.div_ceil(GROUP).min(self.step).min(PIECE_MAX / GROUP);
        let masks = match count.wrapping_mul(GROUP).saturating_sub(left) {
            0 => [u32::MAX; 2],
            1 => [u32::MAX, 0xFFFF],
            2 => [0xFFFF; 2],
            _ => [0xFFFF, 0],
        };
        self.recipe.count = count;
        self.recipe.masks = masks;
        // Rows of a window fill a patch exactly; nothing is read without it.
        if len > 0 && rows.checked_mul(len) == Some(self.columns) {
            let end = self.start.wrapping_add(count.wrapping_mul(GROUP)).min(self.columns);
            let top = self.start.checked_div(len).unwrap_or_default();
            let bottom = end.div_ceil(len);
            let last = bottom.wrapping_sub(top).wrapping_sub(1).saturating_mul(stride);
            self.recipe.rows = bottom.wrapping_sub(top);
            self.recipe.skip = self.start.wrapping_sub(top.wrapping_mul(len));
            let reach = last.saturating_add(len.saturating_add(CHUNK - 1) & !(CHUNK - 1));
            self.reach = [top.saturating_mul(stride), reach];
        } else {
            self.recipe.skip = self.start;
        }
    }

    /// Makes the window that begins with `from` the patch of position number `slot`, of
    /// [`POSITIONS`]; false where too little follows, or windows aren't stretches.
    #[inline(always)]
    pub(crate) fn fill_window(&mut self, slot: usize, from: &[i8]) -> bool {
        let [skip, reach] = self.reach;
        let Some(from) = from.get(skip..).filter(|from| from.len() >= reach) else { return false };
        // SAFETY: `reach` bytes can be read: all rows that the piece is of, each up to the next
        // whole chunk. (See `spread`.)
        unsafe { self.spread(slot, from.as_ptr(), self.recipe.rows) };
        true
    }

    /// Lets `gather` write the patch of position number `slot`, of [`POSITIONS`].
    #[inline(always)]
    pub(crate) fn fill(&mut self, slot: usize, gather: impl FnOnce(&mut [i8])) {
        gather(self.room.scratch.get_mut(..self.columns).unwrap_or_default());
        // SAFETY: no rows are read. (See `spread`.)
        unsafe { self.spread(slot, core::ptr::null(), 0) };
    }

    /// `None`: there is no kernel here that finishes outputs.
    pub(crate) const fn finish(
        &mut self,
        _: &Matrix<'_>,
        _: &Finish<'_>,
        _: &mut [i8],
    ) -> Option<()> {
        None
    }

    /// The outputs of rows from `first` on at a position, from their sums. The layer must be the same
    /// at each call.
    #[inline(always)]
    pub(crate) fn finish_rows(
        &mut self,
        finish: &Finish<'_>,
        first: usize,
        sums: &Sums,
        outputs: &mut [i8],
    ) {
        self.room.scales.finish(finish, first..usize::MAX, sums, outputs);
    }

    /// How many neighbouring squares of positions [`Self::finish_squares`] takes at once; 0: none.
    /// Windows are of one channel, and a step apart.
    pub(crate) fn squares(&self, matrix: &Matrix<'_>) -> usize {
        squares::at_once(matrix, self.window)
    }

    /// The largest outputs of neighbouring squares of 2 × 2 positions, all rows of one after the
    /// other; `from` begins with the first window. False where they aren't there.
    #[inline(always)]
    pub(crate) fn finish_squares(
        &mut self,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        from: &[i8],
        sums: &mut Sums,
        outputs: &mut [i8],
    ) -> bool {
        let count = outputs.len().checked_div(matrix.rows).unwrap_or_default();
        let image = (from, self.window.stride);
        if squares::largest(matrix, self.room, self.recipe.offsets, image, count, sums).is_none() {
            return false;
        }
        self.room.scales.finish(finish, 0..matrix.rows, sums, outputs);
        true
    }

    /// Copies `rows` of a window to `scratch` and spreads what is there of the piece; what is
    /// missing in the last group is 0.
    ///
    /// # Safety
    /// `rows` is 0 and `scratch` holds the patch, or `rows` is `recipe.rows` and `from` begins the
    /// rows of a window that the piece is of, of which `reach` bytes can be read.
    unsafe fn spread(&mut self, slot: usize, from: *const i8, rows: usize) {
        if self.recipe.count == 0 || slot >= POSITIONS {
            return;
        }
        let to = self.room.groups.as_mut_ptr().cast::<u32>().wrapping_add(slot);
        // The whole patch is there, or from the first of `rows` on.
        let before = if rows == 0 { self.start.wrapping_sub(self.recipe.skip) } else { 0 };
        let scratch = self.room.scratch.as_mut_ptr().wrapping_add(before);
        // SAFETY: the caller's promise for `from`, and `cut` has set `reach` only where the rows
        // are some of those that fill a patch, `columns`, so that `scratch` holds them with a chunk
        // to spare. There are `count` > 0 groups, at most as many as `groups` has, so that from
        // position `slot` of the first on there are 2 · `count` words, one every POSITIONS words.
        // The piece begins `skip` bytes after `scratch + before`, in the whole patch as in its
        // rows, and ends within `columns` filled up to whole groups: PATCH_MAX consists of those.
        // These are `spread_patch`'s conditions.
        unsafe { spread_patch(from, to, scratch, rows, &self.recipe) };
    }

    /// The piece's groups.
    pub(super) fn groups(&self) -> &[Group] {
        self.room.groups.get(..self.recipe.count).unwrap_or_default()
    }
}

/// Copies `rows` of a window to `scratch`, one behind the other, and spreads `count` groups of it,
/// from `skip` on, to every fourth word from `to` on.
///
/// # Safety
/// `recipe.count` isn't 0; 2 · `count` words, each 16 bytes after the one before, can be written
/// from `to` on. `scratch` has 4 · `count` bytes after `skip`, and room for `rows` rows of `len` > 0 and the
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
        env!("BITSBACK_CPU"), // see build.rs
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
        "mov r12, r2",
        "add r2, r2, r4",
        "cbz r3, 6f",
        "mov r4, r12",
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
        env!("BITSBACK_CPU"), // see build.rs
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
