//! Two-dimensional convolution (cross-correlation).

use serde::{Deserialize, Serialize};

use super::affine::Layer;
use super::filter::{FILTER_MAX, Filter};
use super::operands::split;
use super::window::{Axis, convolve};
use super::{Operator, Parameters};
use crate::arch::{self, Lanes, PATCH_MAX};
use crate::format::{Affine, Layout, OpFault, Source, Tensor, Window};

/// y = requantize(W ⋆ x + b). Weights: filters × kernel height × kernel width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are the filters.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right; 1 is the ordinary convolution.
    pub dilation: [u16; 2],
    /// Parameters, one row per filter.
    pub affine: Affine,
}

impl Conv2d {
    /// Both axes, channels read and filters, if the shapes are images.
    fn geometry(&self, input: &Tensor) -> Option<([Axis; 2], usize, usize)> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, filters] = self.output.shape.image()?;
        Some((Axis::both(&self.window, self.dilation, [h, w], [oh, ow]), channels, filters))
    }

    /// Weights of one filter, saturating.
    fn columns(&self, channels: usize) -> usize {
        let [h, w] = self.window.size.map(usize::from);
        h.saturating_mul(w).saturating_mul(channels)
    }
}

impl Operator for Conv2d {
    fn inputs(&self) -> &[Source] {
        core::slice::from_ref(&self.input)
    }

    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (axes, channels, filters) = self.geometry(input).ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        let columns = self.columns(channels);
        if self.affine.weights.layout == Layout::Pairs && columns > FILTER_MAX {
            return Err(OpFault::Layout);
        }
        self.affine.check(section, filters, columns)
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let columns = self.columns(self.input.resolve(previous).shape.channels());
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some((axes, channels, filters)) = self.geometry(input) else { return };
        let columns = self.columns(channels);
        let zero_point = self.output.zero_point;
        let Some(layer) = Layer::find(&self.affine, section, filters, columns, zero_point) else {
            return;
        };
        let image =
            Image { values: inputs.get(input), zero_point: input.zero_point, axes, channels };
        if arch::is_direct(layer.matrix.bits) && columns <= PATCH_MAX {
            image.by_position(&layer, columns, output);
        } else {
            image.by_filter(&layer, columns, output);
        }
    }
}

/// The input and how the kernel moves over it.
struct Image<'a> {
    values: &'a [i8],
    zero_point: i8,
    axes: [Axis; 2],
    channels: usize,
}

