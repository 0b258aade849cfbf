//! Operators without weights, drawn by chance.

use bitsback_runtime::format::{Clamp, Window};
use bitsback_runtime::ops::{
    Add, Argmax, AvgPool2d, Concat, HardSwish, LeakyRelu, Logistic, MaxPool2d, Mean, Mul, Pad,
    Rescale, ResizeNearest, Select, Slice, Softmax, Tanh,
};
use bitsback_runtime::{Op, OpKind, Source, Tensor};

use super::draw::{ONE, Sight, kernel, sight};
use crate::synthetic::{ModelBuilder, Random, multiplier};

/// Most channels, and most values of an image.
const CHANNELS: usize = 256;
const VALUES: usize = 24_000;

/// Adds an input and an operator of this kind; `None` where the dice fell badly, or it has weights.
pub(super) fn draw(builder: &mut ModelBuilder, random: &mut Random, kind: OpKind) -> Option<()> {
    match kind {
        OpKind::MaxPool2d | OpKind::AvgPool2d => return pool(builder, random, kind),
        OpKind::Softmax | OpKind::Argmax | OpKind::Select => return row(builder, random, kind),
        _ => {}
    }
    let dims = image(random)?;
    let zero_point = random.int8();
    builder.input(&dims, zero_point);
    let input = ModelBuilder::at(0, &dims, zero_point);
    let op = match kind {
        OpKind::Add | OpKind::Mul => return two(builder, random, kind, input),
        OpKind::Concat | OpKind::Pad | OpKind::Slice | OpKind::ResizeNearest => {
            return arrange(builder, random, kind, input);
        }
        OpKind::Mean => {
            let output = builder.tensor(&dims[2..], -3);
            let positions = u32::from(dims[0]) * u32::from(dims[1]);
            let multiplier = multiplier(1.1).over(positions);
            Op::Mean(Mean { input: Source::Previous, output, multiplier, clamp: Clamp::NONE })
        }
        _ => unary(builder, random, kind, &dims)?,
    };
    builder.op(op);
    Some(())
}

/// Height, width and channels.
fn image(random: &mut Random) -> Option<[u16; 3]> {
    let dims = [random.sized(1, 96), random.sized(1, 96), random.sized(1, CHANNELS)];
    let fits = dims.iter().product::<usize>() <= VALUES;
    fits.then_some(dims.map(|side| side as u16))
}

fn pool(builder: &mut ModelBuilder, random: &mut Random, kind: OpKind) -> Option<()> {
    let channels = random.sized(1, CHANNELS);
    let mut size = kernel(random);
    let Sight { input, output, mut window, .. } = sight(builder, random, size, channels, VALUES)?;
    let [mut down, mut right] = output;
    if random.one_in(4) {
        // Of the whole image.
        let dims = input.shape.dims();
        size = [dims.first(), dims.get(1)].map(|side| side.copied().unwrap_or(1).into());
        window = Window { size: size.map(|side| side as u16), ..ONE };
        [down, right] = [1, 1];
    }
    if size[0] * size[1] * down * right * channels > VALUES * 8 {
        return None;
    }
    let dims = [down, right, channels].map(|side| side as u16);
    let output = builder.tensor(&dims, input.zero_point);
    let (input, clamp) = (Source::Previous, Clamp::NONE);
    builder.op(match kind {
        OpKind::MaxPool2d => Op::MaxPool2d(MaxPool2d { input, output, window, clamp }),
        _ => Op::AvgPool2d(AvgPool2d { input, output, window, clamp }),
    });
    Some(())
}

fn row(builder: &mut ModelBuilder, random: &mut Random, kind: OpKind) -> Option<()> {
    let most = if kind == OpKind::Select { 8000 } else { 1000 };
    let length = random.sized(2, most);
    let zero_point = random.int8();
    builder.input(&[length as u16], zero_point);
    let input = Source::Previous;
    let op = match kind {
        OpKind::Softmax => {
            let output = builder.tensor(&[length as u16], i8::MIN);
            let multiplier = multiplier(0.04 * f64::from(1 << 26));
            Op::Softmax(Softmax { input, output, multiplier })
        }
        OpKind::Argmax => {
            let output = builder.tensor(&[2], i8::MIN);
            Op::Argmax(Argmax { input, output })
        }
        _ => {
            let mut mask = vec![0; length.div_ceil(8)];
            let one_in = random.between(1, 5);
            let mut kept = 0u16;
            for value in 0..length {
                if random.one_in(one_in) {
                    mask[value / 8] |= 1 << (value % 8);
                    kept += 1;
                }
            }
            let output = builder.tensor(&[kept], zero_point);
            let mask = builder.bytes(&mask);
            Op::Select(Select { input, output, mask })
        }
    };
    builder.op(op);
    Some(())
}

