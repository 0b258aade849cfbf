//! Rows of weights times one vector of inputs: four rows and sixteen columns in ten instructions.

use core::arch::naked_asm;
use core::mem::{MaybeUninit, offset_of};
use core::ops::Range;
use core::slice;

use super::outputs::{quads_any, quads_right};
use super::parameters::{Quad, hold};
use super::products::pairs_are_bytes;
use super::{QUAD, nibbles, pairs};
use crate::arch::{Finish, Matrix, kernels};
use crate::format::{Layout, pair_block_len};

/// A kernel that adds the products of quads of rows to their biases.
pub(super) type Quads = unsafe extern "C" fn(*const Task, *const u8, *mut Quad);

/// Quads whose parameters are prepared at once: 1.5 KiB of stack.
const MAX_QUADS: usize = 32;

/// Quads whose sums are made at once where their biases are kept.
const KEPT_QUADS: usize = 8;

/// Parameters of some of a layer's rows, in vectors: of one layer from the beginning on.
pub(crate) struct Lanes {
    quads: [MaybeUninit<Quad>; MAX_QUADS],
    /// The numbers of those that are there, from the first place on, and whether all of their rows shift to the
    /// right.
    held: Range<usize>,
    are_right: bool,
}

/// What kernels are told; they know the order.
#[repr(C)]
pub(super) struct Task {
    x: *const i8,
    /// Bytes from a row to the next.
    row_len: usize,
    /// How far a row's last sixteen bytes reach beyond it, or a block's last columns, of which there are sixteen.
    beyond: usize,
    /// Where quads end.
    end: *const Quad,
    /// Of bytes, columns. Of nibbles: whole steps, pairs of columns behind them, and the last column's input if
    /// it is in no pair.
    pub(super) steps: usize,
    pub(super) rest: usize,
    pub(super) odd: *const i8,
    /// Of bytes: see [`Offset`] and `pairs`.
    pub(super) offset: Offset,
    pub(super) zero_point: i32,
    pub(super) limits: [i32; 2],
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

impl Task {
    /// The kernel for rows like these, if there is one, and what it is told but for where quads end.
    #[inline(always)]
    fn new(
        matrix: &Matrix<'_>,
        x: &[i8],
        offset: i16,
        finish: &Finish<'_>,
    ) -> Option<(Quads, Self)> {
        let columns = x.len();
        let (kernel, offset) = kernel(matrix, x, offset)?;
        let len = columns.next_multiple_of(16);
        let (row_len, beyond) = if matrix.layout() == Layout::Pairs {
            let block = pair_block_len(columns);
            (block / QUAD, len.wrapping_mul(QUAD).wrapping_sub(block))
        } else {
            (crate::format::row_len(matrix.bits(), columns), len.wrapping_sub(columns))
        };
        let task = Self {
            x: x.as_ptr(),
            row_len,
            beyond,
            end: core::ptr::null(),
            steps: if matrix.bits() == 8 { columns } else { columns / nibbles::STEP },
            rest: columns % nibbles::STEP / 2,
            odd: if columns.is_multiple_of(2) { core::ptr::null() } else { x.last()? },
            offset,
            zero_point: finish.zero_point.into(),
            limits: [finish.clamp.min.into(), finish.clamp.max.into()],
        };
        Some((kernel, task))
    }
}

impl kernels::Lanes for Lanes {
    type Inputs<'a> = (&'a [i8], i16);

    #[inline(always)]
    fn new() -> Self {
        Self { quads: [const { MaybeUninit::uninit() }; MAX_QUADS], held: 0..0, are_right: true }
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
        let (kernel, mut task) = Task::new(matrix, x, offset, finish)?;
        let row_len = task.row_len;
        let end = rows.wrapping_mul(row_len);
        let weights = matrix.bytes.get(..end)?;
        let are_bytes = matrix.bits() == 8;
        if is_paired {
            // SAFETY: it changes a flag alone, which says no more what came before.
            unsafe { pairs_are_bytes() };
        }
        for first in (0..rows.div_ceil(QUAD)).step_by(MAX_QUADS) {
            let count = rows.div_ceil(QUAD).wrapping_sub(first).min(MAX_QUADS);
            if self.held != (first..first.wrapping_add(count)) {
                self.hold(first, count, rows, finish);
                if !are_bytes {
                    self.fold(first, rows, matrix, columns, offset.into());
                }
            }
            let are_right = self.are_right;
            let quads = self.there();
            let start = first.wrapping_mul(QUAD);
            let whole = rows.wrapping_sub(start) / QUAD;
            let (quads, last) = quads.split_at_mut_checked(whole.min(quads.len()))?;
            let run = if are_bytes { run } else { run_kept };
            for (quads, start) in [(quads, start), (last, rows.wrapping_sub(QUAD))] {
                if !quads.is_empty() {
                    let weights = weights.as_ptr().wrapping_add(start.wrapping_mul(row_len));
                    let outputs = outputs.as_mut_ptr().wrapping_add(start);
                    // SAFETY: the quads' rows, from `start` on, are no more than there are: whole quads of what is
                    // left, or the last four. All rows have weights, as checked above, and outputs. `task` holds the
                    // address of inputs, and how their columns, which aren't none, fall into steps, for the kernel,
                    // which was chosen by where they lie.
                    unsafe { run((kernel, are_right), &mut task, weights, quads, outputs) };
                }
            }
            if are_bytes {
                self.held = 0..0; // biases are sums now
            }
        }
        // SAFETY: it changes a flag alone.
        if is_paired && unsafe { pairs_are_bytes() } == 0 {
            return None;
        }
        if rest.is_empty() {
            return Some(());
        }
        (task.row_len, task.beyond) = (0, columns.next_multiple_of(16));
        task.offset = Offset::new(offset);
        self.finish_rest(&mut task, matrix, finish, rows, rest)
    }

