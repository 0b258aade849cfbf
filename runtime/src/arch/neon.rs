//! AArch64 with NEON, which all of these cores have: sixteen 8-bit products in two instructions.
//!
//! Products of bytes fill 16 bits (SMULL), and pairs of them are added to sums of 32 (SADALP), so
//! that nothing saturates. Σ w·(x + offset) is Σ w·x + offset · Σ w: per sixteen columns a row takes
//! a load, two SMULL and two SADALP, and two more where the offset isn't 0 and its weights are added
//! up; a load of inputs serves four rows. That is 21 or 29 instructions for 64 products, 0.33 or
//! 0.45 a product. Its limit is the widening sum; SDOT would halve it, but isn't in every core, and
//! a program without a system can't ask. Other widths take the portable loops.

use core::arch::aarch64::{
    int8x16_t, int32x4_t, vaddvq_s32, vdupq_n_s32, vget_low_s8, vld1q_s8, vmull_high_s8, vmull_s8,
    vpadalq_s16, vpaddlq_s8,
};

pub(crate) use super::portable::{
    Inputs, Lanes, add, copy, depthwise, dot, dot_strided, finish_rows, is_direct, row_sum,
};
use super::steps::{Byte, STEP, four_rows};
use super::{BLOCK_ROWS, Matrix, portable};

/// Σ w·(x + offset) of a block of rows; what stands beyond the last row has no meaning.
pub(crate) fn dot_block(
    matrix: &Matrix<'_>,
    first: usize,
    inputs: &Inputs<'_>,
) -> [i32; BLOCK_ROWS] {
    let (x, offset) = inputs.parts();
    if let Some(rows) = four_rows(matrix, first, x.len()) {
        // SAFETY: the module is only compiled for targets whose every core has NEON.
        return unsafe {
            match offset {
                0 => dot4_w8a8::<false>(rows, x, 0),
                offset => dot4_w8a8::<true>(rows, x, offset),
            }
        };
    }
    portable::dot_block(matrix, first, inputs)
}

/// The sums of four rows, as long as `x` in whole steps each; `OFFSET` is whether there is one.
#[target_feature(enable = "neon")]
fn dot4_w8a8<const OFFSET: bool>(
    rows: [&[u8]; BLOCK_ROWS],
    x: &[i8],
    offset: i16,
) -> [i32; BLOCK_ROWS] {
    let [mut r0, mut r1, mut r2, mut r3] = [Row::zero(); BLOCK_ROWS];
    let (steps, rest) = x.as_chunks::<STEP>();
    let [w0, w1, w2, w3] = rows.map(|row| row.as_chunks::<STEP>().0);
    for ((((x, w0), w1), w2), w3) in steps.iter().zip(w0).zip(w1).zip(w2).zip(w3) {
        let x = load(x);
        r0.add::<OFFSET>(w0, x);
        r1.add::<OFFSET>(w1, x);
        r2.add::<OFFSET>(w2, x);
        r3.add::<OFFSET>(w3, x);
    }
    // The last columns are no whole step: beyond them, where other weights are, both are zeros.
    if !rest.is_empty() {
        let mut inputs = [0; STEP];
        inputs.iter_mut().zip(rest).for_each(|(place, &x)| *place = x);
        let x = load(&inputs);
        let weights = |w: &[[u8; STEP]]| {
            let mut last = w.get(steps.len()).copied().unwrap_or_default();
            last.iter_mut().skip(rest.len()).for_each(|w| *w = 0);
            last
        };
        r0.add::<OFFSET>(&weights(w0), x);
        r1.add::<OFFSET>(&weights(w1), x);
        r2.add::<OFFSET>(&weights(w2), x);
        r3.add::<OFFSET>(&weights(w3), x);
    }
    let total = |row: Row| row.total::<OFFSET>(offset);
    [total(r0), total(r1), total(r2), total(r3)]
}

/// A row's sums in four lanes.
#[derive(Clone, Copy)]
struct Row {
    products: int32x4_t,
    weights: int32x4_t,
}

impl Row {
    #[inline]
    #[target_feature(enable = "neon")]
    fn zero() -> Self {
        let zero = vdupq_n_s32(0);
        Self { products: zero, weights: zero }
    }

    /// Adds sixteen columns.
    #[inline]
    #[target_feature(enable = "neon")]
    fn add<const OFFSET: bool>(&mut self, weights: &[u8; STEP], x: int8x16_t) {
        let w = load(weights);
        self.products = vpadalq_s16(self.products, vmull_s8(vget_low_s8(w), vget_low_s8(x)));
        self.products = vpadalq_s16(self.products, vmull_high_s8(w, x));
        if OFFSET {
            self.weights = vpadalq_s16(self.weights, vpaddlq_s8(w));
        }
    }

    /// Σ w·x, and offset · Σ w.
    #[inline]
    #[target_feature(enable = "neon")]
    fn total<const OFFSET: bool>(self, offset: i16) -> i32 {
        let products = vaddvq_s32(self.products);
        if !OFFSET {
            return products;
        }
        products.wrapping_add(vaddvq_s32(self.weights).wrapping_mul(i32::from(offset)))
    }
}

/// Sixteen bytes, signed or weights as stored.
#[inline]
#[target_feature(enable = "neon")]
fn load<T: Byte>(bytes: &[T; STEP]) -> int8x16_t {
    // SAFETY: there are sixteen bytes to read, and a load of bytes takes any alignment.
    unsafe { vld1q_s8(bytes.as_ptr().cast::<i8>()) }
}

#[cfg(test)]
mod tests {
    super::super::suite::kernel_suite!(super);
}
