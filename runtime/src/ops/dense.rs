//! Fully connected layer.

use serde::{Deserialize, Serialize};

use super::operands::split;
use super::rows::{Feed, RowSource, Rows};
use super::unpacked::{Unpacked, dense_layout, unpacked_layer};
use super::{Operands, Operator, Parameters, Unpacking};
use crate::features::Features;
use crate::format::{Affine, OpFault, Source, Tensor, UnpackedLayer, read_fields};

/// y = requantize(W·x + b). Weights: outputs × inputs; the input's shape is read as a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dense<W = Affine> {
    /// Input.
    pub input: Source,
    /// Output, of one dimension.
    pub output: Tensor,
    /// Parameters, one row per output.
    pub affine: W,
}

read_fields!(Dense<W> { input, output, affine });

impl<W: RowSource> Operator for Dense<W>
where
    Self: Operands,
{
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        self.affine.check(section, self.output.len(), self.input.resolve(previous).len())
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let (rows, columns) = (self.output.len(), self.input.resolve(previous).len());
        self.affine.parameters(rows, columns, (rows as u64).saturating_mul(columns as u64))
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.affine.steps(&self.parameters(previous))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        self.run_fed(&self.affine, previous, section, arena);
    }

    fn unpacked(&self, previous: &Tensor) -> Option<UnpackedLayer> {
        let (rows, columns) = (self.output.len(), self.input.resolve(previous).len());
        unpacked_layer(&self.affine, rows, columns, true)
    }

    fn unpack(&self, previous: &Tensor, section: &[u8], to: &mut [u8]) {
        let input = self.input.resolve(previous);
        let rows = Rows { count: self.output.len(), columns: input.len(), lag: 1, listed: false };
        let layout = dense_layout(&self.affine, rows.columns);
        self.affine.unpack(section, rows, input.zero_point, layout, to);
    }

    fn run_unpacked(&self, run: &Unpacking<'_>, bytes: &[u8], arena: &mut [i8]) {
        let columns = self.input.resolve(run.previous).len();
        let layout = dense_layout(&self.affine, columns);
        let feed = Unpacked { affine: &self.affine, bytes, layout };
        self.run_fed(&feed, run.previous, run.section, arena);
    }
}

