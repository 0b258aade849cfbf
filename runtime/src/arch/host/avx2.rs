//! x86-64 with AVX2: sixteen 16-bit products an instruction (VPMADDWD), which can't saturate.
//!
//! A line is two vectors: eight rows each, two columns. Six positions are at hand, twelve vectors of
//! sums, so that weights are loaded once for all of these.

use core::arch::x86_64::*;

use super::bodies::{self, compiled_for, in_tiles};
use super::panel::{Elements, FinishLine, GROUP, LANES, Line, Panel};
use super::sum::Sum;
use super::walk::Job;
use crate::arch::addition::LEFT_SHIFT;
use crate::format::Clamp;

compiled_for!("avx2");

/// Vectors of a line.
const VECTORS: usize = 2;
/// Bytes of a vector.
const BYTES: usize = 32;
/// Numbers of a vector.
const NUMBERS: usize = LANES / VECTORS;

/// As [`super::KernelSet::interleave`].
#[target_feature(enable = "avx2")]
pub(super) fn interleave(elements: Elements, rows: [&[i8]; 4], to: &mut [u8]) {
    let mut at = 0;
    if elements != Elements::Halves {
        let flip = _mm256_set1_epi8(if elements == Elements::Flipped { i8::MIN } else { 0 });
        while let [Some(a), Some(b), Some(c), Some(d)] =
            [chunk(rows[0], at), chunk(rows[1], at), chunk(rows[2], at), chunk(rows[3], at)]
            && let Some(to) = chunk_mut(to, at * GROUP)
        {
            interleave_bytes([a, b, c, d], flip, to);
            at += BYTES;
        }
    }
    let rest = |row: usize| rows[row].get(at..).unwrap_or_default();
    let rows = [rest(0), rest(1), rest(2), rest(3)];
    bodies::interleave(elements, rows, to.get_mut(at * GROUP..).unwrap_or_default());
}

/// The bytes of four rows, those of one position together.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave_bytes(rows: [&[i8; BYTES]; 4], flip: __m256i, to: &mut [u8; GROUP * BYTES]) {
    let mut x = [flip; 4];
    for row in 0..4 {
        // SAFETY: 32 bytes are read, at any address.
        let bytes = unsafe { _mm256_loadu_si256(rows[row].as_ptr().cast()) };
        x[row] = _mm256_xor_si256(bytes, flip);
    }
    let [a, b, c, d] = x;
    let (ab, cd) = (_mm256_unpacklo_epi8(a, b), _mm256_unpacklo_epi8(c, d));
    let (first, second) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
    let (ab, cd) = (_mm256_unpackhi_epi8(a, b), _mm256_unpackhi_epi8(c, d));
    let (third, fourth) = (_mm256_unpacklo_epi16(ab, cd), _mm256_unpackhi_epi16(ab, cd));
    // Unpacking goes by halves of vectors, which are put in order.
    let groups = [
        _mm256_permute2x128_si256::<0x20>(first, second),
        _mm256_permute2x128_si256::<0x20>(third, fourth),
        _mm256_permute2x128_si256::<0x31>(first, second),
        _mm256_permute2x128_si256::<0x31>(third, fourth),
    ];
    for number in 0..4 {
        let to = to.as_mut_ptr().wrapping_add(number * BYTES);
        // SAFETY: there are four times 32 places.
        unsafe { _mm256_storeu_si256(to.cast(), groups[number]) };
    }
}

/// As [`super::KernelSet::multiply`].
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
fn tile<const POSITIONS: usize>(job: &Job<'_>, block: usize, at: usize, outputs: &mut [i8]) {
    let image = job.image.as_ptr();
    let positions = job.positions::<POSITIONS>(at);
    let (Some(finish), Some([from, to])) = (job.panel.finish.get(block), positions) else { return };
    let mut sums = [halves(&finish.start); POSITIONS];
    let mut lines = job.panel.block(block);
    for &segment in job.segments {
        let mut x = [image; POSITIONS];
        for position in 0..POSITIONS {
            x[position] = image.wrapping_add(from[position] + segment);
        }
        for group in 0..job.groups {
            let Some((line, rest)) = lines.split_first() else { return };
            lines = rest;
            let weights = load_line(line);
            for position in 0..POSITIONS {
                let x = x[position].wrapping_add(group * GROUP).cast::<i32>();
                // SAFETY: `Job` has checked that the image has all groups of all segments of all
                // positions, of which this is one; four bytes are read, at any address.
                let x = _mm256_set1_epi32(unsafe { x.read_unaligned() });
                for vector in 0..VECTORS {
                    let products = _mm256_madd_epi16(x, weights[vector]);
                    sums[position][vector] = _mm256_add_epi32(sums[position][vector], products);
                }
            }
        }
    }
    // A copy, of which any can be asked for: the sums themselves stay in registers.
    let mut done = [[_mm256_setzero_si256(); VECTORS]; POSITIONS];
    for position in 0..POSITIONS {
        for vector in 0..VECTORS {
            done[position][vector] = sums[position][vector];
        }
    }
    for position in 0..POSITIONS {
        store(done[position], job.panel, (finish, block), to[position], outputs);
    }
}

