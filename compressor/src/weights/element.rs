//! Floating-point elements of foreign files, all little-endian.

use crate::numbers::half;

/// What a tensor's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// IEEE 754 double precision; rounded to f32.
    F64,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// An integer or truth value: no weight.
    Other,
}

impl Element {
    /// Bytes of one element; 0 where they don't matter.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other => 0,
        }
    }

    /// The `index`-th element of `bytes`, if there are so many.
    pub(super) fn read(self, bytes: &[u8], index: usize) -> Option<f32> {
        let start = index.checked_mul(self.bytes())?;
        let rest = bytes.get(start..)?;
        match self {
            Self::F64 => rest.first_chunk().map(|b| f64::from_le_bytes(*b) as f32),
            Self::F32 => rest.first_chunk().map(|b| f32::from_le_bytes(*b)),
            Self::F16 => rest.first_chunk().map(|b| half(u16::from_le_bytes(*b))),
            Self::Bf16 => {
                rest.first_chunk().map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16))
            }
            Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_exact() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x0001, 2f32.powi(-24)),
            (0x7bff, 65504.0),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:#x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn every_element_reads_minus_one_and_a_half() {
        assert_eq!(Element::F64.read(&(-1.5f64).to_le_bytes(), 0), Some(-1.5));
        assert_eq!(Element::F32.read(&(-1.5f32).to_le_bytes(), 0), Some(-1.5));
        assert_eq!(Element::F16.read(&[0, 0, 0x00, 0xbe], 1), Some(-1.5));
        assert_eq!(Element::Bf16.read(&[0xc0, 0xbf], 0), Some(-1.5));
        assert_eq!(Element::F32.read(&[0; 7], 1), None);
        assert_eq!(Element::F64.read(&[0; 7], usize::MAX), None);
        assert_eq!(Element::Other.read(&[0; 7], 0), None);
    }
}
