use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A layer: width, columns, lag, weights and, for some, biases.
#[derive(Clone, Debug)]
struct Case {
    bits: u8,
    columns: usize,
    lag: usize,
    weights: Vec<i8>,
    biases: Option<Vec<i16>>,
}

impl Case {
    fn rows(&self) -> impl Iterator<Item = CodedRow<'_>> + Clone {
        let biases = self.biases.as_deref();
        self.weights
            .chunks(self.columns)
            .enumerate()
            .map(move |(row, weights)| CodedRow { bias: biases.map(|biases| biases[row]), weights })
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = vec![0xAA; self.weights.len() * 4 + 200];
        let len = encode(self.rows(), self.bits, self.lag, &mut out).unwrap();
        out.truncate(len);
        out
    }

    fn decoded(&self, bytes: &[u8]) -> (Vec<i8>, Vec<i16>) {
        let mut decoder = Decoder::new(bytes);
        let mut memory = Memory::NEW;
        let mut contexts = Contexts::read(&mut decoder, &mut memory, self.bits, self.lag);
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for _ in 0..self.weights.len() / self.columns {
            if self.biases.is_some() {
                biases.push(contexts.read_bias(&mut decoder));
            }
            let mut row = vec![0x55u8; self.columns];
            contexts.read_row(&mut decoder, &mut row);
            weights.extend(row.iter().map(|&w| w as i8));
        }
        (weights, biases)
    }
}

prop_compose! {
    fn case()(bits in 2u8..=8, rows in 1usize..7, columns in prop_oneof![1usize..20, 500usize..600], lag in 1usize..9, with_bias in any::<bool>())(
        weights in proptest::collection::vec(prop_oneof![3 => Just(0i8), 3 => -1i8..=1, 1 => any::<i8>()], rows * columns),
        biases in proptest::collection::vec(prop_oneof![-9i16..9, any::<i16>()], rows),
        bits in Just(bits), columns in Just(columns), lag in Just(lag), with_bias in Just(with_bias),
    ) -> Case {
        let limit = coded_limit(bits);
        let weights = weights.iter().map(|&w| w.clamp(-limit, limit)).collect();
        let biases = biases.iter().map(|&b| b.max(-CODED_BIAS_MAX)).collect();
        Case { bits, columns, lag, weights, biases: with_bias.then_some(biases) }
    }
}

proptest! {
    #[test]
    fn layers_come_back(case in case(), tail in proptest::collection::vec(Just(0u8), 0..4)) {
        let mut bytes = case.encoded();
        bytes.extend(tail);
        let (weights, biases) = case.decoded(&bytes);
        prop_assert_eq!(&weights, &case.weights);
        if let Some(expected) = &case.biases {
            prop_assert_eq!(&biases, expected);
        }
    }

    #[test]
    fn any_bytes_are_weights(case in case(), bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
        let (weights, _) = case.decoded(&bytes);
        let limit = coded_limit(case.bits);
        prop_assert!(weights.iter().all(|w| (-limit..=limit).contains(w)));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let row = |bias, weights| core::iter::once(CodedRow { bias, weights });
    let mut out = [0; 64];
    assert_eq!(encode(row(None, &[4]), 3, 1, &mut out), None);
    assert_eq!(encode(row(None, &[-128]), 8, 1, &mut out), None);
    assert_eq!(encode(row(Some(i16::MIN), &[1]), 3, 1, &mut out), None);
    assert_eq!(encode(row(None, &[77, 1, -90]), 8, 1, &mut []), None);
    assert!(encode(row(Some(-5), &[3, -3]), 3, 1, &mut out).is_some());
}

#[test]
fn zeros_take_little() {
    let weights = [0; 400];
    let rows = weights.chunks(40).map(|weights| CodedRow { bias: None, weights });
    let mut out = [0; 64];
    assert!(encode(rows, 3, 1, &mut out).unwrap() <= 2);
}