    /// The outputs of fewer than four rows of bytes, from a row on: each as four times the same, which the task is
    /// made for.
    #[inline(never)]
    fn finish_rest(
        &mut self,
        task: &mut Task,
        matrix: &Matrix<'_>,
        finish: &Finish<'_>,
        first: usize,
        outputs: &mut [i8],
    ) -> Option<()> {
        let (quads, shift) = hold(self.quads.get_mut(..1)?, finish, first, outputs.len());
        let kernel = if task.offset.value == 0 { quads_w8a8 } else { quads_offset_w8a8 };
        for (number, y) in outputs.iter_mut().enumerate() {
            let weights = matrix.bytes_from(first.wrapping_add(number)).get(..task.steps)?;
            let mut quad = *quads.first()?;
            let mut four = [0; QUAD];
            let quads = slice::from_mut(&mut quad);
            // SAFETY: there is a quad, whose rows are no bytes apart; the row has as many weights as there are
            // inputs, as just checked, and there are four outputs.
            unsafe { run((kernel, shift < 0), task, weights.as_ptr(), quads, four.as_mut_ptr()) };
            *y = *four.get(number)?;
        }
        Some(())
    }

    /// Puts parameters of `rows` rows, from a quad's on, into so many vectors. The last quad ends with the
    /// last row, so it may share rows with the one before.
    fn hold(&mut self, first: usize, count: usize, rows: usize, finish: &Finish<'_>) {
        self.held = 0..0;
        let start = first.wrapping_mul(QUAD);
        let left = rows.wrapping_sub(start);
        let whole = self.quads.get_mut(..count.min(left / QUAD)).unwrap_or_default();
        let (held, mut shift) = hold(whole, finish, start, left);
        let mut held = held.len();
        if let (Some(last), true) = (self.quads.get_mut(held..count), held < count) {
            let (last, its) = hold(last, finish, rows.wrapping_sub(QUAD), QUAD);
            shift = shift.max(its);
            held = held.wrapping_add(last.len());
        }
        self.are_right = shift < 0;
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

/// Runs a kernel on quads of rows, whose biases become sums, and makes outputs of them, which all shift to the right
/// or not.
///
/// # Safety
/// There are quads, weights of four rows for each, `task.row_len` apart, and four outputs to write. The task is one
/// that the kernel may be told, but for where quads end.
#[inline(never)]
unsafe fn run(
    (kernel, are_right): (Quads, bool),
    task: &mut Task,
    weights: *const u8,
    quads: &mut [Quad],
    outputs: *mut i8,
) {
    task.end = quads.as_ptr_range().end;
    let finish = if are_right { quads_right } else { quads_any };
    // SAFETY: the caller's, and quads end where the task says.
    unsafe {
        kernel(task, weights, quads.as_mut_ptr());
        finish(task, quads.as_ptr(), quads.len(), outputs);
    }
}

/// As [`run`], of quads whose biases stay.
///
/// # Safety
/// As there.
#[inline(never)]
unsafe fn run_kept(
    kernel: (Quads, bool),
    task: &mut Task,
    weights: *const u8,
    quads: &mut [Quad],
    outputs: *mut i8,
) {
    let mut row = 0usize;
    for quads in quads.chunks(KEPT_QUADS) {
        let mut sums = [const { MaybeUninit::<Quad>::uninit() }; KEPT_QUADS];
        for (to, from) in sums.iter_mut().zip(quads) {
            to.write(*from);
        }
        // SAFETY: as many as there are quads have just been written, which are no more; the rest is the caller's,
        // of the rows from this one on.
        unsafe {
            let sums = slice::from_raw_parts_mut(sums.as_mut_ptr().cast(), quads.len());
            let weights = weights.wrapping_add(row.wrapping_mul(task.row_len));
            run(kernel, task, weights, sums, outputs.wrapping_add(row));
        }
        row = row.wrapping_add(quads.len().wrapping_mul(QUAD));
    }
}

/// Adds the products of quads of rows to their biases.
///
/// # Safety
/// `task.x` has `task.steps` bytes to read, at least one; from `quads` to `task.end` there are quads, one at least;
/// for each row of them there are `task.steps` bytes of weights, `task.row_len` apart. `task.beyond` +
/// `task.row_len` is `task.steps`, filled up to a multiple of 16. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (three arguments in r0-r2; r4-r11 and lr saved and restored,
// the stack as it was). Loads of inputs and weights in the loop are masked by LETP beyond `steps`; pointers that
// go beyond are corrected or not used again. Each turn reads and writes the biases of one quad, whose words are
// aligned.
#[unsafe(naked)]
unsafe extern "C" fn quads_w8a8(task: *const Task, weights: *const u8, quads: *mut Quad) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "mov r11, r0",
        "mov r4, r2",
        "ldr r6, [r11, #{steps}]",
        "1:",
        "ldrd r9, r7, [r11]",
        "adds r3, r1, r7",
        "adds r5, r3, r7",
        "adds r7, r5, r7",
        "ldm r4, {{r2, r8, r10, r12}}",
        "dlstp.8 lr, r6",
        "2:",
        "vldrb.u8 q0, [r9], #16",
        "vldrb.u8 q1, [r1], #16",
        "vmladava.s8 r2, q0, q1",
        "vldrb.u8 q2, [r3], #16",
        "vmladava.s8 r8, q0, q2",
        "vldrb.u8 q1, [r5], #16",
        "vmladava.s8 r10, q0, q1",
        "vldrb.u8 q2, [r7], #16",
        "vmladava.s8 r12, q0, q2",
        "letp lr, 2b",
        "stm r4, {{r2, r8, r10, r12}}",
        "ldrd r3, r5, [r11, #8]",
        "subs r1, r7, r3", // the row after the fourth
        "adds r4, #48",
        "cmp r4, r5",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        steps = const offset_of!(Task, steps),
    )
}

