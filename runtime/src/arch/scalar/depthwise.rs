//! Depthwise convolutions with an output a channel, of any image and width of weights.
//!
//! Positions that see the same taps are taken together, at first those of one channel, two at a time: they
//! share the way to a tap's input, and its weight. Where taps are is found out once for some channels.
//! Biases take in the input's zero point.

use super::scales::{Places, Scale, most, outputs};
use super::{Scalar, TAPS_STEP, Tap, Taps, isa};
use crate::arch::Kernels;
use crate::format::Fields;
use crate::ops::{Image, Layer, Run};

/// Most taps of a window: 7 × 7, in whole steps of the kernel.
const TAPS_MAX: usize = 51;
/// Most positions at once, an even number.
const COUNT: usize = 32;
/// Channels whose parameters are at hand.
const CHANNELS: usize = 16;

/// Where some channels are worked on.
struct Room<'r> {
    taps: &'r mut [Tap; TAPS_MAX],
    sums: &'r mut [i32; COUNT],
    scales: &'r mut [Scale; CHANNELS],
}

/// The outputs of all channels; `None` where windows are too large.
#[inline(never)]
pub(super) fn depthwise(image: &Image<'_>, layer: &Layer<'_>, output: &mut [i8]) -> Option<()> {
    let [rows, columns] = &image.axes;
    let size = rows.size.wrapping_mul(columns.size);
    if rows.size > TAPS_MAX || columns.size > TAPS_MAX || size > TAPS_MAX {
        return None;
    }
    // Each by itself: what is put together is made elsewhere and copied.
    let mut taps = [Tap { at: 0, weight: 0 }; TAPS_MAX];
    let mut sums = [0; COUNT];
    let mut scales = [Scale::NONE; CHANNELS];
    let mut room = Room { taps: &mut taps, sums: &mut sums, scales: &mut scales };
    let mut first = 0usize;
    while first < image.channels {
        let count = image.channels.wrapping_sub(first).min(CHANNELS);
        hold(image, layer, (first, size), room.scales.get_mut(..count)?);
        for (down, rows) in rows.runs() {
            for (right, columns) in columns.runs() {
                let runs = [&rows, &columns];
                View::new(image, [down, right], runs)?.channels(
                    (image, layer),
                    (first, count),
                    runs,
                    &mut room,
                    output,
                )?;
            }
        }
        first = first.wrapping_add(count);
    }
    Some(())
}

/// What becomes of the sums of channels from `first` on, with the biases of inputs less their zero point.
#[inline(never)]
fn hold(image: &Image<'_>, layer: &Layer<'_>, (first, size): (usize, usize), scales: &mut [Scale]) {
    let (matrix, bits) = (&layer.matrix, layer.matrix.bits());
    for (scale, channel) in scales.iter_mut().zip(first..) {
        let mut bias = layer.finish.bias(channel);
        if layer.folded {
            let sum = Scalar::row_sum(bits, matrix.bytes_from(channel), 0, size);
            bias = bias.wrapping_add(sum.wrapping_mul(image.zero_point.into()));
        }
        *scale = Scale::new(layer.finish.multiplier(channel), bias, most(bits, size, bias));
    }
}

/// Some steps of the same length through the input, and through the output.
#[derive(Clone, Copy)]
struct Way {
    count: usize,
    input: usize,
    output: usize,
}

/// Positions that see the same taps.
struct View {
    /// Those along the way that has more of them, and how often.
    inner: Way,
    outer: Way,
    /// Where the first one's window begins inside the image, and its output, of channel 0.
    from: usize,
    to: usize,
    /// From a tap to the next one, down and right.
    taps: [usize; 2],
}

impl View {
    /// Of runs of positions that begin at `place`; `None` where they see what isn't there.
    #[inline(never)]
    fn new(image: &Image<'_>, place: [usize; 2], [rows, columns]: [&Run; 2]) -> Option<Self> {
        let ([down, right], channels) = (&image.axes, image.channels);
        let [line, width] = [right.input, right.output].map(|n| n.wrapping_mul(channels));
        let ways = [
            Way { count: rows.count, input: down.stride.wrapping_mul(line), output: width },
            Way {
                count: columns.count,
                input: right.stride.wrapping_mul(channels),
                output: channels,
            },
        ];
        let [inner, outer] = if rows.count > columns.count { ways } else { [ways[1], ways[0]] };
        let at = |[y, x]: [usize; 2], line: usize| {
            y.wrapping_mul(line).wrapping_add(x.wrapping_mul(channels))
        };
        let view = Self {
            inner,
            outer,
            from: at([rows.position, columns.position], line),
            to: at(place, width),
            taps: [down.dilation.wrapping_mul(line), right.dilation.wrapping_mul(channels)],
        };
        // The furthest input: of the last channel, position and tap.
        let counts = [inner.count, outer.count, rows.taps.len(), columns.taps.len(), channels];
        let steps = [inner.input, outer.input, view.taps[0], view.taps[1], 1];
        let mut furthest = view.from;
        for (count, step) in counts.into_iter().zip(steps) {
            furthest = furthest.checked_add(count.checked_sub(1)?.checked_mul(step)?)?;
        }
        image.values.get(furthest)?;
        Some(view)
    }

