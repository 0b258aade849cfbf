//! The integers of a layer, out of a parsed model.

use bitsback_runtime::Step;
use bitsback_runtime::coding::{Contexts, Decoder, Memory};
use bitsback_runtime::format::{
    Bias, BiasWidth, CHANNEL_MULTIPLIER_LEN, Clamp, Requantization, StoredBias,
};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::requantize::Multiplier;

use crate::compile::coding::StoredWeights;
use crate::graph::{IntegerOp, StoredLayer};
use crate::numbers::factor;

/// Weights, plain biases and factors of a layer.
#[derive(Debug)]
pub(super) struct Parameters {
    /// Row after row.
    pub(super) weights: Vec<i16>,
    pub(super) columns: usize,
    /// One per row, to be added to Σ (x − zero point)·w.
    pub(super) bias: Vec<i64>,
    /// From accumulator to output, one per row.
    pub(super) factors: Vec<f64>,
    pub(super) clamp: Clamp,
}

impl Parameters {
    /// `None` for an operator without weights.
    pub(super) fn read(step: &Step, section: &[u8]) -> Option<Self> {
        let (layer, _) = IntegerOp::layer(step)?;
        let StoredWeights { values, columns, lag } = StoredWeights::read(step, section)?;
        let rows = values.len() / columns.max(1);
        let zero = i64::from(step.inputs().next()?.zero_point);
        let sums = values.chunks_exact(columns.max(1));
        let sums: Vec<i64> = sums.map(|row| row.iter().map(|&w| i64::from(w)).sum()).collect();
        let (bias, requantization, clamp) = match &layer {
            StoredLayer::Rows(affine) => {
                (plain(affine.bias, section, &sums, zero)?, affine.requantization, affine.clamp)
            }
            StoredLayer::Coded(affine) => {
                (coded(affine, section, rows, columns, lag)?, affine.requantization, affine.clamp)
            }
        };
        let factors = factors(requantization, section, rows)?;
        Some(Self { weights: values, columns, bias, factors, clamp })
    }
}

/// Biases without the zero point's part.
fn plain(bias: Bias, section: &[u8], sums: &[i64], zero: i64) -> Option<Vec<i64>> {
    match bias {
        Bias::None => Some(vec![0; sums.len()]),
        Bias::Plain(stored) => biases(stored, section, sums.len()),
        Bias::Folded(stored) => {
            let folded = biases(stored, section, sums.len())?;
            Some(folded.iter().zip(sums).map(|(bias, sum)| bias + zero * sum).collect())
        }
    }
}

fn biases(stored: StoredBias, section: &[u8], rows: usize) -> Option<Vec<i64>> {
    let width = stored.width.bytes();
    let bytes = section.get(stored.offset as usize..)?.get(..rows.checked_mul(width)?)?;
    let value = |bytes: &[u8]| match stored.width {
        BiasWidth::I8 => bytes.first().map(|&byte| i64::from(byte as i8)),
        BiasWidth::I16 => bytes.first_chunk().map(|&b| i64::from(i16::from_le_bytes(b))),
        BiasWidth::I32 => bytes.first_chunk().map(|&b| i64::from(i32::from_le_bytes(b))),
    };
    bytes.chunks_exact(width).map(|bytes| Some(value(bytes)? << stored.shift)).collect()
}

/// Biases that are coded with the weights.
fn coded(
    affine: &CodedAffine,
    section: &[u8],
    rows: usize,
    columns: usize,
    lag: usize,
) -> Option<Vec<i64>> {
    let mut bias = vec![0; rows];
    if let Some(shift) = affine.bias {
        let stream = section.get(affine.offset as usize..)?.get(..affine.len as usize)?;
        let mut decoder = Decoder::new(stream);
        let mut memory = Memory::NEW;
        let mut contexts = Contexts::read(&mut decoder, &mut memory, affine.bits, lag);
        let mut row = vec![0; columns];
        for bias in &mut bias {
            *bias = i64::from(contexts.read_bias(&mut decoder)) << shift;
            contexts.read_row(&mut decoder, &mut row);
        }
    }
    Some(bias)
}

fn factors(requantization: Requantization, section: &[u8], rows: usize) -> Option<Vec<f64>> {
    match requantization {
        Requantization::PerTensor(multiplier) => Some(vec![factor(multiplier); rows]),
        Requantization::PerChannel { offset } => {
            let bytes =
                section.get(offset as usize..)?.get(..rows.checked_mul(CHANNEL_MULTIPLIER_LEN)?)?;
            let each = bytes.as_chunks::<CHANNEL_MULTIPLIER_LEN>().0.iter();
            let each = each.map(|&[a, b, c, d, shift]| {
                let value = i32::from_le_bytes([a, b, c, d]);
                factor(Multiplier { value, shift: shift as i8 })
            });
            Some(each.collect())
        }
    }
}
