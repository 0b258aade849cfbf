//! Depthwise convolution: every output channel sees one input channel.

use serde::{Deserialize, Serialize};

use super::affine::Layer;
use super::filter::{FILTER_MAX, Filter};
use super::image::Image;
use super::operands::split;
use super::rows::{Feed, RowSource, Rows};
use super::unpacked::{Unpacked, unpacked_layer};
use super::window::{Axis, convolve, geometry};
use super::{Operands, Operator, Parameters, Unpacking};
use crate::arch::{Group, Isa, Kernels, LANES, Matrix, Row, SPANS_MAX, Sight, Span, Steps};
use crate::features::Features;
use crate::format::{
    Affine, Fields, Layout, OpFault, Source, Tensor, UnpackedLayer, Window, read_fields,
};

/// What kernels may read behind the last weight.
const WORD: usize = size_of::<u32>();

/// y = requantize(w ⋆ x + b), channel by channel. With a multiplier m, output channels m·c to
/// m·c + m − 1 read input channel c. Weights: output channels × kernel height × kernel width.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepthwiseConv2d<W = Affine> {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are a multiple of the input's.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right.
    pub dilation: [u16; 2],
    /// Parameters, one row per output channel.
    pub affine: W,
}

read_fields!(DepthwiseConv2d<W> { input, output, window, dilation, affine });

impl<W: RowSource> Operator for DepthwiseConv2d<W>
where
    Self: Operands,
{
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let geometry = geometry(&self.window, self.dilation, input, &self.output);
        let (axes, channels, outputs) = geometry.ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        let columns = self.window.positions();
        if !self.affine.has_kernels(columns) {
            return Err(OpFault::Layout);
        }
        if !outputs.is_multiple_of(channels) {
            return Err(OpFault::Shape);
        }
        self.affine.check(section, outputs, columns)
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, _previous: &Tensor) -> Parameters {
        let columns = self.window.positions();
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.affine.steps(&self.parameters(previous))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        self.run_fed(&self.affine, previous, section, arena);
    }

    fn unpacked(&self, _previous: &Tensor) -> Option<UnpackedLayer> {
        let Rows { count, columns, .. } = self.rows();
        unpacked_layer(&self.affine, count, columns, false)
    }

    fn unpack(&self, previous: &Tensor, section: &[u8], to: &mut [u8]) {
        let zero_point = self.input.resolve(previous).zero_point;
        self.affine.unpack(section, self.rows(), zero_point, Layout::RowMajor, to);
    }

    fn run_unpacked(&self, run: &Unpacking<'_>, bytes: &[u8], arena: &mut [i8]) {
        let feed = Unpacked { affine: &self.affine, bytes, layout: Layout::RowMajor };
        self.run_fed(&feed, run.previous, run.section, arena);
    }
}

impl<W> DepthwiseConv2d<W> {
    /// Its kernels.
    fn rows(&self) -> Rows {
        let columns = self.window.positions();
        Rows { count: self.output.shape.channels(), columns, lag: 1, listed: false }
    }

    /// Computes the output with kernels from `feed`.
    #[inline(always)]
    fn run_fed<F: Feed>(&self, feed: &F, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let geometry = geometry(&self.window, self.dilation, input, &self.output);
        let Some((axes, channels, outputs)) = geometry else { return };
        let columns = self.window.positions();
        let rows = Rows { count: outputs, columns, lag: 1, listed: false };
        let zero_points = [input.zero_point, self.output.zero_point];
        let image =
            Image { values: inputs.get(input), zero_point: input.zero_point, axes, channels };
        feed.filters(section, rows, zero_points, |layer, first| {
            if Isa::HAS_DEPTHWISE && channels < LANES {
                let done = image.convolve_few(layer, columns, [first, outputs], output);
                if done.is_some() {
                    return;
                }
            }
            let are_alike = F::IS_WHOLE && channels == outputs;
            let rare = &mut |channel: usize, output: &mut [i8]| {
                image.convolve_channel(layer, columns, channel, [0, outputs], output);
            };
            let done = match are_alike {
                true if Isa::HAS_IMAGES => Isa::depthwise_image(&image, layer, output),
                true if Isa::HAS_DEPTHWISE => image.convolve_whole(layer, output, rare),
                true => image.convolve_groups(layer, output, rare),
                false => None,
            };
            if done.is_none() {
                image.convolve_channels(layer, columns, [first, outputs], output);
            }
        });
    }
}

