//! x86-64 with AVX-512 and VNNI: 64 products of bytes an instruction (VPDPBUSD), inputs unsigned.
//!
//! A vector is a line: sixteen rows, four columns. Up to four lines and eight positions are at hand,
//! so that a weight is loaded once for all of these and an input once for 64 rows. VPDPBUSD wraps; its
//! four products are exact.

use core::arch::x86_64::*;

use super::avx2;
use super::bodies::{compiled_for, in_tiles};
use super::panel::{Elements, FinishLine, GROUP, LANES, Line, Panel};
use super::sum::Sum;
use super::walk::Job;
use crate::arch::addition::LEFT_SHIFT;
use crate::format::Clamp;

compiled_for!("avx512f,avx512bw,avx512vl,avx512vnni");

/// As [`super::KernelSet::interleave`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn interleave(elements: Elements, rows: [&[i8]; 4], to: &mut [u8]) {
    avx2::interleave(elements, rows, to);
}

/// As [`super::KernelSet::multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn multiply(job: &Job<'_>, outputs: &mut [i8]) {
    if job.panel.elements != Elements::Flipped {
        return avx2::multiply(job, outputs);
    }
    let (mut block, blocks) = (0, job.panel.starts.len());
    while block < blocks {
        block += match blocks - block {
            4.. => sweep::<4, 6>(job, block, outputs),
            2.. => sweep::<2, 8>(job, block, outputs),
            _ => sweep::<1, 8>(job, block, outputs),
        };
    }
}

/// All positions of `LINES` blocks, `MOST` at a time; gives `LINES`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn sweep<const LINES: usize, const MOST: usize>(
    job: &Job<'_>,
    block: usize,
    outputs: &mut [i8],
) -> usize {
    in_tiles! {
        job, at,
        MOST => tile::<LINES, MOST>(job, block, at, outputs),
        4 => tile::<LINES, 4>(job, block, at, outputs),
        2 => tile::<LINES, 2>(job, block, at, outputs),
        1 => tile::<LINES, 1>(job, block, at, outputs),
    }
    LINES
}

/// The outputs of `LINES` blocks of rows at `POSITIONS` positions, from number `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn tile<const LINES: usize, const POSITIONS: usize>(
    job: &Job<'_>,
    block: usize,
    at: usize,
    outputs: &mut [i8],
) {
    let (panel, image) = (job.panel, job.image.as_ptr());
    let finish = panel.finish.get(block..).and_then(<[_]>::first_chunk::<LINES>);
    let positions = job.positions::<POSITIONS>(at);
    let (Some(finish), Some([from, to])) = (finish, positions) else { return };
    let mut sums = [[_mm512_setzero_si512(); LINES]; POSITIONS];
    for position in 0..POSITIONS {
        for line in 0..LINES {
            sums[position][line] = load(&finish[line].start);
        }
    }
    let mut lines = panel.block(block).as_ptr();
    for &segment in job.segments {
        let mut x = [image; POSITIONS];
        for position in 0..POSITIONS {
            x[position] = image.wrapping_add(from[position] + segment);
        }
        for group in 0..job.groups {
            let mut weights = [_mm512_setzero_si512(); LINES];
            for line in 0..LINES {
                // SAFETY: `Job` has checked that each block has a line for each group of each segment, so
                // that the line lies in the panel: `finish` shows that there are `LINES` blocks.
                weights[line] = unsafe { load_line(lines.wrapping_add(line * panel.depth)) };
            }
            lines = lines.wrapping_add(1);
            for position in 0..POSITIONS {
                let x = x[position].wrapping_add(group * GROUP).cast::<i32>();
                // SAFETY: `Job` has checked that the image has all groups of all segments of all
                // positions, of which this is one; four bytes are read, at any address.
                let x = _mm512_set1_epi32(unsafe { x.read_unaligned() });
                for line in 0..LINES {
                    sums[position][line] =
                        _mm512_dpbusd_epi32(sums[position][line], x, weights[line]);
                }
            }
        }
    }
    let Some(&start) = panel.starts.get(block) else { return };
    let count = panel.rows_from(block).min(LINES * LANES);
    // A copy, of which any can be asked for: the sums themselves stay in registers.
    let mut done = [[_mm512_setzero_si512(); LINES]; POSITIONS];
    for position in 0..POSITIONS {
        for line in 0..LINES {
            done[position][line] = sums[position][line];
        }
    }
    finish_tile(&done, panel, [start, count], finish, to, outputs);
}

