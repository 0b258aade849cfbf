//! Loops that compilers vectorise by themselves. Each instruction set's module compiles them for it.
//!
//! Loops count, and slices are cut to one length before: iterators that are zipped are calls of
//! functions where a program is built without link-time optimisation, and are never vectorised there.

use super::panel::{Elements, LANES};
use crate::format::Clamp;

#[inline(always)]
pub(super) fn prepare(elements: Elements, from: &[i8], to: &mut [u8]) {
    let count = from.len().min(to.len() / elements.bytes());
    match elements {
        Elements::Halves => {
            let (from, to) = (&from[..count], &mut to.as_chunks_mut::<2>().0[..count]);
            for at in 0..count {
                to[at] = i16::from(from[at]).to_le_bytes();
            }
        }
        Elements::Bytes | Elements::Flipped => {
            let flip = if elements == Elements::Flipped { 0x80 } else { 0 };
            let (from, to) = (&from[..count], &mut to[..count]);
            for at in 0..count {
                to[at] = from[at] as u8 ^ flip;
            }
        }
    }
}

#[inline(always)]
pub(super) fn interleave(elements: Elements, [a, b, c, d]: [&[i8]; 4], to: &mut [u8]) {
    let groups = to.as_chunks_mut::<4>().0;
    let count = groups.len().min(a.len()).min(b.len()).min(c.len()).min(d.len());
    let (groups, a, b) = (&mut groups[..count], &a[..count], &b[..count]);
    let (c, d) = (&c[..count], &d[..count]);
    match elements {
        Elements::Halves => {
            for at in 0..count {
                let [low, high] = [a[at], b[at]].map(|x| u32::from(i16::from(x) as u16));
                groups[at] = (low | high << 16).to_le_bytes();
            }
        }
        Elements::Bytes | Elements::Flipped => {
            let flip = if elements == Elements::Flipped { 0x8080_8080 } else { 0 };
            for at in 0..count {
                let low = u32::from(a[at] as u8) | u32::from(b[at] as u8) << 8;
                let high = u32::from(c[at] as u8) << 16 | u32::from(d[at] as u8) << 24;
                groups[at] = ((low | high) ^ flip).to_le_bytes();
            }
        }
    }
}

#[inline(always)]
pub(super) fn raise(most: &mut [i8], values: &[i8]) {
    let count = most.len().min(values.len());
    let (most, values) = (&mut most[..count], &values[..count]);
    for at in 0..count {
        most[at] = most[at].max(values[at]);
    }
}

#[inline(always)]
pub(super) fn raise_pixels(line: &[i8], [channels, taps, step]: [usize; 3], most: &mut [i8]) {
    let pixels = most.len().checked_div(channels).unwrap_or_default();
    for pixel in 0..pixels {
        for first in (0..channels).step_by(LANES) {
            let (from, to) = (pixel * step + first, pixel * channels + first);
            let mut largest = [i8::MIN; LANES];
            for tap in 0..taps {
                let values = line.get(from + tap * channels..);
                let Some(values) = values.and_then(<[_]>::first_chunk::<LANES>) else { return };
                for at in 0..LANES {
                    largest[at] = largest[at].max(values[at]);
                }
            }
            // What isn't the pixel's is written over by the next one.
            match most.get_mut(to..).and_then(<[_]>::first_chunk_mut) {
                Some(place) => *place = largest,
                None => {
                    let count = (channels - first).min(LANES);
                    let Some(place) = most.get_mut(to..to + count) else { return };
                    place.copy_from_slice(&largest[..count]);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn limit(values: &mut [i8], clamp: Clamp) {
    for x in values {
        *x = (*x).max(clamp.min).min(clamp.max);
    }
}

#[inline(always)]
pub(super) fn accumulate(sums: &mut [i32], values: &[i8]) {
    let count = sums.len().min(values.len());
    let (sums, values) = (&mut sums[..count], &values[..count]);
    for at in 0..count {
        sums[at] = sums[at].wrapping_add(i32::from(values[at]));
    }
}

/// The functions of a module that are these bodies, compiled for `$features`.
macro_rules! compiled_for {
    ($($features:literal)?) => {
        $(#[target_feature(enable = $features)])?
        pub(super) fn prepare(elements: $crate::arch::host::Elements, from: &[i8], to: &mut [u8]) {
            $crate::arch::host::bodies::prepare(elements, from, to);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn raise(most: &mut [i8], values: &[i8]) {
            $crate::arch::host::bodies::raise(most, values);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn raise_pixels(line: &[i8], sizes: [usize; 3], most: &mut [i8]) {
            $crate::arch::host::bodies::raise_pixels(line, sizes, most);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn limit(values: &mut [i8], clamp: $crate::format::Clamp) {
            $crate::arch::host::bodies::limit(values, clamp);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn accumulate(sums: &mut [i32], values: &[i8]) {
            $crate::arch::host::bodies::accumulate(sums, values);
        }
    };
}

/// Goes through a job's positions, `$at` being the next: each call makes so many as its number says, as
/// long as so many are left. The last number is 1.
macro_rules! in_tiles {
    ($job:ident, $at:ident, $($positions:expr => $call:expr),+ $(,)?) => {
        let (mut $at, count) = (0, $job.from.len());
        $(while count - $at >= $positions {
            $call;
            $at += $positions;
        })+
    };
}

pub(super) use {compiled_for, in_tiles};