    /// The outputs of some channels; `None` where there is no room.
    #[inline(never)]
    fn channels(
        &self,
        (image, layer): (&Image<'_>, &Layer<'_>),
        (first, count): (usize, usize),
        runs: [&Run; 2],
        room: &mut Room<'_>,
        output: &mut [i8],
    ) -> Option<()> {
        let Room { taps, sums, scales } = room;
        let taps = self.arrange(runs, taps)?;
        for (scale, channel) in scales.get(..count)?.iter().zip(first..) {
            let sum = weigh(image, layer, (channel, runs), taps);
            let offset = sum.wrapping_mul(image.zero_point.into());
            let range = taps.as_ptr_range();
            let mut job = Taps {
                x: core::ptr::null(),
                step: self.inner.input,
                count: 0,
                taps: range.start,
                taps_end: range.end,
                bias: scale.bias.wrapping_sub(offset),
                sums: core::ptr::null_mut(),
            };
            let (mut from, mut to) = (self.from, self.to);
            for _ in 0..self.outer.count {
                let (mut x, mut y) = (from.wrapping_add(channel), to.wrapping_add(channel));
                let mut left = self.inner.count;
                while left > 0 {
                    job.count = left.min(COUNT);
                    job.sums = sums.as_mut_ptr();
                    job.x = image.values.get(x..)?.as_ptr();
                    // SAFETY: `count` isn't 0 and at most COUNT, an even number and as many sums as there are;
                    // there are taps, whole steps of them, which `arrange` made. `new` has shown that all inputs of
                    // these runs of positions are there, of the last channel and so of each.
                    unsafe { isa::dot_taps(&job) }
                    outputs(
                        &layer.finish,
                        channel,
                        (core::slice::from_ref(scale), sums.as_slice()),
                        Places { count: job.count, stride: self.inner.output, sums_step: COUNT },
                        output.get_mut(y..)?,
                    )?;
                    left = left.wrapping_sub(job.count);
                    x = x.wrapping_add(self.inner.input.wrapping_mul(COUNT));
                    y = y.wrapping_add(self.inner.output.wrapping_mul(COUNT));
                }
                from = from.wrapping_add(self.outer.input);
                to = to.wrapping_add(self.outer.output);
            }
        }
        Some(())
    }

    /// The ways to the taps inside the image, in whole steps of the kernel: with taps that count for nothing
    /// behind them. `None` where there is no room, or no tap.
    fn arrange<'r>(
        &self,
        [rows, columns]: [&Run; 2],
        room: &'r mut [Tap; TAPS_MAX],
    ) -> Option<&'r mut [Tap]> {
        let count = rows.taps.len().wrapping_mul(columns.taps.len());
        let taps = room.get_mut(..count.next_multiple_of(TAPS_STEP))?;
        let mut places = taps.iter_mut();
        let mut line = 0usize;
        for _ in rows.taps.clone() {
            let mut at = line;
            for (_, tap) in columns.taps.clone().zip(places.by_ref()) {
                tap.at = at;
                at = at.wrapping_add(self.taps[1]);
            }
            line = line.wrapping_add(self.taps[0]);
        }
        places.for_each(|tap| *tap = Tap { at: 0, weight: 0 });
        (count > 0).then_some(taps)
    }
}

/// Puts a channel's weights beside the ways to their inputs, and returns their sum.
#[inline(always)]
fn weigh(
    image: &Image<'_>,
    layer: &Layer<'_>,
    (channel, [rows, columns]): (usize, [&Run; 2]),
    taps: &mut [Tap],
) -> i32 {
    let (bits, row) = (layer.matrix.bits(), layer.matrix.bytes_from(channel));
    let (mut taps, mut sum) = (taps.iter_mut(), 0i32);
    for line in rows.taps.clone() {
        let first = line.wrapping_mul(image.axes[1].size).wrapping_add(columns.taps.start);
        let mut put = |weight: i32| {
            if let Some(tap) = taps.next() {
                tap.weight = weight;
            }
            sum = sum.wrapping_add(weight);
        };
        if bits == 8 {
            let weights = row.get(first..).unwrap_or_default().iter().take(columns.taps.len());
            weights.for_each(|&weight| put((weight as i8).into()));
        } else {
            let mut fields = Fields::new(row, bits, first);
            columns.taps.clone().for_each(|_| put(fields.take()));
        }
    }
    sum
}
