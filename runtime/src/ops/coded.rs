//! Layers with entropy-coded weights: the plain ones with another source of rows.
//!
//! They are operators of their own, so that a program whose models aren't coded links no decoder.
//! A dense layer's row is multiplied while it is decoded; of a convolution, some filters are decoded
//! at once and then take the way of a layer that is stored in rows. Besides the arena, inference takes
//! what the decoder learns and those filters on the stack: 2.4 kB on a Cortex-M0, 3.1 kB on a Cortex-M4 and
//! 3.5 kB on a Cortex-M55, the frames of such convolutions in `cargo xtask qemu`'s programs. All of a layer can
//! be unpacked once instead ([`crate::Unpacked`]).

use serde::{Deserialize, Serialize};

#[cfg(any(test, feature = "std"))]
use super::Expanded;
use super::affine::{Layer, part};
use super::rows::{Feed, RowSource, Rows};
use super::unpacked::Places;
use super::{Conv2d, Dense, DepthwiseConv2d, Parameters};
use crate::arch::{BLOCK_ROWS, Finish, Isa, Kernels, Matrix, PATCH_MAX};
use crate::coding::{CODED_BIAS_MAX, Contexts, Decoder, MEMORY, Memory, coded_limit};
use crate::features::Features;
use crate::format::{
    Affine, Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp, Layout, MAX_BIAS_SHIFT, OpFault,
    PAIRED_SUM_MAX, Requantization, Weights, matrix_len, read_fields,
};

/// Weights of filters that are decoded at once: a filter of any length at least.
const FILTERS_LEN: usize = Isa::DECODED_MAX;
/// Most filters that are decoded at once.
const FILTERS_MAX: usize = 16;
/// Bytes of an unpacked bias.
const BIAS_LEN: usize = size_of::<i32>();
/// The greatest magnitude of an input whose zero point's part is in the bias.
const FOLDED_INPUT_MAX: u64 = 128;
/// What kernels may read beyond the last weight.
const SLACK: usize = 16;

const _: () = assert!(FILTERS_LEN >= MEMORY && FILTERS_MAX >= BLOCK_ROWS);
const _: () = assert!(MEMORY <= PATCH_MAX);

/// Steps of decoding a weight, as long as so many products: 140 instructions on a Cortex-M4 by
/// `cargo xtask qemu --core cortex-m4`, model `coded`, and some products take three.
const DECODING_STEPS: u64 = 50;

/// Parameters of a coded weight layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodedAffine {
    /// First byte of the stream in the weight section; see [`crate::coding`].
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
    /// What finishes the outputs: the layer without its weights and biases.
    fn finishing(&self) -> Affine {
        Affine {
            weights: Weights { offset: 0, bits: 8, layout: Layout::RowMajor },
            bias: Bias::None,
            requantization: self.requantization,
            clamp: self.clamp,
        }
    }
}

impl RowSource for CodedAffine {
    /// Weights are decoded to 8 bits.
    fn features(&self) -> Features {
        self.requantization.features()
    }

    fn has_filters(&self, columns: usize) -> bool {
        columns <= MEMORY
    }

    fn has_kernels(&self, columns: usize) -> bool {
        columns <= MEMORY
    }

    fn check(&self, section: &[u8], rows: usize, columns: usize) -> Result<(), OpFault> {
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

    fn parameters(&self, rows: usize, columns: usize, macs: u64) -> Parameters {
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

    fn steps(&self, parameters: &Parameters) -> u64 {
        parameters.macs.saturating_add((parameters.weights as u64).saturating_mul(DECODING_STEPS))
    }

    fn unpacks_biases(&self) -> Option<bool> {
        Some(true)
    }

    fn may_pair(&self, columns: usize) -> bool {
        let weights = (columns as u64).saturating_mul(coded_limit(self.bits) as u64);
        weights.saturating_mul(FOLDED_INPUT_MAX) <= PAIRED_SUM_MAX
    }

    fn pools(&self, section: &[u8], rows: usize, _columns: usize, clamp: Clamp) -> bool {
        self.finishing().pools(section, rows, 0, clamp)
    }

    #[inline(never)] // its stack is free again before the layer runs
    fn unpack(&self, section: &[u8], rows: Rows, zero_point: i8, layout: Layout, to: &mut [u8]) {
        let mut memory = Memory::NEW;
        let stream = Stream::new(self, section, &mut memory, rows, [zero_point, 0]);
        let len = rows.count.saturating_mul(BIAS_LEN);
        if let (Some(mut stream), Some((biases, bytes))) = (stream, to.split_at_mut_checked(len)) {
            let Rows { count, columns, .. } = rows;
            let places = Places { bytes, layout, rows: count, columns };
            stream.unpack(biases, places, rows.listed);
        }
    }

    fn unpacked<'a>(
        &self,
        section: &'a [u8],
        bytes: &'a [u8],
        rows: Rows,
        layout: Layout,
        zero_point: i8,
    ) -> Option<Layer<'a>> {
        let Rows { count, columns, .. } = rows;
        let (biases, bytes) = bytes.split_at_checked(count.checked_mul(BIAS_LEN)?)?;
        bytes.get(..matrix_len(layout, 8, count, columns))?;
        let mut layer = Layer::find(&self.finishing(), section, count, 0, zero_point)?;
        layer.matrix = Matrix {
            bytes,
            arrangement: layout,
            width: 8,
            rows: count,
            columns,
            row_len: columns,
            listed: Isa::DOT_LISTED.filter(|_| rows.listed),
        };
        layer.folded = true;
        layer.finish.bias = Some((BiasWidth::I32, 0, biases));
        Some(layer)
    }

