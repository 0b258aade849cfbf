//! For instruction sets whose kernel, `dot_block`, takes a block of rows over one vector of inputs:
//! dense layers are such blocks, and convolutions too, with what lies under the kernel as the vector.

#[cfg(bitsback_scalar)]
use super::dot_rows;
#[cfg(not(bitsback_scalar))]
use super::{BLOCK_ROWS, Inputs, dot_block};
use super::{
    CHUNK_ROWS, Finish, Lanes, Matrix, OUTPUTS_MAX, PATCH_MAX, Stretches, Sums, Workspace, copy,
    finish_rows,
};

/// Positions that a kernel takes at once.
pub(crate) const POSITIONS: usize = 1;

/// Copies `rows` stretches of `len` values, from `strides[0]` apart to `strides[1]` apart; nothing
/// where they don't fit.
pub(crate) fn copy_rows(
    from: &[i8],
    to: &mut [i8],
    rows: usize,
    len: usize,
    [from_stride, to_stride]: [usize; 2],
) {
    // `max(1)`: strides aren't 0, but the compiler can't know.
    let from = from.chunks(from_stride.max(1));
    for (to, from) in to.chunks_mut(to_stride.max(1)).zip(from).take(rows) {
        if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
            copy(to, from);
        }
    }
}

/// Room for a patch, apart from [`Patches`] so that it is never moved.
pub(crate) struct Room {
    patch: [i8; PATCH_MAX],
    lanes: Lanes,
}

/// Where a convolution works.
pub(crate) struct Place(Workspace);

impl Place {
    #[inline(always)] // else it is made elsewhere and copied
    pub(crate) const fn new() -> Self {
        Self(Workspace {
            room: Room { patch: [0; PATCH_MAX], lanes: Lanes::new() },
            sums: [[0; CHUNK_ROWS]; POSITIONS],
            places: [[0; 2]; POSITIONS],
            outputs: [0; OUTPUTS_MAX],
        })
    }

    /// What there is.
    pub(crate) const fn workspace(&mut self) -> &mut Workspace {
        &mut self.0
    }
}

/// Sets all values.
pub(crate) fn fill(values: &mut [i8], value: i8) {
    values.fill(value);
}

/// What lies under the kernel.
pub(crate) struct Patches<'r> {
    room: &'r mut Room,
    columns: usize,
    offset: i16,
    window: Stretches,
}

impl<'r> Patches<'r> {
    /// For patches of `columns` values (at most [`PATCH_MAX`]), to each of which `offset` is added;
    /// `window` are the stretches of a window that lies inside the image.
    pub(crate) const fn new(
        room: &'r mut Room,
        columns: usize,
        offset: i16,
        window: Stretches,
    ) -> Self {
        Self { room, columns, offset, window }
    }

    /// How many pieces patches are gathered in, one after the other.
    pub(crate) const fn pieces(&self) -> usize {
        1
    }

    /// What follows is about that piece.
    pub(crate) const fn begin(&mut self, _piece: usize) {}

    /// Makes the windows that begin at `begins` the patches of all positions; false where windows
    /// aren't stretches.
    pub(crate) fn fill_windows(&mut self, values: &[i8], [begin]: [usize; POSITIONS]) -> bool {
        let Stretches { rows, len, stride } = self.window;
        let from = values.get(begin..).unwrap_or_default();
        self.fill(0, |patch| copy_rows(from, patch, rows, len, [stride, len]));
        len > 0
    }

    /// The outputs of all rows for the patch, or `None` where no kernel finishes them.
    #[inline(always)]
    pub(crate) fn finish(
        &mut self,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        outputs: &mut [i8],
    ) -> Option<()> {
        let patch = self.room.patch.get(..self.columns)?;
        self.room.lanes.finish(matrix, patch, self.offset, finish, outputs)
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
        finish_rows(finish, first, sums, outputs);
    }

    /// 0: there is no kernel here that takes squares of positions.
    pub(crate) const fn squares(&self, _: &Matrix<'_>) -> usize {
        0
    }

    /// False, as [`Self::squares`] says.
    pub(crate) const fn finish_squares(
        &mut self,
        _: &Matrix<'_>,
        _: &Finish<'_>,
        _: &[i8],
        _: &mut Sums,
        _: &mut [i8],
    ) -> bool {
        false
    }

    /// Lets `gather` write the patch of position number `slot`, of [`POSITIONS`].
    pub(crate) fn fill(&mut self, _slot: usize, gather: impl FnOnce(&mut [i8])) {
        gather(self.room.patch.get_mut(..self.columns).unwrap_or_default());
    }
}

/// Σ w·(x + offset) of a chunk of rows for each position; what stands beyond the last row has no
/// meaning.
pub(crate) fn dot_patches(
    matrix: &Matrix<'_>,
    first: usize,
    patches: &mut Patches<'_>,
    [sums]: &mut [Sums; POSITIONS],
) {
    let patch = patches.room.patch.get(..patches.columns).unwrap_or_default();
    let inputs = patches.room.lanes.prepare(matrix, patch, patches.offset);
    dot_rows(matrix, first, &inputs, sums);
}

/// Σ w·(x + offset) of a chunk of rows; what stands beyond the last one has no meaning.
#[cfg(not(bitsback_scalar))]
pub(crate) fn dot_rows(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>, sums: &mut Sums) {
    let (blocks, _) = sums.as_chunks_mut::<BLOCK_ROWS>();
    let rows = (first..matrix.rows).step_by(BLOCK_ROWS);
    for (block, first) in blocks.iter_mut().zip(rows) {
        *block = dot_block(matrix, first, inputs);
    }
}
