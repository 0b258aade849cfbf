//! x86-64 hosts with AVX2, found at run time: sixteen 16-bit products an instruction (VPMADDWD).
//!
//! Weights and inputs are widened to 16 bits, so that their products' pairs can't saturate, as
//! those of VPMADDUBSW would. Four rows share the widened inputs: per sixteen columns and four
//! rows a load with its offset, and a load, a VPMADDWD and a sum for each row, 14 instructions for
//! 64 products, 0.22 a product. Its limit is the widening, for which these cores have one port.
//!
//! Of 4 and 2 bits, sixteen bytes are widened just so, and shifts leave a lane's first, second… column;
//! inputs are taken apart alike, once for four rows: 41 instructions for 128 products, 0.32, and 93
//! for 256, 0.36. Others take the portable loops: compiling those for AVX2 gained nothing that a
//! test saw.

use core::arch::x86_64::{
    __cpuid, __cpuid_count, __m128i, __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128,
    _mm_shuffle_epi32, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_packs_epi32, _mm256_set1_epi16, _mm256_setzero_si256,
    _mm256_slli_epi16, _mm256_slli_epi32, _mm256_srai_epi16, _mm256_srai_epi32, _xgetbv,
};
use core::sync::atomic::{AtomicU8, Ordering};

use super::steps::{Inputs, Lanes, STEP, STEP_COLUMNS, four_rows};
use super::{BLOCK_ROWS, Kernels, Matrix, portable};

/// Those of x86-64.
pub(crate) struct X86;

impl Kernels for X86 {
    const NAME: &'static str = "x86_64";
    const HAS_BYTES: bool = true;
    type Lanes = Lanes;

    #[inline(always)]
    fn dot_block(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>) -> [i32; BLOCK_ROWS] {
        dot_block(matrix, first, inputs)
    }
}

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

/// As [`Kernels::dot_block`].
fn dot_block(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>) -> [i32; BLOCK_ROWS] {
    if let Some(rows) = four_rows(matrix, first, inputs)
        && has_avx2()
    {
        // SAFETY: AVX2 was found.
        return unsafe {
            match matrix.bits() {
                8 => bytes::dot_four(rows, inputs),
                4 => nibbles::dot_four(rows, inputs),
                _ => crumbs::dot_four(rows, inputs),
            }
        };
    }
    portable::dot_block::<X86>(matrix, first, inputs.x, inputs.offset)
}

/// `dot_four` of a width: the sums of four rows as [`four_rows`] gives them, `$columns` columns a step,
/// from what `inputs` and `weights` make vectors of sixteen 16-bit lanes of.
///
/// Written out: closures of this function couldn't be inlined into `core`'s, which have no AVX2.
macro_rules! dot_four {
    ($columns:expr) => {
        #[target_feature(enable = "avx2")]
        pub(super) fn dot_four(rows: [&[u8]; BLOCK_ROWS], x: &Inputs<'_>) -> [i32; BLOCK_ROWS] {
            let offset = _mm256_set1_epi16(x.offset);
            let mut sums = [_mm256_setzero_si256(); BLOCK_ROWS];
            let steps = x.x.as_chunks::<{ $columns }>().0;
            let [w0, w1, w2, w3] = rows;
            let (w0, w1) = (w0.as_chunks::<STEP>().0, w1.as_chunks::<STEP>().0);
            let (w2, w3) = (w2.as_chunks::<STEP>().0, w3.as_chunks::<STEP>().0);
            for ((((x, w0), w1), w2), w3) in steps.iter().zip(w0).zip(w1).zip(w2).zip(w3) {
                let mut x = inputs(x);
                for x in &mut x {
                    *x = _mm256_add_epi16(*x, offset);
                }
                sums = add_step(sums, x, [weights(w0), weights(w1), weights(w2), weights(w3)]);
            }
            let [w0, w1, w2, w3] = rows;
            if let (Some(last), Some(mask)) = (x.last, x.mask.0.first_chunk())
                && let (Some(w0), Some(w1)) = (w0.last_chunk(), w1.last_chunk())
                && let (Some(w2), Some(w3), Some(x)) =
                    (w2.last_chunk(), w3.last_chunk(), last.0.first_chunk())
            {
                let mut x = inputs(x);
                for (x, mask) in x.iter_mut().zip(inputs(mask)) {
                    *x = _mm256_add_epi16(*x, _mm256_and_si256(offset, mask));
                }
                sums = add_step(sums, x, [weights(w0), weights(w1), weights(w2), weights(w3)]);
            }
            let [s0, s1, s2, s3] = sums;
            [total(s0), total(s1), total(s2), total(s3)]
        }
    };
}