    #[cfg(any(test, feature = "std"))]
    fn expand(&self, section: &[u8], rows: Rows, zero_points: [i8; 2]) -> Option<Expanded> {
        let mut memory = Memory::NEW;
        let mut stream = Stream::new(self, section, &mut memory, rows, zero_points)?;
        let mut expanded = Expanded::new(&stream.layer, rows.count, rows.columns);
        let mut row = std::vec![0; rows.columns];
        for _ in 0..rows.count {
            let bias = stream.bias();
            stream.contexts.read_row(&mut stream.decoder, &mut row);
            expanded.push(row.iter().map(|&weight| i16::from(weight as i8)));
            expanded.start(bias, stream.zero_point);
        }
        Some(expanded)
    }
}

impl Feed for CodedAffine {
    const IS_WHOLE: bool = false;
    const ARE_SHORT: bool = true;

    /// Multiplies while it decodes.
    fn multiply(&self, section: &[u8], x: &[i8], zero_points: [i8; 2], outputs: &mut [i8]) {
        let mut memory = Memory::NEW;
        let rows = Rows { count: outputs.len(), columns: x.len(), lag: 1, listed: false };
        if let Some(mut stream) = Stream::new(self, section, &mut memory, rows, zero_points) {
            stream.multiply(x, outputs);
        }
    }

    #[inline(always)]
    fn filters(
        &self,
        section: &[u8],
        rows: Rows,
        zero_points: [i8; 2],
        take: impl FnMut(&Layer<'_>, usize),
    ) {
        let mut memory = Memory::NEW;
        if let Some(mut stream) = Stream::new(self, section, &mut memory, rows, zero_points) {
            stream.some_at_once(&mut Filters::new(), rows, take);
        }
    }
}

/// y = requantize(W·x + b), as [`Dense`]; rows of any length.
pub type CodedDense = Dense<CodedAffine>;

/// y = requantize(W ⋆ x + b), as [`Conv2d`], with filters of at most [`MEMORY`] weights: each is decoded
/// once and moved over the image.
pub type CodedConv2d = Conv2d<CodedAffine>;

/// y = requantize(w ⋆ x + b), channel by channel, as [`DepthwiseConv2d`], with kernels of at most
/// [`MEMORY`] weights.
pub type CodedDepthwiseConv2d = DepthwiseConv2d<CodedAffine>;

/// The rows of a layer, decoded one by one.
struct Stream<'a> {
    /// Without weights and biases.
    layer: Layer<'a>,
    decoder: Decoder<'a>,
    contexts: Contexts<'a>,
    bias: Option<u8>,
    /// The input's.
    zero_point: i8,
}

impl<'a> Stream<'a> {
    /// Before the first row, with a [`Memory::NEW`], or `None` when a part lies outside the section.
    /// Zero points are the input's and the output's.
    #[inline(always)]
    fn new(
        affine: &CodedAffine,
        section: &'a [u8],
        memory: &'a mut Memory,
        Rows { count, lag, .. }: Rows,
        [zero_point, output]: [i8; 2],
    ) -> Option<Self> {
        let layer = Layer::find(&affine.finishing(), section, count, 0, output)?;
        let mut decoder = Decoder::new(part(section, affine.offset, affine.len as usize)?);
        let contexts = Contexts::read(&mut decoder, memory, affine.bits, lag);
        Some(Self { layer, decoder, contexts, bias: affine.bias, zero_point })
    }

    /// The bias of the row that begins.
    fn bias(&mut self) -> i32 {
        let Some(shift) = self.bias else { return 0 };
        i32::from(self.contexts.read_bias(&mut self.decoder)).wrapping_shl(u32::from(shift))
    }

    /// The outputs of rows with one input, multiplied while they are decoded.
    fn multiply(&mut self, x: &[i8], outputs: &mut [i8]) {
        for (row, y) in outputs.iter_mut().enumerate() {
            let bias = self.bias();
            let sum = self.contexts.read_product(&mut self.decoder, x, self.zero_point);
            *y = self.layer.finish.output(row, sum.wrapping_add(bias));
        }
    }

