//! The shapes that runtimes are compared by: random weights of 8 bits where nothing else is said,
//! tensors placed as tightly as a chain allows. Biases and requantisation are those of TensorFlow Lite's converter: per channel
//! in convolutions, per tensor in dense layers.

use bitsback_runtime::format::{BiasWidth, Clamp, Layout, Window, pairs_pay};
use bitsback_runtime::ops::{
    Add, AvgPool2d, Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, FILTER_MAX, MaxPool2d, Softmax,
};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Op, Source, Tensor};

use super::builder::{Kind, ModelBuilder, ModelBuilderError, multiplier};
use super::{mobilenet, vgg};

const SEED: u64 = 0x5EED_0B17_5BAC_0002;
/// Relu is a clamp at the zero point.
pub(super) const RELU: Clamp = Clamp { min: -128, max: 127 };
const ZERO_POINT: i8 = -128;

/// A shape by name.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    draw: fn(&mut ModelBuilder, Layout) -> Result<(), ModelBuilderError>,
}

/// All of them.
pub(crate) const SHAPES: [Shape; 9] = [
    Shape { name: "lenet-300-100", draw: |s, l| dense_chain(s, l, 8, &LENET_300_100) },
    Shape { name: "lenet-300-100-4-bit", draw: |s, l| dense_chain(s, l, 4, &LENET_300_100) },
    Shape { name: "lenet-5-20-50-500", draw: |s, l| lenet_5(s, l, [20, 50, 500]) },
    Shape { name: "lenet-5-8-13-13", draw: |s, l| lenet_5(s, l, [8, 13, 13]) },
    Shape { name: "ad-autoencoder", draw: |s, l| dense_chain(s, l, 8, &AUTOENCODER) },
    Shape { name: "resnet-8", draw: |s, l| resnet(s, l, [16, 32, 64]) },
    Shape { name: "resnet-8-40-80-160", draw: |s, l| resnet(s, l, [40, 80, 160]) },
    Shape { name: "ds-cnn", draw: ds_cnn },
    Shape { name: "mobilenet-v1-0.25-96", draw: mobilenet::draw },
];

/// Those that hosts are compared by.
pub(crate) const HOST_SHAPES: [Shape; 6] = [
    Shape { name: "lenet-300-100", draw: |s, l| dense_chain(s, l, 8, &LENET_300_100) },
    Shape { name: "lenet-5-20-50-500", draw: |s, l| lenet_5(s, l, [20, 50, 500]) },
    Shape { name: "resnet-8", draw: |s, l| resnet(s, l, [16, 32, 64]) },
    Shape { name: "ds-cnn", draw: ds_cnn },
    Shape { name: "mobilenet-v1-0.25-96", draw: mobilenet::draw },
    Shape { name: "vgg-16", draw: |s, l| vgg::draw(s, l, &vgg::DENSE) },
];

/// What compression left of one of these in a paper, and which one that is.
pub(crate) const PRUNED_SHAPES: [(Shape, &str); 2] = [
    (Shape { name: "vgg-16-bc-gnj", draw: |s, l| vgg::draw(s, l, &vgg::BC_GNJ) }, "vgg-16"),
    (Shape { name: "vgg-16-bc-ghs", draw: |s, l| vgg::draw(s, l, &vgg::BC_GHS) }, "vgg-16"),
];

const LENET_300_100: [u16; 4] = [784, 300, 100, 10];
/// MLPerf Tiny's anomaly detection.
const AUTOENCODER: [u16; 11] = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640];

impl Shape {
    /// The file, with weights in `layout` where layers take it.
    pub(crate) fn model(self, layout: Layout) -> Result<Vec<u8>, ModelBuilderError> {
        let mut builder = ModelBuilder::new(self.name, SEED);
        (self.draw)(&mut builder, layout)?;
        builder.finish()
    }
}

/// The least models of dense layers: of 8 bits in both layouts, and of 4.
pub(crate) fn least_dense() -> Result<[Vec<u8>; 3], ModelBuilderError> {
    let bytes: fn(&mut ModelBuilder, Layout) -> Result<(), ModelBuilderError> =
        |builder, layout| dense_chain(builder, layout, 8, &[8, 8]);
    let nibbles: fn(&mut ModelBuilder, Layout) -> Result<(), ModelBuilderError> =
        |builder, layout| dense_chain(builder, layout, 4, &[8, 8]);
    Ok([
        Shape { name: "dense", draw: bytes }.model(Layout::RowMajor)?,
        Shape { name: "dense", draw: bytes }.model(Layout::Pairs)?,
        Shape { name: "dense", draw: nibbles }.model(Layout::RowMajor)?,
    ])
}

