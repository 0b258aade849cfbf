//! Coded layers give what the same weights give row by row.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::super::testing::{fault, multiplier, run, tensor, values};
use super::super::{
    CodedConv2d, CodedDense, CodedDepthwiseConv2d, Conv2d, Dense, DepthwiseConv2d, Op,
};
use super::*;
use crate::coding::{CodedRow, encode};
use crate::format::{BiasWidth, Source, StoredBias, Tensor, Window, pack_row};
use crate::requantize::Multiplier;

/// A layer both ways, with the section that holds both.
fn both(
    weights: &[i8],
    columns: usize,
    lag: usize,
    biases: Option<(&[i16], u8)>,
    multiplier: Multiplier,
) -> (Affine, CodedAffine, Vec<u8>) {
    let rows = weights
        .chunks(columns)
        .enumerate()
        .map(|(row, weights)| CodedRow { bias: biases.map(|(biases, _)| biases[row]), weights });
    let mut stream = vec![0; weights.len() * 40 + 200];
    let len = encode(rows, 8, lag, &mut stream).unwrap();
    let mut section = stream[..len].to_vec();
    let offset = section.len() as u32;
    for &weight in weights {
        let mut byte = [0];
        pack_row(&[weight.into()], 8, &mut byte).unwrap();
        section.push(byte[0]);
    }
    let bias = match biases {
        None => Bias::None,
        Some((biases, shift)) => {
            let offset = section.len() as u32;
            section.extend(biases.iter().flat_map(|bias| bias.to_le_bytes()));
            Bias::Plain(StoredBias { offset, width: BiasWidth::I16, shift })
        }
    };
    let requantization = Requantization::PerTensor(multiplier);
    let clamp = Clamp { min: -100, max: 127 };
    let weights = Weights { offset, bits: 8, layout: Layout::RowMajor };
    let bias_shift = biases.map(|(_, shift)| shift);
    let coded = CodedAffine {
        offset: 0,
        len: len as u32,
        bits: 8,
        bias: bias_shift,
        requantization,
        clamp,
    };
    (Affine { weights, bias, requantization, clamp }, coded, section)
}

fn weights(n: usize) -> impl Strategy<Value = Vec<i8>> {
    let one = prop_oneof![4 => Just(0i8), 4 => -2i8..=2, 1 => -127i8..=127];
    proptest::collection::vec(one, n)
}

/// Shapes of a layer over images: input, rows, kernel, dilation.
type Shapes = ([u16; 3], u16, [u16; 2], [u16; 2]);

fn window((_, _, size, dilation): &Shapes) -> Window {
    let padding = [0, 1].map(|axis| (size[axis] - 1) * dilation[axis] / 2);
    Window { size: *size, stride: [1, 1], padding }
}

fn image_shapes() -> impl Strategy<Value = Shapes> {
    let input = [1u16..6, 1u16..6, 1u16..5];
    (input, 1u16..4, [1u16..4, 1u16..4], [1u16..3, 1u16..3])
}

/// One draw: inputs, weights, biases, their shift, zero points, the multiplier.
type Draw = (Vec<i8>, Vec<i8>, Option<Vec<i16>>, u8, (i8, i8), Multiplier);

fn draw(inputs: usize, weight_count: usize, rows: usize) -> impl Strategy<Value = Draw> {
    let biases = proptest::option::of(proptest::collection::vec(-32767i16..=32767, rows));
    (values(inputs), weights(weight_count), biases, 0u8..4, any::<(i8, i8)>(), multiplier())
}

fn shapes_and_draw(depthwise: bool) -> impl Strategy<Value = (Shapes, Draw)> {
    image_shapes().prop_flat_map(move |shapes| {
        let (input, rows, size, _) = shapes;
        let rows = usize::from(if depthwise { rows * input[2] } else { rows });
        let depth = if depthwise { 1 } else { usize::from(input[2]) };
        let columns = usize::from(size[0] * size[1]) * depth;
        let inputs = input.iter().product::<u16>().into();
        (Just(shapes), draw(inputs, rows * columns, rows))
    })
}

fn agree(input: &Tensor, ops: [Op; 2], section: &[u8], x: &[i8]) {
    let [plain, coded] = ops.map(|op| run(input, &[op], section, x).unwrap());
    assert_eq!(plain, coded);
}

