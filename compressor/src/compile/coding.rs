//! How many bytes a layer's integers take, coded: what a choice by size goes by.

use bitsback_runtime::Step;
use bitsback_runtime::coding::{CodedRow, Contexts, Decoder, Memory, coded_limit, encode};
use bitsback_runtime::format::{
    Fields, Layout, PAIR_BLOCK_ROWS, Weights, pair_block_len, paired_row, row_len,
};
use bitsback_runtime::ops::CodedAffine;

use crate::graph::{IntegerOp, StoredLayer};

/// A layer's rows as one coded stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodedLayer<'a> {
    /// Weights, row after row: outputs × inputs, or filters × kernel × channels.
    pub(crate) weights: &'a [i16],
    /// Weights of a row.
    pub(crate) columns: usize,
    /// Distance in a row to the weight before: the channels of a convolution's input, else 1.
    pub(crate) lag: usize,
    /// One bias per row before its shift, if they are coded too.
    pub(crate) biases: Option<&'a [i16]>,
}

impl CodedLayer<'_> {
    /// The narrowest width, at least 2 bits, that holds all weights; `None` beyond ±127.
    pub(crate) fn bits(&self) -> Option<u8> {
        let most = self.weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        (2..=8).find(|&bits| most <= u16::from(coded_limit(bits).unsigned_abs()))
    }

    /// The stream; `None` when a weight is beyond ±127 or the shapes don't fit.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let bits = self.bits()?;
        let rows = self.weights.len().checked_div(self.columns)?;
        let narrow: Vec<i8> = self.weights.iter().map(|&w| w as i8).collect();
        if self.biases.is_some_and(|biases| biases.len() != rows) {
            return None;
        }
        let biases = (0..rows).map(|row| self.biases.and_then(|biases| biases.get(row).copied()));
        let rows = narrow.chunks_exact(self.columns).zip(biases);
        let rows = rows.map(|(weights, bias)| CodedRow { bias, weights });
        // A weight takes 30 decisions of at most 10 bits, a bias no more.
        let mut bytes = vec![0; (self.weights.len() + self.columns) * 40 + 16];
        let len = encode(rows, bits, self.lag, &mut bytes)?;
        bytes.truncate(len);
        Some(bytes)
    }
}

/// The weights of an operator that has some, as they are in a parsed model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredWeights {
    /// Row after row.
    pub(crate) values: Vec<i16>,
    /// Weights of a row.
    pub(crate) columns: usize,
    /// Distance in a row to the weight before, see [`CodedLayer::lag`].
    pub(crate) lag: usize,
}

impl StoredWeights {
    /// Reads them, whatever their layout; `None` for an operator without weights.
    pub(crate) fn read(step: &Step, section: &[u8]) -> Option<Self> {
        let (layer, lag) = IntegerOp::layer(step)?;
        let rows = step.output().shape.channels();
        let columns = step.parameters().weights.checked_div(rows)?;
        let values = match &layer {
            StoredLayer::Rows(affine) => stored(&affine.weights, section, rows, columns)?,
            StoredLayer::Coded(affine) => decoded(affine, section, rows, columns, lag)?,
        };
        Some(Self { values, columns, lag })
    }
}

/// What reports show.
#[cfg(feature = "training")]
impl StoredWeights {
    /// Exact bytes that they would take coded, without biases.
    pub(crate) fn coded_len(&self) -> Option<usize> {
        let Self { values: weights, columns, lag } = self;
        let layer = CodedLayer { weights, columns: *columns, lag: *lag, biases: None };
        Some(layer.encode()?.len())
    }

    /// Bytes that they would take packed at the narrowest width.
    pub(crate) fn packed_len(&self) -> usize {
        let most = self.values.iter().copied().max().unwrap_or(0);
        let least = self.values.iter().copied().min().unwrap_or(0);
        let fits = |bits: &u8| {
            let half = 1i32 << (bits - 1);
            i32::from(most) < half && i32::from(least) >= -half
        };
        let bits = (1..=8).find(fits).unwrap_or(16);
        self.values.len() / self.columns.max(1) * row_len(bits, self.columns)
    }
}

fn stored(weights: &Weights, section: &[u8], rows: usize, columns: usize) -> Option<Vec<i16>> {
    let mut rest = section.get(weights.offset as usize..)?;
    let mut take = |len: usize| {
        let (part, after) = rest.split_at_checked(len)?;
        rest = after;
        Some(part)
    };
    let mut values = Vec::with_capacity(rows * columns);
    let blocks = if weights.layout == Layout::Pairs { rows / PAIR_BLOCK_ROWS } else { 0 };
    for _ in 0..blocks {
        let block = take(pair_block_len(columns))?;
        for member in 0..PAIR_BLOCK_ROWS {
            values.extend(paired_row(block, member).take(columns));
        }
    }
    for _ in blocks * PAIR_BLOCK_ROWS..rows {
        let mut fields = Fields::new(take(row_len(weights.bits, columns))?, weights.bits, 0);
        values.extend((0..columns).map(|_| fields.take() as i16));
    }
    Some(values)
}

fn decoded(
    affine: &CodedAffine,
    section: &[u8],
    rows: usize,
    columns: usize,
    lag: usize,
) -> Option<Vec<i16>> {
    let stream = section.get(affine.offset as usize..)?.get(..affine.len as usize)?;
    let mut decoder = Decoder::new(stream);
    let mut memory = Memory::NEW;
    let mut contexts = Contexts::read(&mut decoder, &mut memory, affine.bits, lag);
    let mut values = Vec::with_capacity(rows * columns);
    let mut row = vec![0; columns];
    for _ in 0..rows {
        if affine.bias.is_some() {
            contexts.read_bias(&mut decoder);
        }
        contexts.read_row(&mut decoder, &mut row);
        values.extend(row.iter().map(|&weight| i16::from(weight as i8)));
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaked_weights_take_less_than_their_width() {
        let weights: Vec<i16> = (0..2000).map(|i| [0, 0, 1, 0, 0, -1, 0, 3][i * 7 % 8]).collect();
        let coded_len = |weights: &[i16], columns, biases: Option<&[i16]>| {
            Some(CodedLayer { weights, columns, lag: 1, biases }.encode()?.len())
        };
        let bytes = coded_len(&weights, 50, Some(&[5; 40])).unwrap();
        assert!(bytes < 2000 * 3 / 8, "{bytes}");
        assert_eq!(coded_len(&[128], 1, None), None);
        assert_eq!(coded_len(&[1, 2], 1, Some(&[1])), None);
    }
}