/// Places each tensor of a chain at the end of the arena that its predecessor leaves free.
pub(super) struct Chain {
    arena: u32,
    at_start: bool,
}

impl Chain {
    /// The places of tensors with these lengths, in order.
    pub(super) fn new(lengths: &[usize]) -> Self {
        let arena = lengths.windows(2).map(|pair| pair[0] + pair[1]).max().unwrap_or(0);
        Self { arena: arena as u32, at_start: false }
    }

    pub(super) fn tensor(&mut self, dims: &[u16]) -> Tensor {
        self.at_start = !self.at_start;
        let length: u32 = dims.iter().copied().map(u32::from).product();
        ModelBuilder::at(if self.at_start { 0 } else { self.arena - length }, dims, ZERO_POINT)
    }
}

pub(super) fn kind(layout: Layout, bits: u8, per_channel: bool) -> Kind {
    Kind { bits, bias: Some(BiasWidth::I32), bias_shift: 0, folded: true, per_channel, layout }
}

pub(super) fn dense(
    builder: &mut ModelBuilder,
    (layout, bits): (Layout, u8),
    columns: usize,
    output: Tensor,
) -> Result<(), ModelBuilderError> {
    let layout = if bits == 8 { chosen(layout, [output.len(), columns]) } else { Layout::RowMajor };
    let mut affine = builder.affine(output.len(), columns, kind(layout, bits, false))?;
    affine.clamp = RELU;
    builder.op(Op::Dense(Dense { input: Source::Previous, output, affine }));
    Ok(())
}

/// The layout in pairs where the compressor would choose it, too.
fn chosen(wanted: Layout, [rows, columns]: [usize; 2]) -> Layout {
    if wanted == Layout::Pairs && pairs_pay(rows, columns) { wanted } else { Layout::RowMajor }
}

/// A convolution; `channels` are the input's.
pub(super) fn conv(
    builder: &mut ModelBuilder,
    layout: Layout,
    (input, channels): (Source, usize),
    output: Tensor,
    window: Window,
) -> Result<Conv2d, ModelBuilderError> {
    let columns = window.size.map(usize::from).iter().product::<usize>() * channels;
    let filters = output.shape.channels();
    let layout =
        if columns > FILTER_MAX { Layout::RowMajor } else { chosen(layout, [filters, columns]) };
    let mut affine = builder.affine(filters, columns, kind(layout, 8, true))?;
    affine.clamp = RELU;
    Ok(Conv2d { input, output, window, dilation: [1, 1], affine })
}

/// The same convolution as an operator.
pub(super) fn conv_op(
    builder: &mut ModelBuilder,
    layout: Layout,
    input: (Source, usize),
    output: Tensor,
    window: Window,
) -> Result<Source, ModelBuilderError> {
    let conv = conv(builder, layout, input, output, window)?;
    Ok(builder.op(Op::Conv2d(conv)))
}

/// The largest of two by two.
pub(super) fn by_halves(output: Tensor) -> MaxPool2d {
    let (input, window) = (Source::Previous, window(2, 2, 0));
    MaxPool2d { input, output, window, clamp: Clamp::NONE }
}

/// A convolution and the pooling behind it as one operator; `previous` is what the convolution reads.
pub(super) fn pooled(
    builder: &mut ModelBuilder,
    conv: &Conv2d,
    pool: &MaxPool2d,
    previous: &Tensor,
) -> Result<(), ModelBuilderError> {
    let fused = Conv2dMaxPool2d::fuse(conv, pool, previous).ok_or(ModelBuilderError::Fuse)?;
    builder.op(Op::Conv2dMaxPool2d(fused));
    Ok(())
}

pub(super) fn window(size: u16, stride: u16, padding: u16) -> Window {
    Window { size: [size; 2], stride: [stride; 2], padding: [padding; 2] }
}

