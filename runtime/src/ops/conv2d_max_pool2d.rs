//! A convolution and the maximum pooling behind it as one.
//!
//! Requantisation never decreases, as long as nothing is shifted to the left: so the largest output
//! of a pooling window is the output of its largest sum, bit for bit. One of a window's sums is made
//! an output instead of all, and the convolution's whole image is never stored.

use serde::{Deserialize, Serialize};

use super::filter::FILTER_MAX;
use super::image::Image;
use super::operands::split;
use super::rows::{Feed, RowSource, Rows};
use super::unpacked::{Unpacked, unpacked_layer};
use super::window::Axis;
use super::{Operator, Parameters, Unpacking};
use crate::features::Features;
use crate::format::{Affine, Layout, OpFault, Source, Tensor, UnpackedLayer, Window, read_fields};

/// y = max over each pooling window of requantize(W ⋆ x + b).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2dMaxPool2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are the filters.
    pub output: Tensor,
    /// Kernel size, stride and padding of the convolution.
    pub window: Window,
    /// Distance between the kernel's taps, down and right.
    pub dilation: [u16; 2],
    /// Parameters, one row per filter, of at most 8 bits.
    pub affine: Affine,
    /// Height and width of the convolution's image.
    pub positions: [u16; 2],
    /// Size, stride and padding of the pooling. Where windows overlap, sums are made again.
    pub pool: Window,
}

read_fields!(Conv2dMaxPool2d { input, output, window, dilation, affine, positions, pool });

impl Conv2dMaxPool2d {
    /// The two operators as one, if windows don't overlap and filters are small. `previous` is the
    /// output of the operator before them.
    ///
    /// For the caller to know: that the pooling, and nothing else, reads the convolution's output,
    /// and that no multiplier shifts to the left.
    #[cfg(any(test, feature = "writer"))]
    pub fn fuse(conv: &super::Conv2d, pool: &super::MaxPool2d, previous: &Tensor) -> Option<Self> {
        let [_, _, channels] = conv.input.resolve(previous).shape.image()?;
        let positions = match *conv.output.shape.dims() {
            [height, width, _] => [height, width],
            _ => return None,
        };
        let small = conv.window.positions().saturating_mul(channels) <= FILTER_MAX;
        let clamp = conv.affine.clamp.and(pool.clamp)?;
        let fits = pool.window.is_apart() && small && conv.affine.weights.bits <= 8;
        fits.then(|| Self {
            input: conv.input.clone(),
            output: pool.output.clone(),
            window: conv.window,
            dilation: conv.dilation,
            affine: Affine { clamp, ..conv.affine },
            positions,
            pool: pool.window,
        })
    }

    /// Height, width and channels of the input and of the output, if they are images.
    fn shapes(&self, input: &Tensor) -> Option<[[usize; 3]; 2]> {
        Some([input.shape.image()?, self.output.shape.image()?])
    }

    /// The convolution's axes.
    fn axes(&self, [h, w, _]: [usize; 3]) -> [Axis; 2] {
        Axis::both(&self.window, self.dilation, [h, w], self.positions.map(usize::from))
    }

    /// The pooling's.
    fn pool_axes(&self, [h, w, _]: [usize; 3]) -> [Axis; 2] {
        Axis::both(&self.pool, [1, 1], self.positions.map(usize::from), [h, w])
    }

    /// Weights of one filter, saturating.
    fn columns(&self, channels: usize) -> usize {
        self.window.positions().saturating_mul(channels)
    }
}

impl Operator for Conv2dMaxPool2d {
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let [from, to] = self.shapes(input).ok_or(OpFault::Shape)?;
        let ([_, _, channels], [_, _, filters]) = (from, to);
        for axis in self.axes(from).iter().chain(&self.pool_axes(to)) {
            axis.check()?;
        }
        let columns = self.columns(channels);
        if columns > FILTER_MAX {
            return Err(OpFault::Shape);
        }
        if self.affine.weights.bits > 8 {
            return Err(OpFault::WeightBits);
        }
        self.affine.check(section, filters, columns)?;
        if self.affine.shifts_left(section, filters, columns) {
            return Err(OpFault::Multiplier);
        }
        Ok(())
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let columns = self.columns(self.input.resolve(previous).shape.channels());
        let [h, w] = self.pool.size.map(u64::from);
        let sums = (self.output.len() as u64).saturating_mul(h).saturating_mul(w);
        let macs = sums.saturating_mul(columns as u64);
        self.affine.parameters(self.output.shape.channels(), columns, macs)
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        self.run_fed(&self.affine, previous, section, arena);
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
        self.run_fed(&feed, run.previous, run.section, arena);
    }
}

impl Conv2dMaxPool2d {
    /// Its filters; their sizes saturate.
    fn rows(&self, input: &Tensor) -> Rows {
        let lag = input.shape.channels();
        Rows { count: self.output.shape.channels(), columns: self.columns(lag), lag, listed: false }
    }

