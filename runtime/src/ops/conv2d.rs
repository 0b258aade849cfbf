//! Two-dimensional convolution (cross-correlation).

use serde::{Deserialize, Serialize};

use super::filter::FILTER_MAX;
use super::image::Image;
use super::operands::{split, split_room};
use super::rows::{Feed, RowSource, Rows};
use super::unpacked::{Unpacked, aligned, unpacked_layer};
use super::window::geometry;
use super::{MaxPool2d, Operands, Operator, Parameters, Unpacking};
use crate::arch::{Isa, Kernels, bytes_of};
use crate::features::Features;
use crate::format::{Affine, Layout, OpFault, Source, Tensor, UnpackedLayer, Window, read_fields};

/// Least positions, and weights of a filter, for which lists are made of decoded ones.
const LISTED_POSITIONS: usize = 16;
const LISTED_COLUMNS: usize = 64;

/// y = requantize(W ⋆ x + b). Weights: filters × kernel height × kernel width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d<W = Affine> {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are the filters.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right; 1 is the ordinary convolution.
    pub dilation: [u16; 2],
    /// Parameters, one row per filter.
    pub affine: W,
}

read_fields!(Conv2d<W> { input, output, window, dilation, affine });

impl<W> Conv2d<W> {
    /// Weights of one filter, saturating.
    fn columns(&self, channels: usize) -> usize {
        self.window.positions().saturating_mul(channels)
    }
}

impl<W: RowSource> Operator for Conv2d<W>
where
    Self: Operands,
{
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let geometry = geometry(&self.window, self.dilation, input, &self.output);
        let (axes, channels, filters) = geometry.ok_or(OpFault::Shape)?;
        for axis in axes {
            axis.check()?;
        }
        let columns = self.columns(channels);
        if !self.affine.has_filters(columns) {
            return Err(OpFault::Layout);
        }
        self.affine.check(section, filters, columns)
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let columns = self.columns(self.input.resolve(previous).shape.channels());
        let macs = (self.output.len() as u64).saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.affine.steps(&self.parameters(previous))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        self.run_fed(&self.affine, previous, section, None, arena);
    }

    fn unpacked(&self, previous: &Tensor) -> Option<UnpackedLayer> {
        let Rows { count, columns, .. } = self.rows(self.input.resolve(previous));
        unpacked_layer(&self.affine, count, columns, false)
    }

    fn unpack(&self, previous: &Tensor, section: &[u8], to: &mut [u8]) {
        let input = self.input.resolve(previous);
        self.affine.unpack(section, self.rows(input), input.zero_point, Layout::RowMajor, to);
    }

    fn run_unpacked(&self, run: &Unpacking<'_>, bytes: &[u8], arena: &mut [i8]) {
        let feed = Unpacked { affine: &self.affine, bytes, layout: Layout::RowMajor };
        self.run_fed(&feed, run.previous, run.section, run.pool.as_ref(), arena);
    }

    fn run_in_room(&self, run: &Unpacking<'_>, arena: &mut [i8]) -> Option<()> {
        let &Unpacking { previous, section, ref pool } = run;
        let (input, layout) = (self.input.resolve(previous), Layout::RowMajor);
        let len = self.unpacked(previous)?.len();
        let (room, values, output) = split_room(arena, input, &self.output)?;
        let room = aligned(bytes_of(room)).get_mut(..len)?;
        self.affine.unpack(section, self.rows(input), input.zero_point, layout, room);
        let feed = Unpacked { affine: &self.affine, bytes: room, layout };
        self.run_on(&feed, (input, values), section, pool.as_ref(), output);
        Some(())
    }

    fn takes_in(&self, previous: &Tensor, section: &[u8], pool: &MaxPool2d) -> bool {
        let Rows { count, columns, .. } = self.rows(self.input.resolve(previous));
        let fits = columns <= FILTER_MAX && pool.window.is_apart();
        fits && self.affine.pools(section, count, columns, pool.clamp)
    }
}

impl<W> Conv2d<W> {
    /// Its filters; their sizes saturate.
    fn rows(&self, input: &Tensor) -> Rows {
        let lag = input.shape.channels();
        let count = self.output.shape.channels();
        // `max(1)`: there are filters, but the compiler can't know.
        let positions = self.output.len() / count.max(1);
        let columns = self.columns(lag);
        let pays = positions >= LISTED_POSITIONS && columns >= LISTED_COLUMNS;
        Rows { count, columns, lag, listed: Isa::DOT_LISTED.is_some() && pays }
    }

    /// Computes the output with filters from `feed`, and pools it where `pool` is there.
    #[inline(always)]
    fn run_fed<F: Feed>(
        &self,
        feed: &F,
        previous: &Tensor,
        section: &[u8],
        pool: Option<&MaxPool2d>,
        arena: &mut [i8],
    ) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        self.run_on(feed, (input, inputs.get(input)), section, pool, output);
    }

    /// As [`Self::run_fed`], of these values.
    #[inline(always)]
    fn run_on<F: Feed>(
        &self,
        feed: &F,
        (input, values): (&Tensor, &[i8]),
        section: &[u8],
        pool: Option<&MaxPool2d>,
        output: &mut [i8],
    ) {
        let geometry = geometry(&self.window, self.dilation, input, &self.output);
        let Some((axes, channels, filters)) = geometry else { return };
        let columns = self.columns(channels);
        let rows = self.rows(input);
        let zero_points = [input.zero_point, self.output.zero_point];
        let image = Image { values, zero_point: input.zero_point, axes, channels };
        feed.filters(section, rows, zero_points, |layer, first| match pool {
            Some(pool) if F::IS_WHOLE => image.pool(layer, columns, pool, output),
            _ if F::ARE_SHORT => image.convolve_some(layer, columns, [first, filters], output),
            _ => image.convolve(layer, columns, output),
        });
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
            let axes = crate::ops::window::Axis::both(
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
