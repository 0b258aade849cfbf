//! Cortex-M55 and other cores with MVE (Helium): sixteen products and their sum an instruction.
//!
//! Sixteen inputs are loaded once for four rows; each row costs a load of its weights and a
//! VMLADAVA, and the loop's end, which counts and masks the last lanes by itself, one more: ten
//! instructions for 64 products, 0.156 a product. What is left is 31 instructions per four outputs,
//! since four sums are rescaled as one vector, with parameters that were put into vectors before
//! ([`Lanes`]). Its limit is loading: half of the loop's instructions do.
//!
//! The core must have access to its vectors (CPACR), as the start-up code of any program compiled
//! for such a core must see to; cortex-m-rt does.

mod add;
mod depthwise;
mod nibbles;

use core::arch::naked_asm;
use core::ops::Range;

use super::{Addition, BLOCK_ROWS, Finish, Group, Kernels, Matrix, kernels};
use crate::format::Layout;

/// Those of cores with MVE.
pub(crate) struct Mve;

impl Kernels for Mve {
    const NAME: &'static str = "mve";
    const HAS_BYTES: bool = true;
    const PATCH_MAX: usize = 1152; // 3 × 3 × 128: such cores have the memory
    const LANES: usize = 8;
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
    fn depthwise(
        group: &Group,
        finish: &Finish<'_>,
        first: usize,
        rows: usize,
        (x, y): (&[i8], &mut [i8]),
    ) -> Option<u64> {
        depthwise::depthwise(group, finish, first, rows, (x, y)).map(|()| 0)
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
    fn copy(to: &mut [i8], from: &[i8]) {
        copy(to, from);
    }
}

/// A kernel that makes outputs of quads of rows.
type Quads = unsafe extern "C" fn(*const Task, *const u8, *const Quad, *mut i8, *mut i8);

/// Rows that are summed and rescaled at once: as many as a vector has lanes of 32 bits.
const QUAD: usize = BLOCK_ROWS;
/// Quads whose parameters are prepared at once: 1.5 KiB of stack.
const MAX_QUADS: usize = 32;

/// Parameters of four rows, a vector each; the kernel knows the order.
#[derive(Clone, Copy)]
#[repr(C)]
struct Quad {
    bias: [i32; QUAD],
    multiplier: [i32; QUAD],
    shift: [i32; QUAD],
}

impl Quad {
    const ZERO: Self = Self { bias: [0; QUAD], multiplier: [0; QUAD], shift: [0; QUAD] };
}

/// Parameters of some of a layer's rows, in vectors: of one layer from the beginning on.
pub(crate) struct Lanes {
    quads: [Quad; MAX_QUADS],
    /// The number of the first quad, if there are any yet.
    held: Option<usize>,
}

/// What the kernel is told; it knows the order.
#[repr(C)]
struct Task {
    x: *const i8,
    /// Bytes of a row.
    row_len: usize,
    /// How far a row's last sixteen bytes reach beyond it.
    beyond: usize,
    min: i32,
    max: i32,
    zero_point: i32,
    /// Of nibbles: whole steps, pairs of columns behind them, and the last column's input if it is in
    /// no pair.
    steps: usize,
    rest: usize,
    odd: *const i8,
}

impl kernels::Lanes for Lanes {
    type Inputs<'a> = (&'a [i8], i16);

    #[inline(always)]
    fn new() -> Self {
        Self { quads: [Quad::ZERO; MAX_QUADS], held: None }
    }

    /// As they are, for rows that [`Lanes::finish`] doesn't take.
    #[inline(always)]
    fn prepare<'a>(&'a mut self, _: &Matrix<'_>, x: &'a [i8], offset: i16) -> (&'a [i8], i16) {
        (x, offset)
    }
}

