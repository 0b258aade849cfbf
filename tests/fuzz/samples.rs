//! Small sound models: the seeds of the corpus, where `tests/tests/fuzz.rs` puts them.

use bitsback_runtime::format::{
    Affine, Bias, BiasWidth, Clamp, Layout, Meta, Requantization, Shape, Source, StoredBias,
    Tensor, Weights, Window,
};
use bitsback_runtime::ops::{
    Add, Argmax, AvgPool2d, CodedAffine, CodedConv2d, CodedDense, CodedDepthwiseConv2d, Concat,
    Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, HardSwish, LeakyRelu, Logistic, MaxPool2d,
    Mean, Mul, Pad, Rescale, ResizeNearest, Select, Slice, Softmax, Tanh,
};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::writer::set_margin;
use bitsback_runtime::{Model, Op};

use super::DrawnModel;

/// What the sample that abstains is called, and its margin.
pub const MARGIN: (&str, u8) = ("margin", 3);

/// Small sound models, one per operator, one of several, and one that abstains.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let image =
        |offset, dims: &[u16], zero_point| Tensor { offset, shape: Shape::new(dims), zero_point };
    let input = image(0, &[4, 4, 2], 0);
    let affine = Affine {
        weights: Weights { offset: 0, bits: 4, layout: Layout::RowMajor },
        bias: Bias::Plain(StoredBias { offset: 200, width: BiasWidth::I8, shift: 2 }),
        requantization: Requantization::PerTensor(Multiplier { value: 1 << 30, shift: -5 }),
        clamp: Clamp { min: 0, max: 127 },
    };
    let channels = Affine { requantization: Requantization::PerChannel { offset: 208 }, ..affine };
    let window = Window { size: [2, 2], stride: [2, 2], padding: [0, 0] };
    let same = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let (one, clamp) = (Multiplier::ONE, Clamp::NONE);
    let below = Multiplier { value: 1 << 30, shift: 0 };
    let scaled = Multiplier { value: 1 << 30, shift: 24 };
    let previous = || Source::Previous;
    let both = || [previous(), Source::At(input.clone())];
    let like = |zero_point| image(32, &[4, 4, 2], zero_point);
    let pooled = || image(32, &[2, 2, 2], 0);
    let flat = |n| image(32, &[n], 0);
    let conv = Op::Conv2d(Conv2d {
        input: previous(),
        output: image(32, &[4, 4, 3], 0),
        window: same,
        dilation: [1, 1],
        affine: channels,
    });
    let pool = Op::MaxPool2d(MaxPool2d {
        input: previous(),
        output: image(0, &[2, 2, 3], 0),
        window,
        clamp,
    });
    let dense = Op::Dense(Dense { input: previous(), output: flat(4), affine });
    let mut ops = vec![
        ("dense", vec![dense.clone()]),
        ("conv2d", vec![conv.clone()]),
        (
            "max_pool2d",
            vec![Op::MaxPool2d(MaxPool2d { input: previous(), output: pooled(), window, clamp })],
        ),
        (
            "avg_pool2d",
            vec![Op::AvgPool2d(AvgPool2d { input: previous(), output: pooled(), window, clamp })],
        ),
        ("select", vec![Op::Select(Select { input: previous(), output: flat(16), mask: 223 })]),
        (
            "softmax",
            vec![Op::Softmax(Softmax {
                input: previous(),
                output: like(-128),
                multiplier: scaled,
            })],
        ),
        ("argmax", vec![Op::Argmax(Argmax { input: previous(), output: flat(2) })]),
        (
            "add",
            vec![Op::Add(Add {
                inputs: both(),
                output: like(0),
                multipliers: [below, below],
                output_multiplier: Multiplier { value: 1 << 30, shift: -18 },
                clamp,
            })],
        ),
        ("mul", vec![Op::Mul(Mul { inputs: both(), output: like(0), multiplier: below, clamp })]),
        (
            "mean",
            vec![Op::Mean(Mean {
                input: previous(),
                output: flat(2),
                multiplier: one.over(16),
                clamp,
            })],
        ),
        (
            "rescale",
            vec![Op::Rescale(Rescale {
                input: previous(),
                output: like(3),
                multiplier: one,
                clamp,
            })],
        ),
        (
            "leaky_relu",
            vec![Op::LeakyRelu(LeakyRelu {
                input: previous(),
                output: like(0),
                positive: one,
                negative: below,
            })],
        ),
        (
            "logistic",
            vec![Op::Logistic(Logistic {
                input: previous(),
                output: like(-128),
                multiplier: scaled,
            })],
        ),
        (
            "hard_swish",
            vec![Op::HardSwish(HardSwish {
                input: previous(),
                output: like(-3),
                multiplier: Multiplier { value: 1 << 30, shift: -6 },
                gate: Multiplier { value: 0x5555 << 16, shift: 3 },
            })],
        ),
        ("tanh", vec![Op::Tanh(Tanh { input: previous(), output: like(0), multiplier: scaled })]),
    ];
    ops.push((
        "depthwise_conv2d",
        vec![Op::DepthwiseConv2d(DepthwiseConv2d {
            input: previous(),
            output: image(32, &[4, 4, 4], 0),
            window: same,
            dilation: [1, 1],
            affine,
        })],
    ));
    ops.push((
        "conv2d_max_pool2d",
        vec![Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
            input: previous(),
            output: image(32, &[2, 2, 3], 0),
            window: same,
            dilation: [1, 1],
            affine: channels,
            positions: [4, 4],
            pool: window,
        })],
    ));
    let concat = [previous(), previous()].into_iter().collect();
    ops.push((
        "concat",
        vec![Op::Concat(Concat { inputs: concat, output: image(32, &[4, 4, 4], 0), axis: 2 })],
    ));
    let before = [1, 0, 0].into_iter().collect();
    ops.push((
        "pad",
        vec![Op::Pad(Pad {
            input: previous(),
            output: image(32, &[6, 5, 2], 0),
            before,
            value: 0,
        })],
    ));
    ops.push((
        "resize_nearest",
        vec![Op::ResizeNearest(ResizeNearest {
            input: previous(),
            output: image(32, &[7, 3, 2], 0),
            half_pixel_centers: true,
        })],
    ));
    let [begin, stride] = [[1, 0, 1], [2, 3, 1]].map(|of| of.into_iter().collect());
    ops.push((
        "slice",
        vec![Op::Slice(Slice {
            input: previous(),
            output: image(32, &[2, 2, 1], 0),
            begin,
            stride,
        })],
    ));
    ops.extend(coded_samples());
    ops.push(("convolutional", vec![conv, pool, dense.clone()]));
    ops.push((MARGIN.0, vec![dense]));
    ops.into_iter()
        .map(|(name, ops)| {
            let meta = Meta {
                name,
                classes: "a\nb",
                input: input.clone(),
                input_scale: 0.5,
                output_scale: 0.25,
                ..Meta::default()
            };
            let drawn = DrawnModel { meta, ops, section: section(), fill: 3 };
            let mut file = drawn.write().expect("a model that can be written");
            if name == MARGIN.0 {
                set_margin(&mut file, MARGIN.1);
            }
            Model::parse(&file).unwrap_or_else(|error| panic!("seed {name}: {error}"));
            (name, file)
        })
        .collect()
}

