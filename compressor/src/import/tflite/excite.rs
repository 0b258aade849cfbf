//! Squeeze-and-excitation blocks as the converter writes them: of convolutions or fully connected layers,
//! with a logistic or a hard gate, on either side of the product.

use super::builder::{Field, I8, I32, ModelBuilder};
use crate::graph::Executor;
use crate::import::{floats, onnx::FloatModel};
use crate::numbers::Quantization;

/// Numbers of the schema.
const ADD: i32 = 0;
const CONV_2D: i32 = 3;
const FULLY_CONNECTED: i32 = 9;
const LOGISTIC: i32 = 14;
const MUL: i32 = 18;
const RESHAPE: i32 = 22;
const MEAN: i32 = 40;
const HARD_SWISH: i32 = 117;
/// Fused activations.
const RELU: i8 = 1;
const RELU6: i8 = 3;

/// A tensor's scale and zero point.
type Scale = (f32, i64);
const INPUT: Scale = (1.0 / 128.0, 0);
const IMAGE: Scale = (0.012, -96);
const GATE: Scale = (1.0 / 256.0, -128);
const OUTPUT: Scale = (0.02, 5);
/// Values of an input: 6 × 5 pixels of two channels.
const PIXELS: i32 = 6 * 5 * 2;

/// How a block is written.
#[derive(Clone, Copy, Debug)]
struct Form {
    /// Fully connected layers and a reshape, rather than a mean that keeps its dimensions and
    /// convolutions.
    dense: bool,
    /// min(max(x + 3, 0), 6) / 6 rather than a logistic function.
    hard: bool,
    /// The gate is the product's first operand.
    gate_first: bool,
}

/// Weights that differ.
fn wave(len: i32, seed: i32) -> Vec<u8> {
    (0..len).map(|at| (((at + 3) * (seed * 2 + 37) % 241) - 120) as i8 as u8).collect()
}

impl Form {
    fn all() -> impl Iterator<Item = Self> {
        (0..8).map(|at| Self { dense: at & 1 > 0, hard: at & 2 > 0, gate_first: at & 4 > 0 })
    }

    /// The shape of values per channel.
    fn per_channel(self, channels: i32) -> Vec<i32> {
        if self.dense { vec![1, channels] } else { vec![1, 1, 1, channels] }
    }

    /// A layer from `input`, of the scale `from`.
    fn layer(
        self,
        b: &mut ModelBuilder,
        (input, from): (i32, Scale),
        kernel: &[i32],
        activation: i8,
        (shape, to): (&[i32], Scale),
    ) -> i32 {
        let scale = 1.0 / 100.0;
        let data = wave(kernel.iter().product(), kernel[0]);
        let weights = b.typed(kernel, I8, &data, scale, 0);
        let biases: Vec<u8> =
            (0..kernel[0]).flat_map(|at| ((at * 700) - 900).to_le_bytes()).collect();
        let bias = b.typed(&[kernel[0]], I32, &biases, from.0 * scale, 0);
        let output = b.tensor(shape, to.0, to.1);
        let (code, options) = match kernel.len() {
            2 => (FULLY_CONNECTED, vec![(0, Field::I8(activation))]),
            _ => {
                let strides = [(1, Field::I32(1)), (2, Field::I32(1))];
                let options = strides.into_iter().chain([(3, Field::I8(activation))]);
                (CONV_2D, options.collect())
            }
        };
        b.operator(code, &[input, weights, bias], output, options);
        output
    }

    fn mean(b: &mut ModelBuilder, input: i32, shape: &[i32]) -> i32 {
        let axes = b.integers(&[1, 2]);
        let output = b.tensor(shape, IMAGE.0, IMAGE.1);
        let keeps = Field::I8(i8::from(shape.len() == 4));
        b.operator(MEAN, &[input, axes], output, vec![(0, keeps)]);
        output
    }

    /// A number as a constant, which its scale makes 127.
    fn number(b: &mut ModelBuilder, number: f32) -> i32 {
        b.typed(&[], I8, &[127], number / 127.0, 0)
    }