impl Lanes {
    /// As [`Kernels::finish`].
    #[inline(never)]
    fn finish(
        &mut self,
        matrix: &Matrix<'_>,
        x: &[i8],
        offset: i16,
        finish: &Finish<'_>,
        outputs: &mut [i8],
    ) -> Option<()> {
        let (rows, columns) = (outputs.len(), x.len());
        if matrix.layout() != Layout::RowMajor || columns == 0 || rows < QUAD {
            return None;
        }
        let kernel: Quads = match matrix.bits() {
            8 => quads_w8a8,
            4 if columns > nibbles::MAX_COLUMNS => return None,
            4 if x.as_ptr().cast::<u32>().is_aligned() => nibbles::quads_w4a8,
            4 => nibbles::quads_w4a8_apart,
            _ => return None,
        };
        let row_len = crate::format::row_len(matrix.bits(), columns);
        let task = Task {
            x: x.as_ptr(),
            row_len,
            beyond: columns.wrapping_neg() % 16,
            steps: columns / nibbles::STEP,
            rest: columns % nibbles::STEP / 2,
            odd: if columns.is_multiple_of(2) { core::ptr::null() } else { x.last()? },
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
            zero_point: finish.zero_point.into(),
        };
        let bytes = matrix.bytes;
        for first in (0..rows.div_ceil(QUAD)).step_by(MAX_QUADS) {
            if self.held != Some(first) {
                self.hold(first, rows, finish);
                if offset != 0 {
                    self.fold(first, rows, matrix, columns, offset.into());
                }
                self.held = Some(first);
            }
            let start = first.wrapping_mul(QUAD);
            let whole = rows.wrapping_sub(start) / QUAD;
            let (quads, last) = self.quads.split_at_checked(whole).unwrap_or((&self.quads, &[]));
            let end = start.wrapping_add(quads.len().wrapping_mul(QUAD));
            run(kernel, &task, bytes, quads, outputs, start..end)?;
            if let (Some(last), true) = (last.first(), end < rows) {
                let rows = rows.wrapping_sub(QUAD)..rows;
                run(kernel, &task, bytes, core::slice::from_ref(last), outputs, rows)?;
            }
        }
        Some(())
    }

    /// Puts parameters of `rows` rows, from a quad's on, into vectors. The last quad ends with the
    /// last row, so it may share rows with the one before.
    ///
    /// One pass for each parameter: a loop with all of them hasn't enough registers.
    #[inline(never)]
    fn hold(&mut self, first: usize, rows: usize, finish: &Finish<'_>) {
        for (start, quad) in starts(first, rows).zip(&mut self.quads) {
            quad.bias = finish.block_biases(start).unwrap_or_default();
        }
        for (start, quad) in starts(first, rows).zip(&mut self.quads) {
            (quad.multiplier, quad.shift) = finish.block_multipliers(start);
        }
    }

    /// Adds offset·Σ w to the biases, so that the kernel needs no offset.
    #[inline(never)]
    fn fold(
        &mut self,
        first: usize,
        rows: usize,
        matrix: &Matrix<'_>,
        columns: usize,
        offset: i32,
    ) {
        for (start, quad) in starts(first, rows).zip(&mut self.quads) {
            let sums = if matrix.bits() == 8 {
                sum_rows(matrix.bytes, columns, start).unwrap_or_default()
            } else {
                [0, 1, 2, 3].map(|row| {
                    nibbles::row_sum(matrix.bytes_from(start.wrapping_add(row)), columns)
                })
            };
            for (bias, sum) in quad.bias.iter_mut().zip(sums) {
                *bias = bias.wrapping_add(sum.wrapping_mul(offset));
            }
        }
    }
}

/// The first rows of quads, from a quad's number on.
fn starts(first: usize, rows: usize) -> impl Iterator<Item = usize> {
    let last = rows.saturating_sub(QUAD);
    (first..rows.div_ceil(QUAD)).map(move |number| number.wrapping_mul(QUAD).min(last))
}

/// Runs the kernel on whole quads of rows, or `None` where weights or outputs are missing.
fn run(
    kernel: Quads,
    task: &Task,
    bytes: &[u8],
    quads: &[Quad],
    outputs: &mut [i8],
    rows: Range<usize>,
) -> Option<()> {
    if quads.is_empty() {
        return Some(());
    }
    if rows.len() != quads.len().checked_mul(QUAD)? {
        return None;
    }
    let from = rows.start.checked_mul(task.row_len)?;
    let weights = bytes.get(from..rows.end.checked_mul(task.row_len)?)?;
    let outputs = outputs.get_mut(rows)?;
    let ends = outputs.as_mut_ptr_range();
    // SAFETY: `task` holds the address of inputs that outlive it, and how their columns, which aren't
    // none, fall into steps (`Lanes::finish` has borrowed and counted them, and chosen the kernel by
    // where they lie); `weights` are a row's bytes
    // for each row, `outputs` one, and there is a quad for each four rows, at least one. Those are the
    // conditions of the kernel of that width.
    unsafe { kernel(task, weights.as_ptr(), quads.as_ptr(), ends.start, ends.end) };
    Some(())
}

/// Σ w of four rows from a row on, or `None` where there are fewer.
fn sum_rows(bytes: &[u8], columns: usize, first: usize) -> Option<[i32; QUAD]> {
    let from = first.checked_mul(columns)?;
    let weights = bytes.get(from..from.checked_add(columns.checked_mul(QUAD)?)?)?;
    if columns == 0 {
        return None;
    }
    let mut sums = [0; QUAD];
    // SAFETY: `weights` are four rows of `columns` bytes, which aren't none, and `sums` is a live
    // array of four: `sums_w8`'s conditions.
    unsafe { sums_w8(weights.as_ptr(), columns, &mut sums) };
    Some(sums)
}

