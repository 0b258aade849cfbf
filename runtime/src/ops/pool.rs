//! What the pooling operators share: their windows.

use super::window::Axis;
use crate::arch::{CHUNK_ROWS, Isa, Kernels, Sums};
use crate::format::{Clamp, OpFault, Tensor, Window};

/// Windows over an image, each channel apart.
pub(crate) struct Pool {
    rows: Axis,
    columns: Axis,
    /// Channels of input and output.
    pub(crate) channels: usize,
}

/// Sums over a window stay within 32 bits.
const MAX_WINDOW: usize = 1 << 23;

impl Pool {
    /// The windows of a pooling, if the shapes are images.
    pub(crate) fn new(window: &Window, input: &Tensor, output: &Tensor) -> Option<Self> {
        let [h, w, channels] = input.shape.image()?;
        let [oh, ow, _] = output.shape.image()?;
        let [rows, columns] = Axis::both(window, [1, 1], [h, w], [oh, ow]);
        Some(Self { rows, columns, channels })
    }

    /// Shapes fit, the zero point stays, and the activation is ordered.
    pub(crate) fn check(
        window: &Window,
        clamp: Clamp,
        input: &Tensor,
        output: &Tensor,
    ) -> Result<(), OpFault> {
        let pool = Self::new(window, input, output).ok_or(OpFault::Shape)?;
        pool.rows.check()?;
        pool.columns.check()?;
        if output.shape.channels() != pool.channels
            || pool.rows.size.saturating_mul(pool.columns.size) > MAX_WINDOW
        {
            return Err(OpFault::Shape);
        }
        if input.zero_point != output.zero_point {
            return Err(OpFault::ZeroPoint);
        }
        if clamp.min > clamp.max { Err(OpFault::Clamp) } else { Ok(()) }
    }

    /// Values read.
    pub(crate) fn steps(window: &Window, output: &Tensor) -> u64 {
        let [h, w] = window.size.map(u64::from);
        (output.len() as u64).saturating_mul(h * w)
    }

    /// Each output from the values of its window, `start` and `step` folding them: several channels at a
    /// time, which are neighbours.
    #[inline(always)]
    pub(crate) fn fold<T: Copy>(
        &self,
        image: &[i8],
        output: &mut [i8],
        (start, step): (T, impl Fn(T, i8) -> T),
        finish: impl Fn(T) -> i8,
    ) {
        self.windows(image, output, |window, outputs| window.fold(outputs, start, &step, &finish));
    }

    /// Each output from the sum of its window and its number of pixels.
    #[inline(always)]
    pub(crate) fn sum(&self, image: &[i8], output: &mut [i8], finish: impl Fn(i32, usize) -> i8) {
        let mut sums = [0; CHUNK_ROWS];
        self.windows(image, output, |window, outputs| window.sum(outputs, &mut sums, &finish));
    }

    /// Hands over each window with its outputs.
    #[inline(always)]
    fn windows(
        &self,
        image: &[i8],
        output: &mut [i8],
        mut take: impl FnMut(Pixels<'_>, &mut [i8]),
    ) {
        let Self { rows, columns, channels } = self;
        let mut positions = output.chunks_exact_mut((*channels).max(1));
        for (down, top) in (0..rows.output).map(|down| rows.taps(down)) {
            for (right, left) in (0..columns.output).map(|right| columns.taps(right)) {
                let Some(outputs) = positions.next() else { return };
                let first = top.wrapping_mul(columns.input).wrapping_add(left);
                let window = Pixels {
                    values: image.get(first.wrapping_mul(*channels)..).unwrap_or_default(),
                    rows: down.len(),
                    columns: right.len(),
                    stride: columns.input.wrapping_mul(*channels),
                };
                take(window, outputs);
            }
        }
    }
}

/// Channels that are folded at once.
const LANES: usize = 4;

/// Pixels that lie in rows of an image.
pub(crate) struct Pixels<'a> {
    /// From the first one on.
    pub(crate) values: &'a [i8],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Values from a row to the next.
    pub(crate) stride: usize,
}