proptest! {
    #[test]
    fn dense((columns, rows, (x, w, biases, shift, zeros, m)) in
        (prop_oneof![1usize..40, 505usize..530], 1usize..6)
            .prop_flat_map(|(columns, rows)| (Just(columns), Just(rows), draw(columns, columns * rows, rows)))
    ) {
        let biases = biases.as_deref().map(|biases| (biases, shift));
        let (plain, coded, section) = both(&w, columns, 1, biases, m);
        let input = tensor(0, &[columns as u16], zeros.0);
        let output = tensor(columns as u32, &[rows as u16], zeros.1);
        let plain = Dense { input: Source::Previous, output: output.clone(), affine: plain };
        let coded = CodedDense { input: Source::Previous, output, affine: coded };
        agree(&input, [Op::Dense(plain), Op::CodedDense(coded)], &section, &x);
    }

    #[test]
    fn conv2d((shapes, (x, w, biases, shift, zeros, m)) in shapes_and_draw(false)) {
        let ([h, width, channels], filters, size, dilation) = shapes;
        let columns = usize::from(size[0] * size[1] * channels);
        let biases = biases.as_deref().map(|biases| (biases, shift));
        let (plain, coded, section) = both(&w, columns, channels.into(), biases, m);
        let input = tensor(0, &[h, width, channels], zeros.0);
        let output = tensor(input.len() as u32, &[h, width, filters], zeros.1);
        let window = window(&shapes);
        let source = Source::Previous;
        let plain = Conv2d { input: source.clone(), output: output.clone(), window, dilation, affine: plain };
        let coded = CodedConv2d { input: source, output, window, dilation, affine: coded };
        agree(&input, [Op::Conv2d(plain), Op::CodedConv2d(coded)], &section, &x);
    }

    #[test]
    fn depthwise_conv2d((shapes, (x, w, biases, shift, zeros, m)) in shapes_and_draw(true)) {
        let ([h, width, channels], multiplier, size, dilation) = shapes;
        let columns = usize::from(size[0] * size[1]);
        let biases = biases.as_deref().map(|biases| (biases, shift));
        let (plain, coded, section) = both(&w, columns, 1, biases, m);
        let input = tensor(0, &[h, width, channels], zeros.0);
        let output = tensor(input.len() as u32, &[h, width, channels * multiplier], zeros.1);
        let window = window(&shapes);
        let source = Source::Previous;
        let plain =
            DepthwiseConv2d { input: source.clone(), output: output.clone(), window, dilation, affine: plain };
        let coded = CodedDepthwiseConv2d { input: source, output, window, dilation, affine: coded };
        agree(&input, [Op::DepthwiseConv2d(plain), Op::CodedDepthwiseConv2d(coded)], &section, &x);
    }
}

#[test]
fn each_fault() {
    let multiplier = Multiplier { value: 1 << 30, shift: -8 };
    let (_, good, section) = both(&[1; 70], 70, 1, Some((&[3], 2)), multiplier);
    let fault_of = |change: &dyn Fn(&mut CodedAffine), columns: u16| {
        let mut affine = good;
        change(&mut affine);
        let output = tensor(u32::from(columns), &[1], 0);
        let op = CodedDense { input: Source::Previous, output, affine };
        fault(&tensor(0, &[columns], 0), Op::CodedDense(op), &section)
    };
    assert_eq!(fault_of(&|_| (), 70), None);
    // The stream's end is zeros, so a longer row is no fault.
    assert_eq!(fault_of(&|_| (), 900), None);
    assert_eq!(fault_of(&|a| a.bits = 1, 70), Some(OpFault::WeightBits));
    assert_eq!(fault_of(&|a| a.bits = 9, 70), Some(OpFault::WeightBits));
    assert_eq!(fault_of(&|a| a.bias = Some(25), 70), Some(OpFault::BiasShift));
    assert_eq!(fault_of(&|a| a.bias = Some(17), 70), Some(OpFault::Accumulator));
    assert_eq!(fault_of(&|a| a.len = 10_000, 70), Some(OpFault::Section));
    assert_eq!(fault_of(&|a| a.clamp = Clamp { min: 1, max: 0 }, 70), Some(OpFault::Clamp));
    let negative = Requantization::PerTensor(Multiplier { value: -1, shift: 0 });
    assert_eq!(fault_of(&|a| a.requantization = negative, 70), Some(OpFault::Multiplier));
}

#[test]
fn filters_must_fit_the_memory() {
    let multiplier = Multiplier { value: 1 << 30, shift: -8 };
    let (_, affine, section) = both(&[1; 9], 9, 1, None, multiplier);
    let fault_of = |channels: u16| {
        let input = tensor(0, &[3, 3, channels], 0);
        let output = tensor(input.len() as u32, &[1, 1, 1], 0);
        let window = Window { size: [3, 3], stride: [1, 1], padding: [0, 0] };
        let op = CodedConv2d { input: Source::Previous, output, window, dilation: [1, 1], affine };
        fault(&input, Op::CodedConv2d(op), &section)
    };
    assert_eq!(fault_of(56), None);
    assert_eq!(fault_of(57), Some(OpFault::Layout));
}