/// One model per coded operator; any bytes are a stream.
fn coded_samples() -> Vec<(&'static str, Vec<Op>)> {
    let tensor = |dims: &[u16]| Tensor { offset: 32, shape: Shape::new(dims), zero_point: 5 };
    let affine = CodedAffine {
        offset: 1,
        len: 120,
        bits: 4,
        bias: Some(2),
        requantization: Requantization::PerTensor(Multiplier { value: 1 << 30, shift: -5 }),
        clamp: Clamp::NONE,
    };
    let window = Window { size: [3, 3], stride: [1, 1], padding: [1, 1] };
    let (input, dilation) = (Source::Previous, [1, 1]);
    let dense = CodedDense { input: input.clone(), output: tensor(&[4]), affine };
    let (source, output) = (input.clone(), tensor(&[4, 4, 3]));
    let affine =
        CodedAffine { requantization: Requantization::PerChannel { offset: 208 }, ..affine };
    let conv = CodedConv2d { input: source, output, window, dilation, affine };
    let affine = CodedAffine { bits: 8, bias: None, ..dense.affine };
    let output = tensor(&[4, 4, 4]);
    let depthwise = CodedDepthwiseConv2d { input, output, window, dilation, affine };
    vec![
        ("coded_dense", vec![Op::CodedDense(dense)]),
        ("coded_conv2d", vec![Op::CodedConv2d(conv)]),
        ("coded_depthwise_conv2d", vec![Op::CodedDepthwiseConv2d(depthwise)]),
    ]
}

/// Weights, eight biases at 200, multipliers of three channels at 208 and a mask at 223.
fn section() -> Vec<u8> {
    let mut section: Vec<u8> = (0..208u32).map(|i| (i * 37 % 251) as u8).collect();
    for shift in [-6i8, -7, -5] {
        section.extend_from_slice(&(1i32 << 30).to_le_bytes());
        section.push(shift as u8);
    }
    section.extend_from_slice(&[0b0101_0101; 4]);
    section
}
