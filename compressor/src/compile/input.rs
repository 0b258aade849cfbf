//! How raw inputs become int8, by the device and here alike.

use bitsback_runtime::format::{ByteAffine, MAX_PREPROCESS_CHANNELS};
use serde::{Deserialize, Serialize};

use crate::data::Normalization;

use crate::numbers::{Quantization, Range};

/// Positions that channel-wise bytes are shifted: factors and summands keep 14 fractional bits,
/// and 255 times them stays far from 32 bits.
const BYTE_SHIFT: u8 = 14;

/// How raw data become inputs on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RawInput {
    /// They are given as the network's inputs.
    Nothing,
    /// q = raw − 128.
    Bytes,
    /// One map per channel.
    ByteChannels(Vec<ByteMap>),
    /// q = round((x − offset)·scale) + zero point, cycled over the features.
    Features {
        /// Subtracted from each raw feature.
        offset: Vec<f32>,
        /// Multiplied with the difference.
        scale: Vec<f32>,
    },
}

/// q = (raw·mul + add + half) >> shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteMap {
    /// Factor.
    pub mul: i32,
    /// Summand.
    pub add: i32,
    /// Positions to the right.
    pub shift: u8,
}

impl From<ByteMap> for ByteAffine {
    fn from(map: ByteMap) -> Self {
        Self { mul: map.mul, add: map.add, shift: map.shift }
    }
}

/// The input's quantisation and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputQuantization {
    /// real ≈ scale·(q − zero point) …
    pub quantization: Quantization,
    /// … + residual, exactly: half a step where a byte's zero lies between two integers. Lowering
    /// adds it to the first layer's bias.
    pub residual: f32,
    /// The device's way from raw data.
    pub raw: RawInput,
}

impl InputQuantization {
    /// For bytes. With one offset and scale for all, q = raw − 128: no byte is lost. With one per
    /// channel, the channels share the scale that covers them all.
    pub fn bytes(normalization: &Normalization) -> Self {
        if let ([offset], [scale]) = (&normalization.offset[..], &normalization.scale[..]) {
            let zero_point = (offset.round() - 128.0).clamp(-128.0, 127.0) as i8;
            let residual = (f32::from(zero_point) + 128.0 - offset) * scale;
            let quantization = Quantization { scale: *scale, zero_point };
            return Self { quantization, residual, raw: RawInput::Bytes };
        }
        let mut range = Range { low: 0.0, high: 0.0 };
        for (offset, scale) in normalization.offset.iter().zip(&normalization.scale) {
            range.low = range.low.min(-offset * scale);
            range.high = range.high.max((255.0 - offset) * scale);
        }
        if normalization.offset.len() > MAX_PREPROCESS_CHANNELS {
            return Self::floats(range, Some(normalization));
        }
        let quantization = Quantization::of_range(range);
        let one = f64::from(1u32 << BYTE_SHIFT);
        let channels = normalization.offset.iter().zip(&normalization.scale);
        let map = |(offset, scale): (&f32, &f32)| {
            let factor = f64::from(*scale) / f64::from(quantization.scale);
            let zero = f64::from(quantization.zero_point) - f64::from(*offset) * factor;
            ByteMap {
                mul: (factor * one).round() as i32,
                add: (zero * one).round() as i32,
                shift: BYTE_SHIFT,
            }
        };
        let raw = RawInput::ByteChannels(channels.map(map).collect());
        Self { quantization, residual: 0.0, raw }
    }

    /// For real features whose normalised values lie in `range`; without a normalisation the
    /// device is given the network's inputs themselves.
    pub fn floats(range: Range, normalization: Option<&Normalization>) -> Self {
        let quantization = Quantization::of_range(range);
        let raw = match normalization {
            None => RawInput::Nothing,
            Some(Normalization { offset, scale }) => RawInput::Features {
                offset: offset.clone(),
                scale: scale.iter().map(|scale| scale / quantization.scale).collect(),
            },
        };
        Self { quantization, residual: 0.0, raw }
    }

    /// Normalised inputs as the device gets them.
    pub fn quantize(&self, normalised: &[f32]) -> Vec<i8> {
        normalised.iter().map(|x| self.quantization.quantize(x - self.residual)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Values;

    fn normalised(n: &Normalization) -> Vec<f32> {
        let bytes = Values::Bytes((0..=255).collect());
        n.apply(&bytes, 0..256)
    }

    #[test]
    fn every_byte_is_itself_minus_128() {
        for (offset, scale) in [(0.0, 1.0 / 255.0), (127.5, 1.0 / 127.5), (33.3, 0.013)] {
            let n = Normalization { offset: vec![offset], scale: vec![scale] };
            let input = InputQuantization::bytes(&n);
            let q = input.quantize(&normalised(&n));
            let expected: Vec<i8> = (0..=255).map(|raw| (raw - 128) as i8).collect();
            assert_eq!(q, expected, "{offset}");
            assert_eq!(input.raw, RawInput::Bytes);
        }
        let unit = Normalization { offset: vec![0.0], scale: vec![1.0 / 255.0] };
        let unit = InputQuantization::bytes(&unit);
        assert_eq!((unit.quantization.zero_point, unit.residual), (-128, 0.0));
    }

    #[test]
    fn channels_share_a_scale_and_the_device_agrees() {
        let n = Normalization { offset: vec![120.0, 90.0, 60.0], scale: vec![0.02, 0.01, 0.015] };
        let input = InputQuantization::bytes(&n);
        let RawInput::ByteChannels(maps) = &input.raw else { panic!("{:?}", input.raw) };
        for raw in 0..=255u8 {
            for (channel, map) in maps.iter().enumerate() {
                assert!(ByteAffine::from(*map).is_sound());
                let x = (f32::from(raw) - n.offset[channel]) * n.scale[channel];
                let here = i32::from(input.quantization.quantize(x));
                let there = i32::from(ByteAffine::from(*map).apply(raw));
                assert!((here - there).abs() <= 1, "{raw} {channel}: {here} {there}");
            }
        }
    }

    #[test]
    fn many_channels_become_features() {
        let n = Normalization { offset: vec![1.0; 9], scale: vec![2.0; 9] };
        assert!(matches!(InputQuantization::bytes(&n).raw, RawInput::Features { .. }));
    }
}
