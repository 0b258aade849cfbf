//! AArch64 with NEON, which all of these cores have: sixteen 8-bit products in two instructions.
//!
//! Four rows share each load of inputs, and a load takes up to 64 bytes and moves its address on.
//!
//! - Of 8 bits: products fill 16 bits (SMULL), and pairs of them are added to sums of 32 (SADALP), so that
//!   nothing saturates. 32 columns of four rows take five loads, 32 instructions and two for the loop:
//!   0.30 a product. Its limit is the widening sum; SDOT would halve it, but isn't in every core, and
//!   a program without a system can't ask.
//! - Of 4 bits: the load takes even and odd columns apart (LD2), three shifts do the same to nibbles.
//!   Their products are so small that four fit 16 bits (SMLAL), so one SADALP serves 32 columns: 0.30.
//! - Of 2 bits: LD4 and seven shifts, and one SADALP serves 64 columns: 0.28.
//!
//! Σ w·(x + offset) is Σ w·x + offset · Σ w, which is a second pass over the weights, with −1 as inputs.
//!
//! Loads are assembly: targets without a system may not load what isn't aligned, where the
//! compiler makes of an intrinsic's load sixteen of one byte. LD1 of bytes takes any address.

use core::arch::aarch64::{
    int32x4_t, vaddq_s32, vaddvq_s32, vandq_s32, vdupq_n_s32, vgetq_lane_s32, vmaxq_s32, vminq_s32,
    vqaddq_s32, vqrdmulhq_s32, vrshlq_s32, vshlq_s32, vshrq_n_s32,
};
use core::arch::asm;

use super::steps::{Inputs, Lanes, Last, STEP, STEP_COLUMNS, four_rows};
use super::{BLOCK_ROWS, Finish, Kernels, Matrix, Sums, portable};

/// Those of AArch64.
pub(crate) struct Neon;

impl Kernels for Neon {
    const NAME: &'static str = "neon";
    const HAS_BYTES: bool = true;
    type Lanes = Lanes;

    #[inline(always)]
    fn dot_block(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>) -> [i32; BLOCK_ROWS] {
        dot_block(matrix, first, inputs)
    }

    #[inline(always)]
    fn finish_rows(finish: &Finish<'_>, first: usize, sums: &Sums, outputs: &mut [i8]) {
        finish_rows(finish, first, sums, outputs);
    }

    #[inline(always)]
    fn copy(to: &mut [i8], from: &[i8]) {
        copy(to, from);
    }
}

/// Sums of four rows, in four lanes each.
type RowSums = [int32x4_t; BLOCK_ROWS];

/// What each column's weight is multiplied by where weights are added up.
static MINUS_ONES: Last = Last([-1; STEP_COLUMNS]);

/// As [`Kernels::dot_block`].
#[inline(always)]
fn dot_block(matrix: &Matrix<'_>, first: usize, inputs: &Inputs<'_>) -> [i32; BLOCK_ROWS] {
    let &Inputs { x, offset, .. } = inputs;
    let Some(rows) = four_rows(matrix, first, inputs) else {
        return portable::dot_block::<Neon>(matrix, first, x, offset);
    };
    // SAFETY: the module is only compiled for targets whose every core has NEON.
    unsafe { dot_four(rows, matrix.bits(), inputs) }
}

/// The sums of four rows as [`four_rows`] gives them.
#[target_feature(enable = "neon")]
fn dot_four(rows: [&[u8]; BLOCK_ROWS], bits: u8, inputs: &Inputs<'_>) -> [i32; BLOCK_ROWS] {
    let &Inputs { x, offset, step_columns, last, mask } = inputs;
    let steps = x.len().checked_div(step_columns).unwrap_or(0);
    let products = pass(rows, bits, (x, step_columns, steps), last);
    if offset == 0 {
        return products;
    }
    let mask = last.map(|_| mask);
    let weights = pass(rows, bits, (&MINUS_ONES.0, 0, steps), mask);
    let mut sums = products;
    for (sum, weights) in sums.iter_mut().zip(weights) {
        *sum = sum.wrapping_sub(weights.wrapping_mul(offset.into()));
    }
    sums
}

