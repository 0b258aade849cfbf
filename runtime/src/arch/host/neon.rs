//! AArch64: four 8-bit products a lane (SDOT) where the core has them, else eight 16-bit products an
//! instruction (SMLAL).
//!
//! A line is four vectors of four rows. Six positions are at hand, 24 vectors of sums.

use core::arch::aarch64::*;
use core::arch::asm;

use super::bodies::{self, compiled_for, in_tiles};
use super::panel::{Elements, FinishLine, GROUP, LANES, Line, Panel};
use super::sum::Sum;
use super::walk::Job;
use crate::arch::addition::LEFT_SHIFT;
use crate::format::Clamp;

compiled_for!("neon");

/// Vectors of a line.
const VECTORS: usize = 4;
/// Numbers of a vector.
const NUMBERS: usize = LANES / VECTORS;

/// Sums of sixteen rows.
type Sums = [int32x4_t; VECTORS];

/// As [`super::KernelSet::interleave`].
#[target_feature(enable = "neon")]
pub(super) fn interleave(elements: Elements, rows: [&[i8]; 4], to: &mut [u8]) {
    bodies::interleave(elements, rows, to);
}

/// As [`super::KernelSet::multiply`]. A panel of bytes is given to no core without SDOT:
/// [`super::KernelSet::elements`] sees to that.
#[target_feature(enable = "neon")]
pub(super) fn multiply(job: &Job<'_>, outputs: &mut [i8]) {
    for block in 0..job.panel.starts.len() {
        in_tiles! {
            job, at,
            6 => tile::<6>(job, block, at, outputs),
            3 => tile::<3>(job, block, at, outputs),
            1 => tile::<1>(job, block, at, outputs),
        }
    }
}

/// The outputs of a block of rows at `POSITIONS` positions, from number `at` on.
#[inline]
#[target_feature(enable = "neon")]
fn tile<const POSITIONS: usize>(job: &Job<'_>, block: usize, at: usize, outputs: &mut [i8]) {
    let image = job.image.as_ptr();
    let positions = job.positions::<POSITIONS>(at);
    let (Some(finish), Some([from, to])) = (job.panel.finish.get(block), positions) else { return };
    let mut sums = [table(&finish.start); POSITIONS];
    let mut lines = job.panel.block(block);
    for &segment in job.segments {
        let mut x = [image; POSITIONS];
        for position in 0..POSITIONS {
            x[position] = image.wrapping_add(from[position] + segment);
        }
        for group in 0..job.groups {
            let Some((line, rest)) = lines.split_first() else { return };
            lines = rest;
            for position in 0..POSITIONS {
                let x = x[position].wrapping_add(group * GROUP).cast::<i32>();
                // SAFETY: `Job` has checked that the image has all groups of all segments of all
                // positions, of which this is one; four bytes are read, at any address.
                let x = unsafe { x.read_unaligned() };
                let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                sums[position] = add_products(job, sums[position], line, [x; VECTORS]);
            }
        }
    }
    for position in 0..POSITIONS {
        store(sums[position], job.panel, (finish, block), to[position], outputs);
    }
}

/// As [`super::KernelSet::channels`], of panels as [`multiply`] has them.
#[target_feature(enable = "neon")]
pub(super) fn channels(job: &Job<'_>, outputs: &mut [i8]) {
    for block in 0..job.panel.starts.len() {
        in_tiles! {
            job, at,
            4 => channels_tile::<4>(job, block, at, outputs),
            1 => channels_tile::<1>(job, block, at, outputs),
        }
    }
}

/// The outputs of a block of channels at `POSITIONS` positions, from number `at` on.
#[inline]
#[target_feature(enable = "neon")]
fn channels_tile<const POSITIONS: usize>(
    job: &Job<'_>,
    block: usize,
    at: usize,
    outputs: &mut [i8],
) {
    let panel = job.panel;
    let positions = job.positions::<POSITIONS>(at);
    let (Some(finish), Some(&start), Some([from, to])) =
        (panel.finish.get(block), panel.starts.get(block), positions)
    else {
        return;
    };
    let mut sums = [table(&finish.start); POSITIONS];
    let lines = panel.block(block);
    for (number, &segment) in job.segments.iter().enumerate() {
        let Some(line) = lines.get(number) else { return };
        let image = job.image.as_ptr().wrapping_add(segment + start * GROUP);
        for position in 0..POSITIONS {
            let mut x = [vdupq_n_s8(0); VECTORS];
            for vector in 0..VECTORS {
                let at = image.wrapping_add(from[position] + vector * NUMBERS * GROUP);
                // SAFETY: `Job` has checked that the image has sixteen groups at each tap of each
                // position, from the last block's start on; four of them are read, at any address.
                x[vector] = unsafe { vld1q_s8(at.cast()) };
            }
            sums[position] = add_products(job, sums[position], line, x);
        }
    }
    for position in 0..POSITIONS {
        store(sums[position], panel, (finish, block), to[position], outputs);
    }
}

/// Adds the products of a group of each of sixteen lanes.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(job: &Job<'_>, mut sums: Sums, line: &Line, x: [int8x16_t; VECTORS]) -> Sums {
    let are_halves = job.panel.elements == Elements::Halves;
    for vector in 0..VECTORS {
        let at = core::ptr::from_ref(line).cast::<i8>().wrapping_add(vector * NUMBERS * GROUP);
        // SAFETY: a line is four vectors, of which this is one, at any address.
        let weights = unsafe { vld1q_s8(at) };
        sums[vector] = if are_halves {
            let (weights, x) = (vreinterpretq_s16_s8(weights), vreinterpretq_s16_s8(x[vector]));
            let low = vmull_s16(vget_low_s16(weights), vget_low_s16(x));
            let high = vmull_high_s16(weights, x);
            vaddq_s32(sums[vector], vpaddq_s32(low, high))
        } else {
            // SAFETY: panels of bytes are made where SDOT was detected, and nowhere else.
            unsafe { dot(sums[vector], weights, x[vector]) }
        };
    }
    sums
}