impl<W> Dense<W> {
    /// Computes the output with rows from `feed`.
    fn run_fed(&self, feed: &impl Feed, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let zero_points = [input.zero_point, self.output.zero_point];
        feed.multiply(section, inputs.get(input), zero_points, output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Bias, Clamp, Layout, Requantization, Weights, pack_pairs, pair_block_len};
    use crate::ops::Op;
    use crate::ops::testing::{BiasKind, Plain, fault, plain, run, tensor, values};
    use crate::requantize::Multiplier;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn oracle(plain: &Plain, x: &[i8], input_zero: i8, output_zero: i8) -> Vec<i8> {
        let rows = plain.weights.chunks(plain.columns);
        rows.enumerate()
            .map(|(row, weights)| {
                let products = weights
                    .iter()
                    .zip(x)
                    .map(|(&w, &x)| i64::from(w) * (i64::from(x) - i64::from(input_zero)));
                plain.finish(row, products.sum(), output_zero)
            })
            .collect()
    }

    fn dense(plain: &Plain, input_zero: i8, output_zero: i8) -> (Op, Vec<u8>) {
        let (affine, section) = plain.store(input_zero);
        let output = tensor(plain.columns as u32, &[plain.rows() as u16], output_zero);
        (Op::Dense(Dense { input: Source::Previous, output, affine }), section)
    }

    fn extreme(bits: u8, weight: i16, columns: usize) -> Plain {
        Plain {
            bits,
            columns,
            weights: vec![weight; columns],
            bias: vec![0],
            bias_kind: BiasKind::None,
            multipliers: vec![Multiplier { value: 1 << 30, shift: -14 }],
            clamp: Clamp::NONE,
        }
    }

    #[test]
    fn extremes() {
        for (bits, weight) in [(8, -128), (8, 127), (1, -1), (4, 7), (16, -32768), (16, 32767)] {
            for (x, zero) in [(-128, 127), (127, -128), (-128, -128), (127, 127)] {
                let plain = extreme(bits, weight, 200);
                let (op, section) = dense(&plain, zero, -5);
                let x = [x; 200];
                let found = run(&tensor(0, &[200], zero), &[op], &section, &x).unwrap();
                assert_eq!(found, oracle(&plain, &x, zero, -5));
            }
        }
    }

    /// Four equal rows of `columns` weights of 127 in pairs.
    fn in_pairs(columns: u16) -> (Tensor, Dense, Vec<u8>) {
        let row = vec![127; usize::from(columns)];
        let mut section = vec![0; pair_block_len(row.len())];
        assert!(pack_pairs([&row; 4].map(|row| &row[..]), &mut section));
        let affine = Affine {
            weights: Weights { offset: 0, bits: 8, layout: Layout::Pairs },
            bias: Bias::None,
            requantization: Requantization::PerTensor(Multiplier { value: 1 << 30, shift: -14 }),
            clamp: Clamp::NONE,
        };
        let output = tensor(u32::from(columns), &[4], 0);
        (tensor(0, &[columns], 0), Dense { input: Source::Previous, output, affine }, section)
    }

    #[test]
    fn pairs_need_room_above_the_second_row() {
        // 127 · 255 · 259 is the last multiple below 2²³.
        let (input, op, section) = in_pairs(259);
        assert_eq!(fault(&input, Op::Dense(op), &section), None);
        let (input, op, section) = in_pairs(260);
        assert_eq!(fault(&input, Op::Dense(op), &section), Some(OpFault::Accumulator));
    }

    #[test]
    fn pairs_are_for_8_bits() {
        let (input, mut op, section) = in_pairs(4);
        op.affine.weights.bits = 4;
        assert_eq!(fault(&input, Op::Dense(op), &section), Some(OpFault::Layout));
    }

    #[test]
    fn pairs_run() {
        let (input, op, section) = in_pairs(259);
        let found = run(&input, &[Op::Dense(op)], &section, &[1; 259]).unwrap();
        assert_eq!(found, [1; 4]); // 32,893 / 2¹⁵
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4], 0);
        let (op, section) = dense(&extreme(8, 1, 4), 0, 0);
        let Op::Dense(good) = op else { unreachable!() };
        let fault_of = |change: &dyn Fn(&mut Dense)| {
            let mut changed = good.clone();
            change(&mut changed);
            fault(&input, Op::Dense(changed), &section)
        };
        assert_eq!(fault_of(&|_| ()), None);
        fn pot(value: i32, shift: i8) -> Requantization {
            Requantization::PerTensor(Multiplier { value, shift })
        }
        type Change = fn(&mut Dense);
        let cases: [(Change, OpFault); 9] = [
            (|d| d.affine.weights.bits = 9, OpFault::WeightBits),
            (|d| d.affine.weights.bits = 0, OpFault::WeightBits),
            (|d| d.affine.weights.offset = 1, OpFault::Section),
            (|d| d.affine.weights.offset = u32::MAX, OpFault::Section),
            (|d| d.affine.clamp = Clamp { min: 1, max: 0 }, OpFault::Clamp),
            (|d| d.affine.requantization = pot(-1, 0), OpFault::Multiplier),
            (|d| d.affine.requantization = pot(1, 31), OpFault::Multiplier),
            (|d| d.output.offset = 3, OpFault::Overlap),
            (|d| d.output.shape = crate::format::Shape::default(), OpFault::Tensor),
        ];
        for (change, expected) in cases {
            assert_eq!(fault_of(&change), Some(expected));
        }
    }

    #[test]
    fn accumulators_must_fit() {
        // 65,793 · 128 · 255 is just below 2³¹; the second row bound is by Σ |w| itself.
        let check = |plain: &Plain| {
            let input = tensor(0, &[plain.columns as u16], 0);
            let (op, section) = dense(plain, 0, 0);
            fault(&input, op, &section)
        };
        assert_eq!(check(&extreme(16, -32768, 256)), None);
        assert_eq!(check(&extreme(16, -32768, 258)), Some(OpFault::Accumulator));
        assert_eq!(check(&extreme(16, 100, 65535)), None);
        let mut biased = extreme(8, 1, 4);
        biased.bias_kind = BiasKind::Plain(crate::format::BiasWidth::I32, 0);
        biased.bias = vec![i32::MAX - 4 * 255];
        assert_eq!(check(&biased), None);
        biased.bias = vec![i32::MAX - 4 * 255 + 1];
        assert_eq!(check(&biased), Some(OpFault::Accumulator));
        biased.bias_kind = BiasKind::Plain(crate::format::BiasWidth::I8, 25);
        assert_eq!(check(&biased), Some(OpFault::BiasShift));
    }

    prop_compose! {
        fn case()(rows in 1usize..6, columns in 1usize..70)(
            plain in plain(rows, columns), x in values(columns), zeros in any::<(i8, i8)>(),
        ) -> (Plain, Vec<i8>, (i8, i8)) {
            (plain, x, zeros)
        }
    }

    proptest! {
        #[test]
        fn matches_the_oracle((plain, x, (input_zero, output_zero)) in case()) {
            let (op, section) = dense(&plain, input_zero, output_zero);
            let input = tensor(0, &[x.len() as u16], input_zero);
            let found = run(&input, &[op], &section, &x).unwrap();
            prop_assert_eq!(found, oracle(&plain, &x, input_zero, output_zero));
        }
    }
}