/// The sums of products of four rows with so many steps of inputs, each `stride` behind the other,
/// and with those of the last step.
#[inline]
#[target_feature(enable = "neon")]
fn pass(
    rows: [&[u8]; BLOCK_ROWS],
    bits: u8,
    (x, stride, steps): (&[i8], usize, usize),
    last: Option<&Last>,
) -> [i32; BLOCK_ROWS] {
    let step_columns = match bits {
        8 => STEP,
        4 => 2 * STEP,
        _ => STEP_COLUMNS,
    };
    let [a, b, c, d] = rows;
    let len = a.len().min(b.len()).min(c.len()).min(d.len());
    let reaches = steps.wrapping_sub(1).wrapping_mul(stride).wrapping_add(step_columns);
    let mut sums = [vdupq_n_s32(0); BLOCK_ROWS];
    if steps > 0 && steps <= len / STEP && reaches <= x.len() {
        // SAFETY: there are so many steps of weights in each row, and of inputs.
        sums =
            unsafe { add_steps(bits, rows.map(<[u8]>::as_ptr), (x.as_ptr(), stride), steps, sums) };
    }
    if let (Some(last), Some(from)) = (last, len.checked_sub(STEP)) {
        let rows = rows.map(|row| row.as_ptr().wrapping_add(from));
        // SAFETY: each row has sixteen bytes from there on, and `last` as many columns as a step can
        // have.
        sums = unsafe { add_steps(bits, rows, (last.0.as_ptr(), 0), 1, sums) };
    }
    let [a, b, c, d] = sums;
    [vaddvq_s32(a), vaddvq_s32(b), vaddvq_s32(c), vaddvq_s32(d)]
}

/// Adds the products of so many steps, at least one, of four rows' weights with inputs that are
/// `stride` apart from step to step.
///
/// # Safety
/// At each of `rows` there are sixteen bytes a step to read, at `x` a step's columns for each.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_steps(
    bits: u8,
    rows: [*const u8; BLOCK_ROWS],
    x: (*const i8, usize),
    steps: usize,
    sums: RowSums,
) -> RowSums {
    // SAFETY: their conditions are this function's.
    unsafe {
        match bits {
            8 => bytes(rows, x, steps, sums),
            4 => nibbles(rows, x, steps, sums),
            _ => crumbs(rows, x, steps, sums),
        }
    }
}