/// As [`super::KernelSet::channels`].
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
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
    let mut sums = [halves(&finish.start); POSITIONS];
    let lines = panel.block(block);
    for (number, &segment) in job.segments.iter().enumerate() {
        let Some(line) = lines.get(number) else { return };
        let weights = load_line(line);
        let image = job.image.as_ptr().wrapping_add(segment + start * GROUP);
        for position in 0..POSITIONS {
            for vector in 0..VECTORS {
                let x = image.wrapping_add(from[position] + vector * NUMBERS * GROUP);
                // SAFETY: `Job` has checked that the image has sixteen groups at each tap of each
                // position, from the last block's start on; half of them are read, at any address.
                let x = unsafe { _mm256_loadu_si256(x.cast()) };
                let products = _mm256_madd_epi16(x, weights[vector]);
                sums[position][vector] = _mm256_add_epi32(sums[position][vector], products);
            }
        }
    }
    // A copy, of which any can be asked for: the sums themselves stay in registers.
    let mut done = [[_mm256_setzero_si256(); VECTORS]; POSITIONS];
    for position in 0..POSITIONS {
        for vector in 0..VECTORS {
            done[position][vector] = sums[position][vector];
        }
    }
    for position in 0..POSITIONS {
        store(done[position], panel, (finish, block), to[position], outputs);
    }
}

/// Makes a block's sums at a position outputs.
#[inline]
#[target_feature(enable = "avx2")]
fn store(
    [first, second]: [__m256i; VECTORS],
    panel: &Panel,
    (finish, block): (&FinishLine, usize),
    to: usize,
    outputs: &mut [i8],
) {
    let Some(&start) = panel.starts.get(block) else { return };
    let count = panel.rows_from(block).min(LANES);
    let Some(outputs) = outputs.get_mut(to + start..to + start + count) else { return };
    let first = scale(first, finish, 0, panel.is_easy);
    let second = scale(second, finish, 1, panel.is_easy);
    let bytes = narrow([first, second], panel.zero_point, panel.clamp);
    let mut all = [0i8; LANES];
    let to = if count == LANES { outputs.as_mut_ptr() } else { all.as_mut_ptr() };
    // SAFETY: there are sixteen places, of the outputs or of `all`.
    unsafe { _mm_storeu_si128(to.cast(), bytes) };
    if count < LANES {
        outputs.copy_from_slice(all.get(..count).unwrap_or_default());
    }
}

/// Zero point and activation of sixteen outputs.
#[inline]
#[target_feature(enable = "avx2")]
fn narrow([first, second]: [__m256i; VECTORS], zero_point: i8, clamp: Clamp) -> __m128i {
    // Saturating, each step of which changes nothing that isn't limited at the end.
    let zero = _mm256_set1_epi16(zero_point.into());
    let words = _mm256_adds_epi16(_mm256_packs_epi32(first, second), zero);
    // Packing goes by halves of vectors.
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
    let bytes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    let bytes = _mm_max_epi8(bytes, _mm_set1_epi8(clamp.min));
    _mm_min_epi8(bytes, _mm_set1_epi8(clamp.max))
}

