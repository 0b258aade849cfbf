//! Rows of weights times one vector of inputs: four rows and sixteen columns in ten instructions.

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};
use core::ops::Range;
use core::slice;

use super::parameters::{Quad, hold};
use super::{QUAD, nibbles, pairs};
use crate::arch::{Finish, Matrix, kernels};
use crate::format::{Layout, pair_block_len};

/// A kernel that makes outputs of quads of rows.
pub(super) type Quads = unsafe extern "C" fn(*const Task, *const u8, *const Quad, *mut i8, *mut i8);

/// Quads whose parameters are prepared at once: 1.5 KiB of stack.
const MAX_QUADS: usize = 32;

/// Parameters of some of a layer's rows, in vectors: of one layer from the beginning on.
pub(crate) struct Lanes {
    quads: [MaybeUninit<Quad>; MAX_QUADS],
    /// The numbers of those that are there, from the first place on.
    held: Range<usize>,
}

/// What the kernel is told; it knows the order.
#[repr(C)]
pub(super) struct Task {
    x: *const i8,
    /// Bytes from a row to the next.
    row_len: usize,
    /// How far a row's last sixteen bytes reach beyond it.
    beyond: usize,
    min: i32,
    max: i32,
    zero_point: i32,
    /// Of bytes, columns. Of nibbles: whole steps, pairs of columns behind them, and the last column's input if
    /// it is in no pair.
    steps: usize,
    rest: usize,
    odd: *const i8,
    /// Of bytes: see [`Offset`] and `pairs`.
    pub(super) offset: Offset,
}

/// How inputs x + offset are multiplied, whose sums may need nine bits: Σ w·(x + offset) is Σ w·x + offset·Σ w,
/// or, where the offset is 128, −(Σ w·!x − 127·Σ w). Kernels know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Offset {
    /// What is multiplied beside the inputs.
    value: i32,
    /// What inputs are combined with.
    flip: i32,
    /// What biases and sums are multiplied with.
    sign: i32,
}

impl Offset {
    const fn new(offset: i16) -> Self {
        if offset == 128 {
            Self { value: -127, flip: -1, sign: -1 }
        } else {
            Self { value: offset as i32, flip: 0, sign: 1 }
        }
    }
}

impl kernels::Lanes for Lanes {
    type Inputs<'a> = (&'a [i8], i16);

    #[inline(always)]
    fn new() -> Self {
        Self { quads: [const { MaybeUninit::uninit() }; MAX_QUADS], held: 0..0 }
    }

    /// As they are, for rows that [`Lanes::finish`] doesn't take.
    #[inline(always)]
    fn prepare<'a>(&'a mut self, _: &Matrix<'_>, x: &'a [i8], offset: i16) -> (&'a [i8], i16) {
        (x, offset)
    }
}

impl Lanes {
    /// As [`Kernels::finish`](crate::arch::Kernels::finish).
    #[inline(never)]
    pub(super) fn finish(
        &mut self,
        matrix: &Matrix<'_>,
        x: &[i8],
        offset: i16,
        finish: &Finish<'_>,
        outputs: &mut [i8],
    ) -> Option<()> {
        let (rows, columns) = (outputs.len(), x.len());
        // What is left of blocks follows them.
        let is_paired = matrix.layout() == Layout::Pairs;
        let rest = if is_paired || rows < QUAD { rows % QUAD } else { 0 };
        if columns == 0 || (rest > 0 && matrix.bits() != 8) {
            return None;
        }
        let (outputs, rest) = outputs.split_at_mut_checked(rows.wrapping_sub(rest))?;
        let rows = outputs.len();
        let (kernel, multiplied) = kernel(matrix, x, offset)?;
        let row_len = if is_paired {
            pair_block_len(columns) / QUAD
        } else {
            crate::format::row_len(matrix.bits(), columns)
        };
        let mut task = Task {
            x: x.as_ptr(),
            row_len,
            beyond: columns.wrapping_neg() % 16,
            steps: if matrix.bits() == 8 { columns } else { columns / nibbles::STEP },
            rest: columns % nibbles::STEP / 2,
            odd: if columns.is_multiple_of(2) { core::ptr::null() } else { x.last()? },
            min: finish.clamp.min.into(),
            max: finish.clamp.max.into(),
            zero_point: finish.zero_point.into(),
            offset: multiplied,
        };
        let end = rows.wrapping_mul(row_len);
        let weights = matrix.bytes.get(..end)?;
        for first in (0..rows.div_ceil(QUAD)).step_by(MAX_QUADS) {
            let count = rows.div_ceil(QUAD).wrapping_sub(first).min(MAX_QUADS);
            if self.held != (first..first.wrapping_add(count)) {
                self.hold(first, count, rows, finish);
                if matrix.bits() != 8 {
                    self.fold(first, rows, matrix, columns, offset.into());
                }
            }
            let quads = &*self.there();
            let start = first.wrapping_mul(QUAD);
            let whole = rows.wrapping_sub(start) / QUAD;
            let (quads, last) = quads.split_at_checked(whole).unwrap_or((quads, &[]));
            let end = start.wrapping_add(quads.len().wrapping_mul(QUAD));
            run(kernel, &task, weights, quads, outputs, start..end)?;
            if !last.is_empty() {
                run(kernel, &task, weights, last, outputs, rows.wrapping_sub(QUAD)..rows)?;
            }
        }
        if rest.is_empty() {
            return Some(());
        }
        (task.row_len, task.beyond) = (0, columns.next_multiple_of(16));
        task.offset = Offset::new(offset);
        self.finish_rest(&task, matrix, finish, rows, rest)
    }