/// The sums of four rows of weights: nine instructions for 64.
///
/// # Safety
/// There are four rows of `columns` bytes to read, at least one, and the sums can be written. The
/// core has access to its vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2; r4-r8 and lr saved
// and restored, the stack as it was). Loads are masked by LETP beyond `columns`; only `sums`, 16
// bytes of whole words, is written.
#[unsafe(naked)]
unsafe extern "C" fn sums_w8(weights: *const u8, columns: usize, sums: *mut [i32; QUAD]) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r8, lr}}",
        "adds r3, r0, r1",
        "adds r5, r3, r1",
        "adds r7, r5, r1",
        "movs r4, #0",
        "movs r6, #0",
        "mov r8, r4",
        "mov r12, r4",
        "dlstp.8 lr, r1",
        "2:",
        "vldrb.u8 q0, [r0], #16",
        "vaddva.s8 r4, q0",
        "vldrb.u8 q1, [r3], #16",
        "vaddva.s8 r6, q1",
        "vldrb.u8 q0, [r5], #16",
        "vaddva.s8 r8, q0",
        "vldrb.u8 q1, [r7], #16",
        "vaddva.s8 r12, q1",
        "letp lr, 2b",
        "strd r4, r6, [r2]",
        "strd r8, r12, [r2, #8]",
        "pop {{r4-r8, pc}}",
    )
}

/// The outputs of quads of rows: sums of products, biases, rescaling and activation.
///
/// VQRDMULH and VRSHL round as [`crate::requantize`] says, but for ties of negative numbers, which
/// VRSHL rounds up: one less, where the number is negative and the shift isn't 0, mends that.
///
/// # Safety
/// `task.x` has `task.row_len` bytes to read, at least one; `outputs` to `end` can be written and
/// are a positive multiple of four; for each of them there are `task.row_len` bytes of weights,
/// and for each four a quad. `task.beyond` + `task.row_len` is a multiple of 16. The core has
/// access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3 and one on the stack;
// r4-r11, lr and q4-q7 saved and restored, the stack as it was). Loads of inputs and weights in
// the loop are masked by LETP beyond `row_len`; pointers that go beyond are corrected or not used
// again. Each turn reads one quad, whose words are aligned, and writes four bytes of outputs.
#[unsafe(naked)]
unsafe extern "C" fn quads_w8a8(
    task: *const Task,
    weights: *const u8,
    quads: *const Quad,
    outputs: *mut i8,
    end: *mut i8,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "vpush {{d8-d15}}",
        "mov r11, r0",
        "mov r4, r2",
        "mov r0, r3",
        "ldr r6, [r11, #4]",
        "ldrd r2, r3, [r11, #12]",
        "ldr r5, [r11, #20]",
        "vdup.32 q4, r2",
        "vdup.32 q5, r3",
        "vdup.32 q6, r5",
        "vmov.i32 q7, #0",
        "1:",
        "ldr r9, [r11]",
        "adds r3, r1, r6",
        "adds r5, r3, r6",
        "adds r7, r5, r6",
        "ldrd r8, r10, [r4]",
        "ldrd r12, r2, [r4, #8]",
        "dlstp.8 lr, r6",
        "2:",
        "vldrb.u8 q0, [r9], #16",
        "vldrb.u8 q1, [r1], #16",
        "vmladava.s8 r8, q0, q1",
        "vldrb.u8 q2, [r3], #16",
        "vmladava.s8 r10, q0, q2",
        "vldrb.u8 q1, [r5], #16",
        "vmladava.s8 r12, q0, q1",
        "vldrb.u8 q2, [r7], #16",
        "vmladava.s8 r2, q0, q2",
        "letp lr, 2b",
        "ldr r3, [r11, #8]",
        "subs r1, r7, r3", // the row after the fourth
        "vmov q0[2], q0[0], r8, r12",
        "vmov q0[3], q0[1], r10, r2",
        "vldrw.32 q1, [r4, #32]",
        "vmax.s32 q2, q1, q7",
        "vshl.s32 q0, q0, q2",
        "vldrw.32 q2, [r4, #16]",
        "vmin.s32 q1, q1, q7",
        "vqrdmulh.s32 q0, q0, q2",
        "adds r4, #48",
        "vand q2, q0, q1",
        "vshr.s32 q2, q2, #31",
        "vqadd.s32 q0, q0, q2",
        "vrshl.s32 q0, q0, q1",
        "vqadd.s32 q0, q0, q6",
        "vmax.s32 q0, q0, q4",
        "vmin.s32 q0, q0, q5",
        "vstrb.32 q0, [r0], #4",
        "ldr r3, [sp, #100]",
        "cmp r0, r3",
        "bne 1b",
        "vpop {{d8-d15}}",
        "pop {{r4-r11, pc}}",
    )
}

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
