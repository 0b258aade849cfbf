//! Layers of every kind, drawn by chance: a model each.
//!
//! Kernels have 1 to 7 taps a side, images 1 to 96 pixels, layers 1 to 256 channels, and multipliers
//! whatever is legal; small sizes are as likely as large ones. What a layer takes to run is limited, so
//! that some thousand can be counted in a minute.

use bitsback_runtime::format::{Affine, BiasWidth, Clamp, Layout, Window, pairs_pay};
use bitsback_runtime::ops::{
    CodedDense, CodedDepthwiseConv2d, Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, FILTER_MAX,
    MaxPool2d,
};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{Model, Op, Source, Tensor};

use super::{Drawn, coded, only, operators};
use crate::prediction::path::{Form, Path, Way};
use crate::synthetic::{Coded, Kind, ModelBuilder, ModelBuilderError, Random};

/// Most multiply-accumulates of a layer.
pub(super) const PRODUCTS: usize = 1_000_000;
/// Most values of an image.
const VALUES: usize = 100_000;
/// Most weights, apart from those of filters that are long.
pub(super) const WEIGHTS: usize = 40_000;
/// Longest side of an image, and most channels.
const SIDE: usize = 96;
pub(super) const CHANNELS: usize = 256;
/// Most bytes of arena: what every board has.
const ARENA: usize = 300_000;
/// Most bytes of unpacked weights, as well.
const UNPACKED: usize = 45_000;
/// A window of one pixel.
pub(super) const ONE: Window = Window { size: [1; 2], stride: [1; 2], padding: [0; 2] };
/// Draws until one is a sound model.
const TRIES: usize = 1000;

/// A model of one layer that takes this path, on a core that gathers filters of 576 weights.
pub(super) fn model(random: &mut Random, path: Path) -> Result<Drawn, ModelBuilderError> {
    let is_unpacked = matches!(path, Path::Weights(_, Form::Listed));
    for _ in 0..TRIES {
        let seed = (random.between(1, i32::MAX) as u64) << 20;
        let mut builder = ModelBuilder::new("", seed);
        let drawn = match path {
            Path::Weights(way, form) => weights(&mut builder, random, way, form)?,
            Path::Other(kind) => operators::draw(&mut builder, random, kind),
        };
        if drawn.is_none() {
            continue;
        }
        let file = builder.finish()?;
        let fits = |model: Model<'_>| {
            let has_room = !is_unpacked || model.weights_len() <= UNPACKED;
            model.arena_len() <= ARENA && has_room && only(&model, is_unpacked).is_some()
        };
        if Model::<'_>::parse(&file).is_ok_and(fits) {
            return Ok(Drawn { file, is_unpacked });
        }
    }
    Err(ModelBuilderError::NoLayer(path.name()))
}

/// The input and the output of a layer, and how its window moves.
pub(super) struct Sight {
    pub(super) input: Tensor,
    /// Height and width of the output.
    pub(super) output: [usize; 2],
    pub(super) window: Window,
    pub(super) dilation: [u16; 2],
}

/// A window over an image of so many `channels`, of which there are at most `most` positions.
pub(super) fn sight(
    builder: &mut ModelBuilder,
    random: &mut Random,
    size: [usize; 2],
    channels: usize,
    most: usize,
) -> Option<Sight> {
    let apart = if random.one_in(6) { 2 } else { 1 };
    let square = random.sized(1, SIDE);
    let sides = if random.one_in(2) { [square; 2] } else { [0; 2].map(|_| random.sized(1, SIDE)) };
    let padded = random.one_in(2);
    let mut window = Window { size: size.map(|side| side as u16), ..ONE };
    let (mut output, mut dilation) = ([0; 2], [1; 2]);
    for axis in [0, 1] {
        let (side, taps) = (sides[axis], size[axis]);
        dilation[axis] = if taps > 1 { apart } else { 1 };
        let extent = (taps - 1) * dilation[axis] as usize + 1;
        let stride = random.choice(&[1, 1, 1, 2, 2, 3]);
        let padding = if padded { (extent - 1) / 2 } else { 0 };
        output[axis] = (side + 2 * padding).checked_sub(extent)? / stride + 1;
        window.stride[axis] = stride as u16;
        window.padding[axis] = padding as u16;
    }
    let fits = output[0] * output[1] <= most && sides[0] * sides[1] * channels <= VALUES;
    fits.then_some(())?;
    let zero_point = if random.one_in(3) { 0 } else { random.int8() };
    let dims = [sides[0], sides[1], channels].map(|side| side as u16);
    builder.input(&dims, zero_point);
    let input = ModelBuilder::at(0, &dims, zero_point);
    Some(Sight { input, output, window, dilation })
}