    fn gate(self, b: &mut ModelBuilder, input: i32) -> i32 {
        let shape = self.per_channel(4);
        if !self.hard {
            let output = b.tensor(&shape, GATE.0, GATE.1);
            b.operator(LOGISTIC, &[input], output, vec![]);
            return output;
        }
        let three = Self::number(b, 3.0);
        let limited = b.tensor(&shape, 6.0 / 255.0, -128);
        b.operator(ADD, &[input, three], limited, vec![(0, Field::I8(RELU6))]);
        let sixth = Self::number(b, 1.0 / 6.0);
        let output = b.tensor(&shape, GATE.0, GATE.1);
        b.operator(MUL, &[limited, sixth], output, vec![]);
        output
    }

    fn model(self) -> ModelBuilder {
        let mut b = ModelBuilder::new();
        let input = b.tensor(&[1, 6, 5, 2], INPUT.0, INPUT.1);
        let image = [1, 6, 5, 4];
        let first = (&image[..], (0.05, -10));
        let x = self.layer(&mut b, (input, INPUT), &[4, 3, 3, 2], 0, first);
        let y = b.tensor(&image, IMAGE.0, IMAGE.1);
        b.operator(HARD_SWISH, &[x], y, vec![]);
        let squeezed = Self::mean(&mut b, y, &self.per_channel(4));
        let kernel = |outputs: i32, inputs: i32| match self.dense {
            true => vec![outputs, inputs],
            false => vec![outputs, 1, 1, inputs],
        };
        let few = (&self.per_channel(3)[..], (0.01, -128));
        let hidden = self.layer(&mut b, (squeezed, IMAGE), &kernel(3, 4), RELU, few);
        let many = (&self.per_channel(4)[..], (0.03, 3));
        let excited = self.layer(&mut b, (hidden, few.1), &kernel(4, 3), 0, many);
        let mut gate = self.gate(&mut b, excited);
        if self.dense {
            let shape = b.integers(&[1, 1, 1, 4]);
            let reshaped = b.tensor(&[1, 1, 1, 4], GATE.0, GATE.1);
            b.operator(RESHAPE, &[gate, shape], reshaped, vec![]);
            gate = reshaped;
        }
        let z = b.tensor(&image, IMAGE.0, IMAGE.1);
        b.operator(MUL, &if self.gate_first { [gate, y] } else { [y, gate] }, z, vec![]);
        let pooled = Self::mean(&mut b, z, &[1, 4]);
        let output = self.layer(&mut b, (pooled, IMAGE), &[3, 4], 0, (&[1, 3], OUTPUT));
        (b.inputs, b.outputs) = (vec![input], vec![output]);
        b
    }
}

/// A network with a block in each form, as files.
pub(crate) fn models() -> Vec<Vec<u8>> {
    Form::all().map(|form| form.model().bytes()).collect()
}

/// Bytes of so many examples.
fn inputs(examples: i32) -> Vec<i8> {
    (0..examples * PIXELS).map(|at| ((at * 7919 + at / PIXELS * 31) % 256 - 128) as i8).collect()
}

/// How a block is written doesn't change a byte.
#[test]
fn all_forms_of_a_gate_give_the_same() {
    let inputs = inputs(20);
    for hard in [false, true] {
        let of_kind = Form::all().filter(|form| form.hard == hard);
        let outputs: Vec<Vec<i8>> = of_kind.map(|form| form.model().run(&inputs)).collect();
        assert!(outputs.iter().all(|output| *output == outputs[0]));
        let mut distinct = outputs[0].clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 10, "{distinct:?}");
    }
}

/// What the integers compute is what the block is meant to, up to rounding; also without its scales.
#[test]
fn a_block_comes_back_as_the_network_of_floats() {
    let bytes = inputs(20);
    let quantization =
        |(scale, zero_point): Scale| Quantization { scale, zero_point: zero_point as i8 };
    let real: Vec<f32> = bytes.iter().map(|&q| quantization(INPUT).dequantize(q)).collect();
    for form in Form::all() {
        let file = form.model();
        let integers = file.run(&bytes);
        let model: FloatModel = floats(&file.bytes(), None, None).unwrap();
        for graph in [model.graph.clone(), model.freed().graph] {
            let found = Executor::new(&graph).unwrap().run(&real).unwrap();
            for (found, &q) in found.iter().zip(&integers) {
                let apart = (found - quantization(OUTPUT).dequantize(q)).abs() / OUTPUT.0;
                assert!(apart < 3.0 || q == i8::MAX || q == i8::MIN, "{form:?}: {apart}");
            }
        }
    }
}
