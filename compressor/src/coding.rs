//! How many bytes a layer's integers take, coded: what a choice by size goes by.

use bitsback_runtime::format::{CodedRow, coded_limit, encode};

/// A layer's rows as one coded stream.
#[derive(Clone, Copy, Debug)]
pub struct CodedLayer<'a> {
    /// Weights, row after row: outputs × inputs, or filters × kernel × channels.
    pub weights: &'a [i16],
    /// Weights of a row.
    pub columns: usize,
    /// Distance in a row to the weight before: the channels of a convolution's input, else 1.
    pub lag: usize,
    /// One bias per row before its shift, if they are coded too.
    pub biases: Option<&'a [i16]>,
}

impl CodedLayer<'_> {
    /// The narrowest width, at least 2 bits, that holds all weights; `None` beyond ±127.
    pub fn bits(&self) -> Option<u8> {
        let most = self.weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
        (2..=8).find(|&bits| most <= u16::from(coded_limit(bits).unsigned_abs()))
    }

    /// The stream; `None` when a weight is beyond ±127 or the shapes don't fit.
    pub fn encode(&self) -> Option<Vec<u8>> {
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

/// Exact bytes of a coded layer, or `None` when it can't be coded. `lag` and `biases` as in
/// [`CodedLayer`].
pub fn coded_len(
    weights: &[i16],
    columns: usize,
    lag: usize,
    biases: Option<&[i16]>,
) -> Option<usize> {
    Some(CodedLayer { weights, columns, lag, biases }.encode()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaked_weights_take_less_than_their_width() {
        let weights: Vec<i16> = (0..2000).map(|i| [0, 0, 1, 0, 0, -1, 0, 3][i * 7 % 8]).collect();
        let bytes = coded_len(&weights, 50, 1, Some(&[5; 40])).unwrap();
        assert!(bytes < 2000 * 3 / 8, "{bytes}");
        assert_eq!(coded_len(&[128], 1, 1, None), None);
        assert_eq!(coded_len(&[1, 2], 1, 1, Some(&[1])), None);
    }
}