/// The windows of a pooling, none of which see what another one sees.
pub(super) fn apart(side: u16) -> Window {
    Window { size: [side; 2], stride: [side; 2], padding: [0; 2] }
}

/// Taps of a kernel, down and right.
pub(super) fn kernel(random: &mut Random) -> [usize; 2] {
    let side = random.between(1, 8) as usize;
    if random.one_in(4) { [side, random.between(1, 8) as usize] } else { [side; 2] }
}

/// Parameters of a layer in this form.
struct Parameters {
    form: Form,
    bits: u8,
    /// Whether no multiplier may shift to the left.
    to_the_right: bool,
}

impl Parameters {
    fn new(random: &mut Random, form: Form, to_the_right: bool) -> Self {
        let bits = match form {
            Form::Bytes | Form::Pairs => 8,
            Form::Nibbles => 4,
            Form::Crumbs => 2,
            Form::Halves => 16,
            Form::Fields => random.choice(&[1, 3, 5, 6, 7]),
            Form::Coded | Form::Listed => random.between(2, 9) as u8,
        };
        Self { form, bits, to_the_right }
    }

    fn affine(
        &self,
        builder: &mut ModelBuilder,
        random: &mut Random,
        [rows, columns]: [usize; 2],
    ) -> Result<Affine, ModelBuilderError> {
        let bias = [Some(BiasWidth::I32), Some(BiasWidth::I16), Some(BiasWidth::I8), None];
        let pairs = self.form == Form::Pairs;
        let kind = Kind {
            bits: self.bits,
            bias: random.choice(&bias),
            bias_shift: random.between(0, 3) as u8,
            folded: random.one_in(2),
            per_channel: random.one_in(2),
            layout: if pairs { Layout::Pairs } else { Layout::RowMajor },
        };
        let mut affine = builder.affine(rows, columns, kind)?;
        if random.one_in(4) {
            let some = random.choice(&[1, 1, 8, 64]);
            let least = random.between(0, some) as usize;
            let rows = (least..rows).step_by(some as usize);
            let most = if self.to_the_right { 1 } else { 31 };
            let draw = || Multiplier {
                value: random.between(0, i32::MAX) >> random.choice(&[0, 0, 0, 1, 8]),
                shift: random.between(-31, most) as i8,
            };
            builder.replace_multipliers(&mut affine.requantization, rows, draw);
        }
        if random.one_in(2) {
            affine.clamp = Clamp { min: -100, max: 127 };
        }
        Ok(affine)
    }

    fn coded(&self, random: &mut Random) -> Coded {
        Coded {
            bits: self.bits,
            one_in: random.between(1, 9),
            lag: 1,
            bias: random.one_in(2).then_some(2),
            per_channel: random.one_in(2),
        }
    }
}

fn weights(
    builder: &mut ModelBuilder,
    random: &mut Random,
    way: Way,
    form: Form,
) -> Result<Option<()>, ModelBuilderError> {
    if matches!(form, Form::Coded | Form::Listed) && !matches!(way, Way::Dense | Way::Channels) {
        return coded::convolution(builder, random, way, form);
    }
    match way {
        Way::Dense => dense(builder, random, form),
        Way::Conv | Way::LongConv => convolution(builder, random, way, form),
        Way::ConvPool | Way::Squares => pooled(builder, random, way, form),
        Way::Depthwise | Way::Threes | Way::Channels => depthwise(builder, random, way, form),
    }
}

fn dense(
    builder: &mut ModelBuilder,
    random: &mut Random,
    form: Form,
) -> Result<Option<()>, ModelBuilderError> {
    let parameters = Parameters::new(random, form, false);
    let (rows, columns) = (random.sized(1, 512), random.sized(1, 4096));
    if rows * columns > WEIGHTS || (form == Form::Pairs && !pairs_pay(rows, columns)) {
        return Ok(None);
    }
    let zero_point = if random.one_in(3) { 0 } else { random.int8() };
    builder.input(&[columns as u16], zero_point);
    let (input, zero_point) = (Source::Previous, random.int8());
    let output = builder.tensor(&[rows as u16], zero_point);
    if form == Form::Coded {
        let kind = parameters.coded(random);
        let affine = builder.coded(rows, columns, kind)?;
        builder.op(Op::CodedDense(CodedDense { input, output, affine }));
    } else {
        let affine = parameters.affine(builder, random, [rows, columns])?;
        builder.op(Op::Dense(Dense { input, output, affine }));
    }
    Ok(Some(()))
}

