//! What the operators' tests share: models of one or a few operators, written, parsed and run, and
//! exact parameters for the oracles.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use crate::format::{
    Affine, Bias, BiasWidth, Clamp, Layout, Meta, ParseError, Requantization, Shape, StoredBias,
    Tensor, Weights, pack_row, row_len,
};
use crate::requantize::{Multiplier, requantize};
use crate::writer::{model_len, write_model};
use crate::{Engine, Interpreter, KernelSet, Model, Op, weights_len};

/// A tensor.
pub(crate) fn tensor(offset: u32, dims: &[u16], zero_point: i8) -> Tensor {
    Tensor { offset, shape: Shape::new(dims), zero_point }
}

/// A file of these operators.
pub(crate) fn file(input: &Tensor, ops: &[Op], section: &[u8]) -> Vec<u8> {
    let meta =
        Meta { input: input.clone(), input_scale: 1.0, output_scale: 1.0, ..Meta::default() };
    let mut bytes = vec![0xAA; model_len(&meta, ops, section).unwrap()];
    write_model(&meta, ops, section, &mut bytes).unwrap();
    bytes
}

/// The output of a model of these operators, which is the same with weights unpacked: all of them, some
/// and none.
pub(crate) fn run(
    input: &Tensor,
    ops: &[Op],
    section: &[u8],
    x: &[i8],
) -> Result<Vec<i8>, ParseError> {
    let bytes = file(input, ops, section);
    let model = Model::parse(&bytes)?;
    let mut arena = vec![0x55; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
    interpreter.input_mut().copy_from_slice(x);
    interpreter.invoke();
    let output = interpreter.output().to_vec();
    engines_agree(&model, x, &output);
    let len = model.weights_len();
    assert_eq!(weights_len(&bytes), len);
    for (part, shift) in [(1, 0), (2, 1), (3, 2), (len + 1, 3)] {
        let mut arena = vec![0x2A; model.arena_len()];
        let mut weights = vec![0x77; len / part + shift];
        let weights = weights.get_mut(shift..).unwrap();
        let mut interpreter = Interpreter::with_weights(&model, &mut arena, weights).unwrap();
        interpreter.input_mut().copy_from_slice(x);
        interpreter.invoke();
        assert_eq!(interpreter.output(), output, "{} of {len} bytes", len / part);
    }
    Ok(output)
}

/// Each of this machine's kernels gives the interpreter's output, for each example of a batch.
fn engines_agree(model: &Model<'_>, x: &[i8], output: &[i8]) {
    for kernels in KernelSet::available() {
        let mut engine = Engine::with_kernels(model, kernels);
        for examples in [1, 3] {
            let mut found = vec![0; examples * output.len()];
            engine.run(&x.repeat(examples), &mut found).unwrap();
            assert_eq!(found, output.repeat(examples), "{kernels:?} at {model:?}");
        }
    }
}

/// What is wrong with the only operator of a model.
pub(crate) fn fault(input: &Tensor, op: Op, section: &[u8]) -> Option<crate::format::OpFault> {
    match Model::parse(&file(input, &[op], section)) {
        Err(ParseError::Op { index: 0, fault }) => Some(fault),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    }
}

/// Parameters of a weight layer in the clear.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) bits: u8,
    pub(crate) columns: usize,
    pub(crate) weights: Vec<i16>,
    pub(crate) bias: Vec<i32>,
    pub(crate) bias_kind: BiasKind,
    pub(crate) multipliers: Vec<Multiplier>,
    pub(crate) clamp: Clamp,
}

/// How a test stores biases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BiasKind {
    None,
    Plain(BiasWidth, u8),
    Folded,
}

impl Plain {
    pub(crate) fn rows(&self) -> usize {
        self.bias.len()
    }