/// Finishes the sums of `LINES` blocks, from row `start` on, which have `count` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn finish_tile<const LINES: usize, const POSITIONS: usize>(
    sums: &[[__m512i; LINES]; POSITIONS],
    panel: &Panel,
    [start, count]: [usize; 2],
    finish: &[FinishLine; LINES],
    to: &[usize; POSITIONS],
    outputs: &mut [i8],
) {
    // Positions that four vectors are of, which are packed together.
    let together = 4 / LINES;
    if !POSITIONS.is_multiple_of(together) {
        for position in 0..POSITIONS {
            let mut steps = sums[position];
            for line in 0..LINES {
                steps[line] = scale(steps[line], &finish[line], panel.is_easy);
            }
            let start = to[position] + start;
            let Some(outputs) = outputs.get_mut(start..start + count) else { return };
            write(narrow(&steps, panel.zero_point, panel.clamp), outputs);
        }
        return;
    }
    for first in (0..POSITIONS).step_by(together) {
        let mut steps = [_mm512_setzero_si512(); 4];
        for number in 0..4 {
            let (position, line) = (first + number / LINES, number % LINES);
            steps[number] = scale(sums[position][line], &finish[line], panel.is_easy);
        }
        let bytes = narrow(&steps, panel.zero_point, panel.clamp);
        let parts = match LINES {
            1 => quarters(bytes),
            2 => [bytes, _mm512_shuffle_i64x2::<0b1110>(bytes, bytes), bytes, bytes],
            _ => [bytes; 4],
        };
        for number in 0..together {
            let start = to[first + number] + start;
            let Some(outputs) = outputs.get_mut(start..start + count) else { return };
            write(parts[number], outputs);
        }
    }
}

/// As [`super::KernelSet::channels`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn channels(job: &Job<'_>, outputs: &mut [i8]) {
    if job.panel.elements != Elements::Flipped {
        return avx2::channels(job, outputs);
    }
    for block in 0..job.panel.starts.len() {
        in_tiles! {
            job, at,
            8 => channels_tile::<8>(job, block, at, outputs),
            4 => channels_tile::<4>(job, block, at, outputs),
            1 => channels_tile::<1>(job, block, at, outputs),
        }
    }
}

/// The outputs of a block of channels at `POSITIONS` positions, from number `at` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn channels_tile<const POSITIONS: usize>(
    job: &Job<'_>,
    block: usize,
    at: usize,
    outputs: &mut [i8],
) {
    let panel = job.panel;
    let positions = job.positions::<POSITIONS>(at);
    let finish = panel.finish.get(block..).and_then(<[_]>::first_chunk::<1>);
    let (Some(finish), Some(&start), Some([from, to])) =
        (finish, panel.starts.get(block), positions)
    else {
        return;
    };
    let mut sums = [load(&finish[0].start); POSITIONS];
    let lines = panel.block(block);
    for (number, &segment) in job.segments.iter().enumerate() {
        let Some(line) = lines.get(number) else { return };
        // SAFETY: a line is a vector.
        let weights = unsafe { load_line(line) };
        let image = job.image.as_ptr().wrapping_add(segment + start * GROUP);
        for position in 0..POSITIONS {
            let x = image.wrapping_add(from[position]);
            // SAFETY: `Job` has checked that the image has sixteen groups at each tap of each
            // position, from the last block's start on.
            let x = unsafe { _mm512_loadu_si512(x.cast()) };
            sums[position] = _mm512_dpbusd_epi32(sums[position], x, weights);
        }
    }
    let count = panel.rows_from(block).min(LANES);
    let mut done = [[_mm512_setzero_si512(); 1]; POSITIONS];
    for position in 0..POSITIONS {
        done[position][0] = sums[position];
    }
    finish_tile(&done, panel, [start, count], finish, to, outputs);
}

/// As [`super::KernelSet::add`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn add(sum: &Sum, [a, b]: [&[i8]; 2], outputs: &mut [i8]) {
    const VALUES: usize = 4 * LANES;
    let count = outputs.len().min(a.len()).min(b.len());
    let mut at = 0;
    while count - at >= VALUES {
        let (Some(a), Some(b)) = (a.get(at..at + VALUES), b.get(at..at + VALUES)) else { return };
        let mut steps = [_mm512_setzero_si512(); 4];
        for line in 0..4 {
            let from = line * LANES;
            let (Some(a), Some(b)) = (a.get(from..from + LANES), b.get(from..from + LANES)) else {
                return;
            };
            let parts =
                _mm512_add_epi32(operand(a, &sum.operands[0]), operand(b, &sum.operands[1]));
            steps[line] = scale(parts, &sum.result, sum.is_easy);
        }
        let Some(outputs) = outputs.get_mut(at..at + VALUES) else { return };
        write(narrow(&steps, sum.zero_point, sum.clamp), outputs);
        at += VALUES;
    }
    sum.each([a, b], outputs, at);
}

