//! What is in a coded stream: its decoder takes a few decisions a weight, more for larger ones.

use bitsback_runtime::coding::{Contexts, Decoder, Memory};
use bitsback_runtime::ops::CodedAffine;

use super::counts::Counts;
use super::lists::Lists;

/// Magnitudes up to this are told step by step; what is above it is told as a number.
const COUNTED: u8 = 14;

/// A stream's weights in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    bytes: u64,
    rows: u64,
    weights: u64,
    /// Those other than 0.
    used: u64,
    /// Steps that their magnitudes are told in.
    steps: u64,
    /// Weights whose magnitude is told as a number,
    large: u64,
    /// and the bits of those.
    large_bits: u64,
    /// Biases, which are numbers, too,
    biases: u64,
    /// and their bits.
    bias_bits: u64,
    /// Weights behind one other than 0.
    near: u64,
}

impl Stream {
    /// Reads a layer's stream: so many rows, with the distance to the weight before. Each is added to `lists`,
    /// where there are any.
    pub(super) fn read(
        affine: &CodedAffine,
        section: &[u8],
        [rows, columns]: [usize; 2],
        lag: usize,
        mut lists: Option<&mut Lists>,
    ) -> Self {
        let start = affine.offset as usize;
        let bytes = section.get(start..).unwrap_or_default();
        let bytes = bytes.get(..affine.len as usize).unwrap_or_default();
        let mut decoder = Decoder::new(bytes);
        let mut memory = Memory::NEW;
        let mut contexts = Contexts::read(&mut decoder, &mut memory, affine.bits, lag);
        let mut row = vec![0; columns];
        let (bytes, weights) = (affine.len.into(), (rows * columns) as u64);
        let mut stream = Self { bytes, rows: rows as u64, weights, ..Self::default() };
        for _ in 0..rows {
            if affine.bias.is_some() {
                let bias = contexts.read_bias(&mut decoder).unsigned_abs();
                stream.biases += 1;
                stream.bias_bits += u64::from(u16::BITS - bias.leading_zeros());
            }
            contexts.read_row(&mut decoder, &mut row);
            if let Some(lists) = &mut lists {
                lists.add(&row);
            }
            let behind = row.len().saturating_sub(lag);
            stream.near += row.iter().take(behind).filter(|&&weight| weight != 0).count() as u64;
            for magnitude in row.iter().map(|&weight| (weight as i8).unsigned_abs()) {
                stream.used += u64::from(magnitude > 0);
                stream.steps += u64::from(magnitude.min(COUNTED));
                stream.large += u64::from(magnitude > COUNTED);
                let rest = magnitude.saturating_sub(COUNTED + 1);
                stream.large_bits += u64::from(u8::BITS - rest.leading_zeros());
            }
        }
        stream
    }

    /// Counts what decoding takes.
    pub(super) fn count(&self, counts: &mut Counts) {
        counts.add("coded", 1.0);
        for (name, count) in [
            ("coded-byte", self.bytes),
            ("coded-row", self.rows),
            ("coded-weight", self.weights),
            ("coded-used", self.used),
            ("coded-step", self.steps),
            ("coded-large", self.large),
            ("coded-large-bit", self.large_bits),
            ("coded-bias", self.biases),
            ("coded-bias-bit", self.bias_bits),
            ("coded-near", self.near),
        ] {
            counts.add(name, count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsback_runtime::coding::{CodedRow, encode};
    use bitsback_runtime::format::{Clamp, Requantization};
    use bitsback_runtime::requantize::Multiplier;

    #[test]
    fn weights_are_counted_by_their_size() {
        let weights: [[i8; 6]; 2] = [[0, 1, -2, 0, 20, 0], [0, 0, 0, 3, 0, -14]];
        let rows = weights.each_ref().map(|weights| CodedRow { bias: Some(7), weights });
        let mut bytes = [0; 100];
        let len = encode(rows.into_iter(), 6, 1, &mut bytes).unwrap();
        let affine = CodedAffine {
            offset: 0,
            len: len as u32,
            bits: 6,
            bias: Some(0),
            requantization: Requantization::PerTensor(Multiplier::ONE),
            clamp: Clamp::NONE,
        };
        let mut lists = Lists::new(6, 192);
        let stream = Stream::read(&affine, &bytes[..len], [2, 6], 1, Some(&mut lists));
        let steps = 1 + 2 + 14 + 3 + 14;
        // 20 is the fifth number behind 14; the bias is 0b111.
        let (large_bits, biases, bias_bits, near) = (3, 2, 2 * 3, 4);
        let (bytes, weights) = (len as u64, 12);
        let expected = Stream {
            bytes,
            rows: 2,
            weights,
            used: 5,
            steps,
            large: 1,
            large_bits,
            biases,
            bias_bits,
            near,
        };
        assert_eq!(stream, expected);
        let mut counts = Counts::default();
        stream.count(&mut counts);
        lists.count_making(&mut counts);
        assert_eq!([counts.get("coded-weight"), counts.get("listed")], [12.0, 2.0]);
    }
}