    /// Where `zero_point` is the input's.
    pub(crate) fn store(&self, zero_point: i8) -> (Affine, Vec<u8>) {
        let mut section = Vec::new();
        let stride = row_len(self.bits, self.columns);
        for row in self.weights.chunks(self.columns) {
            let start = section.len();
            section.resize(start + stride, 0);
            pack_row(row, self.bits, &mut section[start..]).unwrap();
        }
        let offset = section.len() as u32;
        let bias = match self.bias_kind {
            BiasKind::None => Bias::None,
            BiasKind::Plain(width, shift) => {
                for &bias in &self.bias {
                    let stored = bias >> shift;
                    section.extend_from_slice(&stored.to_le_bytes()[..width.bytes()]);
                }
                Bias::Plain(StoredBias { offset, width, shift })
            }
            BiasKind::Folded => {
                for (row, &bias) in self.weights.chunks(self.columns).zip(&self.bias) {
                    let sum: i32 = row.iter().map(|&w| i32::from(w)).sum();
                    let folded = bias - i32::from(zero_point) * sum;
                    section.extend_from_slice(&folded.to_le_bytes());
                }
                Bias::Folded(StoredBias { offset, width: BiasWidth::I32, shift: 0 })
            }
        };
        let requantization = match self.multipliers[..] {
            [multiplier] => Requantization::PerTensor(multiplier),
            _ => {
                let offset = section.len() as u32;
                for multiplier in &self.multipliers {
                    section.extend_from_slice(&multiplier.value.to_le_bytes());
                    section.push(multiplier.shift as u8);
                }
                Requantization::PerChannel { offset }
            }
        };
        let weights = Weights { offset: 0, bits: self.bits, layout: Layout::RowMajor };
        (Affine { weights, bias, requantization, clamp: self.clamp }, section)
    }

    /// The output of a row for its exact sum of products.
    pub(crate) fn finish(&self, row: usize, sum: i64, zero_point: i8) -> i8 {
        let multiplier = self.multipliers[row % self.multipliers.len()];
        let acc = i32::try_from(sum + i64::from(self.bias[row])).expect("a bounded accumulator");
        let y = requantize(acc, multiplier, zero_point);
        y.clamp(i32::from(self.clamp.min), i32::from(self.clamp.max)) as i8
    }
}

/// Random parameters of a `rows` × `columns` layer.
pub(crate) fn plain(rows: usize, columns: usize) -> impl Strategy<Value = Plain> {
    let bits = prop_oneof![1u8..=8, Just(16)];
    let width = prop_oneof![
        Just(BiasKind::None),
        (0u8..6).prop_map(|shift| BiasKind::Plain(BiasWidth::I8, shift)),
        (0u8..4).prop_map(|shift| BiasKind::Plain(BiasWidth::I16, shift)),
        Just(BiasKind::Plain(BiasWidth::I32, 0)),
        Just(BiasKind::Folded),
    ];
    let multipliers = prop_oneof![
        proptest::collection::vec(multiplier(), 1),
        proptest::collection::vec(multiplier(), rows),
    ];
    (
        bits,
        proptest::collection::vec(any::<i16>(), rows * columns),
        proptest::collection::vec(any::<i16>(), rows),
        width,
        multipliers,
        clamp(),
    )
        .prop_map(move |(bits, weights, bias, bias_kind, multipliers, clamp)| {
            // Large 16-bit weights would overflow the accumulator of a wide layer.
            let down = if bits == 16 { 3 } else { 16 - bits };
            let bias = bias
                .into_iter()
                .map(|b| match bias_kind {
                    BiasKind::None => 0,
                    BiasKind::Plain(BiasWidth::I8, shift) => (i32::from(b) >> 8) << shift,
                    BiasKind::Plain(_, shift) => i32::from(b) << shift,
                    BiasKind::Folded => i32::from(b),
                })
                .collect();
            let weights = weights.into_iter().map(|w| w >> down).collect();
            Plain { bits, columns, weights, bias, bias_kind, multipliers, clamp }
        })
}

/// A random multiplier between 2⁻¹² and 2.
pub(crate) fn multiplier() -> impl Strategy<Value = Multiplier> {
    (1i32 << 30.., -12i8..=1).prop_map(|(value, shift)| Multiplier { value, shift })
}

/// No activation, or a random one.
pub(crate) fn clamp() -> impl Strategy<Value = Clamp> {
    prop_oneof![
        Just(Clamp::NONE),
        any::<(i8, i8)>().prop_map(|(a, b)| Clamp { min: a.min(b), max: a.max(b) }),
    ]
}

/// Random values.
pub(crate) fn values(n: usize) -> impl Strategy<Value = Vec<i8>> {
    proptest::collection::vec(any::<i8>(), n)
}
