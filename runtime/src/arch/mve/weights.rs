//! The weights of some rows, and how kernels are called for them.

use super::POSITIONS;
use super::products::{Kernel, Six, Sums, Task, pairs_w8, rows_w8};
use super::windows::Piece;
use crate::arch::Matrix;
use crate::format::{PAIR_BLOCK_ROWS, pair_block_len};

/// One call: of whole blocks of pairs, of pairs of rows, or of the last row, a pair with itself.
#[derive(Clone, Copy)]
struct Call<'a> {
    kernel: Kernel,
    weights: &'a [u8],
    /// Bytes of them before a piece.
    from: usize,
    task: Task,
    /// The first sums, by numbers of pairs.
    at: usize,
}

impl Default for Call<'_> {
    fn default() -> Self {
        let x = [core::ptr::null(); POSITIONS];
        let task = Task { back: 0, row: 0, len: 0, columns: 0, x };
        Self { kernel: rows_w8, weights: &[], from: 0, task, at: 0 }
    }
}

/// All calls for a piece of some rows.
#[derive(Default)]
pub(super) struct Calls<'a> {
    calls: [Call<'a>; 3],
    count: usize,
    columns: usize,
    /// Bytes of a row, and of a block of pairs.
    row: usize,
    block: usize,
    /// Whether the first rows are in blocks.
    is_paired: bool,
}

impl<'a> Calls<'a> {
    /// Makes them those of `rows` rows from `start` on, of which the first begins a block if it is in one; `None`
    /// where weights are missing.
    #[inline(never)]
    pub(super) fn take(&mut self, matrix: &Matrix<'a>, [start, rows]: [usize; 2]) -> Option<()> {
        let paired = matrix.paired_rows().saturating_sub(start).min(rows);
        self.is_paired = paired > 0;
        self.columns = matrix.columns;
        (self.block, self.row) = (pair_block_len(matrix.columns), matrix.row_len);
        self.count = 0;
        if paired > 0 {
            let from = (start / PAIR_BLOCK_ROWS).wrapping_mul(self.block);
            let len = (paired / PAIR_BLOCK_ROWS).wrapping_mul(self.block);
            let weights = matrix.bytes.get(from..from.wrapping_add(len))?;
            self.add(pairs_w8, weights, [0, paired], 0)?;
        }
        // Pairs of rows, and the last one where their number is odd.
        let even = (rows & !1).max(paired);
        for (first, end, next) in [(paired, even, self.row), (even, rows, 0)] {
            if first < end {
                let bytes = matrix.bytes_from(start.wrapping_add(first));
                let weights = bytes.get(..end.wrapping_sub(first).checked_mul(self.row)?)?;
                self.add(rows_w8, weights, [first, end], next)?;
            }
        }
        Some(())
    }

    /// Adds the call of some rows.
    fn add(
        &mut self,
        kernel: Kernel,
        weights: &'a [u8],
        [first, end]: [usize; 2],
        row: usize,
    ) -> Option<()> {
        let call = self.calls.get_mut(self.count)?;
        let at = first / 2;
        (call.kernel, call.weights, call.at, call.task.row) = (kernel, weights, at, row);
        call.task.len = end.div_ceil(2).wrapping_sub(at).wrapping_mul(size_of::<Six>());
        self.count = self.count.wrapping_add(1);
        Some(())
    }

    /// Makes them the calls for a piece; `None` where it isn't of these rows, or begins within a group of a
    /// block's columns, for which there is no kernel.
    #[inline(never)]
    pub(super) fn aim(&mut self, &Piece { start, columns, .. }: &Piece) -> Option<()> {
        let is_part = columns > 0 && start.wrapping_add(columns) <= self.columns;
        let is_split = self.is_paired && !start.is_multiple_of(PAIR_BLOCK_ROWS);
        if !is_part || is_split {
            return None;
        }
        let gone = columns.next_multiple_of(16);
        for Call { task, at, from, .. } in self.calls.get_mut(..self.count)? {
            task.columns = columns;
            task.back = gone.wrapping_sub(self.row);
            *from = start;
            if self.is_paired && *at == 0 {
                // Four columns are sixteen bytes of a block.
                let gone = gone.wrapping_mul(PAIR_BLOCK_ROWS);
                task.back = 8usize.wrapping_sub(gone);
                task.row = self.block.wrapping_sub(8).wrapping_sub(gone);
                *from = start.wrapping_mul(PAIR_BLOCK_ROWS);
            }
        }
        Some(())
    }

    /// As [`Self::multiply`].
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    pub(super) unsafe fn multiply_apart(
        &mut self,
        x: [*const i8; POSITIONS],
        init: Option<&Sums>,
        sums: &mut Sums,
    ) {
        // SAFETY: the caller's.
        unsafe { self.multiply(x, init, sums) }
    }

    /// Adds the sums of products of the piece that calls are for to `init`, or to `sums` themselves.
    ///
    /// # Safety
    /// They were aimed at a piece, and at each position there are as many inputs as it has columns. There are
    /// sums of all pairs, and
    /// `init` or they have a value.
    #[inline(always)]
    pub(super) unsafe fn multiply(
        &mut self,
        x: [*const i8; POSITIONS],
        init: Option<&Sums>,
        sums: &mut Sums,
    ) {
        let sums = sums.as_mut_ptr().cast::<Six>();
        let init = init.map_or(sums.cast_const(), |init| init.as_ptr().cast());
        for call in self.calls.get_mut(..self.count).unwrap_or_default() {
            let Call { kernel, weights, from, at, ref mut task } = *call;
            task.x = x;
            let weights = weights.as_ptr().wrapping_add(from);
            // SAFETY: `weights` are those of the call's pairs (see `take`), at least one, from the piece's first
            // column on, and the task tells how they lie (`aim`); the rest is the caller's.
            unsafe { kernel(task, weights, init.wrapping_add(at), sums.wrapping_add(at)) }
        }
    }
}