/// Adds products of inputs and four rows' weights.
#[inline]
#[target_feature(enable = "avx2")]
fn add_step<const N: usize>(
    mut sums: [__m256i; BLOCK_ROWS],
    x: [__m256i; N],
    weights: [[__m256i; N]; BLOCK_ROWS],
) -> [__m256i; BLOCK_ROWS] {
    for (sum, weights) in sums.iter_mut().zip(weights) {
        for (w, x) in weights.into_iter().zip(x) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(w, x));
        }
    }
    sums
}

/// 8 bits: a lane is a column.
mod bytes {
    use super::*;

    dot_four!(STEP);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn inputs(x: &[i8; STEP]) -> [__m256i; 1] {
        [widen(x)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn weights(bytes: &[u8; STEP]) -> [__m256i; 1] {
        [widen(bytes)]
    }
}

/// 4 bits: a lane is two columns, of which shifts leave one.
mod nibbles {
    use super::*;

    dot_four!(2 * STEP);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn inputs(x: &[i8; 2 * STEP]) -> [__m256i; 2] {
        // SAFETY: there are 32 bytes to read, and the load takes any alignment.
        let x = unsafe { _mm256_loadu_si256(x.as_ptr().cast::<__m256i>()) };
        let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x));
        [even, _mm256_srai_epi16::<8>(x)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn weights(bytes: &[u8; STEP]) -> [__m256i; 2] {
        let w = widen(bytes);
        let even = _mm256_srai_epi16::<12>(_mm256_slli_epi16::<12>(w));
        [even, _mm256_srai_epi16::<4>(w)]
    }
}

/// 2 bits: a lane is four columns, of which shifts leave one.
mod crumbs {
    use super::*;

    dot_four!(STEP_COLUMNS);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn inputs(x: &[i8; STEP_COLUMNS]) -> [__m256i; 4] {
        let [a, b] = [0, 2 * STEP].map(|from| {
            let at = x.as_ptr().wrapping_add(from).cast::<__m256i>();
            // SAFETY: there are 32 bytes from there on, and the load takes any alignment.
            unsafe { _mm256_loadu_si256(at) }
        });
        // Packing joins the lower halves of both, then the upper ones.
        [
            _mm256_packs_epi32(
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(a)),
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(b)),
            ),
            _mm256_packs_epi32(
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<16>(a)),
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<16>(b)),
            ),
            _mm256_packs_epi32(
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<8>(a)),
                _mm256_srai_epi32::<24>(_mm256_slli_epi32::<8>(b)),
            ),
            _mm256_packs_epi32(_mm256_srai_epi32::<24>(a), _mm256_srai_epi32::<24>(b)),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn weights(bytes: &[u8; STEP]) -> [__m256i; 4] {
        // SAFETY: there are sixteen bytes to read, and the load takes any alignment.
        let w = unsafe { _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()) };
        // In the order of the inputs.
        let w = _mm256_cvtepi8_epi16(_mm_shuffle_epi32::<0b11_01_10_00>(w));
        [
            _mm256_srai_epi16::<14>(_mm256_slli_epi16::<14>(w)),
            _mm256_srai_epi16::<14>(_mm256_slli_epi16::<12>(w)),
            _mm256_srai_epi16::<14>(_mm256_slli_epi16::<10>(w)),
            _mm256_srai_epi16::<14>(_mm256_slli_epi16::<8>(w)),
        ]
    }
}

/// What is a byte of any bits.
trait Byte {}
impl Byte for i8 {}
impl Byte for u8 {}

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
    super::super::suite::kernel_suite!(super::X86);

    #[test]
    fn detection_agrees_with_the_standard_library() {
        assert_eq!(super::has_avx2(), std::is_x86_feature_detected!("avx2"));
        assert_eq!(super::has_avx2(), super::detect_avx2());
    }
}
