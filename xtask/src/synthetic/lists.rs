//! Convolutions with coded filters, some of which are mostly zeros and some aren't: long and short ones, at
//! positions that see what is around the image, too, with one filter that doesn't end with a word.

use bitsback_runtime::format::Window;
use bitsback_runtime::ops::CodedConv2d;
use bitsback_runtime::{Op, Source};

use super::builder::{Coded, ModelBuilder, ModelBuilderError};

/// Filters, one weight in so many that may be other than 0, bits, rows and columns of a window.
type Layer = (u16, i32, u8, [u16; 2]);

/// The layers, from an image of one channel on. Filters of 9 and 63 weights never become lists, those of
/// 171, 252 and 490 may; where one in two is used, about half of them do.
const LAYERS: [Layer; 5] = [
    (7, 3, 3, [3, 3]),
    (19, 5, 4, [3, 3]),
    (28, 2, 5, [3, 3]),
    (70, 4, 8, [3, 3]),
    (5, 9, 2, [1, 7]),
];

pub(super) fn build(builder: &mut ModelBuilder) -> Result<(), ModelBuilderError> {
    let size = [6, 9];
    builder.input(&[size[0], size[1], 1], -7);
    let mut channels = 1;
    for (index, (filters, one_in, bits, window)) in LAYERS.into_iter().enumerate() {
        let columns = usize::from(channels * window[0] * window[1]);
        let bias = (index % 2 == 0).then_some(3);
        let per_channel = index % 3 == 1;
        let kind = Coded { bits, one_in, lag: channels.into(), bias, per_channel };
        let affine = builder.coded(filters.into(), columns, kind)?;
        let output = builder.tensor(&[size[0], size[1], filters], index as i8 * 11 - 25);
        let padding = window.map(|taps| taps / 2);
        let window = Window { size: window, stride: [1, 1], padding };
        let (input, dilation) = (Source::Previous, [1, 1]);
        builder.op(Op::CodedConv2d(CodedConv2d { input, output, window, dilation, affine }));
        channels = filters;
    }
    Ok(())
}
