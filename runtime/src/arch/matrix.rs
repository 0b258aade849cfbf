//! A layer's weights as kernels see them.

use core::ops::Range;

use super::{POSITIONS, Patches, Sums};
use crate::features::Features;
use crate::format::{Fields, Layout, PAIR_BLOCK_ROWS, pair_block_len, paired_magnitude};

/// As [`GatherPatches::dot`](super::GatherPatches::dot), of some rows of a chunk that may be lists.
pub(crate) type DotListed =
    fn(&Matrix<'_>, usize, Range<usize>, &mut Patches<'_>, &mut [Sums; POSITIONS]);

/// Weights of a layer, one row per output.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    /// From the first weight to the weight section's end. What follows the matrix counts for
    /// nothing, but lets a kernel load the whole word that a row ends within.
    pub(crate) bytes: &'a [u8],
    /// See [`Self::layout`].
    pub(crate) arrangement: Layout,
    /// See [`Self::bits`].
    pub(crate) width: u8,
    /// Rows.
    pub(crate) rows: usize,
    /// Weights of a row.
    pub(crate) columns: usize,
    /// Bytes of a packed row.
    pub(crate) row_len: usize,
    /// What multiplies rows that were put by [`Kernels::put_filter`](super::Kernels::put_filter): told by those
    /// who did, so that a program in which nobody does has no code for it.
    #[cfg_attr(not(bitsback_isa = "dsp"), allow(dead_code))] // others have no lists
    pub(crate) listed: Option<DotListed>,
}

/// Where a row is.
pub(crate) enum Row<'a> {
    /// Packed by itself.
    Packed(&'a [u8]),
    /// A member of a block of pairs.
    Paired(&'a [u8], usize),
}

impl<'a> Matrix<'a> {
    /// Width of a weight: known where others are left out.
    pub(crate) const fn bits(&self) -> u8 {
        if Features::BUILT.widths { self.width } else { 8 }
    }

    /// Arrangement, as well.
    pub(crate) const fn layout(&self) -> Layout {
        if Features::BUILT.pairs { self.arrangement } else { Layout::RowMajor }
    }

    /// The packed rows of a row-major matrix, in order.
    pub(crate) fn packed(&self) -> core::slice::ChunksExact<'a, u8> {
        let len = self.row_len.wrapping_mul(self.rows);
        // `max(1)`: rows aren't empty, but the compiler can't know.
        self.bytes.get(..len).unwrap_or_default().chunks_exact(self.row_len.max(1))
    }

    /// Rows that are in blocks of pairs; the others follow, packed.
    pub(super) fn paired_rows(&self) -> usize {
        match self.layout() {
            Layout::RowMajor => 0,
            Layout::Pairs => self.rows & !(PAIR_BLOCK_ROWS - 1),
        }
    }

    /// The block of pairs with a row, if it is in one.
    #[inline(never)] // found once for many products
    pub(crate) fn block(&self, row: usize) -> Option<&'a [u8]> {
        if row >= self.paired_rows() {
            return None;
        }
        let len = pair_block_len(self.columns);
        let start = (row / PAIR_BLOCK_ROWS).wrapping_mul(len);
        self.bytes.get(start..start.wrapping_add(len))
    }

    /// From the start of a packed row to the section's end.
    #[inline(never)]
    pub(crate) fn bytes_from(&self, row: usize) -> &'a [u8] {
        let paired = self.paired_rows();
        let blocks = match paired / PAIR_BLOCK_ROWS {
            0 => 0,
            blocks => blocks.wrapping_mul(pair_block_len(self.columns)),
        };
        let start = row.wrapping_sub(paired).wrapping_mul(self.row_len).wrapping_add(blocks);
        self.bytes.get(start..).unwrap_or_default()
    }

    /// A row, wherever it is.
    pub(crate) fn row(&self, row: usize) -> Row<'a> {
        match self.block(row) {
            Some(block) => Row::Paired(block, row % PAIR_BLOCK_ROWS),
            None => Row::Packed(self.bytes_from(row).get(..self.row_len).unwrap_or_default()),
        }
    }

    /// Whether a row is the second of a pair.
    pub(crate) fn is_high(&self, row: usize) -> bool {
        row < self.paired_rows() && !row.is_multiple_of(2)
    }

    /// Σ |w| over a row.
    pub(crate) fn magnitude(&self, row: usize) -> u64 {
        match self.row(row) {
            Row::Packed(weights) => {
                let mut fields = Fields::new(weights, self.bits(), 0);
                (0..self.columns)
                    .fold(0, |sum, _| sum.saturating_add(fields.take().unsigned_abs().into()))
            }
            Row::Paired(block, member) => paired_magnitude(block, member, self.columns).into(),
        }
    }
}
