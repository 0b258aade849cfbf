//! A weight layer with its weights as numbers, whatever the file stores them as: for hosts, which lay
//! them out anew.

use std::vec::Vec;

use super::affine::Layer;
use crate::arch::Row;
use crate::format::{Clamp, Fields, paired_weight};
use crate::requantize::Multiplier;

/// Weights and what finishes outputs, with all that is known before the inputs in `starts`:
/// acc = Σ x·w + start, where padding counts as the zero point.
#[derive(Clone, Debug)]
pub(crate) struct Expanded {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Row after row. One of a pair may be 128.
    pub(crate) weights: Vec<i16>,
    /// One a row.
    pub(crate) starts: Vec<i32>,
    /// One a row, or one for all.
    multipliers: Vec<Multiplier>,
    /// The output's.
    pub(crate) zero_point: i8,
    pub(crate) clamp: Clamp,
}

impl Expanded {
    /// With as many rows as `layer` says what finishes them, but no weights so far.
    pub(super) fn new(layer: &Layer<'_>, rows: usize, columns: usize) -> Self {
        let mut multipliers: Vec<_> = (0..rows).map(|row| layer.finish.multiplier(row)).collect();
        multipliers.dedup();
        if multipliers.len() > 1 {
            multipliers = (0..rows).map(|row| layer.finish.multiplier(row)).collect();
        }
        Self {
            rows,
            columns,
            weights: Vec::with_capacity(rows.saturating_mul(columns)),
            starts: Vec::with_capacity(rows),
            multipliers,
            zero_point: layer.finish.zero_point,
            clamp: layer.finish.clamp,
        }
    }

    /// A layer that is there at once. The input's zero point is taken out where the biases don't
    /// hold its part already.
    pub(super) fn of_layer(layer: &Layer<'_>, zero_point: i8) -> Self {
        let (rows, columns) = (layer.matrix.rows, layer.matrix.columns);
        let mut expanded = Self::new(layer, rows, columns);
        let zero_point = if layer.folded { 0 } else { zero_point };
        for row in 0..rows {
            match layer.matrix.row(row) {
                Row::Packed(bytes) => {
                    let mut fields = Fields::new(bytes, layer.matrix.bits(), 0);
                    expanded.push((0..columns).map(|_| fields.take() as i16));
                }
                Row::Paired(block, member) => expanded
                    .push((0..columns).map(|column| paired_weight(block, member, column) as i16)),
            }
            expanded.start(layer.finish.bias(row), zero_point);
        }
        expanded
    }

    /// Adds a row's weights.
    pub(super) fn push(&mut self, weights: impl Iterator<Item = i16>) {
        self.weights.extend(weights);
    }

    /// Adds what the sum of the row that was added last begins with.
    pub(super) fn start(&mut self, bias: i32, zero_point: i8) {
        let first = self.starts.len().saturating_mul(self.columns);
        let weights = self.weights.get(first..).unwrap_or_default();
        let sum = weights.iter().fold(0i32, |sum, &w| sum.wrapping_add(w.into()));
        self.starts.push(bias.wrapping_sub(sum.wrapping_mul(zero_point.into())));
    }

    /// The weights of a row.
    pub(crate) fn row(&self, row: usize) -> Option<&[i16]> {
        let start = row.checked_mul(self.columns)?;
        self.weights.get(start..start.checked_add(self.columns)?)
    }

    /// The multiplier of a row.
    pub(crate) fn multiplier(&self, row: usize) -> Multiplier {
        match self.multipliers[..] {
            [multiplier] => multiplier,
            _ => self.multipliers.get(row).copied().unwrap_or_default(),
        }
    }

    /// Whether all weights fit 8 bits.
    pub(crate) fn are_bytes(&self) -> bool {
        self.weights.iter().all(|&w| i8::try_from(w).is_ok())
    }
}