/// As [`quads_w8a8`], of inputs with an offset: fifteen instructions for 64 products, in which Σ w is made as
/// well.
///
/// # Safety
/// As there.
// SAFETY: as there.
#[unsafe(naked)]
unsafe extern "C" fn quads_offset_w8a8(task: *const Task, weights: *const u8, quads: *mut Quad) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "mov r11, r0",
        "mov r4, r2",
        "ldr r6, [r11, #{steps}]",
        "ldrd r2, r3, [r11, #{offset}]",
        "vdup.8 q2, r2", "vdup.32 q3, r3",
        "1:",
        "ldrd r9, r7, [r11]",
        "adds r3, r1, r7", "adds r5, r3, r7",
        "adds r7, r5, r7",
        "movs r2, #0",
        "mov r8, r2", "mov r10, r2", "mov r12, r2",
        "dlstp.8 lr, r6",
        "2:",
        "vldrb.u8 q0, [r9], #16", "veor q0, q0, q3",
        "vldrb.u8 q1, [r1], #16", "vmladava.s8 r2, q0, q1",
        "vmladava.s8 r2, q2, q1", "vldrb.u8 q1, [r3], #16",
        "vmladava.s8 r8, q0, q1", "vmladava.s8 r8, q2, q1",
        "vldrb.u8 q1, [r5], #16", "vmladava.s8 r10, q0, q1",
        "vmladava.s8 r10, q2, q1", "vldrb.u8 q1, [r7], #16",
        "vmladava.s8 r12, q0, q1", "vmladava.s8 r12, q2, q1",
        "letp lr, 2b",
        "ldr r3, [r11, #{offset}+8]",
        "vmov q0[2], q0[0], r2, r10", "vmov q0[3], q0[1], r8, r12",
        "vldrw.u32 q1, [r4]",
        "vmla.i32 q1, q0, r3",
        "vstrw.32 q1, [r4], #48",
        "ldrd r3, r5, [r11, #8]",
        "subs r1, r7, r3", // the row after the fourth
        "cmp r4, r5",
        "bne 1b",
        "pop {{r4-r11, pc}}",
        offset = const offset_of!(Task, offset), steps = const offset_of!(Task, steps),
    )
}