    /// Computes the output with filters from `feed`, which has all of them at once.
    #[inline(always)]
    fn run_fed(&self, feed: &impl Feed, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let Some([from, to]) = self.shapes(input) else { return };
        let [_, _, channels] = from;
        let (values, axes) = (inputs.get(input), self.axes(from));
        let image = Image { values, zero_point: input.zero_point, axes, channels };
        let rows = self.rows(input);
        let zero_points = [input.zero_point, self.output.zero_point];
        feed.filters(section, rows, zero_points, |layer, _| {
            image.convolve_and_pool(layer, rows.columns, &self.pool_axes(to), output);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Clamp, Layout};
    use crate::ops::Op;
    use crate::ops::testing::{BiasKind, Plain, clamp, fault, plain, run, tensor, values};
    use crate::ops::{Conv2d, MaxPool2d};
    use crate::requantize::Multiplier;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// A convolution without padding and a pooling behind it, on 6 × 7 pixels.
    fn pair(
        plain: &Plain,
        channels: u16,
        size: [u16; 2],
        pool: Window,
        then: Clamp,
    ) -> Option<(Tensor, [Op; 2], Op, Vec<u8>)> {
        let input = tensor(0, &[6, 7, channels], 3);
        let (affine, section) = plain.store(3);
        let (h, w, filters) = (7 - size[0], 8 - size[1], plain.rows() as u16);
        let pooled = |n: u16, axis: usize| {
            let padded = n + pool.padding[axis];
            padded.checked_sub(pool.size[axis]).map(|room| room / pool.stride[axis] + 1)
        };
        let window = Window { size, stride: [1, 1], padding: [0, 0] };
        let output = tensor(input.len() as u32, &[h, w, filters], -9);
        let conv = Conv2d { input: Source::Previous, output, window, dilation: [1, 1], affine };
        let shape = [pooled(h, 0)?, pooled(w, 1)?, filters];
        let output = tensor(conv.output.end() as u32, &shape, -9);
        let pool = MaxPool2d { input: Source::Previous, output, window: pool, clamp: then };
        let fused = Op::Conv2dMaxPool2d(Conv2dMaxPool2d::fuse(&conv, &pool, &input)?);
        Some((input, [Op::Conv2d(conv), Op::MaxPool2d(pool)], fused, section))
    }

    prop_compose! {
        fn case()(channels in 1u16..4, size in [1u16..4, 1u16..4], filters in 1usize..10)(
            plain in plain(filters, usize::from(size[0] * size[1] * channels)),
            x in values(usize::from(42 * channels)),
            pool in [1u16..4, 1u16..4],
            padding in [0u16..2, 0u16..2],
            then in clamp(),
            channels in Just(channels),
            size in Just(size),
        ) -> (Plain, Vec<i8>, u16, [u16; 2], Window, Clamp) {
            let padding = [padding[0].min(pool[0] - 1), padding[1].min(pool[1] - 1)];
            (plain, x, channels, size, Window { size: pool, stride: pool, padding }, then)
        }
    }

    proptest! {
        #[test]
        fn one_operator_gives_the_bits_of_two((plain, x, channels, size, pool, then) in case()) {
            prop_assume!(plain.multipliers.iter().all(|multiplier| multiplier.shift <= 0));
            let pair = pair(&plain, channels, size, pool, then);
            prop_assume!(pair.is_some());
            if let Some((input, two, one, section)) = pair {
                let expected = run(&input, &two, &section, &x).unwrap();
                prop_assert_eq!(run(&input, &[one], &section, &x).unwrap(), expected);
            }
        }
    }

    fn ones(bits: u8, columns: usize) -> Plain {
        Plain {
            bits,
            columns,
            weights: vec![1; columns],
            bias: vec![0],
            bias_kind: BiasKind::None,
            multipliers: vec![Multiplier { value: 1 << 30, shift: -4 }],
            clamp: Clamp::NONE,
        }
    }

    const HALVES: Window = Window { size: [2, 2], stride: [2, 2], padding: [0, 0] };

    fn fault_of(plain: &Plain, change: impl Fn(&mut Conv2dMaxPool2d)) -> Option<OpFault> {
        let (input, _, op, section) = pair(plain, 1, [2, 2], HALVES, Clamp::NONE)?;
        let Op::Conv2dMaxPool2d(mut op) = op else { return None };
        change(&mut op);
        fault(&input, Op::Conv2dMaxPool2d(op), &section)
    }

    #[test]
    fn faults_have_their_cases() {
        let plain = ones(8, 4);
        assert_eq!(fault_of(&plain, |_| ()), None);
        assert_eq!(fault_of(&plain, |op| op.positions = [9, 6]), Some(OpFault::Shape));
        assert_eq!(fault_of(&plain, |op| op.pool.stride = [9, 9]), Some(OpFault::Shape));
        assert_eq!(fault_of(&plain, |op| op.window.size = [600, 1]), Some(OpFault::Shape));
        assert_eq!(fault_of(&plain, |op| op.affine.weights.bits = 16), Some(OpFault::WeightBits));
        let layout = |op: &mut Conv2dMaxPool2d| {
            op.affine.weights.bits = 4;
            op.affine.weights.layout = Layout::Pairs;
        };
        assert_eq!(fault_of(&plain, layout), Some(OpFault::Layout));
        let shifted = Plain { multipliers: vec![Multiplier { value: 1 << 30, shift: 1 }], ..plain };
        assert_eq!(fault_of(&shifted, |_| ()), Some(OpFault::Multiplier));
    }

    #[test]
    fn only_what_fits_becomes_one() {
        let fits = |plain: &Plain, pool, then| pair(plain, 1, [2, 2], pool, then).is_some();
        assert!(fits(&ones(8, 4), HALVES, Clamp::NONE));
        assert!(!fits(&ones(16, 4), HALVES, Clamp::NONE));
        assert!(!fits(&ones(8, 4), Window { stride: [1, 2], ..HALVES }, Clamp::NONE));
        let low = Plain { clamp: Clamp { min: -9, max: 0 }, ..ones(8, 4) };
        assert!(!fits(&low, HALVES, Clamp { min: 1, max: 9 }));
    }
}
