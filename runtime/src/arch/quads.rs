//! What finishes four rows at once, as vectors of four words take it.

use super::finish::stored;
use super::{BLOCK_ROWS, Finish, Multipliers};
use crate::format::BiasWidth;

impl Finish<'_> {
    /// The biases of a block of rows, if there are any and none is missing.
    #[inline(always)]
    pub(crate) fn block_biases(&self, first: usize) -> Option<[i32; BLOCK_ROWS]> {
        let (width, shift, bytes) = self.bias?;
        let tail = bytes.get(first.wrapping_mul(width.bytes())..)?;
        let biases = match width {
            BiasWidth::I8 => tail.first_chunk()?.map(|b| i32::from(b as i8)),
            BiasWidth::I16 => {
                tail.as_chunks().0.first_chunk()?.map(|b| i16::from_le_bytes(b).into())
            }
            BiasWidth::I32 => tail.as_chunks().0.first_chunk()?.map(i32::from_le_bytes),
        };
        Some(biases.map(|bias| bias.wrapping_shl(u32::from(shift))))
    }

    /// Fractions and shifts of a block of rows, as long as none is missing.
    #[inline(always)]
    pub(crate) fn block_multipliers(&self, first: usize) -> ([i32; BLOCK_ROWS], [i32; BLOCK_ROWS]) {
        let multipliers = match self.multipliers {
            Multipliers::PerTensor(multiplier) => [multiplier; BLOCK_ROWS],
            Multipliers::PerChannel(table) => {
                let entries = table.get(first..).and_then(<[_]>::first_chunk::<BLOCK_ROWS>);
                entries.map(|entries| entries.each_ref().map(stored)).unwrap_or_default()
            }
        };
        (multipliers.map(|m| m.value), multipliers.map(|m| m.shift.into()))
    }
}
