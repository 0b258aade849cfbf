//! Cortex-M55 and other cores with MVE (Helium): sixteen products and their sum an instruction.
//!
//! Loading limits all of it: dense layers load sixteen inputs once for four rows (ten instructions for 64
//! products), convolutions two rows once for three positions (twelve for 96). Rounding and clamping are vectors
//! as well, with parameters that were put into vectors before.
//!
//! | file | what |
//! |---|---|
//! | `dense`, `pairs`, `nibbles` | rows times one vector, of 8 bits, in pairs, and of 4 bits |
//! | `convolve` | convolutions of bytes: some rows over all positions |
//! | `windows`, `weights` | what they gather and multiply, a piece at a time |
//! | `positions` | where they do |
//! | `products`, `outputs` | their kernels |
//! | `depthwise`, `planes`, `taps` | depthwise convolutions, of few taps, of any |
//! | `parameters` | biases and multipliers as vectors |
//! | `add`, `pixels` | sums of tensors, and of pixels |
//!
//! The core must have access to its vectors (CPACR), as the start-up code of any program compiled
//! for such a core must see to; cortex-m-rt does.

mod add;
mod convolve;
mod dense;
mod depthwise;
mod nibbles;
mod outputs;
mod pairs;
mod parameters;
mod pixels;
mod planes;
mod positions;
mod products;
mod taps;
mod weights;
mod windows;

use core::arch::naked_asm;
use core::ops::Range;

use self::dense::Lanes;
use super::{Addition, BLOCK_ROWS, Finish, Kernels, Matrix, Sight, portable};
use crate::ops::{Axis, Image, Layer};

/// Positions of a convolution that are multiplied at once.
const POSITIONS: usize = 3;
/// Most values under a kernel that are gathered at once at each position.
const PIECE: usize = 384;

/// Those of cores with MVE.
pub(crate) struct Mve;

impl Kernels for Mve {
    const NAME: &'static str = "mve";
    const HAS_BYTES: bool = true;
    const TAKES_ROWS: bool = true;
    const HAS_DEPTHWISE: bool = true;
    const SEES_SPANS: bool = false;
    const PATCH_MAX: usize = 1152; // 3 × 3 × 128: such cores have the memory
    type Lanes = Lanes;

    #[inline(always)]
    fn finish(
        lanes: &mut Lanes,
        matrix: &Matrix<'_>,
        x: &[i8],
        offset: i16,
        finish: &Finish<'_>,
        outputs: &mut [i8],
    ) -> Option<()> {
        lanes.finish(matrix, x, offset, finish, outputs)
    }

    #[inline(always)]
    fn convolve(
        image: &Image<'_>,
        layer: &Layer<'_>,
        rows: [usize; 2],
        output: &mut [i8],
    ) -> Option<()> {
        if layer.matrix.bits() != 8 || layer.matrix.columns == 0 {
            return None;
        }
        convolve::convolve(image, layer, rows, output)
    }

    #[inline(always)]
    fn convolve_and_pool(
        image: &Image<'_>,
        layer: &Layer<'_>,
        pool: &[Axis; 2],
        output: &mut [i8],
    ) -> Option<()> {
        if layer.matrix.bits() != 8 || layer.matrix.columns == 0 {
            return None;
        }
        convolve::convolve_and_pool(image, layer, pool, output)
    }

    #[inline(always)]
    fn depthwise_layer(
        sight: &Sight<'_>,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        output: &mut [i8],
        _rare: &mut dyn FnMut(usize, &mut [i8]),
    ) -> Option<()> {
        depthwise::depthwise(sight, matrix, finish, output)
    }

    #[inline(always)]
    fn add(
        arena: &mut [i8],
        operands: [Range<usize>; 2],
        output: Range<usize>,
        addition: &Addition,
    ) -> Option<()> {
        add::add(arena, operands, output, addition)
    }

    #[inline(always)]
    fn sum_pixels(values: &[i8], size: [usize; 2], steps: [usize; 2], sums: &mut [i32]) {
        if pixels::sum(values, size, steps, sums).is_none() {
            portable::sum_pixels(values, size, steps, sums);
        }
    }

    #[inline(always)]
    fn copy(to: &mut [i8], from: &[i8]) {
        copy(to, from);
    }
}

/// Rows that are summed and rescaled at once: as many as a vector has lanes of 32 bits.
const QUAD: usize = BLOCK_ROWS;

/// As [`Kernels::copy`]: three instructions for sixteen, and few before.
#[inline(always)]
fn copy(to: &mut [i8], from: &[i8]) {
    let count = to.len().min(from.len());
    if count > 0 {
        // SAFETY: both have `count` bytes, which aren't none, and one is borrowed exclusively, so
        // they don't overlap: `copy_i8`'s conditions.
        unsafe { copy_i8(to.as_mut_ptr(), from.as_ptr(), count) }
    }
}

/// Copies bytes.
///
/// # Safety
/// `count` isn't 0; so many bytes of `from` can be read and of `to` written, and they don't
/// overlap. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2; lr saved and
// restored, the stack as it was). LETP masks loads and stores beyond `count`.
#[unsafe(naked)]
unsafe extern "C" fn copy_i8(to: *mut i8, from: *const i8, count: usize) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r7, lr}}",
        "dlstp.8 lr, r2",
        "2:",
        "vldrb.u8 q0, [r1], #16",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "pop {{r7, pc}}",
    )
}