/// The same of one width.
macro_rules! steps {
    ($name:ident: $($line:expr,)+) => {
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(
            [a, b, c, d]: [*const u8; BLOCK_ROWS],
            (x, stride): (*const i8, usize),
            steps: usize,
            [mut s0, mut s1, mut s2, mut s3]: RowSums,
        ) -> RowSums {
            // SAFETY: it reads as far as the function's conditions say, with loads that take any
            // address, writes nothing, and names every register that it changes.
            unsafe {
                asm!(
                    $($line,)+
                    a = inout(reg) a => _, b = inout(reg) b => _, c = inout(reg) c => _,
                    d = inout(reg) d => _, x = inout(reg) x => _, stride = in(reg) stride,
                    steps = inout(reg) steps => _,
                    inout("v16") s0, inout("v17") s1, inout("v18") s2, inout("v19") s3,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
                    out("v6") _, out("v7") _, out("v20") _, out("x9") _,
                    options(readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }
    };
}

steps! {
    bytes:
    ".macro of_one row, sum", // inputs: v0
    "ld1 {{v2.16b}}, [\\row], #16",
    "smull v4.8h, v2.8b, v0.8b",
    "smull2 v5.8h, v2.16b, v0.16b",
    "sadalp \\sum\\().4s, v4.8h",
    "sadalp \\sum\\().4s, v5.8h",
    ".endm",
    ".macro of_two row, sum", // inputs: v0, v1
    "ld1 {{v2.16b, v3.16b}}, [\\row], #32",
    "smull v4.8h, v2.8b, v0.8b",
    "smull2 v5.8h, v2.16b, v0.16b",
    "smull v6.8h, v3.8b, v1.8b",
    "smull2 v7.8h, v3.16b, v1.16b",
    "sadalp \\sum\\().4s, v4.8h",
    "sadalp \\sum\\().4s, v5.8h",
    "sadalp \\sum\\().4s, v6.8h",
    "sadalp \\sum\\().4s, v7.8h",
    ".endm",
    "tbz {steps}, #0, 2f",
    "ld1 {{v0.16b}}, [{x}], {stride}",
    "of_one {a}, v16\nof_one {b}, v17",
    "of_one {c}, v18\nof_one {d}, v19",
    "2:",
    "add x9, {stride}, {stride}",
    "lsr {steps}, {steps}, #1",
    "cbz {steps}, 4f",
    "3:",
    "ld1 {{v0.16b, v1.16b}}, [{x}], x9",
    "of_two {a}, v16\nof_two {b}, v17",
    "of_two {c}, v18\nof_two {d}, v19",
    "subs {steps}, {steps}, #1",
    "b.ne 3b",
    "4:",
    ".purgem of_one\n.purgem of_two",
}

steps! {
    nibbles:
    ".macro of_nibbles row, sum", // inputs: even columns in v0, odd ones in v1
    "ld1 {{v2.16b}}, [\\row], #16",
    "shl v3.16b, v2.16b, #4",
    "sshr v2.16b, v2.16b, #4",
    "sshr v3.16b, v3.16b, #4",
    "smull v4.8h, v2.8b, v1.8b",
    "smlal2 v4.8h, v2.16b, v1.16b",
    "smlal v4.8h, v3.8b, v0.8b",
    "smlal2 v4.8h, v3.16b, v0.16b",
    "sadalp \\sum\\().4s, v4.8h",
    ".endm",
    "2:",
    "ld2 {{v0.16b, v1.16b}}, [{x}], {stride}",
    "of_nibbles {a}, v16\nof_nibbles {b}, v17",
    "of_nibbles {c}, v18\nof_nibbles {d}, v19",
    "subs {steps}, {steps}, #1",
    "b.ne 2b",
    ".purgem of_nibbles",
}

steps! {
    crumbs:
    ".macro of_crumbs row, sum", // inputs: every fourth column in v0 to v3
    "ld1 {{v4.16b}}, [\\row], #16",
    "shl v5.16b, v4.16b, #6",
    "shl v6.16b, v4.16b, #4",
    "shl v7.16b, v4.16b, #2",
    "sshr v4.16b, v4.16b, #6",
    "sshr v5.16b, v5.16b, #6",
    "sshr v6.16b, v6.16b, #6",
    "sshr v7.16b, v7.16b, #6",
    "smull v20.8h, v4.8b, v3.8b",
    "smlal2 v20.8h, v4.16b, v3.16b",
    "smlal v20.8h, v5.8b, v0.8b",
    "smlal2 v20.8h, v5.16b, v0.16b",
    "smlal v20.8h, v6.8b, v1.8b",
    "smlal2 v20.8h, v6.16b, v1.16b",
    "smlal v20.8h, v7.8b, v2.8b",
    "smlal2 v20.8h, v7.16b, v2.16b",
    "sadalp \\sum\\().4s, v20.8h",
    ".endm",
    "2:",
    "ld4 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{x}], {stride}",
    "of_crumbs {a}, v16\nof_crumbs {b}, v17",
    "of_crumbs {c}, v18\nof_crumbs {d}, v19",
    "subs {steps}, {steps}, #1",
    "b.ne 2b",
    ".purgem of_crumbs",
}

/// As [`Kernels::finish_rows`]: four at once where biases and
/// multipliers of so many are there.
#[inline(never)]
fn finish_rows(finish: &Finish<'_>, first: usize, sums: &[i32], outputs: &mut [i8]) {
    let mut first = first;
    let (fours, rest) = outputs.as_chunks_mut::<BLOCK_ROWS>();
    let (blocks, rest_sums) = sums.as_chunks::<BLOCK_ROWS>();
    let done = fours.len().min(blocks.len());
    for (outputs, sums) in fours.iter_mut().zip(blocks) {
        // SAFETY: the module is only compiled for targets whose every core has NEON.
        *outputs = unsafe { finish_four(finish, first, sums) };
        first = first.wrapping_add(BLOCK_ROWS);
    }
    let sums = blocks.get(done).map_or(rest_sums, |sums| sums.as_slice());
    portable::finish_rows(finish, first, sums, rest);
}

/// SQRDMULH and SRSHL round as [`crate::requantize`] says, but for ties of negative numbers, which
/// SRSHL rounds up: one less, where the number is negative and the shift isn't 0, mends that.
#[target_feature(enable = "neon")]
fn finish_four(finish: &Finish<'_>, first: usize, sums: &[i32; BLOCK_ROWS]) -> [i8; BLOCK_ROWS] {
    let zero = vdupq_n_s32(0);
    let biases = finish.block_biases(first).unwrap_or_default();
    let (multipliers, shifts) = finish.block_multipliers(first);
    let shifts = load(&shifts);
    let (left, right) = (vmaxq_s32(shifts, zero), vminq_s32(shifts, zero));
    let sums = vaddq_s32(load(sums), load(&biases));
    let scaled = vqrdmulhq_s32(vshlq_s32(sums, left), load(&multipliers));
    let mend = vshrq_n_s32::<31>(vandq_s32(scaled, right));
    let values = vrshlq_s32(vqaddq_s32(scaled, mend), right);
    let values = vqaddq_s32(values, vdupq_n_s32(finish.zero_point.into()));
    let values = vmaxq_s32(values, vdupq_n_s32(finish.clamp.min.into()));
    let values = vminq_s32(values, vdupq_n_s32(finish.clamp.max.into()));
    [
        vgetq_lane_s32::<0>(values) as i8,
        vgetq_lane_s32::<1>(values) as i8,
        vgetq_lane_s32::<2>(values) as i8,
        vgetq_lane_s32::<3>(values) as i8,
    ]
}

/// Four words.
#[inline]
#[target_feature(enable = "neon")]
fn load(words: &[i32; BLOCK_ROWS]) -> int32x4_t {
    let lanes;
    // SAFETY: there are sixteen bytes to read, with a load that takes any address.
    unsafe {
        asm!(
            "ld1 {{{lanes:v}.16b}}, [{from}]",
            lanes = out(vreg) lanes, from = in(reg) words,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    lanes
}

/// As [`Kernels::copy`].
#[inline(always)]
fn copy(to: &mut [i8], from: &[i8]) {
    let count = to.len().min(from.len());
    // SAFETY: both have `count` bytes, and one is borrowed exclusively, so they don't overlap. What
    // doesn't fill a register is copied with the bytes before once more, or one by one where there are
    // fewer than eight. Loads and stores of bytes take any address.
    unsafe {
        asm!(
            "cmp {count}, #16",
            "b.lo 3f",
            "2:",
            "ld1 {{v0.16b}}, [{from}], #16",
            "st1 {{v0.16b}}, [{to}], #16",
            "sub {count}, {count}, #16",
            "cmp {count}, #16",
            "b.hs 2b",
            "cbz {count}, 6f",
            "sub {count}, {count}, #16",
            "add {from}, {from}, {count}",
            "add {to}, {to}, {count}",
            "ld1 {{v0.16b}}, [{from}]",
            "st1 {{v0.16b}}, [{to}]",
            "b 6f",
            "3:",
            "cmp {count}, #8",
            "b.lo 4f",
            "ld1 {{v0.8b}}, [{from}]",
            "sub {count}, {count}, #8",
            "add {from}, {from}, {count}",
            "ld1 {{v1.8b}}, [{from}]",
            "st1 {{v0.8b}}, [{to}]",
            "add {to}, {to}, {count}",
            "st1 {{v1.8b}}, [{to}]",
            "b 6f",
            "4:",
            "cbz {count}, 6f",
            "5:",
            "ldrb w9, [{from}], #1",
            "strb w9, [{to}], #1",
            "subs {count}, {count}, #1",
            "b.ne 5b",
            "6:",
            to = inout(reg) to.as_mut_ptr() => _, from = inout(reg) from.as_ptr() => _,
            count = inout(reg) count => _, out("v0") _, out("v1") _, out("x9") _,
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    super::super::suite::kernel_suite!(super::Neon);
}
