//! VGG-16 for images of 32 × 32, as the preset `vgg-16` of job files has it without its batch
//! normalisation, which is folded, and what is left of it in *Bayesian Compression for Deep Learning*
//! (Louizos, Ullrich, Welling, 2017, arXiv:1705.08665).

use std::iter;

use bitsback_runtime::format::Layout;
use bitsback_runtime::ops::{FILTER_MAX, MaxPool2d};
use bitsback_runtime::{Op, Source, Tensor};

use super::builder::{ModelBuilder, ModelBuilderError};
use super::shapes::{Chain, by_halves, conv, dense, pooled, window};

/// Filters of the thirteen convolutions, what the hidden layer reads, and its neurons: the paper's way to
/// write an architecture.
pub(super) type Widths = [u16; 15];

/// Before compression.
pub(super) const DENSE: Widths =
    [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 512, 512];
/// What the group normal-Jeffreys prior leaves, from the paper's table of learned architectures.
pub(super) const BC_GNJ: Widths = [63, 64, 128, 128, 245, 155, 63, 26, 24, 20, 14, 12, 11, 11, 15];
/// What the group horseshoe prior leaves, from the same table.
pub(super) const BC_GHS: Widths = [51, 62, 125, 128, 228, 129, 38, 13, 9, 6, 5, 6, 6, 6, 20];

/// Convolutions of each block; a pooling ends it.
const BLOCKS: [usize; 5] = [2, 2, 3, 3, 3];
const INPUT: [u16; 3] = [32, 32, 3];
const CLASSES: u16 = 10;

/// A convolution of 3 × 3 at every position of a square image.
struct Layer {
    side: u16,
    channels: u16,
    filters: u16,
    ends_block: bool,
}

impl Layer {
    /// Whether one operator convolves and pools.
    fn is_fused(&self) -> bool {
        self.ends_block && 9 * usize::from(self.channels) <= FILTER_MAX
    }

    /// What it gives.
    fn whole(&self) -> [u16; 3] {
        [self.side, self.side, self.filters]
    }

    /// What is left by the pooling.
    fn half(&self) -> [u16; 3] {
        [self.side / 2, self.side / 2, self.filters]
    }

    /// Which of these are stored, in order.
    fn stored(&self) -> impl Iterator<Item = [u16; 3]> {
        let whole = (!self.is_fused()).then(|| self.whole());
        whole.into_iter().chain(self.ends_block.then(|| self.half()))
    }

    /// Adds it and the pooling behind it; gives what the next one reads.
    fn draw(
        &self,
        builder: &mut ModelBuilder,
        layout: Layout,
        chain: &mut Chain,
        input: &Tensor,
    ) -> Result<Tensor, ModelBuilderError> {
        // Of one that is pooled at once, the place doesn't matter.
        let whole = if self.is_fused() {
            ModelBuilder::at(0, &self.whole(), input.zero_point)
        } else {
            chain.tensor(&self.whole())
        };
        let from = (Source::Previous, self.channels.into());
        let conv = conv(builder, layout, from, whole.clone(), window(3, 1, 1))?;
        if !self.ends_block {
            builder.op(Op::Conv2d(conv));
            return Ok(whole);
        }
        let half = chain.tensor(&self.half());
        let pool: MaxPool2d = by_halves(half.clone());
        if self.is_fused() {
            pooled(builder, &conv, &pool, input)?;
        } else {
            builder.op(Op::Conv2d(conv));
            builder.op(Op::MaxPool2d(pool));
        }
        Ok(half)
    }
}

/// The convolutions, in order.
fn layers(widths: &Widths) -> Vec<Layer> {
    let [mut side, _, mut channels] = INPUT;
    let ends = BLOCKS.into_iter().flat_map(|count| (1..=count).map(move |number| number == count));
    let layer = |(ends_block, &filters): (bool, &u16)| {
        let layer = Layer { side, channels, filters, ends_block };
        channels = filters;
        side = if ends_block { side / 2 } else { side };
        layer
    };
    ends.zip(widths).map(layer).collect()
}

pub(super) fn draw(
    builder: &mut ModelBuilder,
    layout: Layout,
    widths: &Widths,
) -> Result<(), ModelBuilderError> {
    let layers = layers(widths);
    let [.., features, hidden] = *widths;
    let vectors = [[hidden, 1, 1], [CLASSES, 1, 1]];
    let tensors = iter::once(INPUT).chain(layers.iter().flat_map(Layer::stored)).chain(vectors);
    let lengths = tensors.map(|dims| dims.into_iter().map(usize::from).product());
    let mut chain = Chain::new(&lengths.collect::<Vec<_>>());
    let mut previous = chain.tensor(&INPUT);
    builder.input_at(previous.clone());
    for layer in &layers {
        previous = layer.draw(builder, layout, &mut chain, &previous)?;
    }
    let output = chain.tensor(&[hidden]);
    dense(builder, (layout, 8), features.into(), output)?;
    let output = chain.tensor(&[CLASSES]);
    dense(builder, (layout, 8), hidden.into(), output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hidden_layer_reads_what_the_last_convolution_gives() {
        for widths in [DENSE, BC_GNJ, BC_GHS] {
            let [.., last, features, _] = widths;
            assert_eq!(last, features);
            assert_eq!(layers(&widths).last().unwrap().half(), [1, 1, features]);
        }
    }

    #[test]
    fn nothing_grows() {
        for widths in [BC_GNJ, BC_GHS] {
            assert!(widths.iter().zip(DENSE).all(|(&left, dense)| left <= dense));
        }
    }

    #[test]
    fn short_filters_are_pooled_at_once() {
        let fused = |widths| layers(&widths).iter().map(Layer::is_fused).collect::<Vec<_>>();
        let first = |at: &[usize]| (0..13).map(|layer| at.contains(&layer)).collect::<Vec<_>>();
        assert_eq!(fused(DENSE), first(&[1]));
        assert_eq!(fused(BC_GHS), first(&[1, 9, 12]));
    }
}