/// As [`super::KernelSet::add`].
#[target_feature(enable = "avx2")]
pub(super) fn add(sum: &Sum, [a, b]: [&[i8]; 2], outputs: &mut [i8]) {
    let count = outputs.len().min(a.len()).min(b.len());
    let mut at = 0;
    while count - at >= LANES {
        let (Some(a), Some(b)) = (chunk(a, at), chunk(b, at)) else { return };
        let Some(y) = outputs.get_mut(at..).and_then(<[_]>::first_chunk_mut::<LANES>) else {
            return;
        };
        let mut steps = [_mm256_setzero_si256(); VECTORS];
        for vector in 0..VECTORS {
            let first = operand(a, &sum.operands[0], vector);
            let parts = _mm256_add_epi32(first, operand(b, &sum.operands[1], vector));
            steps[vector] = scale(parts, &sum.result, vector, sum.is_easy);
        }
        let bytes = narrow(steps, sum.zero_point, sum.clamp);
        // SAFETY: there are sixteen places.
        unsafe { _mm_storeu_si128(y.as_mut_ptr().cast(), bytes) };
        at += LANES;
    }
    sum.each([a, b], outputs, at);
}

/// Some of the values.
#[inline]
fn chunk<const N: usize>(values: &[i8], at: usize) -> Option<&[i8; N]> {
    values.get(at..).and_then(<[_]>::first_chunk)
}

#[inline]
fn chunk_mut<T, const N: usize>(values: &mut [T], at: usize) -> Option<&mut [T; N]> {
    values.get_mut(at..).and_then(<[_]>::first_chunk_mut)
}

/// An operand's part in eight sums, the first or second of sixteen.
#[inline]
#[target_feature(enable = "avx2")]
fn operand(x: &[i8; LANES], finish: &FinishLine, vector: usize) -> __m256i {
    let at = x.as_ptr().wrapping_add(vector % VECTORS * NUMBERS);
    // SAFETY: eight of the sixteen bytes are read, at any address.
    let x = _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(at.cast()) });
    let x = _mm256_add_epi32(x, halves(&finish.start)[vector % VECTORS]);
    scale(_mm256_slli_epi32::<{ LEFT_SHIFT as i32 }>(x), finish, vector, false)
}

/// [`crate::requantize::Multiplier::apply`] of eight sums, the first or second of a line.
#[inline]
#[target_feature(enable = "avx2")]
fn scale(sum: __m256i, finish: &FinishLine, vector: usize, is_easy: bool) -> __m256i {
    let table = |table: &[i32; LANES]| {
        let at = table.as_ptr().wrapping_add(vector % VECTORS * NUMBERS);
        // SAFETY: the table has two vectors, of which this is one, at any address.
        unsafe { _mm256_loadu_si256(at.cast()) }
    };
    let left = if is_easy { sum } else { _mm256_sllv_epi32(sum, table(&finish.left)) };
    let half = _mm256_set1_epi64x(1 << 30);
    let even = _mm256_add_epi64(_mm256_mul_epi32(left, table(&finish.value)), half);
    let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(left), table(&finish.odd));
    let odd = _mm256_add_epi64(odd, half);
    // The product, bits 31 to 62, in the place of its sum.
    let product =
        _mm256_blend_epi32::<0xAA>(_mm256_srli_epi64::<31>(even), _mm256_slli_epi64::<1>(odd));
    if is_easy {
        let lower = _mm256_add_epi32(product, _mm256_srai_epi32::<31>(product));
        let sum = _mm256_add_epi32(lower, table(&finish.half));
        return _mm256_srav_epi32(sum, table(&finish.right));
    }
    let one = table(&finish.one);
    // A product of a fraction below 1 isn't −2³¹, so that one less doesn't wrap.
    let is_negative = _mm256_and_si256(_mm256_srli_epi32::<31>(product), one);
    let lower = _mm256_sub_epi32(product, is_negative);
    let rest = _mm256_and_si256(_mm256_srav_epi32(lower, table(&finish.less)), one);
    _mm256_add_epi32(_mm256_srav_epi32(lower, table(&finish.right)), rest)
}

/// A table as vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn halves(table: &[i32; LANES]) -> [__m256i; VECTORS] {
    let at = table.as_ptr();
    // SAFETY: sixteen numbers are two vectors, at any address.
    unsafe { [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.wrapping_add(NUMBERS).cast())] }
}

/// A line as vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn load_line(line: &Line) -> [__m256i; VECTORS] {
    let at = core::ptr::from_ref(line).cast::<__m256i>();
    // SAFETY: a line is two vectors, aligned as ones.
    unsafe { [_mm256_load_si256(at), _mm256_load_si256(at.wrapping_add(1))] }
}
