//! Loops that compilers vectorise by themselves. Each instruction set's module compiles them for it.

use super::panel::Elements;
use crate::arch::Addition;
use crate::format::Clamp;

#[inline(always)]
pub(super) fn prepare(elements: Elements, from: &[i8], to: &mut [u8]) {
    match elements {
        Elements::Halves => {
            for (to, &x) in to.as_chunks_mut().0.iter_mut().zip(from) {
                *to = i16::from(x).to_le_bytes();
            }
        }
        Elements::Bytes => {
            for (to, &x) in to.iter_mut().zip(from) {
                *to = x as u8;
            }
        }
        Elements::Flipped => {
            for (to, &x) in to.iter_mut().zip(from) {
                *to = x as u8 ^ 0x80;
            }
        }
    }
}

#[inline(always)]
pub(super) fn interleave(elements: Elements, [a, b, c, d]: [&[i8]; 4], to: &mut [u8]) {
    let groups = to.as_chunks_mut::<4>().0.iter_mut();
    match elements {
        Elements::Halves => {
            for ((to, &a), &b) in groups.zip(a).zip(b) {
                let halves = u32::from(a as i16 as u16) | u32::from(b as i16 as u16) << 16;
                *to = halves.to_le_bytes();
            }
        }
        Elements::Bytes | Elements::Flipped => {
            let flip = if elements == Elements::Flipped { 0x8080_8080 } else { 0 };
            for ((((to, &a), &b), &c), &d) in groups.zip(a).zip(b).zip(c).zip(d) {
                let low = u32::from(a as u8) | u32::from(b as u8) << 8;
                let high = u32::from(c as u8) << 16 | u32::from(d as u8) << 24;
                *to = ((low | high) ^ flip).to_le_bytes();
            }
        }
    }
}

#[inline(always)]
pub(super) fn raise(most: &mut [i8], values: &[i8]) {
    for (most, &x) in most.iter_mut().zip(values) {
        *most = (*most).max(x);
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
    for (sum, &x) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(i32::from(x));
    }
}

#[inline(always)]
pub(super) fn add(addition: &Addition, [a, b]: [&[i8]; 2], outputs: &mut [i8]) {
    let sum = addition.of_values();
    for ((y, &a), &b) in outputs.iter_mut().zip(a).zip(b) {
        *y = sum(a, b);
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
        pub(super) fn interleave(
            elements: $crate::arch::host::Elements,
            rows: [&[i8]; 4],
            to: &mut [u8],
        ) {
            $crate::arch::host::bodies::interleave(elements, rows, to);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn raise(most: &mut [i8], values: &[i8]) {
            $crate::arch::host::bodies::raise(most, values);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn limit(values: &mut [i8], clamp: $crate::format::Clamp) {
            $crate::arch::host::bodies::limit(values, clamp);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn accumulate(sums: &mut [i32], values: &[i8]) {
            $crate::arch::host::bodies::accumulate(sums, values);
        }

        $(#[target_feature(enable = $features)])?
        pub(super) fn add(
            addition: &$crate::arch::Addition,
            operands: [&[i8]; 2],
            outputs: &mut [i8],
        ) {
            $crate::arch::host::bodies::add(addition, operands, outputs);
        }
    };
}

pub(super) use compiled_for;