/// Adds four products of bytes to each lane.
///
/// # Safety
/// The core has SDOT.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot(mut sums: int32x4_t, weights: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: an instruction that reads and writes registers alone, which the caller has.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sums:v}.4s, {weights:v}.16b, {x:v}.16b",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Makes a block's sums at a position outputs.
#[inline]
#[target_feature(enable = "neon")]
fn store(
    mut steps: Sums,
    panel: &Panel,
    (finish, block): (&FinishLine, usize),
    to: usize,
    outputs: &mut [i8],
) {
    let Some(&start) = panel.starts.get(block) else { return };
    let count = panel.rows_from(block).min(LANES);
    let Some(outputs) = outputs.get_mut(to + start..to + start + count) else { return };
    for vector in 0..VECTORS {
        steps[vector] = scale(steps[vector], finish, vector);
    }
    let bytes = narrow(steps, panel.zero_point, panel.clamp);
    let mut all = [0i8; LANES];
    let to = if count == LANES { outputs.as_mut_ptr() } else { all.as_mut_ptr() };
    // SAFETY: there are sixteen places, of the outputs or of `all`.
    unsafe { vst1q_s8(to, bytes) };
    if count < LANES {
        outputs.copy_from_slice(all.get(..count).unwrap_or_default());
    }
}

/// Zero point and activation of sixteen outputs.
#[inline]
#[target_feature(enable = "neon")]
fn narrow([a, b, c, d]: Sums, zero_point: i8, clamp: Clamp) -> int8x16_t {
    // Saturating, each step of which changes nothing that isn't limited at the end.
    let zero = vdupq_n_s16(zero_point.into());
    let low = vqaddq_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)), zero);
    let high = vqaddq_s16(vcombine_s16(vqmovn_s32(c), vqmovn_s32(d)), zero);
    let bytes = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
    vminq_s8(vmaxq_s8(bytes, vdupq_n_s8(clamp.min)), vdupq_n_s8(clamp.max))
}

/// [`crate::requantize::Multiplier::apply`] of four sums, number `vector` of a line.
#[inline]
#[target_feature(enable = "neon")]
fn scale(sum: int32x4_t, finish: &FinishLine, vector: usize) -> int32x4_t {
    let at = vector % VECTORS;
    let left = vshlq_s32(sum, table(&finish.left)[at]);
    let product = vqrdmulhq_s32(left, table(&finish.value)[at]);
    // Rounding shifts go half up: a negative tie goes down where one is taken before.
    let right = vnegq_s32(table(&finish.right)[at]);
    let is_negative = vshrq_n_s32::<31>(vandq_s32(product, right));
    vrshlq_s32(vqaddq_s32(product, is_negative), right)
}

/// As [`super::KernelSet::add`].
#[target_feature(enable = "neon")]
pub(super) fn add(sum: &Sum, [a, b]: [&[i8]; 2], outputs: &mut [i8]) {
    let count = outputs.len().min(a.len()).min(b.len());
    let mut at = 0;
    while count - at >= LANES {
        let (Some(a), Some(b)) = (chunk(a, at), chunk(b, at)) else { return };
        let Some(y) = outputs.get_mut(at..).and_then(<[_]>::first_chunk_mut::<LANES>) else {
            return;
        };
        let (a, b) = (operand(a, &sum.operands[0]), operand(b, &sum.operands[1]));
        let mut steps = a;
        for vector in 0..VECTORS {
            steps[vector] = scale(vaddq_s32(a[vector], b[vector]), &sum.result, vector);
        }
        let bytes = narrow(steps, sum.zero_point, sum.clamp);
        // SAFETY: there are sixteen places.
        unsafe { vst1q_s8(y.as_mut_ptr(), bytes) };
        at += LANES;
    }
    sum.each([a, b], outputs, at);
}

/// Sixteen values.
#[inline]
fn chunk(values: &[i8], at: usize) -> Option<&[i8; LANES]> {
    values.get(at..).and_then(<[_]>::first_chunk)
}

/// An operand's part in sixteen sums.
#[inline]
#[target_feature(enable = "neon")]
fn operand(x: &[i8; LANES], finish: &FinishLine) -> Sums {
    // SAFETY: sixteen bytes are read, at any address.
    let x = unsafe { vld1q_s8(x.as_ptr()) };
    let (low, high) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
    let mut parts = [
        vmovl_s16(vget_low_s16(low)),
        vmovl_high_s16(low),
        vmovl_s16(vget_low_s16(high)),
        vmovl_high_s16(high),
    ];
    let start = table(&finish.start);
    for vector in 0..VECTORS {
        let x = vaddq_s32(parts[vector], start[vector]);
        parts[vector] = scale(vshlq_n_s32::<{ LEFT_SHIFT as i32 }>(x), finish, vector);
    }
    parts
}

/// A table as vectors.
#[inline]
#[target_feature(enable = "neon")]
fn table(table: &[i32; LANES]) -> Sums {
    let mut vectors = [vdupq_n_s32(0); VECTORS];
    for vector in 0..VECTORS {
        // SAFETY: sixteen numbers are four vectors, of which this is one.
        vectors[vector] = unsafe { vld1q_s32(table.as_ptr().wrapping_add(vector * NUMBERS)) };
    }
    vectors
}
