//! From sums of products to outputs: biases, requantisation, activation.

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

impl<'a> Multipliers<'a> {
    /// Those of the rows from `first` on.
    pub(crate) fn from(&self, first: usize) -> Multipliers<'a> {
        match *self {
            Self::PerTensor(multiplier) => Self::PerTensor(multiplier),
            Self::PerChannel(table) => Self::PerChannel(table.get(first..).unwrap_or_default()),
        }
    }
}

impl<'a> Finish<'a> {
    /// That of the rows from `first` on.
    pub(crate) fn from(&self, first: usize) -> Finish<'a> {
        let bias = self.bias.map(|(width, shift, bytes)| {
            let behind = bytes.get(first.wrapping_mul(width.bytes())..);
            (width, shift, behind.unwrap_or_default())
        });
        Finish { bias, multipliers: self.multipliers.from(first), ..*self }
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

    /// The biases of rows from `first` on; 0 where there are none.
    #[inline(always)]
    pub(crate) fn biases(&self, first: usize) -> impl Iterator<Item = i32> {
        let (width, shift, bytes) = self.bias.unwrap_or((BiasWidth::I8, 0, &[]));
        let mut tail = bytes.get(first.wrapping_mul(width.bytes())..).unwrap_or_default();
        core::iter::from_fn(move || {
            let value = match width {
                BiasWidth::I32 => tail.split_first_chunk().map(|(&bias, rest)| {
                    tail = rest;
                    i32::from_le_bytes(bias)
                }),
                BiasWidth::I16 => tail.split_first_chunk().map(|(&bias, rest)| {
                    tail = rest;
                    i16::from_le_bytes(bias).into()
                }),
                BiasWidth::I8 => tail.split_first().map(|(&bias, rest)| {
                    tail = rest;
                    (bias as i8).into()
                }),
            };
            Some(value.unwrap_or_default().wrapping_shl(shift.into()))
        })
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

    /// The output of a row whose accumulator, bias included, is complete.
    pub(crate) fn output(&self, row: usize, acc: i32) -> i8 {
        let value = crate::requantize::requantize(acc, self.multiplier(row), self.zero_point);
        self.clamp.apply(value)
    }
}

/// A channel's multiplier from its bytes.
#[inline(always)]
pub(super) fn stored(&[b0, b1, b2, b3, shift]: &[u8; CHANNEL_MULTIPLIER_LEN]) -> Multiplier {
    Multiplier { value: i32::from_le_bytes([b0, b1, b2, b3]), shift: shift as i8 }
}