fn dense_chain(
    builder: &mut ModelBuilder,
    layout: Layout,
    bits: u8,
    sizes: &[u16],
) -> Result<(), ModelBuilderError> {
    let mut chain = Chain::new(&sizes.iter().copied().map(usize::from).collect::<Vec<_>>());
    let mut columns = 0;
    for (index, &size) in sizes.iter().enumerate() {
        let tensor = chain.tensor(&[size]);
        if index == 0 {
            builder.input_at(tensor);
        } else {
            dense(builder, (layout, bits), columns, tensor)?;
        }
        columns = usize::from(size);
    }
    Ok(())
}

/// 28 × 28 pixels, two convolutions of 5 × 5 with pooling, two dense layers.
fn lenet_5(
    builder: &mut ModelBuilder,
    layout: Layout,
    sizes: [u16; 3],
) -> Result<(), ModelBuilderError> {
    let [a, b, c] = sizes;
    // What convolutions give is pooled by halves at once and never stored.
    let images = [[28, 28, 1], [12, 12, a], [4, 4, b]];
    let lengths: Vec<usize> = images
        .iter()
        .map(|dims| dims.iter().copied().map(usize::from).product())
        .chain([usize::from(c), 10])
        .collect();
    let mut chain = Chain::new(&lengths);
    let mut previous = chain.tensor(&images[0]);
    builder.input_at(previous.clone());
    for image in &images[1..] {
        let channels = previous.shape.channels();
        let convolved = ModelBuilder::at(0, &[image[0] * 2, image[1] * 2, image[2]], ZERO_POINT);
        let conv = conv(builder, layout, (Source::Previous, channels), convolved, window(5, 1, 0))?;
        let output = chain.tensor(image);
        pooled(builder, &conv, &by_halves(output.clone()), &previous)?;
        previous = output;
    }
    let output = chain.tensor(&[c]);
    dense(builder, (layout, 8), lengths[2], output)?;
    let output = chain.tensor(&[10]);
    dense(builder, (layout, 8), usize::from(c), output)
}

/// MLPerf Tiny's image classification, three stacks of one residual block, and the same with other
/// widths.
fn resnet(
    builder: &mut ModelBuilder,
    layout: Layout,
    widths: [u16; 3],
) -> Result<(), ModelBuilderError> {
    let [least, _, most] = widths;
    // The largest tensor: three of them are alive in the first block.
    let size = 32 * 32 * u32::from(least);
    builder.input_at(ModelBuilder::at(size, &[32, 32, 3], ZERO_POINT));
    let first = ModelBuilder::at(0, &[32, 32, least], ZERO_POINT);
    let mut skip = conv_op(builder, layout, (Source::Previous, 3), first, window(3, 1, 1))?;
    for (stack, channels) in widths.into_iter().enumerate() {
        let side = 32 >> stack;
        let dims = [side, side, channels];
        let before = usize::from(if stack == 0 { channels } else { channels / 2 });
        let at = |place: u32| ModelBuilder::at(place * size, &dims, ZERO_POINT);
        let (stride, padding) = if stack == 0 { (1, 1) } else { (2, 0) };
        let strided = window(3, stride, padding);
        let inner = conv_op(builder, layout, (skip.clone(), before), at(1), strided)?;
        let same = window(3, 1, 1);
        let main = conv_op(builder, layout, (inner, usize::from(channels)), at(2), same)?;
        if stack > 0 {
            skip = conv_op(builder, layout, (skip, before), at(1), window(1, 2, 0))?;
        }
        let half = multiplier(0.5);
        // In place, upon the sum's first operand; the next block reads it from there.
        let output = ModelBuilder::at(0, &dims, ZERO_POINT);
        skip = builder.op(Op::Add(Add {
            inputs: [main, skip],
            output,
            multipliers: [half; 2],
            output_multiplier: multiplier(1.0 / f64::from(1 << 20)),
            clamp: RELU,
        }));
    }
    builder.op(Op::AvgPool2d(AvgPool2d {
        input: Source::Previous,
        output: ModelBuilder::at(size, &[1, 1, most], ZERO_POINT),
        window: window(8, 1, 0),
        clamp: Clamp::NONE,
    }));
    dense(builder, (layout, 8), most.into(), ModelBuilder::at(0, &[10], ZERO_POINT))?;
    let output = ModelBuilder::at(size, &[10], ZERO_POINT);
    let multiplier = Multiplier { value: 1 << 30, shift: 23 };
    builder.op(Op::Softmax(Softmax { input: Source::Previous, output, multiplier }));
    Ok(())
}