/// Operators of two operands: of one shape, or of one and a value for each channel.
fn two(builder: &mut ModelBuilder, random: &mut Random, kind: OpKind, input: Tensor) -> Option<()> {
    let dims = input.shape.dims().to_vec();
    let second = if random.one_in(3) {
        ModelBuilder::at(0, &[1, 1, *dims.last()?], input.zero_point)
    } else {
        input
    };
    let (inputs, output) = ([Source::Previous, Source::At(second)], builder.tensor(&dims, -6));
    builder.op(match kind {
        OpKind::Add => Op::Add(Add {
            inputs,
            output,
            multipliers: [multiplier(0.5), multiplier(0.37)],
            output_multiplier: multiplier(0.000_002),
            clamp: Clamp::NONE,
        }),
        _ => {
            let multiplier = multiplier(0.02);
            Op::Mul(Mul { inputs, output, multiplier, clamp: Clamp::NONE })
        }
    });
    Some(())
}

/// Operators that put values elsewhere.
fn arrange(
    builder: &mut ModelBuilder,
    random: &mut Random,
    kind: OpKind,
    from: Tensor,
) -> Option<()> {
    let (zero_point, input) = (from.zero_point, Source::Previous);
    let &[height, width, channels] = from.shape.dims() else { return None };
    let op = match kind {
        OpKind::Concat => {
            let axis = random.between(0, 3) as usize;
            let mut dims = [height, width, channels];
            dims[axis] *= 2;
            let output = builder.tensor(&dims, zero_point);
            let inputs = [Source::Previous, Source::At(from)].into_iter().collect();
            Op::Concat(Concat { inputs, output, axis: axis as u8 })
        }
        OpKind::Pad => {
            let before = [random.between(0, 4) as u16, random.between(0, 4) as u16];
            let dims = [height + 2 * before[0], width + 2 * before[1], channels];
            let output = builder.tensor(&dims, zero_point);
            let before = [before[0], before[1], 0].into_iter().collect();
            Op::Pad(Pad { input, output, before, value: zero_point })
        }
        OpKind::Slice => {
            let dims = [height, width, channels];
            let begin = dims.map(|side| random.between(0, side.into()) as u16 / 2);
            let stride = dims.map(|_| random.choice(&[1, 1, 2]));
            let sides = [0, 1, 2].map(|at| (dims[at] - begin[at]).div_ceil(stride[at]));
            let output = builder.tensor(&sides, zero_point);
            let [begin, stride] = [begin, stride].map(|of| of.into_iter().collect());
            Op::Slice(Slice { input, output, begin, stride })
        }
        _ => {
            let factor = random.choice(&[1, 2, 2, 3]);
            let output = builder.tensor(&[height * factor, width * factor, channels], zero_point);
            let half_pixel_centers = random.one_in(2);
            Op::ResizeNearest(ResizeNearest { input, output, half_pixel_centers })
        }
    };
    builder.op(op);
    Some(())
}

/// Functions of single values.
fn unary(
    builder: &mut ModelBuilder,
    random: &mut Random,
    kind: OpKind,
    dims: &[u16],
) -> Option<Op> {
    let zero_point = if kind == OpKind::Tanh { 0 } else { i8::MIN };
    let (input, output) = (Source::Previous, builder.tensor(dims, zero_point));
    let step = f64::from(random.between(10, 50)) / 1000.0;
    // An input's scale as the sigmoid and tanh take it.
    let steep = multiplier(step * f64::from(1 << 27));
    Some(match kind {
        OpKind::Rescale => {
            Op::Rescale(Rescale { input, output, multiplier: multiplier(1.3), clamp: Clamp::NONE })
        }
        OpKind::LeakyRelu => {
            let (positive, negative) = (multiplier(0.9), multiplier(0.1));
            Op::LeakyRelu(LeakyRelu { input, output, positive, negative })
        }
        OpKind::HardSwish => {
            let multiplier = multiplier(2.0 / 128.0).narrowed();
            let gate = self::multiplier(step * 256.0 / 3.0).narrowed();
            Op::HardSwish(HardSwish { input, output, multiplier, gate })
        }
        OpKind::Logistic => Op::Logistic(Logistic { input, output, multiplier: steep }),
        OpKind::Tanh => Op::Tanh(Tanh { input, output, multiplier: steep }),
        _ => return None,
    })
}