    /// The outputs of fewer than four rows of bytes, from a row on: each as four times the same, which the task is
    /// made for.
    #[inline(never)]
    fn finish_rest(
        &mut self,
        task: &Task,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        first: usize,
        outputs: &mut [i8],
    ) -> Option<()> {
        self.held = 0..0;
        hold(self.quads.get_mut(..1)?, finish, first, outputs.len());
        self.held = 0..1;
        let kernel = if task.offset.value == 0 { quads_w8a8 } else { quads_offset_w8a8 };
        for (number, y) in outputs.iter_mut().enumerate() {
            let weights = matrix.bytes_from(first.wrapping_add(number)).get(..task.steps)?;
            let mut four = [0; QUAD];
            let ends = four.as_mut_ptr_range();
            let quad = self.there().as_ptr();
            // SAFETY: `task` holds the address of inputs, as many as `steps`, and of the weights there are as many
            // (checked above), which are the rows of one quad, the next no bytes behind the one before; there are
            // four outputs.
            unsafe { kernel(task, weights.as_ptr(), quad, ends.start, ends.end) };
            *y = *four.get(number)?;
        }
        self.held = 0..0;
        Some(())
    }

    /// Puts parameters of `rows` rows, from a quad's on, into so many vectors. The last quad ends with the
    /// last row, so it may share rows with the one before.
    fn hold(&mut self, first: usize, count: usize, rows: usize, finish: &Finish<'_>) {
        self.held = 0..0;
        let start = first.wrapping_mul(QUAD);
        let left = rows.wrapping_sub(start);
        let whole = self.quads.get_mut(..count.min(left / QUAD)).unwrap_or_default();
        let (held, _) = hold(whole, finish, start, left);
        let mut held = held.len();
        if let (Some(last), true) = (self.quads.get_mut(held..count), held < count) {
            let (last, _) = hold(last, finish, rows.wrapping_sub(QUAD), QUAD);
            held = held.wrapping_add(last.len());
        }
        self.held = first..first.wrapping_add(held);
    }

    /// The quads that are held.
    fn there(&mut self) -> &mut [Quad] {
        let (quads, count) = (self.quads.as_mut_ptr().cast(), self.held.len().min(MAX_QUADS));
        // SAFETY: so many have been set (see `hold`); borrowed for as long.
        unsafe { slice::from_raw_parts_mut(quads, count) }
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
        if offset == 0 {
            return;
        }
        for (start, quad) in starts(first, rows).zip(self.there()) {
            let sums = [0, 1, 2, 3]
                .map(|row| nibbles::row_sum(matrix.bytes_from(start.wrapping_add(row)), columns));
            for (bias, sum) in quad.bias.iter_mut().zip(sums) {
                *bias = bias.wrapping_add(sum.wrapping_mul(offset));
            }
        }
    }
}