impl Image<'_> {
    /// Gathers what lies under the kernel at each position once, for all filters: long sums and no
    /// border to think of, since padding is filled with the zero point. For weights that are used
    /// as they are stored, and filters of at most [`PATCH_MAX`] weights.
    fn by_position(&self, layer: &Layer<'_>, patch_len: usize, output: &mut [i8]) {
        let mut buffer = [0; PATCH_MAX];
        let patch = buffer.get_mut(..patch_len).unwrap_or_default();
        let mut lanes = Lanes::new();
        let [rows, columns] = self.axes;
        let offset = if layer.folded { 0 } else { -i16::from(self.zero_point) };
        // `max(1)`: an output has channels, but the compiler can't know.
        let filters = output.len() / rows.output.wrapping_mul(columns.output).max(1);
        let mut pixels = output.chunks_exact_mut(filters.max(1));
        for down in 0..rows.output {
            for (right, pixel) in (0..columns.output).zip(&mut pixels) {
                self.gather(down, right, patch);
                layer.apply(patch, offset, &mut lanes, pixel);
            }
        }
    }

    /// Copies the values under the kernel at a position of the output, in the filters' order.
    fn gather(&self, down: usize, right: usize, patch: &mut [i8]) {
        let [rows, columns] = self.axes;
        let ((row_taps, top), (taps, left)) = (rows.taps(down), columns.taps(right));
        if row_taps.len() < rows.size || taps.len() < columns.size {
            patch.fill(self.zero_point);
        }
        let mut copy = |tap: usize, pixel: usize, taps: usize| {
            let len = taps.wrapping_mul(self.channels);
            let to = patch.get_mut(tap.wrapping_mul(self.channels)..).unwrap_or_default();
            let from = self.values.get(pixel.wrapping_mul(self.channels)..).unwrap_or_default();
            arch::copy(to.get_mut(..len).unwrap_or_default(), from);
        };
        let mut y = top;
        for row_tap in row_taps {
            let tap = row_tap.wrapping_mul(columns.size).wrapping_add(taps.start);
            let pixel = y.wrapping_mul(columns.input).wrapping_add(left);
            if columns.dilation == 1 {
                copy(tap, pixel, taps.len());
            } else {
                for i in 0..taps.len() {
                    let right = i.wrapping_mul(columns.dilation);
                    copy(tap.wrapping_add(i), pixel.wrapping_add(right), 1);
                }
            }
            y = y.wrapping_add(rows.dilation);
        }
    }

    /// Unpacks each filter once, if it is small enough, and moves it over the image.
    fn by_filter(&self, layer: &Layer<'_>, columns: usize, output: &mut [i8]) {
        let (channels, dilation) = (self.channels, self.axes[1].dilation);
        let offset = -i16::from(self.zero_point);
        let filters = layer.matrix.rows;
        let mut buffer = [0; FILTER_MAX];
        for (row, packed) in layer.matrix.packed().enumerate() {
            let filter = Filter::unpack(packed, layer.matrix.bits, columns, &mut buffer);
            let bias = layer.unfolded_bias(row, &filter, columns, self.zero_point);
            let part = |tap: usize, pixel: usize, taps: usize| {
                let start = pixel.wrapping_mul(channels);
                let end = start.wrapping_add(taps.wrapping_mul(channels));
                let x = self.values.get(start..end).unwrap_or_default();
                arch::dot(filter.bits, filter.row, tap.wrapping_mul(channels), x, offset)
            };
            let segment = |tap: usize, pixel: usize, taps: usize| {
                if dilation == 1 {
                    return part(tap, pixel, taps);
                }
                (0..taps).fold(0i32, |sum, i| {
                    let pixel = pixel.wrapping_add(i.wrapping_mul(dilation));
                    sum.wrapping_add(part(tap.wrapping_add(i), pixel, 1))
                })
            };
            convolve(&self.axes, segment, |position, sum| {
                let at = position.wrapping_mul(filters).wrapping_add(row);
                if let Some(y) = output.get_mut(at) {
                    *y = layer.finish(row, sum.wrapping_add(bias));
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Clamp;
    use crate::ops::Op;
    use crate::ops::testing::{BiasKind, Plain, fault, plain, run, tensor, values};
    use crate::requantize::Multiplier;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// Shapes of a convolution.
    #[derive(Clone, Debug)]
    struct Shapes {
        input: [u16; 3],
        output: [u16; 3],
        window: Window,
        dilation: [u16; 2],
    }

    fn oracle(s: &Shapes, plain: &Plain, x: &[i8], input_zero: i8, output_zero: i8) -> Vec<i8> {
        let [h, w, c] = s.input.map(i64::from);
        let [kh, kw] = s.window.size.map(i64::from);
        let mut found = Vec::new();
        for oy in 0..i64::from(s.output[0]) {
            for ox in 0..i64::from(s.output[1]) {
                for filter in 0..plain.rows() {
                    let mut sum = 0i64;
                    for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                        let at = |o: i64, k: i64, axis: usize| {
                            o * i64::from(s.window.stride[axis]) + k * i64::from(s.dilation[axis])
                                - i64::from(s.window.padding[axis])
                        };
                        let (y, x_) = (at(oy, ky, 0), at(ox, kx, 1));
                        if !(0..h).contains(&y) || !(0..w).contains(&x_) {
                            continue;
                        }
                        for channel in 0..c {
                            let pixel = x[((y * w + x_) * c + channel) as usize];
                            let weight = plain.weights
                                [filter * plain.columns + ((ky * kw + kx) * c + channel) as usize];
                            sum += i64::from(weight) * (i64::from(pixel) - i64::from(input_zero));
                        }
                    }
                    found.push(plain.finish(filter, sum, output_zero));
                }
            }
        }
        found
    }

    fn conv(s: &Shapes, plain: &Plain, input_zero: i8, output_zero: i8) -> (Tensor, Op, Vec<u8>) {
        let (affine, section) = plain.store(input_zero);
        let input = tensor(0, &s.input, input_zero);
        let output = tensor(input.len() as u32, &s.output, output_zero);
        let (window, dilation) = (s.window, s.dilation);
        let op = Conv2d { input: Source::Previous, output, window, dilation, affine };
        (input, Op::Conv2d(op), section)
    }

    /// Output positions along an axis with `after` positions of padding at the end, if any fit.
    fn positions(n: u16, size: u16, stride: u16, dilation: u16, before: u16, after: u16) -> u16 {
        let extent = (size - 1) * dilation + 1;
        (n + before + after).checked_sub(extent).map_or(0, |room| room / stride + 1)
    }

    prop_compose! {
        fn shapes()(
            input in [1u16..8, 1u16..8, 1u16..5],
            size in [1u16..5, 1u16..5],
            stride in [1u16..4, 1u16..4],
            dilation in [1u16..3, 1u16..3],
            padding in [0u16..3, 0u16..3],
            after in [0u16..3, 0u16..3],
            filters in 1u16..5,
        ) -> Shapes {
            let along = |i: usize| positions(
                input[i], size[i], stride[i], dilation[i], padding[i], after[i],
            );
            let output = [along(0), along(1), filters];
            Shapes { input, output, window: Window { size, stride, padding }, dilation }
        }
    }

    prop_compose! {
        fn case()(s in shapes())(
            plain in plain(
                usize::from(s.output[2]),
                s.window.size.iter().product::<u16>() as usize * usize::from(s.input[2]),
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
        fn matches_the_oracle((s, plain, x, (input_zero, output_zero)) in case()) {
            let (input, op, section) = conv(&s, &plain, input_zero, output_zero);
            let axes = Axis::both(
                &s.window,
                s.dilation,
                [s.input[0], s.input[1]].map(usize::from),
                [s.output[0], s.output[1]].map(usize::from),
            );
            prop_assume!(axes.iter().all(|axis| axis.check().is_ok()));
            let found = run(&input, &[op], &section, &x).unwrap();
            prop_assert_eq!(found, oracle(&s, &plain, &x, input_zero, output_zero));
        }
    }

    fn uniform(bits: u8, weight: i16, columns: usize) -> Plain {
        Plain {
            bits,
            columns,
            weights: vec![weight; columns],
            bias: vec![0],
            bias_kind: BiasKind::None,
            multipliers: vec![Multiplier { value: 1 << 30, shift: -14 }],
            clamp: Clamp::NONE,
        }
    }

    fn unpadded(input: [u16; 3], size: [u16; 2]) -> Shapes {
        let output = [input[0] - size[0] + 1, input[1] - size[1] + 1, 1];
        let window = Window { size, stride: [1, 1], padding: [0, 0] };
        Shapes { input, output, window, dilation: [1, 1] }
    }

    #[test]
    fn filters_beyond_the_buffer() {
        for bits in [3, 4, 8, 16] {
            let s = unpadded([6, 6, 24], [5, 5]);
            let mut plain = uniform(bits, 0, 600);
            for (i, w) in plain.weights.iter_mut().enumerate() {
                *w = (i * 37 % 7) as i16 - 4;
            }
            let x: Vec<i8> = (0..864u32).map(|i| (i * 73 % 251) as i8).collect();
            let (input, op, section) = conv(&s, &plain, -7, 9);
            let found = run(&input, &[op], &section, &x).unwrap();
            assert_eq!(found, oracle(&s, &plain, &x, -7, 9));
        }
    }

    #[test]
    fn extremes() {
        for (bits, weight) in [(8, -128), (8, 127), (2, -2), (16, -32768)] {
            for (value, zero) in [(-128, 127), (127, -128)] {
                let s = unpadded([6, 6, 4], [5, 5]);
                let plain = uniform(bits, weight, 100);
                let (input, op, section) = conv(&s, &plain, zero, 0);
                let x = [value; 144];
                let found = run(&input, &[op], &section, &x).unwrap();
                assert_eq!(found, oracle(&s, &plain, &x, zero, 0));
            }
        }
    }

    #[test]
    fn shapes_must_fit() {
        let good = unpadded([6, 6, 4], [5, 5]);
        let plain = uniform(8, 1, 100);
        let fault_of = |s: &Shapes| {
            let (input, op, section) = conv(s, &plain, 0, 0);
            fault(&input, op, &section)
        };
        assert_eq!(fault_of(&good), None);
        assert_eq!(fault_of(&Shapes { output: [7, 2, 1], ..good.clone() }), Some(OpFault::Shape));
        assert_eq!(fault_of(&Shapes { dilation: [0, 1], ..good.clone() }), Some(OpFault::Shape));
        assert_eq!(fault_of(&Shapes { output: [2, 2, 2], ..good.clone() }), Some(OpFault::Section));
        let (_, op, section) = conv(&good, &plain, 0, 0);
        assert_eq!(fault(&tensor(0, &[144], 0), op, &section), Some(OpFault::Shape));
    }
}
