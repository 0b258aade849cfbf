//! x86-64 hosts with AVX2, found at run time: sixteen 16-bit products an instruction (VPMADDWD).
//!
//! Weights and inputs are widened to 16 bits, so that their products' pairs can't saturate, as
//! those of VPMADDUBSW would. Four rows share the widened inputs: per sixteen columns and four
//! rows a load with its offset, and a load, a VPMADDWD and a sum for each row, 14 instructions for
//! 64 products, 0.22 a product. Its limit is the widening, for which these cores have one port.
//! Other widths take the portable loops: compiling those for AVX2 gained nothing that a test saw.

use core::arch::x86_64::{
    __cpuid, __cpuid_count, __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128,
    _mm_shuffle_epi32, _mm256_add_epi16, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_set1_epi16, _mm256_setzero_si256, _xgetbv,
};
use core::sync::atomic::{AtomicU8, Ordering};

pub(crate) use super::portable::{
    Inputs, Lanes, add, copy, depthwise, dot, dot_strided, finish_rows, is_direct, row_sum,
};
use super::steps::{Byte, STEP, four_rows};
use super::{BLOCK_ROWS, Matrix, portable};

/// Whether the core and its system have AVX2; asked once.
fn has_avx2() -> bool {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;
    static FOUND: AtomicU8 = AtomicU8::new(UNKNOWN);
    match FOUND.load(Ordering::Relaxed) {
        UNKNOWN => {
            let found = detect_avx2();
            FOUND.store(if found { YES } else { NO }, Ordering::Relaxed);
            found
        }
        found => found == YES,
    }
}

fn detect_avx2() -> bool {
    const OSXSAVE_AND_AVX: u32 = 1 << 27 | 1 << 28;
    const SAVES_VECTORS: u64 = 0b110;
    const AVX2: u32 = 1 << 5;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE_AND_AVX != OSXSAVE_AND_AVX {
        return false;
    }
    // SAFETY: XGETBV is there when the system has set OSXSAVE, as just seen; it reads a register.
    let saved = unsafe { _xgetbv(0) };
    saved & SAVES_VECTORS == SAVES_VECTORS && __cpuid_count(7, 0).ebx & AVX2 != 0
}

/// Σ w·(x + offset) of a block of rows; what stands beyond the last row has no meaning.
pub(crate) fn dot_block(
    matrix: &Matrix<'_>,
    first: usize,
    inputs: &Inputs<'_>,
) -> [i32; BLOCK_ROWS] {
    let (x, offset) = inputs.parts();
    if let Some(rows) = four_rows(matrix, first, x.len())
        && has_avx2()
    {
        // SAFETY: AVX2 was found.
        return unsafe { dot4_w8a8(rows, x, offset) };
    }
    portable::dot_block(matrix, first, inputs)
}

/// The sums of four rows, as long as `x` in whole steps each.
#[target_feature(enable = "avx2")]
fn dot4_w8a8(rows: [&[u8]; BLOCK_ROWS], x: &[i8], offset: i16) -> [i32; BLOCK_ROWS] {
    let offsets = _mm256_set1_epi16(offset);
    let [mut s0, mut s1, mut s2, mut s3] = [_mm256_setzero_si256(); BLOCK_ROWS];
    let (steps, rest) = x.as_chunks::<STEP>();
    // Written out: closures of this function couldn't be inlined into `core`'s, which have no AVX2.
    let [w0, w1, w2, w3] = rows;
    let (w0, w1) = (w0.as_chunks::<STEP>().0, w1.as_chunks::<STEP>().0);
    let (w2, w3) = (w2.as_chunks::<STEP>().0, w3.as_chunks::<STEP>().0);
    for ((((x, w0), w1), w2), w3) in steps.iter().zip(w0).zip(w1).zip(w2).zip(w3) {
        let x = _mm256_add_epi16(widen(x), offsets);
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(widen(w0), x));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(widen(w1), x));
        s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(widen(w2), x));
        s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(widen(w3), x));
    }
    // The last columns are no whole step: lanes beyond them, where other weights are, get zeros.
    if !rest.is_empty() {
        let mut inputs = [0; STEP];
        for (place, &x) in inputs.iter_mut().zip(rest) {
            *place = i16::from(x).wrapping_add(offset);
        }
        // SAFETY: an array of sixteen halves is a vector's bytes; the load takes any alignment.
        let x = unsafe { _mm256_loadu_si256(inputs.as_ptr().cast::<__m256i>()) };
        let at = steps.len();
        let weights = |w: &[[u8; STEP]]| w.get(at).copied().unwrap_or_default();
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(widen(&weights(w0)), x));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(widen(&weights(w1)), x));
        s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(widen(&weights(w2)), x));
        s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(widen(&weights(w3)), x));
    }
    [total(s0), total(s1), total(s2), total(s3)]
}

/// Sixteen bytes, signed or weights as stored, sign-extended to 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn widen<T: Byte>(bytes: &[T; STEP]) -> __m256i {
    // SAFETY: there are sixteen bytes to read, and the load takes any alignment.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()) })
}

/// The sum of eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn total(lanes: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two)))
}

#[cfg(test)]
mod tests {
    super::super::suite::kernel_suite!(super);

    #[test]
    fn detection_agrees_with_the_standard_library() {
        assert_eq!(super::has_avx2(), std::is_x86_feature_detected!("avx2"));
        assert_eq!(super::has_avx2(), super::detect_avx2());
    }
}
