//! Layers with entropy-coded weights: what the three of them share.
//!
//! They are operators of their own, so that a program whose models aren't coded links no decoder.
//! A row is decoded when it is its turn and forgotten after it: besides the arena, inference takes
//! the decoder's memory of [`MEMORY`](crate::format::MEMORY) columns on the stack, which holds a
//! convolution's filter too.

use serde::{Deserialize, Serialize};

use super::Parameters;
use super::affine::{Layer, part};
use super::window::{Axis, convolve};
use crate::features::Features;
use crate::format::{
    Affine, Bias, CHANNEL_MULTIPLIER_LEN, CODED_BIAS_MAX, Clamp, Contexts, Decoder, Layout,
    MAX_BIAS_SHIFT, Memory, OpFault, Requantization, Weights, coded_limit, read_fields,
};

/// Steps of decoding a weight, as long as so many products: 170 instructions on a Cortex-M4 by
/// `cargo xtask qemu --core cortex-m4`, model `coded`.
const DECODING_STEPS: u64 = 50;

/// Parameters of a coded weight layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodedAffine {
    /// First byte of the stream in the weight section; see [`crate::format::encode`].
    pub offset: u32,
    /// Bytes of the stream; zeros follow them.
    pub len: u32,
    /// Width of a weight, 2 to 8: magnitudes are at most 2^(bits − 1) − 1.
    pub bits: u8,
    /// Positions that each row's coded bias is shifted left, or no biases. They are *plain*:
    /// acc = Σ (x − zero point)·w + b.
    pub bias: Option<u8>,
    /// From accumulators to outputs.
    pub requantization: Requantization,
    /// Fused activation.
    pub clamp: Clamp,
}

read_fields!(CodedAffine { offset, len, bits, bias, requantization, clamp });

impl CodedAffine {
    /// The features that it needs: weights are decoded to 8 bits.
    pub(crate) fn features(&self) -> Features {
        self.requantization.features()
    }

    /// What finishes the outputs: the layer without its weights and biases.
    fn finishing(&self) -> Affine {
        Affine {
            weights: Weights { offset: 0, bits: 8, layout: Layout::RowMajor },
            bias: Bias::None,
            requantization: self.requantization,
            clamp: self.clamp,
        }
    }

    /// Proves that the stream lies in the section, the multipliers are sound, and no accumulator
    /// can leave 32 bits whatever the stream says.
    pub(super) fn check(&self, section: &[u8], rows: usize, columns: usize) -> Result<(), OpFault> {
        if !(2..=8).contains(&self.bits) {
            return Err(OpFault::WeightBits);
        }
        let shift = self.bias.unwrap_or(0);
        if shift > MAX_BIAS_SHIFT {
            return Err(OpFault::BiasShift);
        }
        part(section, self.offset, self.len as usize).ok_or(OpFault::Section)?;
        self.finishing().check(section, rows, 0)?;
        let weights = (columns as u64).saturating_mul(coded_limit(self.bits) as u64);
        let bias = self.bias.map_or(0, |shift| (CODED_BIAS_MAX as u64) << shift);
        let most = weights.saturating_mul(255).saturating_add(bias);
        if most <= i32::MAX as u64 { Ok(()) } else { Err(OpFault::Accumulator) }
    }

    /// Bytes of each part, for reports; those of the stream count as weights.
    pub(super) fn parameters(&self, rows: usize, columns: usize, macs: u64) -> Parameters {
        let requantization_bytes = match self.requantization {
            Requantization::PerTensor(_) => 0,
            Requantization::PerChannel { .. } => rows.saturating_mul(CHANNEL_MULTIPLIER_LEN),
        };
        Parameters {
            bits: Some(self.bits),
            weights: rows.saturating_mul(columns),
            weight_bytes: self.len as usize,
            requantization_bytes,
            macs,
            ..Parameters::default()
        }
    }

    /// Elementary steps: products, and for each weight what its decoding takes.
    pub(super) fn steps(&self, parameters: &Parameters) -> u64 {
        parameters.macs.saturating_add((parameters.weights as u64).saturating_mul(DECODING_STEPS))
    }
}

