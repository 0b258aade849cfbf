//! For instruction sets whose kernels take rows over one vector of inputs:
//! dense layers are such blocks, and convolutions too, with what lies under the kernel as the vector.

use super::{
    CHUNK_ROWS, Finish, GatherPatches, Isa, Kernels, Lanes, MakeWorkspace, Matrix, OUTPUTS_MAX,
    PATCH_MAX, POSITIONS, Stretches, Sums, Workspace,
};

/// Room for a patch, apart from [`Patches`] so that it is never moved.
pub(crate) struct Room {
    patch: [i8; PATCH_MAX],
    lanes: <Isa as Kernels>::Lanes,
}

/// Where a convolution works.
pub(crate) struct Place(Workspace);

impl MakeWorkspace for Place {
    #[inline(always)] // else it is made elsewhere and copied
    fn new() -> Self {
        Self(Workspace {
            room: Room { patch: [0; PATCH_MAX], lanes: <Isa as Kernels>::Lanes::new() },
            sums: [[0; CHUNK_ROWS]; POSITIONS],
            places: [[0; 2]; POSITIONS],
            outputs: [0; OUTPUTS_MAX],
        })
    }

    #[inline(always)]
    fn workspace(&mut self) -> &mut Workspace {
        &mut self.0
    }
}

/// What lies under the kernel.
pub(crate) struct Patches<'r> {
    room: &'r mut Room,
    columns: usize,
    offset: i16,
    window: Stretches,
}

impl<'r> GatherPatches<'r> for Patches<'r> {
    type Room = Room;

    #[inline(always)]
    fn new(room: &'r mut Room, columns: usize, offset: i16, window: Stretches) -> Self {
        Self { room, columns, offset, window }
    }

    #[inline(always)]
    fn fill_windows(&mut self, values: &[i8], [begin]: [usize; POSITIONS]) -> bool {
        let Stretches { rows, len, stride } = self.window;
        let from = values.get(begin..).unwrap_or_default();
        self.fill(0, |_, patch| Isa::copy_rows(from, patch, rows, len, [stride, len]));
        len > 0
    }

    #[inline(always)]
    fn fill(&mut self, _slot: usize, gather: impl FnOnce(usize, &mut [i8])) {
        gather(0, self.room.patch.get_mut(..self.columns).unwrap_or_default());
    }

    #[inline(always)]
    fn dot(&mut self, matrix: &Matrix<'_>, first: usize, [sums]: &mut [Sums; POSITIONS]) {
        let patch = self.room.patch.get(..self.columns).unwrap_or_default();
        let inputs = self.room.lanes.prepare(matrix, patch, self.offset);
        Isa::dot_rows(matrix, first, &inputs, sums);
    }

    #[inline(always)]
    fn finish(
        &mut self,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        outputs: &mut [i8],
    ) -> Option<()> {
        let patch = self.room.patch.get(..self.columns)?;
        Isa::finish(&mut self.room.lanes, matrix, patch, self.offset, finish, outputs)
    }

    #[inline(always)]
    fn finish_rows(&mut self, finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
        Isa::finish_rows(finish, first, sums, outputs);
    }
}
