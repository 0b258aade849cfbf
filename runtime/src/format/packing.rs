//! Weights of 1 to 8 (or 16) bits, packed; defined here once for both sides.
//!
//! A row's fields are two's complement and fill bytes from the least significant bit, field 0
//! first; a field may straddle bytes. Each row starts on a byte; the last byte's free bits are 0.

/// Whether weights may have this width.
pub const fn is_width(bits: u8) -> bool {
    matches!(bits, 1..=8 | 16)
}

/// Bytes of a row of `columns` fields, saturating.
pub const fn row_len(bits: u8, columns: usize) -> usize {
    match bits {
        8 => columns,
        _ => columns.saturating_mul(bits as usize).div_ceil(8),
    }
}

/// Why a row can't be packed.
#[cfg(any(test, feature = "writer"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum PackError {
    /// The width is neither 1 to 8 nor 16.
    Width {
        /// Bits asked for.
        bits: u8,
    },
    /// A value needs more bits.
    Range {
        /// Its position in the row.
        column: usize,
        /// The value.
        value: i16,
    },
    /// The buffer is no row of this length; see [`row_len`].
    Buffer {
        /// Bytes that the row takes.
        needed: usize,
    },
}

#[cfg(any(test, feature = "writer"))]
impl core::fmt::Display for PackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Width { bits } => write!(f, "weights of {bits} bits: use 1 to 8, or 16"),
            Self::Range { column, value } => {
                write!(f, "weight {value} in column {column} needs more bits")
            }
            Self::Buffer { needed } => write!(f, "the row's buffer must have {needed} bytes"),
        }
    }
}

#[cfg(any(test, feature = "writer"))]
impl core::error::Error for PackError {}

/// Packs one row of weights into exactly [`row_len`] bytes.
#[cfg(any(test, feature = "writer"))]
pub fn pack_row(values: &[i16], bits: u8, row: &mut [u8]) -> Result<(), PackError> {
    if !is_width(bits) {
        return Err(PackError::Width { bits });
    }
    let needed = row_len(bits, values.len());
    if row.len() != needed {
        return Err(PackError::Buffer { needed });
    }
    let mut bytes = row.iter_mut();
    let (mut pending, mut held) = (0u32, 0u32);
    let limit = 1i32 << (bits - 1);
    for (column, &value) in values.iter().enumerate() {
        if !(-limit..limit).contains(&i32::from(value)) {
            return Err(PackError::Range { column, value });
        }
        pending |= (value as u32 & (u32::MAX >> (32 - u32::from(bits)))) << held;
        held += u32::from(bits);
        while held >= 8 {
            if let Some(byte) = bytes.next() {
                *byte = pending as u8;
            }
            pending >>= 8;
            held -= 8;
        }
    }
    if let Some(byte) = bytes.next() {
        *byte = pending as u8;
    }
    Ok(())
}

/// The fields of a packed row, from the first; endless zeros after the row's last byte.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: core::slice::Iter<'a, u8>,
    pending: u32,
    held: u32,
    bits: u32,
}

impl<'a> Fields<'a> {
    /// Fields of `row` from number `start` on. `bits` must be a width ([`is_width`]).
    pub fn new(row: &'a [u8], bits: u8, start: usize) -> Self {
        let bits = u32::from(bits.clamp(1, 16));
        let bit = start.saturating_mul(bits as usize);
        let mut bytes = row.get(bit / 8..).unwrap_or_default().iter();
        let (mut pending, mut held) = (0, 0);
        let skip = (bit % 8) as u32;
        if skip > 0
            && let Some(&byte) = bytes.next()
        {
            pending = u32::from(byte) >> skip;
            held = 8 - skip;
        }
        Self { bytes, pending, held, bits }
    }

    /// The next field, sign-extended.
    #[inline(always)]
    pub fn take(&mut self) -> i32 {
        while self.held < self.bits {
            let byte = self.bytes.next().map_or(0, |&b| u32::from(b));
            self.pending |= byte << self.held;
            self.held += 8;
        }
        let unused = 32 - self.bits;
        let value = (self.pending << unused) as i32 >> unused;
        self.pending >>= self.bits;
        self.held -= self.bits;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    #[test]
    fn bytes_fill_from_the_low_bit() {
        let mut row = [0; 2];
        pack_row(&[1, -1, 2, -4], 3, &mut row).unwrap();
        assert_eq!(row, [0b1011_1001, 0b0000_1000]);
    }

    #[test]
    fn every_error_has_its_case() {
        assert_eq!(pack_row(&[0], 9, &mut [0; 2]), Err(PackError::Width { bits: 9 }));
        assert_eq!(pack_row(&[0], 0, &mut []), Err(PackError::Width { bits: 0 }));
        assert_eq!(pack_row(&[0, 2], 2, &mut [0]), Err(PackError::Range { column: 1, value: 2 }));
        assert_eq!(pack_row(&[0; 3], 4, &mut [0]), Err(PackError::Buffer { needed: 2 }));
    }

    proptest! {
        #[test]
        fn rows_come_back(
            bits in prop_oneof![1u8..=8, Just(16)],
            seeds in proptest::collection::vec(any::<i16>(), 0..70),
            start in 0usize..70,
        ) {
            let values: Vec<i16> = seeds.iter().map(|v| v >> (16 - bits)).collect();
            let mut row = vec![0xAA; row_len(bits, values.len())];
            pack_row(&values, bits, &mut row).unwrap();
            let start = start.min(values.len());
            let mut fields = Fields::new(&row, bits, start);
            for &value in &values[start..] {
                prop_assert_eq!(fields.take(), i32::from(value));
            }
        }
    }
}
