//! Windows along one axis of an image: the shape rule, and which taps fall inside.

use core::ops::Range;

use crate::format::{OpFault, Tensor, Window};

/// Furthest reach of a dilated kernel: positions stay within 32-bit arithmetic.
pub(crate) const MAX_EXTENT: u64 = u16::MAX as u64;

/// A window's movement along rows or columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    /// Taps.
    pub(crate) size: usize,
    /// Distance between windows.
    pub(crate) stride: usize,
    /// Positions before the image.
    pub(crate) padding: usize,
    /// Distance between taps.
    pub(crate) dilation: usize,
    /// Positions of the input.
    pub(crate) input: usize,
    /// Windows.
    pub(crate) output: usize,
}

impl Axis {
    /// Both axes: rows, then columns.
    pub(crate) fn both(
        window: &Window,
        dilation: [u16; 2],
        input: [usize; 2],
        output: [usize; 2],
    ) -> [Self; 2] {
        let [h, w] = window.size.map(usize::from);
        let [down, right] = window.stride.map(usize::from);
        let [top, left] = window.padding.map(usize::from);
        let [dh, dw] = dilation.map(usize::from);
        let axis = |size, stride, padding, dilation, input, output| Self {
            size,
            stride,
            padding,
            dilation,
            input,
            output,
        };
        let ([ih, iw], [oh, ow]) = (input, output);
        [axis(h, down, top, dh, ih, oh), axis(w, right, left, dw, iw, ow)]
    }

    /// Sizes are positive, the reach is limited, and every window, from the first to the last,
    /// begins before the image's end and, undilated, covers at least one of its positions.
    pub(crate) fn check(&self) -> Result<(), OpFault> {
        let [size, stride, padding, dilation, input, output] =
            [self.size, self.stride, self.padding, self.dilation, self.input, self.output]
                .map(|n| n as u64);
        if size == 0 || stride == 0 || dilation == 0 || output == 0 {
            return Err(OpFault::Shape);
        }
        let extent = (size - 1) * dilation + 1;
        let fits = extent <= MAX_EXTENT && padding < extent;
        if fits && (output - 1) * stride < padding + input { Ok(()) } else { Err(OpFault::Shape) }
    }

    /// Where window `index` begins, if all of it lies inside.
    #[inline(always)]
    pub(crate) fn inside(&self, index: usize) -> Option<usize> {
        let extent = self.size.wrapping_sub(1).wrapping_mul(self.dilation).wrapping_add(1);
        // Where it begins before the image, the difference is too great as well.
        let begin = index.wrapping_mul(self.stride).wrapping_sub(self.padding);
        (extent <= self.input && begin <= self.input.wrapping_sub(extent)).then_some(begin)
    }

    /// The taps of window `index` that fall inside, and the position of the first of them.
    pub(crate) fn taps(&self, index: usize) -> (Range<usize>, usize) {
        // `max(1)` repeats what `check` has shown, so that no division by zero is compiled.
        let dilation = self.dilation.max(1);
        let begin = index.wrapping_mul(self.stride);
        let first = self.padding.saturating_sub(begin).div_ceil(dilation);
        let room = self.padding.wrapping_add(self.input).saturating_sub(begin);
        let last = room.div_ceil(dilation).min(self.size);
        let position = begin.wrapping_add(first.wrapping_mul(dilation)).wrapping_sub(self.padding);
        (first..last.max(first), position)
    }

    /// The windows from number `index` on that are like it: all of those that lie inside, or it alone.
    pub(crate) fn run(&self, index: usize) -> Run {
        let (taps, position) = self.taps(index);
        let count = self.inside(index).map_or(1, |begin| {
            let extent = self.size.wrapping_sub(1).wrapping_mul(self.dilation).wrapping_add(1);
            let room = self.input.wrapping_sub(extent).wrapping_sub(begin);
            let following = room.checked_div(self.stride).unwrap_or_default();
            following.wrapping_add(1).min(self.output.wrapping_sub(index))
        });
        Run { taps, position, count }
    }

