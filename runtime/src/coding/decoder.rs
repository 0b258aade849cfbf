//! Reads decisions.

use core::hint::cold_path;

use super::probability::{Coder, PRECISION};

/// The range decoder, over the bytes of one layer.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    pub(crate) bytes: core::slice::Iter<'a, u8>,
    pub(crate) range: u32,
    /// How far the stream's number lies above the range's lower end.
    pub(crate) code: u32,
}

impl<'a> Decoder<'a> {
    /// At the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes: bytes.iter(), range: u32::MAX, code: 0 };
        for _ in 0..4 {
            decoder.shift();
        }
        decoder
    }

    #[inline(always)]
    fn shift(&mut self) {
        let byte = self.bytes.next().copied().unwrap_or_default();
        self.code = self.code << 8 | u32::from(byte);
    }
}

impl Coder for Decoder<'_> {
    #[inline(always)]
    fn decide(&mut self, _: bool, probability: u32) -> bool {
        let bound = (self.range >> PRECISION).wrapping_mul(probability);
        let bit = self.code < bound;
        if bit {
            self.range = bound;
        } else {
            self.range = self.range.wrapping_sub(bound);
            self.code = self.code.wrapping_sub(bound);
        }
        // At most two turns: a part of the range is at least 2⁻¹⁰ of it, which is 2²⁴ or more.
        while self.range < 1 << 24 {
            cold_path();
            self.range <<= 8;
            self.shift();
        }
        bit
    }

    #[inline(always)]
    fn rarely<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        let mut own = self.clone();
        let found = run(&mut own);
        *self = own;
        found
    }
}