/// The kernel for rows like these, if there is one, and what it makes of the offset.
fn kernel(matrix: &Matrix<'_>, x: &[i8], offset: i16) -> Option<(Quads, Offset)> {
    let kernel = match matrix.bits() {
        8 if matrix.layout() == Layout::Pairs => {
            let (kernel, value) = pairs::kernel(x, offset)?;
            return Some((kernel, Offset { value, flip: 0, sign: 1 }));
        }
        8 if offset != 0 => quads_offset_w8a8,
        8 => quads_w8a8,
        4 if x.len() > nibbles::MAX_COLUMNS => return None,
        4 if x.as_ptr().cast::<u32>().is_aligned() => nibbles::quads_w4a8,
        4 => nibbles::quads_w4a8_apart,
        _ => return None,
    };
    Some((kernel, Offset::new(offset)))
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

/// The outputs of quads of rows: sums of products, biases, rescaling and activation.
///
/// VQRDMULH and VRSHL round as [`crate::requantize`] says, but for ties of negative numbers, which
/// VRSHL rounds up: one less, where the number is negative and the shift isn't 0, mends that.
///
/// # Safety
/// `task.x` has `task.steps` bytes to read, at least one; `outputs` to `end` can be written and
/// are a positive multiple of four; for each of them there are `task.steps` bytes of weights,
/// `task.row_len` apart, and for each four a quad. `task.beyond` + `task.row_len` is `task.steps`,
/// filled up to a multiple of 16. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3 and one on the stack;
// r4-r11, lr and q4-q7 saved and restored, the stack as it was). Loads of inputs and weights in
// the loop are masked by LETP beyond `steps`; pointers that go beyond are corrected or not used
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
        "ldr r6, [r11, #24]",
        "ldrd r2, r3, [r11, #12]",
        "ldr r5, [r11, #20]",
        "vdup.32 q4, r2",
        "vdup.32 q5, r3",
        "vdup.32 q6, r5",
        "vmov.i32 q7, #0",
        "1:",
        "ldrd r9, r7, [r11]",
        "adds r3, r1, r7",
        "adds r5, r3, r7",
        "adds r7, r5, r7",
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

/// As [`quads_w8a8`], of inputs with an offset: fifteen instructions for 64 products, in which Σ w is made as
/// well.
///
/// # Safety
/// As there.
// SAFETY: as there.
#[unsafe(naked)]
unsafe extern "C" fn quads_offset_w8a8(
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
        "mov r11, r0", "mov r4, r2",
        "mov r0, r3",
        "ldr r6, [r11, #24]",
        "ldrd r2, r3, [r11, #12]",
        "ldr r5, [r11, #20]",
        "vdup.32 q4, r2", "vdup.32 q5, r3",
        "vdup.32 q6, r5",
        "ldrd r2, r3, [r11, #{offset}]",
        "vdup.8 q3, r2", "vdup.32 q7, r3",
        "1:",
        "ldr r3, [r11, #{offset}+8]",
        "vldrw.32 q0, [r4]", "vmul.i32 q0, q0, r3",
        "vmov r8, r12, q0[2], q0[0]", "vmov r10, r2, q0[3], q0[1]",
        "ldrd r9, r7, [r11]",
        "adds r3, r1, r7", "adds r5, r3, r7",
        "adds r7, r5, r7",
        "dlstp.8 lr, r6",
        "2:",
        "vldrb.u8 q0, [r9], #16", "veor q0, q0, q7",
        "vldrb.u8 q1, [r1], #16", "vmladava.s8 r8, q0, q1",
        "vmladava.s8 r8, q3, q1", "vldrb.u8 q2, [r3], #16",
        "vmladava.s8 r10, q0, q2", "vmladava.s8 r10, q3, q2",
        "vldrb.u8 q1, [r5], #16", "vmladava.s8 r12, q0, q1",
        "vmladava.s8 r12, q3, q1", "vldrb.u8 q2, [r7], #16",
        "vmladava.s8 r2, q0, q2", "vmladava.s8 r2, q3, q2",
        "letp lr, 2b",
        "ldr r3, [r11, #8]",
        "subs r1, r7, r3", // the row after the fourth
        "vmov q0[2], q0[0], r8, r12", "vmov q0[3], q0[1], r10, r2",
        "ldr r3, [r11, #{offset}+8]",
        "vmul.i32 q0, q0, r3",
        "vldrw.32 q1, [r4, #32]",
        "movs r3, #0",
        "vdup.32 q2, r3",
        "vmax.s32 q2, q1, q2",
        "vshl.s32 q0, q0, q2",
        "vldrw.32 q2, [r4, #16]",
        "vqrdmulh.s32 q0, q0, q2",
        "vdup.32 q2, r3",
        "vmin.s32 q1, q1, q2",
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
        offset = const offset_of!(Task, offset),
    )
}