fn convolution(
    builder: &mut ModelBuilder,
    random: &mut Random,
    way: Way,
    form: Form,
) -> Result<Option<()>, ModelBuilderError> {
    let parameters = Parameters::new(random, form, false);
    let (size, channels) = (kernel(random), random.sized(1, CHANNELS));
    let (filters, columns) = (random.sized(1, CHANNELS), size[0] * size[1] * channels);
    let long = way == Way::LongConv;
    let most = if long { 4 * WEIGHTS } else { WEIGHTS };
    if long != (columns > FILTER_MAX)
        || filters * columns > most
        || (form == Form::Pairs && !pairs_pay(filters, columns))
    {
        return Ok(None);
    }
    let most = PRODUCTS / (filters * columns);
    let Some(sight) = sight(builder, random, size, channels, most) else { return Ok(None) };
    let Sight { output: [down, right], window, dilation, .. } = sight;
    let (input, zero_point) = (Source::Previous, random.int8());
    let output = builder.tensor(&[down, right, filters].map(|side| side as u16), zero_point);
    let affine = parameters.affine(builder, random, [filters, columns])?;
    builder.op(Op::Conv2d(Conv2d { input, output, window, dilation, affine }));
    Ok(Some(()))
}

fn pooled(
    builder: &mut ModelBuilder,
    random: &mut Random,
    way: Way,
    form: Form,
) -> Result<Option<()>, ModelBuilderError> {
    let parameters = Parameters::new(random, form, true);
    let squares = way == Way::Squares;
    let channels = if squares { 1 } else { random.sized(2, 64) };
    let size = if squares { [5; 2] } else { kernel(random) };
    let filters = random.sized(1, 128);
    let columns = size[0] * size[1] * channels;
    let pool_side = if squares { 2 } else { random.between(2, 4) as u16 };
    if columns > FILTER_MAX || (form == Form::Pairs && !pairs_pay(filters, columns)) {
        return Ok(None);
    }
    let most = PRODUCTS / (filters * columns);
    let Some(sight) = sight(builder, random, size, channels, most) else { return Ok(None) };
    if squares && (sight.window.stride != [1; 2] || sight.dilation != [1; 2]) {
        return Ok(None);
    }
    let pool = apart(pool_side);
    let [down, right] = sight.output.map(|side| side / usize::from(pool_side));
    if down * right == 0 {
        return Ok(None);
    }
    let affine = parameters.affine(builder, random, [filters, columns])?;
    let zero_point = random.int8();
    let image = sight.output.map(|side| side as u16);
    let conv = Conv2d {
        input: Source::Previous,
        output: ModelBuilder::at(0, &[image[0], image[1], filters as u16], zero_point),
        window: sight.window,
        dilation: sight.dilation,
        affine,
    };
    let output = builder.tensor(&[down, right, filters].map(|side| side as u16), zero_point);
    let (input, clamp) = (Source::Previous, Clamp::NONE);
    let pool = MaxPool2d { input, output, window: pool, clamp };
    let fused = Conv2dMaxPool2d::fuse(&conv, &pool, &sight.input);
    builder.op(Op::Conv2dMaxPool2d(fused.ok_or(ModelBuilderError::Fuse)?));
    Ok(Some(()))
}

fn depthwise(
    builder: &mut ModelBuilder,
    random: &mut Random,
    way: Way,
    form: Form,
) -> Result<Option<()>, ModelBuilderError> {
    let parameters = Parameters::new(random, form, false);
    let size = if way == Way::Threes { [3; 2] } else { kernel(random) };
    let columns = size[0] * size[1];
    // One channel at a time go few of them, and those of several outputs each.
    let groups = way != Way::Channels;
    let channels = if groups { random.sized(4, CHANNELS) } else { random.sized(1, 64) };
    let multiplier = if groups { 1 } else { random.between(1, 4) as usize };
    let apart = groups || multiplier > 1 || channels < 4 || form == Form::Coded;
    let rows = channels * multiplier;
    if !apart || rows > CHANNELS {
        return Ok(None);
    }
    let most = PRODUCTS / (rows * columns);
    let Some(sight) = sight(builder, random, size, channels, most) else { return Ok(None) };
    let Sight { output: [down, right], window, dilation, .. } = sight;
    let threes = form == Form::Bytes && size == [3; 2] && dilation[1] == 1;
    if groups && threes != (way == Way::Threes) {
        return Ok(None);
    }
    let (input, zero_point) = (Source::Previous, random.int8());
    let output = builder.tensor(&[down, right, rows].map(|side| side as u16), zero_point);
    if form == Form::Coded {
        let kind = parameters.coded(random);
        let affine = builder.coded(rows, columns, kind)?;
        let op = CodedDepthwiseConv2d { input, output, window, dilation, affine };
        builder.op(Op::CodedDepthwiseConv2d(op));
    } else {
        let affine = parameters.affine(builder, random, [rows, columns])?;
        builder.op(Op::DepthwiseConv2d(DepthwiseConv2d {
            input,
            output,
            window,
            dilation,
            affine,
        }));
    }
    Ok(Some(()))
}
