//! What lies under a convolution's kernel at four positions, gathered and spread.
//!
//! Spread values take eight bytes a column. To keep the stack small, patches of more than
//! [`PIECE_MAX`] columns are gathered and multiplied in pieces, so that they may be of any length.

use core::arch::{asm, naked_asm};
use core::mem::MaybeUninit;

use super::super::{Finish, GatherPatches, MakeWorkspace, Matrix, Stretches, Sums, Workspace};
use super::positions::{Group, POSITIONS, dot_patches};
use super::scales::{Scales, most};
use super::windows::{LEAST_ROW, Recipe, spread_patch, spread_windows};
use super::{GROUP, clear, squares};

/// Most columns of a piece, a multiple of four: a third of 3 × 3 × 64 or of 5 × 5 × 20, a quarter of
/// 3 × 3 × 80.
pub(super) const PIECE_MAX: usize = 192;

/// Room for patches, apart from [`Patches`] so that it is never moved.
#[repr(C)] // groups come first
pub(crate) struct Room {
    groups: [Group; PIECE_MAX / GROUP],
    /// A piece of a position's patch before it is spread; then that of a row of weights that had to be
    /// unpacked.
    pub(super) scratch: [i8; PIECE_MAX],
    pub(super) scales: Scales,
}

/// Where a convolution works.
pub(crate) struct Place(MaybeUninit<Workspace>);

impl MakeWorkspace for Place {
    #[inline(always)]
    fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// All of it is zeros.
    fn workspace(&mut self) -> &mut Workspace {
        clear(&mut self.0);
        // SAFETY: a workspace consists of integers and of a `bool`, in arrays and structs, all of
        // which may be zero; `clear` has written all of its bytes.
        unsafe { self.0.assume_init_mut() }
    }
}

impl Room {
    /// The room for groups, as words.
    pub(super) fn words(&mut self) -> &mut [u32] {
        self.groups.as_flattened_mut().as_flattened_mut()
    }
}

/// How many pieces patches of so many columns are gathered in, and the groups of each but the last:
/// pieces of almost the same size, none of them over [`PIECE_MAX`], which is whole groups.
pub(super) fn pieces(columns: usize) -> (usize, usize) {
    let (pieces, groups) = (columns.div_ceil(PIECE_MAX).max(1), columns.div_ceil(GROUP));
    let step = groups.checked_div(pieces).unwrap_or_default();
    let step = step.wrapping_add(usize::from(step.wrapping_mul(pieces) < groups));
    (groups.div_ceil(step.max(1)), step)
}

/// A piece of what lies under the kernel at each position, spread and with its offset.
pub(crate) struct Patches<'r> {
    pub(super) room: &'r mut Room,
    /// Values of a patch.
    columns: usize,
    /// Rows of a window that lies inside the image.
    window: Stretches,
    /// How many pieces there are; groups of a whole one, the last of which may have fewer.
    pieces: usize,
    step: usize,
    /// Most that a sum comes to.
    most: u32,
    /// The piece's number.
    piece: Option<usize>,
    /// The piece's first column.
    pub(super) start: usize,
    recipe: Recipe,
    /// Of squares: all of them, in the room.
    filters_are_spread: bool,
    /// Bytes from a window's first to the piece's, and those that are read from there on.
    reach: [usize; 2],
}