impl Pixels<'_> {
    /// As [`Pool::sum`], of one window: an output for each channel.
    #[inline(always)]
    pub(crate) fn sum(
        &self,
        outputs: &mut [i8],
        sums: &mut Sums,
        finish: &impl Fn(i32, usize) -> i8,
    ) {
        let (channels, count) = (outputs.len(), self.rows.wrapping_mul(self.columns));
        let size = [self.rows, self.columns];
        let mut first = 0usize;
        for outputs in outputs.chunks_mut(CHUNK_ROWS) {
            let values = self.values.get(first..).unwrap_or_default();
            let sums = sums.get_mut(..outputs.len()).unwrap_or_default();
            Isa::sum_pixels(values, size, [self.stride, channels], sums);
            for (y, &mut sum) in outputs.iter_mut().zip(sums) {
                *y = finish(sum, count);
            }
            first = first.wrapping_add(CHUNK_ROWS);
        }
    }

    /// As [`Pool::fold`], of one window.
    #[inline(always)]
    fn fold<T: Copy>(
        &self,
        outputs: &mut [i8],
        start: T,
        step: &impl Fn(T, i8) -> T,
        finish: &impl Fn(T) -> i8,
    ) {
        let channels = outputs.len();
        let mut first = 0usize;
        while first < channels {
            // The last lanes end with the last channel, unless there are too few for that.
            first = first.min(channels.saturating_sub(LANES));
            let [mut a, mut b, mut c, mut d] = [start; LANES];
            for row in 0..self.rows {
                let from = row.wrapping_mul(self.stride).wrapping_add(first);
                let row = self.values.get(from..).unwrap_or_default();
                for pixel in row.chunks(channels.max(1)).take(self.columns) {
                    // Written out: whoever compiles for size unrolls nothing.
                    if let Some(&[xa, xb, xc, xd]) = pixel.first_chunk() {
                        (a, b, c, d) = (step(a, xa), step(b, xb), step(c, xc), step(d, xd));
                        continue;
                    }
                    for (folded, &x) in [&mut a, &mut b, &mut c].into_iter().zip(pixel) {
                        *folded = step(*folded, x);
                    }
                }
            }
            let lanes = outputs.get_mut(first..).unwrap_or_default().iter_mut();
            for (y, folded) in lanes.zip([a, b, c, d]) {
                *y = finish(folded);
            }
            first = first.wrapping_add(LANES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Source;
    use crate::ops::testing::{clamp, fault, run, tensor, values};
    use crate::ops::{AvgPool2d, MaxPool2d, Op};
    use proptest::prelude::*;
    use std::vec::Vec;

    #[derive(Clone, Debug)]
    struct Case {
        input: [u16; 3],
        output: [u16; 3],
        window: Window,
        clamp: Clamp,
    }

    /// Largest value and rounded mean of each window.
    fn oracle(case: &Case, x: &[i8]) -> (Vec<i8>, Vec<i8>) {
        let [h, w, c] = case.input.map(i64::from);
        let [oh, ow, _] = case.output.map(i64::from);
        let ([kh, kw], [sh, sw]) =
            (case.window.size.map(i64::from), case.window.stride.map(i64::from));
        let [top, left] = case.window.padding.map(i64::from);
        let (mut largest, mut means) = (Vec::new(), Vec::new());
        for (oy, ox) in (0..oh).flat_map(|oy| (0..ow).map(move |ox| (oy, ox))) {
            for channel in 0..c {
                let inside: Vec<i64> = (0..kh)
                    .flat_map(|ky| (0..kw).map(move |kx| (oy * sh + ky - top, ox * sw + kx - left)))
                    .filter(|(y, x)| (0..h).contains(y) && (0..w).contains(x))
                    .map(|(y, x_)| i64::from(x[((y * w + x_) * c + channel) as usize]))
                    .collect();
                let limit = |v: i64| v.clamp(case.clamp.min.into(), case.clamp.max.into()) as i8;
                largest.push(limit(*inside.iter().max().unwrap()));
                let (sum, count) = (inside.iter().sum::<i64>(), inside.len() as i64);
                // Half away from zero, with exact rationals.
                means.push(limit(sum.signum() * ((2 * sum.abs() + count) / (2 * count))));
            }
        }
        (largest, means)
    }

    fn ops(case: &Case, zero_point: i8) -> [Op; 2] {
        let offset = case.input.iter().product::<u16>().into();
        let output = tensor(offset, &case.output, zero_point);
        let (window, clamp) = (case.window, case.clamp);
        [
            Op::MaxPool2d(MaxPool2d {
                input: Source::Previous,
                output: output.clone(),
                window,
                clamp,
            }),
            Op::AvgPool2d(AvgPool2d { input: Source::Previous, output, window, clamp }),
        ]
    }

    prop_compose! {
        fn case()(
            [h, w, c] in [1u16..8, 1u16..8, 1u16..11],
            size in [1u16..5, 1u16..5],
            stride in [1u16..4, 1u16..4],
            padding in [0u16..4, 0u16..4],
            output in [1u16..8, 1u16..8],
            clamp in clamp(),
        ) -> Case {
            // As far as the shape rule allows.
            let padding = [padding[0].min(size[0] - 1), padding[1].min(size[1] - 1)];
            let most = |n: u16, axis: usize| (padding[axis] + n - 1) / stride[axis] + 1;
            let [oh, ow] = [output[0].min(most(h, 0)), output[1].min(most(w, 1))];
            Case { input: [h, w, c], output: [oh, ow, c], window: Window { size, stride, padding }, clamp }
        }
    }

    proptest! {
        #[test]
        fn matches_the_oracle((case, x) in case().prop_flat_map(|case| {
            let n = case.input.iter().product::<u16>().into();
            (Just(case), values(n))
        })) {
            let [largest, mean] = ops(&case, 3);
            let input = tensor(0, &case.input, 3);
            let expected = oracle(&case, &x);
            prop_assert_eq!(run(&input, &[largest], &[], &x).unwrap(), expected.0);
            prop_assert_eq!(run(&input, &[mean], &[], &x).unwrap(), expected.1);
        }
    }

    fn two_by_two() -> Case {
        let window = Window { size: [2, 2], stride: [2, 2], padding: [0, 0] };
        Case { input: [2, 2, 1], output: [1, 1, 1], window, clamp: Clamp::NONE }
    }

    #[test]
    fn ties_negatives_and_extremes() {
        let input = tensor(0, &[2, 2, 1], 0);
        for (x, largest, mean) in [
            ([1, 1, 0, 0], 1, 1),
            ([-1, -1, 0, 0], 0, -1),
            ([1, 0, 0, 0], 1, 0),
            ([-128; 4], -128, -128),
            ([127; 4], 127, 127),
            ([-128, 127, -128, 127], 127, -1),
        ] {
            let [op_largest, op_mean] = ops(&two_by_two(), 0);
            assert_eq!(run(&input, &[op_largest], &[], &x).unwrap(), [largest]);
            assert_eq!(run(&input, &[op_mean], &[], &x).unwrap(), [mean]);
        }
    }

    #[test]
    fn each_fault() {
        let fault_of = |case: Case, zero_point: i8| {
            let [largest, mean] = ops(&case, zero_point);
            let input = tensor(0, &case.input, 0);
            let faults = [fault(&input, largest, &[]), fault(&input, mean, &[])];
            assert_eq!(faults[0], faults[1]);
            faults[0]
        };
        let good = two_by_two();
        assert_eq!(fault_of(good.clone(), 0), None);
        assert_eq!(fault_of(good.clone(), 1), Some(OpFault::ZeroPoint));
        let channels = Case { output: [1, 1, 2], ..good.clone() };
        assert_eq!(fault_of(channels, 0), Some(OpFault::Shape));
        let beyond = Case { output: [2, 1, 1], ..good.clone() };
        assert_eq!(fault_of(beyond, 0), Some(OpFault::Shape));
        let clamp = Case { clamp: Clamp { min: 1, max: 0 }, ..good };
        assert_eq!(fault_of(clamp, 0), Some(OpFault::Clamp));
    }
}
