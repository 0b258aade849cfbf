//! From sums of products to outputs: biases, requantisation, activation.

#[cfg(any(bitsback_isa = "mve", bitsback_isa = "neon"))]
use super::BLOCK_ROWS;
use crate::features::Features;
use crate::format::{BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp};
use crate::requantize::Multiplier;

/// What turns a layer's sums of products into outputs.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// Width, left shift and bytes of the biases, if there are any.
    pub(crate) bias: Option<(BiasWidth, u8, &'a [u8])>,
    pub(crate) multipliers: Multipliers<'a>,
    /// The output's.
    pub(crate) zero_point: i8,
    pub(crate) clamp: Clamp,
}

/// One for all rows, or one each.
#[derive(Clone, Copy)]
pub(crate) enum Multipliers<'a> {
    PerTensor(Multiplier),
    PerChannel(&'a [[u8; CHANNEL_MULTIPLIER_LEN]]),
}

impl Multipliers<'_> {
    /// Those of the rows from `first` on.
    pub(crate) fn from(&self, first: usize) -> Self {
        match *self {
            Self::PerTensor(multiplier) => Self::PerTensor(multiplier),
            Self::PerChannel(table) => Self::PerChannel(table.get(first..).unwrap_or_default()),
        }
    }
}

impl Finish<'_> {
    /// The bias of a row.
    #[inline(never)]
    pub(crate) fn bias(&self, row: usize) -> i32 {
        let Some((width, shift, bytes)) = self.bias else { return 0 };
        let tail = bytes.get(row.wrapping_mul(width.bytes())..).unwrap_or_default();
        let value = match width {
            BiasWidth::I8 => tail.first().map(|&byte| i32::from(byte as i8)),
            BiasWidth::I16 => tail.first_chunk().map(|&b| i32::from(i16::from_le_bytes(b))),
            BiasWidth::I32 => tail.first_chunk().map(|&b| i32::from_le_bytes(b)),
        };
        value.unwrap_or_default().wrapping_shl(u32::from(shift))
    }

    /// The multiplier of all rows, if there is one.
    #[cfg_attr(not(bitsback_isa = "dsp"), allow(dead_code))] // others ask row by row
    #[inline(always)]
    pub(crate) fn one_multiplier(&self) -> Option<Multiplier> {
        match self.multipliers {
            Multipliers::PerTensor(multiplier) => Some(multiplier),
            Multipliers::PerChannel(_) if Features::BUILT.per_channel => None,
            Multipliers::PerChannel(_) => Some(Multiplier::default()), // refused when it was read
        }
    }

    /// The multiplier of a row.
    pub(crate) fn multiplier(&self, row: usize) -> Multiplier {
        match self.multipliers {
            Multipliers::PerTensor(multiplier) => multiplier,
            Multipliers::PerChannel(table) => match table.get(row) {
                Some(entry) if Features::BUILT.per_channel => stored(entry),
                _ => Multiplier::default(),
            },
        }
    }

    /// The biases of a block of rows, if there are any and none is missing.
    #[cfg(any(bitsback_isa = "mve", bitsback_isa = "neon"))]
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
    #[cfg(any(bitsback_isa = "mve", bitsback_isa = "neon"))]
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

    /// The output of a row whose accumulator, bias included, is complete.
    pub(crate) fn output(&self, row: usize, acc: i32) -> i8 {
        let value = crate::requantize::requantize(acc, self.multiplier(row), self.zero_point);
        self.clamp.apply(value)
    }
}

/// A channel's multiplier from its bytes.
#[inline(always)]
fn stored(&[b0, b1, b2, b3, shift]: &[u8; CHANNEL_MULTIPLIER_LEN]) -> Multiplier {
    Multiplier { value: i32::from_le_bytes([b0, b1, b2, b3]), shift: shift as i8 }
}
