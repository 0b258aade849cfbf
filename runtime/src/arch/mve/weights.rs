//! The weights of some rows, and how kernels are called for them.

use super::POSITIONS;
use super::products::{Kernel, Six, Task, pairs_w8, rows_w8};
use super::windows::Piece;
use crate::arch::Matrix;
use crate::format::{PAIR_BLOCK_ROWS, pair_block_len};

/// Sums that are nothing yet.
pub(super) const ZERO: Six = [[0; 2]; POSITIONS];

/// One call: of whole blocks of pairs, of pairs of rows, or of the last row, a pair with itself.
#[derive(Clone, Copy)]
struct Call<'a> {
    kernel: Kernel,
    weights: &'a [u8],
    /// As the kernels are told.
    row: usize,
    /// The first sums and the end of them, by numbers of pairs.
    at: usize,
    end: usize,
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self { kernel: rows_w8, weights: &[], row: 0, at: 0, end: 0 }
    }
}

/// All calls for a piece of some rows.
#[derive(Default)]
pub(super) struct Calls<'a> {
    calls: [Call<'a>; 3],
    count: usize,
    columns: usize,
    /// Bytes of a row.
    row: usize,
    /// Pairs of rows, and whether some of them are in blocks.
    pairs: usize,
    is_paired: bool,
}

impl<'a> Calls<'a> {
    /// Those of `rows` rows from `start` on, of which the first begins a block if it is in one.
    #[inline(never)]
    pub(super) fn of(matrix: &Matrix<'a>, [start, rows]: [usize; 2]) -> Self {
        let columns = matrix.columns;
        let paired = matrix.paired_rows().saturating_sub(start).min(rows);
        let (block, row) = (pair_block_len(matrix.columns), matrix.row_len);
        let blocks = || {
            let from = (start / PAIR_BLOCK_ROWS).wrapping_mul(block);
            let len = (paired / PAIR_BLOCK_ROWS).wrapping_mul(block);
            let weights = matrix.bytes.get(from..from.wrapping_add(len))?;
            let row = block.wrapping_sub(8);
            let call = Call { kernel: pairs_w8, weights, row, at: 0, end: paired / 2 };
            (paired > 0).then_some(call)
        };
        // Pairs of rows, and the last one where their number is odd.
        let some = |first: usize, end: usize, next: usize| {
            let count = end.checked_sub(first).filter(|&count| count > 0)?;
            let bytes = matrix.bytes_from(start.wrapping_add(first));
            let weights = bytes.get(..count.checked_mul(row)?)?;
            let (at, end) = (first / 2, end.div_ceil(2));
            Some(Call { kernel: rows_w8, weights, row: next, at, end })
        };
        let even = (rows & !1).max(paired);
        let is_paired = paired > 0;
        let mut calls =
            Self { columns, row, is_paired, pairs: rows.div_ceil(2), ..Self::default() };
        let some = [blocks(), some(paired, even, row), some(even, rows, 0)];
        for (to, call) in calls.calls.iter_mut().zip(some.into_iter().flatten()) {
            *to = call;
            calls.count = calls.count.wrapping_add(1);
        }
        calls
    }

    /// As [`Self::multiply`].
    ///
    /// # Safety
    /// As there.
    #[inline(never)]
    pub(super) unsafe fn multiply_apart(
        &self,
        piece: &Piece,
        x: [*const i8; POSITIONS],
        init: Option<&[Six]>,
        sums: &mut [Six],
    ) -> bool {
        // SAFETY: the caller's.
        unsafe { self.multiply(piece, x, init, sums) }
    }

    /// Adds the sums of a piece's products to `init`, or to `sums` themselves. False where a weight is no
    /// byte, or the piece begins within a group of a block's columns, for which there is no kernel.
    ///
    /// # Safety
    /// At each position there are as many inputs as the piece has columns.
    #[inline(always)]
    pub(super) unsafe fn multiply(
        &self,
        &Piece { start, columns, .. }: &Piece,
        [x0, x1, x2]: [*const i8; POSITIONS],
        init: Option<&[Six]>,
        sums: &mut [Six],
    ) -> bool {
        let pairs = self.pairs;
        let has_room = sums.len() >= pairs && init.is_none_or(|init| init.len() >= pairs);
        let is_part = columns > 0 && start.wrapping_add(columns) <= self.columns;
        let is_split = self.is_paired && !start.is_multiple_of(PAIR_BLOCK_ROWS);
        if !has_room || !is_part || is_split {
            return false;
        }
        let sums = sums.as_mut_ptr();
        let init = init.map_or(sums.cast_const(), |init| init.as_ptr());
        let mut odd = 0;
        for call in self.calls.get(..self.count).unwrap_or_default() {
            let &Call { kernel, weights, row, at, end } = call;
            // Four columns are sixteen bytes of a block.
            let is_block = self.is_paired && at == 0;
            let (back, start) = if is_block {
                (8, start.wrapping_mul(PAIR_BLOCK_ROWS))
            } else {
                (columns.next_multiple_of(16).wrapping_sub(self.row), start)
            };
            let end = sums.wrapping_add(end).cast_const();
            let task = Task { back, row, end, x0, columns, x1, x2 };
            let weights = weights.as_ptr().wrapping_add(start);
            // SAFETY: `weights` are those of the pairs from `at` to `end`, at least one, as the kernel wants
            // them (see `of`), from the piece's first column on; there are as many sums, in `init` as well;
            // the inputs are the caller's.
            odd |= unsafe { kernel(&task, weights, init.wrapping_add(at), sums.wrapping_add(at)) };
        }
        odd == 0
    }
}