/// An operand's part in sixteen sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn operand(x: &[i8], finish: &FinishLine) -> __m512i {
    let Some(x) = x.first_chunk::<LANES>() else { return _mm512_setzero_si512() };
    // SAFETY: sixteen bytes are read, at any address.
    let x = _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(x.as_ptr().cast()) });
    let x = _mm512_add_epi32(x, load(&finish.start));
    scale(_mm512_slli_epi32::<LEFT_SHIFT>(x), finish, false)
}

/// [`crate::requantize::Multiplier::apply`] of sixteen sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn scale(sum: __m512i, finish: &FinishLine, is_easy: bool) -> __m512i {
    let left = if is_easy { sum } else { _mm512_sllv_epi32(sum, load(&finish.left)) };
    let half = _mm512_set1_epi64(1 << 30);
    let even = _mm512_add_epi64(_mm512_mul_epi32(left, load(&finish.value)), half);
    let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(left), load(&finish.odd));
    let odd = _mm512_add_epi64(odd, half);
    // The product, bits 31 to 62, in the place of its sum.
    let product =
        _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64::<31>(even), _mm512_slli_epi64::<1>(odd));
    if is_easy {
        let lower = _mm512_add_epi32(product, _mm512_srai_epi32::<31>(product));
        let sum = _mm512_add_epi32(lower, load(&finish.half));
        return _mm512_srav_epi32(sum, load(&finish.right));
    }
    let one = load(&finish.one);
    // A product of a fraction below 1 isn't −2³¹, so that one less doesn't wrap.
    let is_negative = _mm512_and_si512(_mm512_srli_epi32::<31>(product), one);
    let lower = _mm512_sub_epi32(product, is_negative);
    let rest = _mm512_and_si512(_mm512_srav_epi32(lower, load(&finish.less)), one);
    _mm512_add_epi32(_mm512_srav_epi32(lower, load(&finish.right)), rest)
}

/// Zero point and activation of up to 64 outputs in a row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn narrow<const LINES: usize>(steps: &[__m512i; LINES], zero_point: i8, clamp: Clamp) -> __m512i {
    let zero = _mm512_set1_epi16(zero_point.into());
    let (first, second) = (steps[0], steps[1 % LINES]);
    let (third, fourth) = (steps[2 % LINES], steps[3 % LINES]);
    // Saturating, each step of which changes nothing that isn't limited at the end.
    let low = _mm512_adds_epi16(_mm512_packs_epi32(first, second), zero);
    let high = match LINES {
        4 => _mm512_adds_epi16(_mm512_packs_epi32(third, fourth), zero),
        _ => low,
    };
    let bytes = _mm512_packs_epi16(low, high);
    // Packing goes by quarters of vectors: the fours of the lines are put in order.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let bytes = _mm512_permutexvar_epi32(order, bytes);
    let bytes = _mm512_max_epi8(bytes, _mm512_set1_epi8(clamp.min));
    _mm512_min_epi8(bytes, _mm512_set1_epi8(clamp.max))
}

/// A vector's quarters, each where the first one is.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters(bytes: __m512i) -> [__m512i; 4] {
    [
        bytes,
        _mm512_castsi128_si512(_mm512_extracti32x4_epi32::<1>(bytes)),
        _mm512_castsi128_si512(_mm512_extracti32x4_epi32::<2>(bytes)),
        _mm512_castsi128_si512(_mm512_extracti32x4_epi32::<3>(bytes)),
    ]
}

/// Writes up to 64 outputs in a row, as many as there are places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn write(bytes: __m512i, outputs: &mut [i8]) {
    let count = outputs.len().min(4 * LANES);
    let to = outputs.as_mut_ptr();
    // SAFETY: as many bytes are written as there are places.
    unsafe {
        match count {
            64 => _mm512_storeu_si512(to.cast(), bytes),
            32 => _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(bytes)),
            16 => _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(bytes)),
            0 => {}
            _ => _mm512_mask_storeu_epi8(to, u64::MAX >> (64 - count), bytes),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(table: &[i32; LANES]) -> __m512i {
    // SAFETY: sixteen numbers are a vector, at any address.
    unsafe { _mm512_loadu_si512(table.as_ptr().cast()) }
}

/// # Safety
/// `line` points to a line.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load_line(line: *const Line) -> __m512i {
    // SAFETY: a line is a vector, aligned as one.
    unsafe { _mm512_load_si512(line.cast()) }
}