    /// Decodes all rows, and their biases with the zero point's part in them.
    fn unpack(&mut self, biases: &mut [u8], mut places: Places<'_>, listed: bool) {
        let columns = places.columns;
        let mut own = Own::new();
        let (biases, _) = biases.as_chunks_mut();
        for (row, bias) in biases.iter_mut().enumerate() {
            let whole = match places.layout {
                Layout::RowMajor => {
                    let start = row.wrapping_mul(columns);
                    places.bytes.get_mut(start..start.wrapping_add(columns))
                }
                Layout::Pairs => None,
            };
            let sum = match whole {
                Some(row) => self.take(row, own.of(columns, listed)),
                None => {
                    let bias = self.bias();
                    let put = |column, weight| places.put(row, column, weight);
                    let sum = self.contexts.read_each(&mut self.decoder, columns, put);
                    bias.wrapping_sub(sum.wrapping_mul(self.zero_point.into()))
                }
            };
            *bias = sum.to_le_bytes();
        }
    }

    /// Decodes filters of `columns` weights (at most [`MEMORY`]), some at a
    /// time, and hands each time over: a layer of those, and the number of the first.
    #[inline(always)] // on the stack, other operators' frames are in the same place
    fn some_at_once(
        &mut self,
        filters: &mut Filters,
        Rows { count, columns, listed, .. }: Rows,
        mut take: impl FnMut(&Layer<'_>, usize),
    ) {
        let mut first = 0usize;
        while first < count {
            let rows = Filters::at_once(columns, count.wrapping_sub(first));
            self.decode(filters, rows, columns, listed);
            let matrix = Matrix {
                bytes: &filters.weights,
                arrangement: Layout::RowMajor,
                width: 8,
                rows,
                columns,
                row_len: columns,
                listed: Isa::DOT_LISTED.filter(|_| listed),
            };
            let bias = Some((BiasWidth::I32, 0, filters.biases.as_flattened()));
            let multipliers = self.layer.finish.multipliers.from(first);
            let finish = Finish { bias, multipliers, ..self.layer.finish };
            take(&Layer { matrix, folded: true, finish }, first);
            first = first.wrapping_add(rows);
        }
    }

    #[inline(never)]
    fn decode(&mut self, filters: &mut Filters, rows: usize, columns: usize, listed: bool) {
        let mut own = Own::new();
        // `max(1)`: there are columns, but the compiler can't know.
        let places = filters.weights.chunks_exact_mut(columns.max(1)).zip(&mut filters.biases);
        for (row, bias) in places.take(rows) {
            *bias = self.take(row, own.of(columns, listed)).to_le_bytes();
        }
    }

    /// Decodes the next row, by way of `own` if it is there; gives its bias with the zero point's part in
    /// it, *folded*.
    fn take(&mut self, row: &mut [u8], own: Option<&mut [u8]>) -> i32 {
        let bias = self.bias();
        let part = match own {
            None => self.contexts.read_and_multiply(&mut self.decoder, row, &[], self.zero_point),
            Some(own) => {
                let weights = own.get_mut(..row.len()).unwrap_or_default();
                let (decoder, zero_point) = (&mut self.decoder, self.zero_point);
                let part = self.contexts.read_and_multiply(decoder, weights, &[], zero_point);
                Isa::put_filter(own, row);
                part
            }
        };
        bias.wrapping_add(part)
    }
}

/// Room for a row before it is put into its place, where there are lists.
struct Own([u8; if Isa::DOT_LISTED.is_some() { MEMORY } else { 0 }]);

impl Own {
    const fn new() -> Self {
        Self([0; _])
    }

    /// Room for a row of `columns` weights and zeros up to a multiple of four, if it may become a list.
    fn of(&mut self, columns: usize, listed: bool) -> Option<&mut [u8]> {
        self.0.get_mut(..columns.next_multiple_of(4)).filter(|_| listed)
    }
}

/// Filters that are decoded, with their biases.
struct Filters {
    weights: [u8; FILTERS_LEN + SLACK],
    biases: [[u8; BIAS_LEN]; FILTERS_MAX],
}

impl Filters {
    #[inline(always)] // else it is made elsewhere and copied
    const fn new() -> Self {
        Self { weights: [0; FILTERS_LEN + SLACK], biases: [[0; BIAS_LEN]; FILTERS_MAX] }
    }

    /// How many filters are decoded at once, when so many are left.
    fn at_once(columns: usize, left: usize) -> usize {
        let room = FILTERS_LEN.checked_div(columns).unwrap_or_default();
        // Whole blocks, for the kernels' sake, unless these are the last.
        let whole = if room < BLOCK_ROWS { room } else { room & !(BLOCK_ROWS - 1) };
        if left <= room.min(FILTERS_MAX) { left } else { whole.clamp(1, FILTERS_MAX) }
    }
}

#[cfg(test)]
mod tests;
