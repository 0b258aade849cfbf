//! Coded streams of layers, each made once for all models of a graph that differ in how layers are stored.

use std::cell::RefCell;
use std::collections::HashMap;

use bitsback_runtime::coding::{CODED_BIAS_MAX, coded_limit};

use super::biases;
use super::coding::CodedLayer;
use crate::graph::Matrix;

/// A layer as a coded stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodedStream {
    /// Width of the weights.
    pub(super) bits: u8,
    /// Positions that biases are shifted by; none where there are no biases.
    pub(super) bias: Option<u8>,
    pub(super) bytes: Vec<u8>,
}

/// What a stream follows from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Content {
    weights: Vec<i16>,
    biases: Vec<i64>,
    columns: usize,
    lag: usize,
}

/// The streams that were made.
#[derive(Debug, Default)]
pub(super) struct Streams(RefCell<HashMap<Content, Option<CodedStream>>>);

impl Streams {
    /// The layer's stream, if the decoder can hold it.
    pub(super) fn of(&self, matrix: &Matrix, lag: usize, biases: &[i64]) -> Option<CodedStream> {
        let content = Content {
            weights: matrix.values.clone(),
            biases: biases.to_vec(),
            columns: matrix.columns,
            lag,
        };
        let mut made = self.0.borrow_mut();
        made.entry(content).or_insert_with_key(encode).clone()
    }
}

fn encode(content: &Content) -> Option<CodedStream> {
    let Content { weights, biases, columns, lag } = content;
    let (columns, lag) = (*columns, *lag);
    let (shift, values) = biases::coded(biases)?;
    let biased = values.iter().any(|&bias| bias != 0);
    let biases = biased.then_some(values.as_slice());
    let layer = CodedLayer { weights, columns, lag, biases };
    let (bits, bias) = (layer.bits()?, biased.then_some(shift));
    // The sum of products may be anything that the width allows: the reader checks no rows.
    let products = columns as i64 * i64::from(coded_limit(bits)) * 255;
    let largest = bias.map_or(0, |shift| i64::from(CODED_BIAS_MAX) << shift);
    if products + largest > i64::from(i32::MAX) {
        return None;
    }
    Some(CodedStream { bits, bias, bytes: layer.encode()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(values: &[i16]) -> Matrix {
        Matrix {
            rows: 1,
            columns: values.len(),
            values: values.to_vec(),
            bits: 8,
            ..Matrix::default()
        }
    }

    #[test]
    fn a_stream_is_made_once() {
        let streams = Streams::default();
        let made = || streams.0.borrow().len();
        let first = streams.of(&matrix(&[1, 0, -3]), 1, &[4]).unwrap();
        assert_eq!(streams.of(&matrix(&[1, 0, -3]), 1, &[4]), Some(first.clone()));
        assert_eq!((first.bits, made()), (3, 1));
        // What is coded otherwise is another stream.
        let others = [(&[1, 0, 3], 1, 4), (&[1, 0, -3], 3, 4), (&[1, 0, -3], 1, 5)];
        for (at, (weights, lag, bias)) in others.into_iter().enumerate() {
            assert!(streams.of(&matrix(weights), lag, &[bias]).is_some());
            assert_eq!(made(), at + 2);
        }
        // What can't be coded is known, too.
        assert_eq!(streams.of(&matrix(&[128]), 1, &[0]), None);
        assert_eq!(made(), 5);
    }
}
