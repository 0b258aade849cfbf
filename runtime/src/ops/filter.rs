//! A convolution's filter at hand: what is used at every position is unpacked once.

use crate::arch::PATCH_MAX;
use crate::format::Fields;

/// Most weights of a convolution's filter in pairs, or of one that is pooled: a part of the format,
/// so the same on every core. 3 × 3 × 64.
pub const FILTER_MAX: usize = 576;

const _: () = assert!(FILTER_MAX <= PATCH_MAX, "every core gathers such patches");

/// One filter's weights, unpacked to 8 bits where that pays.
pub(crate) struct Filter<'a> {
    pub(crate) row: &'a [u8],
    pub(crate) bits: u8,
}

impl<'a> Filter<'a> {
    /// Unpacks `columns` fields if they are narrow and the buffer holds them.
    pub(crate) fn unpack(
        packed: &'a [u8],
        bits: u8,
        columns: usize,
        buffer: &'a mut [u8; FILTER_MAX],
    ) -> Self {
        match buffer.get_mut(..columns) {
            Some(row) if bits < 8 => {
                let mut fields = Fields::new(packed, bits, 0);
                for byte in row.iter_mut() {
                    *byte = fields.take() as u8;
                }
                Self { row, bits: 8 }
            }
            _ => Self { row: packed, bits },
        }
    }
}