/// MLPerf Tiny's keyword spotting: 49 spectra of 10 numbers, then four times a depthwise and a
/// pointwise convolution.
fn ds_cnn(builder: &mut ModelBuilder, layout: Layout) -> Result<(), ModelBuilderError> {
    const DIMS: [u16; 3] = [25, 5, 64];
    let image = DIMS.iter().copied().map(usize::from).product();
    let mut chain = Chain::new(&[490, image, image]);
    let input = chain.tensor(&[49, 10, 1]);
    builder.input_at(input);
    let first = Window { size: [10, 4], stride: [2, 2], padding: [4, 1] };
    conv_op(builder, layout, (Source::Previous, 1), chain.tensor(&DIMS), first)?;
    for _ in 0..4 {
        depthwise(builder, chain.tensor(&DIMS), 1, 1)?;
        conv_op(builder, layout, (Source::Previous, 64), chain.tensor(&DIMS), window(1, 1, 0))?;
    }
    classes(builder, layout, &mut chain, DIMS, 12)
}

/// The end of a network: the mean over an image, a dense layer and a softmax.
pub(super) fn classes(
    builder: &mut ModelBuilder,
    layout: Layout,
    chain: &mut Chain,
    [height, width, channels]: [u16; 3],
    classes: u16,
) -> Result<(), ModelBuilderError> {
    let size = [height, width];
    builder.op(Op::AvgPool2d(AvgPool2d {
        input: Source::Previous,
        output: chain.tensor(&[1, 1, channels]),
        window: Window { size, stride: size, padding: [0; 2] },
        clamp: Clamp::NONE,
    }));
    dense(builder, (layout, 8), channels.into(), chain.tensor(&[classes]))?;
    let output = chain.tensor(&[classes]);
    let multiplier = Multiplier { value: 1 << 30, shift: 23 };
    builder.op(Op::Softmax(Softmax { input: Source::Previous, output, multiplier }));
    Ok(())
}

/// A 3 × 3 depthwise convolution of an image of `output`'s channels.
pub(super) fn depthwise(
    builder: &mut ModelBuilder,
    output: Tensor,
    stride: u16,
    padding: u16,
) -> Result<(), ModelBuilderError> {
    let mut affine = builder.affine(output.shape.channels(), 9, kind(Layout::RowMajor, 8, true))?;
    affine.clamp = RELU;
    builder.op(Op::DepthwiseConv2d(DepthwiseConv2d {
        input: Source::Previous,
        output,
        window: window(3, stride, padding),
        dilation: [1, 1],
        affine,
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitsback_runtime::{Model, OpKind};

    #[test]
    fn multiply_accumulates_are_those_of_the_shapes() {
        let expected = [
            266_200, 266_200, 2_293_000, 284_434, 264_192, 12_501_632, 76_473_920, 2_656_768,
            7_489_664,
        ];
        assert_eq!(SHAPES.len(), expected.len());
        for (shape, macs) in SHAPES.into_iter().zip(expected) {
            for layout in [Layout::RowMajor, Layout::Pairs] {
                let bytes = shape.model(layout).unwrap();
                let model = Model::parse(&bytes).map_err(|error| error.to_string());
                assert_eq!(model.map(|model| model.macs()), Ok(macs), "{}", shape.name);
            }
        }
    }

    #[test]
    fn shapes_of_hosts_are_models() {
        let expected = [
            266_200,
            2_293_000,
            12_501_632,
            2_656_768,
            7_489_664,
            313_463_808,
            141_501_483,
            121_945_424,
        ];
        let shapes = HOST_SHAPES.into_iter().chain(PRUNED_SHAPES.map(|(shape, _)| shape));
        assert_eq!(shapes.clone().count(), expected.len());
        for (shape, macs) in shapes.zip(expected) {
            let bytes = shape.model(Layout::RowMajor).unwrap();
            let model = Model::parse(&bytes).unwrap();
            assert_eq!(model.macs(), macs, "{}", shape.name);
            // An export of floats refuses a softmax of another scale.
            let is_softmax = model.ops().last().is_some_and(|step| step.kind() == OpKind::Softmax);
            let scale = if is_softmax { 1.0 / 256.0 } else { 1.0 };
            assert_eq!(model.meta().output_scale, scale, "{}", shape.name);
        }
    }

    #[test]
    fn pruned_shapes_have_a_dense_one() {
        for (_, dense) in PRUNED_SHAPES {
            assert!(HOST_SHAPES.iter().any(|shape| shape.name == dense));
        }
    }
}