/// The rows of a layer, decoded one by one.
pub(super) struct Rows<'a> {
    layer: Layer<'a>,
    decoder: Decoder<'a>,
    contexts: Contexts<'a>,
    bias: Option<u8>,
    row: usize,
}

impl<'a> Rows<'a> {
    /// Before the first row, with a [`Memory::NEW`], or `None` when a part lies outside the section.
    pub(super) fn new(
        affine: &CodedAffine,
        section: &'a [u8],
        memory: &'a mut Memory,
        rows: usize,
        lag: usize,
        zero_point: i8,
    ) -> Option<Self> {
        let layer = Layer::find(&affine.finishing(), section, rows, 0, zero_point)?;
        let mut decoder = Decoder::new(part(section, affine.offset, affine.len as usize)?);
        let contexts = Contexts::read(&mut decoder, memory, affine.bits, lag);
        Some(Self { layer, decoder, contexts, bias: affine.bias, row: 0 })
    }

    /// The bias of the row that begins.
    fn bias(&mut self) -> i32 {
        let Some(shift) = self.bias else { return 0 };
        i32::from(self.contexts.read_bias(&mut self.decoder)).wrapping_shl(u32::from(shift))
    }

    /// The output of a row for its only input, multiplied while it is decoded.
    pub(super) fn dot(&mut self, x: &[i8], zero_point: i8) -> i8 {
        let mut sum = self.bias();
        for (column, &x) in x.iter().enumerate() {
            let weight = self.contexts.read_weight(&mut self.decoder, column);
            if weight != 0 {
                let x = i32::from(x).wrapping_sub(i32::from(zero_point));
                sum = sum.wrapping_add(i32::from(weight).wrapping_mul(x));
            }
        }
        self.contexts.end_row();
        let y = self.layer.finish.output(self.row, sum);
        self.row = self.row.wrapping_add(1);
        y
    }

    /// The next filter of `columns` weights (at most [`MEMORY`](crate::format::MEMORY)) moved over an image: its outputs by position.
    ///
    /// `first` is the first channel that it sees.
    pub(super) fn convolve(
        &mut self,
        image: &Image<'_>,
        columns: usize,
        first: usize,
        mut sink: impl FnMut(usize, i8),
    ) {
        let bias = self.bias();
        for column in 0..columns {
            self.contexts.read_weight(&mut self.decoder, column);
        }
        self.contexts.end_row();
        let (filter, layer, row) = (self.contexts.row(columns), &self.layer, self.row);
        let segment = |tap: usize, pixel: usize, taps: usize| {
            let weights = filter.get(tap.wrapping_mul(image.depth)..).unwrap_or_default();
            // `max(1)`: there are channels, but the compiler can't know.
            let taps = weights.chunks(image.depth.max(1)).take(taps);
            let mut sum = 0i32;
            let mut pixel = pixel;
            for weights in taps {
                let start = pixel.wrapping_mul(image.channels).wrapping_add(first);
                let values = image.values.get(start..).unwrap_or_default();
                for (&weight, &x) in weights.iter().zip(values) {
                    let x = i32::from(x).wrapping_sub(i32::from(image.zero_point));
                    sum = sum.wrapping_add(i32::from(weight).wrapping_mul(x));
                }
                pixel = pixel.wrapping_add(image.axes[1].dilation);
            }
            sum
        };
        convolve(&image.axes, segment, |position, sum| {
            sink(position, layer.finish.output(row, sum.wrapping_add(bias)));
        });
        self.row = self.row.wrapping_add(1);
    }
}

/// An image and how filters move over it.
pub(super) struct Image<'a> {
    pub(super) values: &'a [i8],
    pub(super) zero_point: i8,
    pub(super) axes: [Axis; 2],
    /// Values of a pixel.
    pub(super) channels: usize,
    /// Values of a pixel that a filter sees: all of them, or one.
    pub(super) depth: usize,
}

#[cfg(test)]
mod tests;