impl Image<'_> {
    /// Of few channels: a convolution of all of them, by filters that are 0 but for their own. These are some of
    /// `all`, from the `first` one on. `None` where weights have more than 8 bits, or there are too many taps.
    #[inline(never)]
    fn convolve_few(
        &self,
        layer: &Layer<'_>,
        taps: usize,
        [first, all]: [usize; 2],
        output: &mut [i8],
    ) -> Option<()> {
        let matrix = &layer.matrix;
        if matrix.bits() > 8 {
            return None;
        }
        let columns = taps.checked_mul(self.channels)?;
        let at_once = FILTER_MAX.checked_div(columns).filter(|&rows| rows > 0)?;
        let multiplier = all.checked_div(self.channels)?;
        for begin in (0..matrix.rows).step_by(at_once) {
            let rows = matrix.rows.wrapping_sub(begin).min(at_once);
            let mut bytes = [0; FILTER_MAX + WORD];
            let number = first.wrapping_add(begin);
            for (row, filter) in (0..rows).zip(bytes.chunks_exact_mut(columns)) {
                let Row::Packed(packed) = matrix.row(begin.wrapping_add(row)) else { return None };
                let mut weights = Fields::new(packed, matrix.bits(), 0);
                let channel = number.wrapping_add(row).checked_div(multiplier)?;
                for pixel in filter.chunks_exact_mut(self.channels) {
                    *pixel.get_mut(channel)? = weights.take() as u8;
                }
            }
            let (bytes, arrangement, listed) = (&bytes, Layout::RowMajor, None);
            let matrix =
                Matrix { bytes, arrangement, width: 8, rows, columns, row_len: columns, listed };
            let layer = Layer { matrix, folded: layer.folded, finish: layer.finish.from(begin) };
            self.convolve_some(&layer, columns, [number, all], output);
        }
        Some(())
    }

    /// As many outputs as there are channels, by a kernel for the layer; `None` where there is none.
    /// `rare` makes those of a channel that it doesn't take.
    #[inline(never)]
    fn convolve_whole(
        &self,
        layer: &Layer<'_>,
        output: &mut [i8],
        rare: &mut dyn FnMut(usize, &mut [i8]),
    ) -> Option<()> {
        let Self { values, axes, channels, zero_point } = *self;
        let mut room = [[Span::NONE; SPANS_MAX]; 2];
        let [down, right] = &mut room;
        let [rows, columns] = &axes;
        let spans = if Isa::SEES_SPANS {
            [spans(rows, down)?, spans(columns, right)?]
        } else {
            [&*down, &*right].map(|room| room.get(..0).unwrap_or_default())
        };
        let sight = Sight {
            values,
            input: axes.map(|axis| axis.input),
            size: axes.map(|axis| axis.size),
            output: axes.map(|axis| axis.output),
            channels,
            padding: axes.map(|axis| axis.padding),
            stride: axes.map(|axis| axis.stride),
            dilation: axes.map(|axis| axis.dilation),
            spans,
            zero_point,
            folded: layer.folded,
        };
        Isa::depthwise_layer(&sight, &layer.matrix, &layer.finish, output, rare)
    }

    /// As many outputs as there are channels, a group of them at a time; `None` where they are too
    /// few or the kernels don't take the layer, which may have been noticed late. `rare` makes
    /// those of a channel that they don't take.
    #[inline(never)]
    fn convolve_groups(
        &self,
        layer: &Layer<'_>,
        output: &mut [i8],
        rare: &mut dyn FnMut(usize, &mut [i8]),
    ) -> Option<()> {
        let Self { values, axes: [rows, columns], channels, .. } = *self;
        let steps = |[down, right]: [usize; 2], width: usize| {
            let right = right.wrapping_mul(channels);
            [down.wrapping_mul(width).wrapping_mul(channels), right]
        };
        let steps = Steps {
            taps: steps([rows.dilation, columns.dilation], columns.input),
            input: steps([rows.stride, columns.stride], columns.input),
            output: steps([1, 1], columns.output),
        };
        let mut group = Group::new(columns.size, steps);
        for (_, run) in columns.runs() {
            group.add_run(run.taps, run.position.wrapping_mul(channels), run.count)?;
        }
        let offset = (-i32::from(self.zero_point), layer.folded);
        let last = channels.checked_sub(LANES)?;
        for first in (0..channels).step_by(LANES) {
            let first = first.min(last); // the last group ends with the last channel
            group.begin(&layer.matrix, &layer.finish, first, offset);
            let mut left = 0;
            for (down, run) in rows.runs() {
                group.arrange(&layer.matrix, first, run.taps)?;
                let row = columns.input.wrapping_mul(channels);
                let x = values.get(run.position.wrapping_mul(row).wrapping_add(first)..)?;
                let to = down.wrapping_mul(steps.output[0]).wrapping_add(first);
                let y = output.get_mut(to..)?;
                left |= Isa::depthwise(&group, &layer.finish, first, run.count, (x, y))?;
            }
            while left != 0 {
                rare(first.wrapping_add(left.trailing_zeros() as usize), output);
                left &= left.wrapping_sub(1);
            }
        }
        Some(())
    }

    /// A convolution of each channel by itself, by some of `all` filters, from the `first` one on: of
    /// as many for each channel.
    fn convolve_channels(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        [first, all]: [usize; 2],
        output: &mut [i8],
    ) {
        for row in 0..layer.matrix.rows {
            self.convolve_channel(layer, columns, row, [first, all], output);
        }
    }

    /// As [`Self::convolve_channels`] by one of these filters.
    #[inline(never)]
    fn convolve_channel(
        &self,
        layer: &Layer<'_>,
        columns: usize,
        row: usize,
        [first, all]: [usize; 2],
        output: &mut [i8],
    ) {
        let offset = -i16::from(self.zero_point);
        let multiplier = all.checked_div(self.channels).unwrap_or(1);
        let stride = self.axes[1].dilation.wrapping_mul(self.channels);
        let Row::Packed(packed) = layer.matrix.row(row) else { return };
        let mut buffer = [0; FILTER_MAX];
        let filter = Filter::unpack(packed, layer.matrix.bits(), columns, &mut buffer);
        let bias = layer.unfolded_bias(row, &filter, columns, self.zero_point);
        let number = first.wrapping_add(row);
        let channel = number.checked_div(multiplier).unwrap_or_default();
        let segment = |tap: usize, pixel: usize, taps: usize| {
            let start = pixel.wrapping_mul(self.channels).wrapping_add(channel);
            let x = self.values.get(start..).unwrap_or_default();
            Isa::dot_strided(filter.bits, filter.row, tap, x, stride, taps, offset)
        };
        convolve(&self.axes, segment, |position, sum| {
            let at = position.wrapping_mul(all).wrapping_add(number);
            if let Some(y) = output.get_mut(at) {
                *y = layer.finish.output(row, sum.wrapping_add(bias));
            }
        });
    }
}

