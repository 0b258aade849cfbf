//! How a convolution gathers what lies under its kernel: [`GatherPatches`].

use super::{Finish, Matrix, OUTPUTS_MAX, POSITIONS, Patches, Sums};

/// Values that lie in rows of an image: `rows` times `len`, the beginnings `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Stretches {
    pub(crate) rows: usize,
    pub(crate) len: usize,
    pub(crate) stride: usize,
}

/// What a convolution works with.
pub(crate) struct Workspace {
    /// Of its [`Patches`].
    pub(crate) room: <Patches<'static> as GatherPatches<'static>>::Room,
    /// Of a chunk of rows at each position.
    pub(crate) sums: [Sums; POSITIONS],
    /// Positions, down and right.
    pub(crate) places: [[usize; 2]; POSITIONS],
    /// Of a position, to be compared.
    pub(crate) outputs: [i8; OUTPUTS_MAX],
}

/// Makes a [`Workspace`] in place.
pub(crate) trait MakeWorkspace {
    /// Room for it.
    fn new() -> Self;

    /// The workspace; nothing in it has a meaning yet.
    fn workspace(&mut self) -> &mut Workspace;
}

/// What lies under a convolution's kernel at so many positions, in pieces, made ready to be
/// multiplied.
pub(crate) trait GatherPatches<'r>: Sized {
    /// Room for it, apart so that it is never moved.
    type Room;

    /// For patches of `columns` values (at most [`PATCH_MAX`](super::PATCH_MAX)), to each of which
    /// `offset` is added; `window` are the stretches of a window that lies inside the image.
    fn new(room: &'r mut Self::Room, columns: usize, offset: i16, window: Stretches) -> Self;

    /// How many pieces patches are gathered in, one after the other.
    #[inline(always)]
    fn pieces(&self) -> usize {
        1
    }

    /// What follows is about that piece.
    #[inline(always)]
    fn begin(&mut self, _piece: usize) {}

    /// Makes the windows that begin at `begins` the patches of all positions; false where windows
    /// aren't stretches, or too little follows one.
    fn fill_windows(&mut self, values: &[i8], begins: [usize; POSITIONS]) -> bool;

    /// Lets `gather` write the piece of the patch of position number `slot` from the value on that it
    /// is told.
    fn fill(&mut self, slot: usize, gather: impl FnOnce(usize, &mut [i8]));

    /// Adds Σ w·(x + offset) over the piece to the sums of a chunk of rows for each position, or
    /// begins with it; what stands beyond the last row, or for positions that weren't filled, has no
    /// meaning.
    fn dot(&mut self, matrix: &Matrix<'_>, first: usize, sums: &mut [Sums; POSITIONS]);

    /// The outputs of all rows at the one position, or `None` where no kernel finishes them.
    #[inline(always)]
    fn finish(
        &mut self,
        _matrix: &Matrix<'_>,
        _finish: &Finish<'_>,
        _outputs: &mut [i8],
    ) -> Option<()> {
        None
    }

    /// The outputs of rows from `first` on at a position, from their sums. The layer must be the same
    /// at each call.
    fn finish_rows(&mut self, finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]);

    /// The outputs of all rows, a few, at each position, one position after the other; so are the sums.
    #[inline(always)]
    fn finish_positions(
        &mut self,
        finish: &Finish<'_>,
        _rows: usize,
        sums: &Sums,
        outputs: &mut [i8],
    ) {
        self.finish_rows(finish, 0, sums, outputs); // there is one position
    }

    /// Whether [`Self::finish_squares`] takes layers like this one, if windows are of one channel and a
    /// step apart.
    #[inline(always)]
    fn takes_squares(&self, _matrix: &Matrix<'_>) -> bool {
        false
    }

    /// The largest outputs of neighbouring squares of 2 × 2 positions, all rows of one after the
    /// other; `from` begins with the first window. False where they aren't there.
    #[inline(always)]
    fn finish_squares(
        &mut self,
        _matrix: &Matrix<'_>,
        _finish: &Finish<'_>,
        _from: &[i8],
        _sums: &mut Sums,
        _outputs: &mut [i8],
    ) -> bool {
        false
    }
}
