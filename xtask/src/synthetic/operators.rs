//! A network that uses every operator once or twice, with a residual sum and a concatenation.

use bitsback_runtime::format::{BiasWidth, Clamp, Layout, Window};
use bitsback_runtime::ops::{
    Add, Argmax, AvgPool2d, Concat, Conv2d, Dense, DepthwiseConv2d, LeakyRelu, Logistic, MaxPool2d,
    Mean, Mul, Pad, Rescale, Select, Softmax, Tanh,
};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Op, Source};

use super::builder::{Kind, ModelBuilder, ModelBuilderError, multiplier};

const ZERO_POINT: i8 = -6;

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let convolved = convolutions(builder)?;
    residual(builder, convolved);
    pools(builder);
    classifier(builder)
}

/// 10 × 10 × 3 padded, convolved to 6 channels, then depthwise; returns the convolution's output.
fn convolutions(builder: &mut ModelBuilder) -> Result<Source, ModelBuilderError> {
    builder.input(&[10, 10, 3], 5);
    let output = builder.tensor(&[12, 12, 3], 5);
    let before = [1, 1, 0].into_iter().collect();
    builder.op(Op::Pad(Pad { input: Source::Previous, output, before, value: 5 }));

    let kind = Kind {
        bits: 5,
        bias: Some(BiasWidth::I16),
        bias_shift: 1,
        folded: false,
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let output = builder.tensor(&[10, 10, 6], ZERO_POINT);
    let affine = builder.affine(6, 27, kind)?;
    let window = square(3, 1, 0);
    let convolved = builder.op(Op::Conv2d(Conv2d {
        input: Source::Previous,
        output,
        window,
        dilation: [1, 1],
        affine,
    }));

    let kind = Kind {
        bits: 8,
        bias: Some(BiasWidth::I32),
        bias_shift: 1,
        folded: true,
        per_channel: false,
        layout: Layout::RowMajor,
    };
    let output = builder.tensor(&[10, 10, 6], 11);
    let affine = builder.affine(6, 9, kind)?;
    builder.op(Op::DepthwiseConv2d(DepthwiseConv2d {
        input: Source::Previous,
        output,
        window: square(3, 1, 2),
        dilation: [2, 2],
        affine,
    }));
    Ok(convolved)
}

/// Sum with an earlier output, leaky ReLU, and product with that output.
fn residual(builder: &mut ModelBuilder, earlier: Source) {
    let output = builder.tensor(&[10, 10, 6], ZERO_POINT);
    builder.op(Op::Add(Add {
        inputs: [Source::Previous, earlier.clone()],
        output,
        multipliers: [multiplier(0.5), multiplier(0.37)],
        output_multiplier: multiplier(0.000_002),
        clamp: Clamp { min: -120, max: 120 },
    }));
    let output = builder.tensor(&[10, 10, 6], 3);
    builder.op(Op::LeakyRelu(LeakyRelu {
        input: Source::Previous,
        output,
        positive: multiplier(0.9),
        negative: multiplier(0.1),
    }));
    let output = builder.tensor(&[10, 10, 6], ZERO_POINT);
    builder.op(Op::Mul(Mul {
        inputs: [Source::Previous, earlier],
        output,
        multiplier: multiplier(0.02),
        clamp: Clamp::NONE,
    }));
}

/// Maximum, a rescaled copy beside it, average, tanh and the mean of each of 12 channels.
fn pools(builder: &mut ModelBuilder) {
    let output = builder.tensor(&[5, 5, 6], ZERO_POINT);
    let pooled = builder.op(Op::MaxPool2d(MaxPool2d {
        input: Source::Previous,
        output,
        window: square(2, 2, 0),
        clamp: Clamp::NONE,
    }));
    let output = builder.tensor(&[5, 5, 6], ZERO_POINT);
    let clamp = Clamp { min: ZERO_POINT, max: 100 };
    let rescaled = builder.op(Op::Rescale(Rescale {
        input: Source::Previous,
        output,
        multiplier: multiplier(1.3),
        clamp,
    }));
    let output = builder.tensor(&[5, 5, 12], ZERO_POINT);
    let inputs = [pooled, rescaled].into_iter().collect();
    builder.op(Op::Concat(Concat { inputs, output, axis: 2 }));
    let output = builder.tensor(&[5, 5, 12], ZERO_POINT);
    builder.op(Op::AvgPool2d(AvgPool2d {
        input: Source::Previous,
        output,
        window: square(3, 1, 1),
        clamp: Clamp::NONE,
    }));
    let output = builder.tensor(&[5, 5, 12], 0);
    builder.op(Op::Tanh(Tanh { input: Source::Previous, output, multiplier: input_step(0.02) }));
    let output = builder.tensor(&[12], -3);
    builder.op(Op::Mean(Mean {
        input: Source::Previous,
        output,
        multiplier: multiplier(1.1).over(25),
        clamp: Clamp::NONE,
    }));
}

/// Ten of the features, two dense layers with a sigmoid between, probabilities and the class.
fn classifier(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let output = builder.tensor(&[10], -3);
    let mask = builder.bytes(&[0b1011_1111, 0b0000_0111]);
    builder.op(Op::Select(Select { input: Source::Previous, output, mask }));
    let kind = Kind {
        bits: 4,
        bias: Some(BiasWidth::I8),
        bias_shift: 1,
        folded: false,
        per_channel: false,
        layout: Layout::RowMajor,
    };
    let output = builder.tensor(&[14], 0);
    let affine = builder.affine(14, 10, kind)?;
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    let output = builder.tensor(&[14], i8::MIN);
    builder.op(Op::Logistic(Logistic {
        input: Source::Previous,
        output,
        multiplier: input_step(0.03),
    }));
    let kind = Kind {
        bits: 2,
        bias: None,
        bias_shift: 0,
        folded: false,
        per_channel: true,
        layout: Layout::RowMajor,
    };
    let output = builder.tensor(&[10], 0);
    let affine = builder.affine(10, 14, kind)?;
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    let output = builder.tensor(&[10], i8::MIN);
    let probabilities = builder.op(Op::Softmax(Softmax {
        input: Source::Previous,
        output,
        multiplier: multiplier(0.04 * f64::from(1 << 26)),
    }));
    let output = builder.tensor(&[2], i8::MIN);
    let class = builder.op(Op::Argmax(Argmax { input: Source::Previous, output }));
    // Both are in the output, so that both are compared.
    let output = builder.tensor(&[12], i8::MIN);
    let inputs = [probabilities, class].into_iter().collect();
    builder.op(Op::Concat(Concat { inputs, output, axis: 0 }));
    Ok(())
}

fn square(size: u16, stride: u16, padding: u16) -> Window {
    Window { size: [size; 2], stride: [stride; 2], padding: [padding; 2] }
}

/// An input scale as the sigmoid and tanh take it: times 2²⁷.
fn input_step(scale: f64) -> Multiplier {
    multiplier(scale * f64::from(1 << 27))
}