    /// Runs of all windows, in order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, Run)> {
        let mut index = 0usize;
        core::iter::from_fn(move || {
            let first = index;
            (first < self.output).then(|| {
                let run = self.run(first);
                index = first.wrapping_add(run.count.max(1));
                (first, run)
            })
        })
    }
}

/// Both axes of a convolution, and the channels of its input and of its output, if these are images.
#[inline(always)] // else its result takes stack of its own in each operator
pub(crate) fn geometry(
    window: &Window,
    dilation: [u16; 2],
    input: &Tensor,
    output: &Tensor,
) -> Option<([Axis; 2], usize, usize)> {
    let [h, w, channels] = input.shape.image()?;
    let [oh, ow, outputs] = output.shape.image()?;
    Some((Axis::both(window, dilation, [h, w], [oh, ow]), channels, outputs))
}

/// Neighbouring windows that have the same taps inside.
pub(crate) struct Run {
    /// These taps.
    pub(crate) taps: Range<usize>,
    /// The position of the first tap of the first window.
    pub(crate) position: usize,
    /// Windows.
    pub(crate) count: usize,
}

/// Hands over the sum of each window in turn, rows first: the position of the output, and the sum
/// over the image's rows of `segment`, which gets the first tap, the number of the first pixel, and
/// how many taps along the row fall inside.
pub(crate) fn convolve(
    [rows, columns]: &[Axis; 2],
    segment: impl Fn(usize, usize, usize) -> i32,
    mut sink: impl FnMut(usize, i32),
) {
    let mut position = 0usize;
    for down in 0..rows.output {
        let (row_taps, top) = rows.taps(down);
        for right in 0..columns.output {
            let (taps, left) = columns.taps(right);
            let mut sum = 0i32;
            let mut y = top;
            for row_tap in row_taps.clone() {
                let tap = row_tap.wrapping_mul(columns.size).wrapping_add(taps.start);
                let pixel = y.wrapping_mul(columns.input).wrapping_add(left);
                sum = sum.wrapping_add(segment(tap, pixel, taps.len()));
                y = y.wrapping_add(rows.dilation);
            }
            sink(position, sum);
            position = position.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const VALID: Axis = Axis { size: 3, stride: 1, padding: 0, dilation: 1, input: 5, output: 3 };

    #[test]
    fn shape_rule_at_its_limits() {
        assert_eq!(VALID.check(), Ok(()));
        assert_eq!(Axis { output: 5, ..VALID }.check(), Ok(())); // padded below
        for wrong in [
            Axis { output: 6, ..VALID },
            Axis { size: 0, ..VALID },
            Axis { stride: 0, ..VALID },
            Axis { dilation: 0, ..VALID },
            Axis { output: 0, ..VALID },
            Axis { padding: 3, ..VALID },
            Axis { dilation: 65535, ..VALID },
        ] {
            assert_eq!(wrong.check(), Err(OpFault::Shape), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn taps_are_those_inside(
            size in 1usize..6, stride in 1usize..4, padding in 0usize..6, dilation in 1usize..4,
            input in 1usize..12, output in 1usize..12,
        ) {
            let axis = Axis { size, stride, padding, dilation, input, output };
            prop_assume!(axis.check().is_ok());
            for index in 0..output {
                let position = |k: usize| (index * stride + k * dilation) as isize - padding as isize;
                let inside: Vec<usize> =
                    (0..size).filter(|&k| (0..input as isize).contains(&position(k))).collect();
                let (taps, first) = axis.taps(index);
                prop_assert_eq!(taps.clone().collect::<Vec<_>>(), inside);
                if !taps.is_empty() {
                    prop_assert_eq!(first as isize, position(taps.start));
                }
                prop_assert!(dilation > 1 || !taps.is_empty());
            }
            let mut next = 0;
            for (index, run) in axis.runs() {
                prop_assert_eq!(index, next);
                for (number, index) in (index..index + run.count).enumerate() {
                    let position = run.position + number * stride;
                    prop_assert_eq!(axis.taps(index), (run.taps.clone(), position));
                }
                next = index + run.count;
            }
            prop_assert_eq!(next, output);
        }
    }
}