impl<'r> GatherPatches<'r> for Patches<'r> {
    type Room = Room;

    #[inline(always)]
    fn new(room: &'r mut Room, columns: usize, offset: i16, window: Stretches) -> Self {
        let (pieces, step) = pieces(columns);
        Self {
            room,
            columns,
            window,
            pieces,
            step,
            most: most(columns),
            piece: None,
            start: 0,
            recipe: Recipe::new(offset, window),
            filters_are_spread: false,
            reach: [0, usize::MAX],
        }
    }

    fn pieces(&self) -> usize {
        self.pieces
    }

    #[inline(always)]
    fn begin(&mut self, piece: usize) {
        if self.piece != Some(piece) {
            self.piece = Some(piece);
            self.cut(piece);
        }
    }

    #[inline(always)]
    fn fill_windows(&mut self, values: &[i8], begins: [usize; POSITIONS]) -> bool {
        let [skip, reach] = self.reach;
        let [a, b, c, d] = begins;
        let last = a.max(b).max(c).max(d);
        let end = last.checked_add(skip).and_then(|from| from.checked_add(reach));
        if end.is_none_or(|end| end > values.len()) {
            return false;
        }
        if self.recipe.count > 0 {
            let from = begins.map(|begin| values.as_ptr().wrapping_add(begin).wrapping_add(skip));
            // SAFETY: there is a group at least, and room for all. `reach` bytes can be read from
            // each of `from`, as they can from the last: the rest of a row, the other rows that the
            // piece is of, and three bytes; `cut` has set it only where rows of LEAST_ROW bytes or
            // more, which don't overlap, fill the patch. Those are `spread_windows`' conditions.
            unsafe { spread_windows(&from, self.room.groups.as_mut_ptr(), &self.recipe) };
        }
        true
    }

    #[inline(always)]
    fn fill(&mut self, slot: usize, gather: impl FnOnce(usize, &mut [i8])) {
        let left = self.columns.wrapping_sub(self.start);
        let len = self.recipe.count.wrapping_mul(GROUP).min(left);
        gather(self.start, self.room.scratch.get_mut(..len).unwrap_or_default());
        if self.recipe.count == 0 || slot >= POSITIONS {
            return;
        }
        let from = self.room.scratch.as_ptr();
        let to = self.room.groups.as_mut_ptr().cast::<u32>().wrapping_add(slot);
        // SAFETY: there are `count` > 0 groups, at most as many as `groups` has, so that from
        // position `slot` of the first on there are 2 · `count` words, one every POSITIONS words.
        // `scratch` has four bytes for each group: PIECE_MAX is the groups' number times four. These
        // are `spread_patch`'s conditions.
        unsafe { spread_patch(from, to, self.recipe.count, &self.recipe) };
    }

    #[inline(always)]
    fn finish_rows(&mut self, finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
        self.room.scales.finish(finish, (first..usize::MAX, self.most), sums, outputs);
    }

    #[inline(always)]
    fn finish_positions(
        &mut self,
        finish: &Finish<'_>,
        rows: usize,
        sums: &Sums,
        outputs: &mut [i8],
    ) {
        self.room.scales.finish(finish, (0..rows, self.most), sums, outputs);
    }

    fn takes_squares(&self, matrix: &Matrix<'_>) -> bool {
        squares::takes(matrix, self.window)
    }

    #[inline(always)]
    fn finish_squares(
        &mut self,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        from: &[i8],
        sums: &mut Sums,
        outputs: &mut [i8],
    ) -> bool {
        let how = (self.recipe.offsets, &mut self.filters_are_spread);
        let (image, finish) = ((from, self.window.stride), (finish, sums));
        squares::finish(matrix, self.room, how, image, finish, outputs).is_some()
    }

    #[inline(always)]
    fn dot(&mut self, matrix: &Matrix<'_>, first: usize, sums: &mut [Sums; POSITIONS]) {
        dot_patches(matrix, first, self, sums);
    }
}

impl Patches<'_> {
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
        self.reach = [0, usize::MAX];
        // Rows of a window fill a patch exactly; nothing is read without it.
        let are_apart = len >= LEAST_ROW && stride >= len;
        if are_apart && rows.checked_mul(len) == Some(self.columns) {
            let end = self.start.wrapping_add(count.wrapping_mul(GROUP)).min(self.columns);
            let top = self.start.checked_div(len).unwrap_or_default();
            let skip = self.start.wrapping_sub(top.wrapping_mul(len));
            let last = end.div_ceil(len).wrapping_sub(top).wrapping_sub(1).saturating_mul(stride);
            // Words end up to three bytes behind the last row.
            let reach = last.saturating_add(len).saturating_add(GROUP - 1).saturating_sub(skip);
            self.recipe.left = len.wrapping_sub(skip);
            self.reach = [top.saturating_mul(stride).saturating_add(skip), reach];
        }
    }

    /// The piece's number.
    pub(super) fn number(&self) -> usize {
        self.piece.unwrap_or_default()
    }

    /// The piece's groups.
    pub(super) fn groups(&self) -> &[Group] {
        self.room.groups.get(..self.recipe.count).unwrap_or_default()
    }
}

/// As [`Kernels::fill`](super::Kernels::fill).
#[inline(never)]
pub(super) fn fill(values: &mut [i8], value: i8) {
    let word = u32::from(value as u8).wrapping_mul(0x0101_0101);
    // SAFETY: four words are written while sixteen bytes or more are left, then a word while four are, then
    // bytes while there are any: all of `values`, and nothing else. STR takes any address.
    unsafe {
        asm!(
            "b 5f",
            "4:",
            "str {word}, [{to}], #4",
            "str {word}, [{to}], #4",
            "str {word}, [{to}], #4",
            "str {word}, [{to}], #4",
            "5:",
            "subs {left}, {left}, #16",
            "bhs 4b",
            "add {left}, {left}, #16",
            "1:",
            "subs {left}, {left}, #4",
            "it hs",
            "strhs {word}, [{to}], #4",
            "bhs 1b",
            "adds {left}, {left}, #4",
            "beq 3f",
            "2:",
            "strb {word}, [{to}], #1",
            "subs {left}, {left}, #1",
            "bne 2b",
            "3:",
            left = inout(reg) values.len() => _,
            to = inout(reg) values.as_mut_ptr() => _,
            word = in(reg) word,
            options(nostack),
        );
    }
}

/// As [`Kernels::copy_rows`](super::Kernels::copy_rows).
#[inline(never)]
pub(super) fn copy_rows(
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
