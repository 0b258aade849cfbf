//! Layers whose weights were unpacked: what they take, and how they are found again.

use super::affine::Layer;
use super::rows::{Feed, RowSource, Rows};
use crate::arch::{BLOCK_ROWS, Isa, Kernels};
use crate::features::Features;
use crate::format::{Layout, UNPACKED_ALIGNMENT, UnpackedLayer, pair_block_len, paired_place};

/// A layer's parameters with the place of its unpacked biases and weights.
pub(crate) struct Unpacked<'u, W> {
    pub(crate) affine: &'u W,
    /// From the first of them on.
    pub(crate) bytes: &'u [u8],
    pub(crate) layout: Layout,
}

impl<W: RowSource> Feed for Unpacked<'_, W> {
    const IS_WHOLE: bool = true;
    const ARE_SHORT: bool = W::ARE_SHORT;

    fn multiply(&self, section: &[u8], x: &[i8], zero_points: [i8; 2], outputs: &mut [i8]) {
        let [zero_point, output] = zero_points;
        let rows = Rows { count: outputs.len(), columns: x.len(), lag: 1, listed: false };
        let layer = self.affine.unpacked(section, self.bytes, rows, self.layout, output);
        let Some(layer) = layer else { return };
        let offset = if layer.folded { 0 } else { -i16::from(zero_point) };
        layer.apply(x, offset, outputs);
    }

    #[inline(always)]
    fn filters(
        &self,
        section: &[u8],
        rows: Rows,
        [_, output]: [i8; 2],
        mut take: impl FnMut(&Layer<'_>, usize),
    ) {
        let layer = self.affine.unpacked(section, self.bytes, rows, self.layout, output);
        if let Some(layer) = layer {
            take(&layer, 0);
        }
    }
}

/// From the first byte on that a layer may begin with.
pub(crate) fn aligned(bytes: &mut [u8]) -> &mut [u8] {
    let skip = bytes.as_ptr().align_offset(UNPACKED_ALIGNMENT);
    bytes.get_mut(skip..).unwrap_or_default()
}

/// What a layer takes unpacked, if it is packed or coded.
pub(crate) fn unpacked_layer(
    affine: &impl RowSource,
    rows: usize,
    columns: usize,
    paired: bool,
) -> Option<UnpackedLayer> {
    let biases = affine.unpacks_biases()?;
    Some(UnpackedLayer { rows, columns, paired, biases })
}

/// How the rows of a dense layer are arranged.
pub(crate) fn dense_layout(affine: &impl RowSource, columns: usize) -> Layout {
    let pairs = Features::BUILT.pairs && Isa::DENSE_LAYOUT == Layout::Pairs;
    if pairs && affine.may_pair(columns) { Layout::Pairs } else { Layout::RowMajor }
}

/// A matrix of bytes that is being written, weight by weight.
pub(crate) struct Places<'u> {
    pub(crate) bytes: &'u mut [u8],
    pub(crate) layout: Layout,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl Places<'_> {
    /// Writes a weight. The rows of a block of pairs come in order.
    pub(crate) fn put(&mut self, row: usize, column: usize, weight: i8) {
        let blocks = if self.layout == Layout::Pairs { self.rows & !(BLOCK_ROWS - 1) } else { 0 };
        let block = pair_block_len(self.columns);
        if row < blocks {
            let block = (row / BLOCK_ROWS).wrapping_mul(block);
            self.put_paired(block, row % BLOCK_ROWS, column, weight);
            return;
        }
        let start = (blocks / BLOCK_ROWS).wrapping_mul(block);
        let rest = row.wrapping_sub(blocks).wrapping_mul(self.columns);
        let at = start.wrapping_add(rest).wrapping_add(column);
        if let Some(place) = self.bytes.get_mut(at) {
            *place = weight as u8;
        }
    }

    /// A half-word is A + 256·B: A comes first, with its sign above it, to which B is added.
    fn put_paired(&mut self, block: usize, member: usize, column: usize, weight: i8) {
        let at = block.wrapping_add(paired_place(member, column));
        let Some([low, high]) = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else {
            return;
        };
        if member.is_multiple_of(2) {
            [*low, *high] = i16::from(weight).to_le_bytes();
        } else {
            *high = high.wrapping_add(weight as u8);
        }
    }
}
