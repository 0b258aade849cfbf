//! Sums of products of bytes: two rows of weights at three positions at once.
//!
//! Sixteen columns take five loads and six VMLADAVA, which have six of the seven registers that they can
//! add to; with the loop's end twelve instructions for 96 products, 0.125 a product. Weights in pairs
//! are gathered byte by byte, which makes it fifteen. Eight instructions more begin and end two rows.

use core::arch::naked_asm;
use core::mem::MaybeUninit;

use super::POSITIONS;

/// Sums of two rows at each position; kernels know the order.
pub(super) type Six = [[i32; 2]; POSITIONS];
/// Sums of pairs of rows, of which kernels make some.
pub(super) type Sums = [MaybeUninit<Six>];

/// What kernels are told of a piece of the filters; they know the order.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Task {
    /// Bytes that the loop went too far, or in pairs from where it ends to the next pair of the block.
    pub(super) back: usize,
    /// Bytes from the first row to the second, or from where the loop ends with a block's last pair to the next
    /// block.
    pub(super) row: usize,
    /// Bytes of all sums.
    pub(super) len: usize,
    pub(super) columns: usize,
    pub(super) x: [*const i8; POSITIONS],
}

/// A kernel of products.
pub(super) type Kernel = unsafe extern "C" fn(*const Task, *const u8, *const Six, *mut Six);

/// Where the sixteen bytes of a pair's first row lie in four groups of a block.
pub(super) static OFFSETS: [u8; 16] = [0, 4, 2, 6, 16, 20, 18, 22, 32, 36, 34, 38, 48, 52, 50, 54];

/// Sums of products added to `init`, for rows that lie one after the other.
///
/// # Safety
/// There are pairs of rows, as many as `task.len` bytes of `sums`, and `init` has as many; each row has
/// `task.columns` bytes to read, not none, the first at `weights`, the second `task.row` behind it, and
/// the next pair's `task.back` before the place where a loop of whole steps of sixteen columns leaves the
/// second. Inputs at each position are `task.columns` bytes. `sums` may be `init`. The core has access
/// to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3; r4-r11 and lr saved and
// restored, the stack as it was). LETP masks loads beyond `columns`; sums are loaded and stored as whole
// words of `init` and `sums`, and of the task, which is copied to the stack.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn rows_w8(
    task: *const Task,
    weights: *const u8,
    init: *const Six,
    sums: *mut Six,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "mov r5, r2",
        "mov r12, r3",
        "ldm r0, {{r0, r2, r4, r6, r7, r9, r11}}",
        "adds r4, r4, r3",
        "push {{r0, r2, r4, r6, r7, r9, r11}}",
        "adds r3, r1, r2",
        "1:",
        "dlstp.8 lr, r6",
        "ldm r5!, {{r0, r2, r4, r6, r8, r10}}",
        "2:",
        "vldrb.u8 q0, [r7], #16",
        "vldrb.u8 q3, [r1], #16",
        "vmladava.s8 r0, q0, q3",
        "vldrb.u8 q1, [r9], #16",
        "vmladava.s8 r4, q1, q3",
        "vldrb.u8 q2, [r11], #16",
        "vmladava.s8 r8, q2, q3",
        "vldrb.u8 q3, [r3], #16",
        "vmladava.s8 r2, q0, q3",
        "vmladava.s8 r6, q1, q3",
        "vmladava.s8 r10, q2, q3",
        "letp lr, 2b",
        "stm r12!, {{r0, r2, r4, r6, r8, r10}}",
        "ldm sp, {{r0, r2, r4, r6, r7, r9, r11}}",
        "subs r1, r3, r0",
        "adds r3, r1, r2",
        "cmp r12, r4",
        "bne 1b",
        "add sp, sp, #28",
        "pop {{r4-r11, pc}}",
    )
}

/// The same of rows in blocks of pairs.
///
/// The second row of a pair is one more than its byte where the first row's is negative; VQADD says
/// where that isn't a byte, but 128: see [`pairs_are_bytes`].
///
/// # Safety
/// There are pairs of rows, as many as `task.len` bytes of `sums`, and `init` has as many; pairs take
/// turns in blocks of `task.columns` columns, not none, filled up to fours: the first is at `weights`,
/// the second `task.back` behind the place where a loop of whole steps of 64 bytes leaves the first, the third
/// `task.row` behind where it leaves that, and so on. Inputs at each position are `task.columns` bytes. `sums`
/// may be `init`. The core has access to its vectors.
// SAFETY: the body follows the C calling convention (four arguments in r0-r3; r4-r11, lr and q4-q6 saved
// and restored, the stack as it was). LETP masks loads beyond `columns`: the bytes of a column are within the
// block. Sums are loaded and stored as whole words of `init` and `sums`, and of the task, which is copied to
// the stack.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn pairs_w8(
    task: *const Task,
    weights: *const u8,
    init: *const Six,
    sums: *mut Six,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r11, lr}}",
        "vpush {{d8-d13}}",
        "movw r4, #:lower16:{offsets}",
        "movt r4, #:upper16:{offsets}",
        "vldrb.u8 q4, [r4]",
        "movs r4, #1",
        "vadd.i8 q5, q4, r4",
        "mov r5, r2",
        "ldm r0, {{r0, r2, r4, r6, r7, r9, r11}}",
        "adds r4, r4, r3",
        "push {{r0, r2, r4, r6, r7, r9, r11}}",
        "1:",
        "dlstp.8 lr, r6",
        "ldm r5!, {{r0, r2, r4, r6, r8, r10}}",
        "2:",
        "vldrb.u8 q3, [r1, q4]",
        "vldrb.u8 q0, [r7], #16",
        "vmladava.s8 r0, q0, q3",
        "vldrb.u8 q1, [r9], #16",
        "vmladava.s8 r4, q1, q3",
        "vldrb.u8 q2, [r11], #16",
        "vmladava.s8 r8, q2, q3",
        "vshr.u8 q3, q3, #7",
        "vldrb.u8 q6, [r1, q5]",
        "vqadd.s8 q3, q3, q6",
        "vmladava.s8 r2, q0, q3",
        "vmladava.s8 r6, q1, q3",
        "vmladava.s8 r10, q2, q3",
        "adds r1, #64",
        "letp lr, 2b",
        "stm r3!, {{r0, r2, r4, r6, r8, r10}}",
        "ldm sp, {{r0, r2, r4, r6, r7, r9, r11}}",
        "add r1, r1, r0",
        "strd r2, r0, [sp]", // the other way next time
        "cmp r3, r4",
        "bne 1b",
        "add sp, sp, #28",
        "vpop {{d8-d13}}",
        "pop {{r4-r11, pc}}",
        offsets = sym OFFSETS,
    )
}

/// Whether nothing was saturated since the last time; 0 if something was. The rest of the kernels saturates
/// next to nothing, and portable kernels do again what isn't sure.
///
/// # Safety
/// The core has access to its vectors.
// SAFETY: the body follows the C calling convention (the result in r0) and changes no flag but QC.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn pairs_are_bytes() -> usize {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "vmrs r1, fpscr",
        "bic r2, r1, #0x08000000", // QC
        "vmsr fpscr, r2",
        "mvn r0, r1",
        "and r0, r0, #0x08000000",
        "bx lr",
    )
}