/// The windows along an axis; `None` where there is no room.
fn spans<'a>(axis: &Axis, room: &'a mut [Span; SPANS_MAX]) -> Option<&'a [Span]> {
    let mut count = 0usize;
    for (_, run) in axis.runs() {
        let (first, len) = (run.taps.start, run.taps.len());
        *room.get_mut(count)? = Span { first, len, position: run.position, count: run.count };
        count = count.wrapping_add(1);
    }
    room.get(..count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{Plain, fault, plain, run, tensor, values};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Shapes of a depthwise convolution.
    #[derive(Clone, Debug)]
    struct Shapes {
        input: [u16; 3],
        /// Outputs of a channel.
        multiplier: u16,
        output: [u16; 2],
        window: Window,
        dilation: [u16; 2],
    }

    impl Shapes {
        fn outputs(&self) -> u16 {
            self.input[2] * self.multiplier
        }
    }

    fn op(s: &Shapes, plain: &Plain, outputs: u16, zeros: (i8, i8)) -> (Tensor, Op, Vec<u8>) {
        let (affine, section) = plain.store(zeros.0);
        let input = tensor(0, &s.input, zeros.0);
        let [h, w] = s.output;
        let output = tensor(input.len() as u32, &[h, w, outputs], zeros.1);
        let (input_at, window, dilation) = (Source::Previous, s.window, s.dilation);
        let op = DepthwiseConv2d { input: input_at, output, window, dilation, affine };
        (input, Op::DepthwiseConv2d(op), section)
    }

    fn oracle(s: &Shapes, plain: &Plain, x: &[i8], zeros: (i8, i8)) -> Vec<i8> {
        let [h, w, c] = s.input.map(i64::from);
        let [oh, ow] = s.output.map(i64::from);
        let [kh, kw] = s.window.size.map(i64::from);
        let at = |o: i64, k: i64, axis: usize| {
            let [stride, dilation, padding] =
                [s.window.stride, s.dilation, s.window.padding].map(|of| i64::from(of[axis]));
            o * stride + k * dilation - padding
        };
        let mut found = Vec::new();
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            for output in 0..i64::from(s.outputs()) {
                let mut sum = 0i64;
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let (y, x_) = (at(oy, ky, 0), at(ox, kx, 1));
                    if (0..h).contains(&y) && (0..w).contains(&x_) {
                        let channel = output / i64::from(s.multiplier);
                        let pixel = x[((y * w + x_) * c + channel) as usize];
                        let weight = plain.weights[((output * kh + ky) * kw + kx) as usize];
                        sum += i64::from(weight) * (i64::from(pixel) - i64::from(zeros.0));
                    }
                }
                found.push(plain.finish(output as usize, sum, zeros.1));
            }
        }
        found
    }

    prop_compose! {
        fn shapes()(
            input in [1u16..9, 1u16..9, 1u16..14],
            multiplier in prop_oneof![4 => Just(1u16), 1 => 2u16..4],
            size in [1u16..8, 1u16..6],
            stride in [1u16..4, 1u16..4],
            dilation in [1u16..3, 1u16..3],
            padding in [0u16..8, 0u16..8],
            output in [1u16..8, 1u16..8],
        ) -> Shapes {
            // As far as the shape rule allows.
            let pad = |axis: usize| padding[axis].min((size[axis] - 1) * dilation[axis]);
            let padding = [pad(0), pad(1)];
            let most = |axis: usize| (padding[axis] + input[axis] - 1) / stride[axis] + 1;
            let output = [output[0].min(most(0)), output[1].min(most(1))];
            Shapes { input, multiplier, output, window: Window { size, stride, padding }, dilation }
        }
    }

    prop_compose! {
        fn case()(s in shapes())(
            plain in plain(
                s.outputs().into(),
                s.window.size.iter().copied().map(usize::from).product(),
            ),
            x in values(s.input.iter().product::<u16>() as usize),
            zeros in any::<(i8, i8)>(),
            s in Just(s),
        ) -> (Shapes, Plain, Vec<i8>, (i8, i8)) {
            (s, plain, x, zeros)
        }
    }

    proptest! {
        #[test]
        fn matches_the_oracle((s, plain, x, zeros) in case()) {
            let (input, op, section) = op(&s, &plain, s.outputs(), zeros);
            let found = run(&input, &[op], &section, &x).unwrap();
            prop_assert_eq!(found, oracle(&s, &plain, &x, zeros));
        }

        #[test]
        fn channels_must_be_a_multiple((s, plain, _, zeros) in case()) {
            prop_assume!(s.input[2] > 1);
            let (input, op, section) = op(&s, &plain, s.outputs() + 1, zeros);
            prop_assert_eq!(fault(&input, op, &section), Some(OpFault::Shape));
        }
    }
}
