//! x86-64 with AVX2: sixteen 16-bit products an instruction (VPMADDWD), which can't saturate.
//!
//! A line is two vectors: eight rows each, two columns. Six positions are at hand, twelve vectors of
//! sums, so that weights are loaded once for all of these.

use core::arch::x86_64::*;

use super::bodies::compiled_for;
use super::panel::{FinishLine, GROUP, LANES, Line, Panel};
use super::walk::Job;

compiled_for!("avx2");

/// Vectors of a line.
const VECTORS: usize = 2;
/// Numbers of a vector.
const NUMBERS: usize = LANES / VECTORS;

/// As [`super::KernelSet::multiply`].
#[target_feature(enable = "avx2")]
pub(super) fn multiply(job: &Job<'_>, outputs: &mut [i8]) {
    for block in 0..job.panel.starts.len() {
        let (mut from, mut to) = (job.from, job.to);
        while let (Some((some_from, from_rest)), Some((some_to, to_rest))) =
            (from.split_first_chunk::<6>(), to.split_first_chunk::<6>())
        {
            tile(job, block, some_from, some_to, outputs);
            (from, to) = (from_rest, to_rest);
        }
        if let (Some((some_from, from_rest)), Some((some_to, to_rest))) =
            (from.split_first_chunk::<3>(), to.split_first_chunk::<3>())
        {
            tile(job, block, some_from, some_to, outputs);
            (from, to) = (from_rest, to_rest);
        }
        for (from, to) in from.iter().zip(to) {
            tile(job, block, &[*from], &[*to], outputs);
        }
    }
}

/// The outputs of a block of rows at `POSITIONS` positions.
#[inline]
#[target_feature(enable = "avx2")]
fn tile<const POSITIONS: usize>(
    job: &Job<'_>,
    block: usize,
    from: &[usize; POSITIONS],
    to: &[usize; POSITIONS],
    outputs: &mut [i8],
) {
    let Some(finish) = job.panel.finish.get(block) else { return };
    let mut sums = [halves(&finish.start); POSITIONS];
    let mut lines = job.panel.block(block).iter();
    for &segment in job.segments {
        let mut x = [job.image.as_ptr(); POSITIONS];
        for (x, from) in x.iter_mut().zip(from) {
            *x = x.wrapping_add(from + segment);
        }
        for (group, line) in (0..job.groups).zip(&mut lines) {
            let weights = load_line(line);
            for (sums, x) in sums.iter_mut().zip(&x) {
                // SAFETY: `Job` has checked that the image has all groups of all segments of all
                // positions, of which this is one; four bytes are read, at any address.
                let x = unsafe { x.wrapping_add(group * GROUP).cast::<i32>().read_unaligned() };
                let x = _mm256_set1_epi32(x);
                for (sum, weights) in sums.iter_mut().zip(&weights) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, *weights));
                }
            }
        }
    }
    for (sums, to) in sums.iter().zip(to) {
        store(*sums, job.panel, (finish, block), *to, outputs);
    }
}

/// As [`super::KernelSet::channels`].
#[target_feature(enable = "avx2")]
pub(super) fn channels(job: &Job<'_>, outputs: &mut [i8]) {
    for block in 0..job.panel.starts.len() {
        let (mut from, mut to) = (job.from, job.to);
        while let (Some((some_from, from_rest)), Some((some_to, to_rest))) =
            (from.split_first_chunk::<4>(), to.split_first_chunk::<4>())
        {
            channels_tile(job, block, some_from, some_to, outputs);
            (from, to) = (from_rest, to_rest);
        }
        for (from, to) in from.iter().zip(to) {
            channels_tile(job, block, &[*from], &[*to], outputs);
        }
    }
}

/// The outputs of a block of channels at `POSITIONS` positions.
#[inline]
#[target_feature(enable = "avx2")]
fn channels_tile<const POSITIONS: usize>(
    job: &Job<'_>,
    block: usize,
    from: &[usize; POSITIONS],
    to: &[usize; POSITIONS],
    outputs: &mut [i8],
) {
    let panel = job.panel;
    let (Some(finish), Some(&start)) = (panel.finish.get(block), panel.starts.get(block)) else {
        return;
    };
    let mut sums = [halves(&finish.start); POSITIONS];
    for (line, segment) in panel.block(block).iter().zip(job.segments) {
        let weights = load_line(line);
        for (sums, from) in sums.iter_mut().zip(from) {
            let x = job.image.as_ptr().wrapping_add(from + segment + start * GROUP);
            for (vector, (sum, weights)) in sums.iter_mut().zip(&weights).enumerate() {
                let x = x.wrapping_add(vector * NUMBERS * GROUP);
                // SAFETY: `Job` has checked that the image has sixteen groups at each tap of each
                // position, from the last block's start on; half of them are read, at any address.
                let x = unsafe { _mm256_loadu_si256(x.cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, *weights));
            }
        }
    }
    for (sums, to) in sums.iter().zip(to) {
        store(*sums, panel, (finish, block), *to, outputs);
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
    // Saturating, each step of which changes nothing that isn't limited at the end.
    let zero = _mm256_set1_epi16(panel.zero_point.into());
    let words = _mm256_adds_epi16(_mm256_packs_epi32(first, second), zero);
    // Packing goes by halves of vectors.
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
    let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
    let bytes = _mm_max_epi8(bytes, _mm_set1_epi8(panel.clamp.min));
    let bytes = _mm_min_epi8(bytes, _mm_set1_epi8(panel.clamp.max));
    let mut all = [0i8; LANES];
    let to = if count == LANES { outputs.as_mut_ptr() } else { all.as_mut_ptr() };
    // SAFETY: there are sixteen places, of the outputs or of `all`.
    unsafe { _mm_storeu_si128(to.cast(), bytes) };
    if count < LANES {
        outputs.copy_from_slice(all.get(..count).unwrap_or_default());
    }
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
    let product = _mm256_blend_epi32::<0xAA>(
        _mm256_srli_epi64::<31>(even),
        _mm256_slli_epi64::<1>(odd),
    );
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
    unsafe {
        [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.wrapping_add(NUMBERS).cast())]
    }
}

/// A line as vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn load_line(line: &Line) -> [__m256i; VECTORS] {
    let at = core::ptr::from_ref(line).cast::<__m256i>();
    // SAFETY: a line is two vectors, aligned as ones.
    unsafe { [_mm256_load_si256(at), _mm256_load_si256(at.wrapping_add(1))] }
}
