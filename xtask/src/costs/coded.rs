//! Coded convolutions, drawn by chance: filters of which few weights are 0 and filters of which most are, that
//! have room in the arena, or on the stack alone, or were unpacked, with a pooling behind them where they do it.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::ops::{CodedConv2d, FILTER_MAX, MaxPool2d};
use bitsback_runtime::{Op, Source};

use super::draw::{CHANNELS, PRODUCTS, Sight, WEIGHTS, apart, kernel, sight};
use crate::prediction::path::{Form, Way};
use crate::synthetic::{Coded, ModelBuilder, ModelBuilderError, Random};

/// Most weights of a coded filter: what its decoder remembers.
const FILTER: usize = 512;
/// Least weights and positions of filters that may become lists.
const LISTED: [usize; 2] = [64, 16];

/// Adds a convolution, and a pooling where it does one; `None` where the dice fell badly.
pub(super) fn convolution(
    builder: &mut ModelBuilder,
    random: &mut Random,
    way: Way,
    form: Form,
) -> Result<Option<()>, ModelBuilderError> {
    let (pools, is_listed) = (way != Way::Conv, form == Form::Listed);
    let is_square = way == Way::Squares;
    let (size, channels) = match is_square {
        true => ([5; 2], 1),
        false => (kernel(random), random.sized(1 + usize::from(pools), CHANNELS)),
    };
    let (filters, columns) = (random.sized(1, CHANNELS), size[0] * size[1] * channels);
    // As many that may be lists as others.
    let is_listed = is_listed || !is_square && random.one_in(2);
    if filters * columns > WEIGHTS
        || columns > FILTER.min(FILTER_MAX)
        || (is_listed && columns < LISTED[0])
    {
        return Ok(None);
    }
    let most = PRODUCTS / (filters * columns);
    let Some(sight) = sight(builder, random, size, channels, most) else { return Ok(None) };
    let Sight { output: [down, right], window, dilation, .. } = sight;
    let is_even = window.stride == [1; 2] && dilation == [1; 2];
    if (is_listed && down * right < LISTED[1]) || (is_square && !is_even) {
        return Ok(None);
    }
    // What all filters take, at least where a pooling depends on it.
    if pools || random.one_in(2) {
        builder.leave(filters * columns + 4 * filters + 8);
    }
    let zero_point = random.int8();
    let output = builder.tensor(&[down, right, filters].map(|side| side as u16), zero_point);
    let kind = Coded {
        bits: random.between(2, 9) as u8,
        one_in: 1,
        lag: channels,
        bias: random.one_in(2).then_some(2),
        per_channel: random.one_in(2),
    };
    let weights = weights(random, filters, columns, kind.bits);
    let affine = builder.coded_of(&weights, columns, kind)?;
    builder.op(Op::CodedConv2d(CodedConv2d {
        input: Source::Previous,
        output,
        window,
        dilation,
        affine,
    }));
    if !pools {
        return Ok(Some(()));
    }
    let side = if is_square { 2 } else { random.between(2, 4) as u16 };
    let [down, right] = [down, right].map(|positions| positions / usize::from(side));
    if down * right == 0 {
        return Ok(None);
    }
    let output = builder.tensor(&[down, right, filters].map(|side| side as u16), zero_point);
    let (input, window, clamp) = (Source::Previous, apart(side), Clamp::NONE);
    builder.op(Op::MaxPool2d(MaxPool2d { input, output, window, clamp }));
    Ok(Some(()))
}

/// Weights, of which a share is other than 0: much the same in all filters, or not.
fn weights(random: &mut Random, filters: usize, columns: usize, bits: u8) -> Vec<i8> {
    let limit = (1 << (bits - 1)) - 1;
    let (share, spread) = (random.between(0, 100), random.choice(&[0, 5, 30, 100]));
    let mut weights = Vec::with_capacity(filters * columns);
    for _ in 0..filters {
        let share = share + random.between(-spread, spread + 1);
        for _ in 0..columns {
            let is_used = random.between(0, 100) < share;
            let size = if random.one_in(2) { 1 } else { random.between(1, limit + 1) };
            let weight = if random.one_in(2) { size } else { -size };
            weights.push(if is_used { weight as i8 } else { 0 });
        }
    }
    weights
}
