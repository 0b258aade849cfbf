//! MobileNetV1 of a quarter of the channels, for images of 96 × 96: MLPerf Tiny's person detection.

use bitsback_runtime::Source;
use bitsback_runtime::format::Layout;

use super::builder::{ModelBuilder, ModelBuilderError};
use super::shapes::{Chain, classes, conv_op, depthwise, window};

/// Channels behind each pointwise convolution, and the stride of the depthwise one before it.
const BLOCKS: [(u16, u16); 13] = [
    (16, 1),
    (32, 2),
    (32, 1),
    (64, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (128, 1),
    (256, 2),
    (256, 1),
];

pub(super) fn draw(builder: &mut ModelBuilder, layout: Layout) -> Result<(), ModelBuilderError> {
    let mut dims = [48, 48, 8];
    let mut lengths = vec![96 * 96 * 3, 48 * 48 * 8];
    let (mut side, mut channels) = (48usize, 8usize);
    for (filters, stride) in BLOCKS {
        side /= usize::from(stride);
        lengths.push(side * side * channels);
        channels = filters.into();
        lengths.push(side * side * channels);
    }
    let mut chain = Chain::new(&lengths);
    builder.input_at(chain.tensor(&[96, 96, 3]));
    // The converter pads below and to the right where a stride leaves one position over.
    conv_op(builder, layout, (Source::Previous, 3), chain.tensor(&dims), window(3, 2, 0))?;
    for (filters, stride) in BLOCKS {
        let [side, _, channels] = dims;
        let side = side / stride;
        let padding = if stride == 1 { 1 } else { 0 };
        depthwise(builder, chain.tensor(&[side, side, channels]), stride, padding)?;
        let before = usize::from(channels);
        dims = [side, side, filters];
        conv_op(builder, layout, (Source::Previous, before), chain.tensor(&dims), window(1, 1, 0))?;
    }
    classes(builder, layout, &mut chain, dims, 2)
}
