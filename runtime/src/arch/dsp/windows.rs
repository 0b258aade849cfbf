//! From an image to patches that are spread: columns 0 and 2, then 1 and 3 of every four, for four
//! positions one behind the other.
//!
//! Four windows that lie inside the image are spread together, a word of each at a time, and stored
//! by two instructions: 14 for four columns at four positions. Rows of a window are whole words
//! seldom; the word that a row ends within is put together with the beginning of the next one, byte
//! by byte by SEL, which takes 36.

use core::arch::naked_asm;

use super::super::Stretches;
use super::positions::{Group, POSITIONS};
use super::twice;

/// Least bytes of a row for [`spread_windows`]: no group is of three rows.
pub(super) const LEAST_ROW: usize = 3;

/// Columns 0 and 2 of the words in r4–r7 to r8–r11, with the offsets in lr.
macro_rules! spread_even {
    () => {
        "sxtab16 r8, lr, r4\nsxtab16 r9, lr, r5\nsxtab16 r10, lr, r6\nsxtab16 r11, lr, r7"
    };
}

/// Columns 1 and 3.
macro_rules! spread_odd {
    () => {
        concat!(
            "sxtab16 r8, lr, r4, ror #8\nsxtab16 r9, lr, r5, ror #8\n",
            "sxtab16 r10, lr, r6, ror #8\nsxtab16 r11, lr, r7, ror #8",
        )
    };
}

/// From a row's end to the next row, r11 bytes on.
macro_rules! next_row {
    () => {
        "add r0, r0, r11\nadd r1, r1, r11\nadd r2, r2, r11\nadd r3, r3, r11"
    };
}

/// How windows become a piece of their patches, as the kernels load it.
#[repr(C)]
pub(super) struct Recipe {
    /// The offset, twice.
    pub(super) offsets: u32,
    /// The last group's columns, the rest being 0.
    pub(super) masks: [u32; 2],
    /// Groups.
    pub(super) count: usize,
    /// Bytes of the first row from the piece's beginning on.
    pub(super) left: usize,
    /// Bytes of a window's row.
    len: usize,
    /// Bytes between two of them.
    between: usize,
}

impl Recipe {
    /// Of no groups; `window` are the stretches of a window inside the image.
    #[inline(always)]
    pub(super) fn new(offset: i16, window: Stretches) -> Self {
        let Stretches { len, stride, .. } = window;
        let between = stride.wrapping_sub(len);
        Self { offsets: twice(offset), masks: [0; 2], count: 0, left: 0, len, between }
    }
}

/// Spreads a piece of four windows; what is missing in the last group is 0.
///
/// # Safety
/// `recipe.count` isn't 0; so many groups can be written from `to` on. From each of `from`, the rest
/// of a row (`left` bytes), and every `between` bytes behind one another, as many rows of `len` ≥
/// [`LEAST_ROW`] as the piece is of can be read, and three bytes behind the last. Where the last
/// group's columns are fewer than four, they are the last of a row.
// SAFETY: the body follows the C calling convention (arguments in r0–r2, r4–r11 and lr saved and, by
// `spread_last`, restored, the stack as it was). It reads a word of each window a step, whole groups
// of a row, and writes two quads of words for each; the word that a row ends within is left to
// `spread_joint` if another row follows, the last group to `spread_last`. LDR takes any address; STM
// is at multiples of four, as groups consist of words.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn spread_windows(
    from: &[*const i8; POSITIONS],
    to: *mut Group,
    recipe: &Recipe,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        // On the stack: the end of a row's groups, whole groups left, bytes left of the row, recipe.
        "push {{r2, r4-r11, lr}}",
        "sub sp, #12",
        "mov r12, r1",
        "ldr lr, [r2]",
        "ldrd r4, r8, [r2, #8]", // r8 whole groups: without a last one of fewer columns
        "ldr r9, [r2, #16]",
        "ldm r0, {{r0-r3}}",
        "adds r4, r4, #1",
        "it ne",
        "subne r8, r8, #1",
        "1:",
        "lsr r10, r9, #2",
        "cmp r10, r8",
        "it hi",
        "movhi r10, r8",
        "sub r8, r8, r10",
        "sub r9, r9, r10, lsl #2",
        "strd r8, r9, [sp, #4]",
        "cmp r10, #0",
        "beq 3f",
        "add r10, r12, r10, lsl #5",
        "str r10, [sp]",
        "2:",
        "ldr r4, [r0], #4",
        "ldr r5, [r1], #4",
        "ldr r6, [r2], #4",
        "ldr r7, [r3], #4",
        spread_even!(),
        "stm r12!, {{r8-r11}}",
        spread_odd!(),
        "stm r12!, {{r8-r11}}",
        "ldr r8, [sp]",
        "cmp r12, r8",
        "bne 2b",
        "ldrd r8, r9, [sp, #4]",
        "3:",
        "ldr r10, [sp, #12]",
        "ldrd r10, r11, [r10, #20]", // a row's bytes, those between two
        "cmp r8, #0",
        "beq {last}",
        "cmp r9, #0",
        "bne 4f",
        next_row!(),
        "mov r9, r10",
        "b 1b",
        "4:",
        "bl {joint}",
        "b 1b",
        joint = sym spread_joint,
        last = sym spread_last,
    )
}

/// The group that a row ends within and the next one begins within.
// SAFETY: called by `spread_windows` alone, with its registers and stack: from r0–r3 on, r9 bytes of a
// row are left, one to three, and the next one's begin r11 bytes behind them. It reads a word of each
// row and window, the first of which may end three bytes behind its row, where the other follows,
// and the second of which begins at most three bytes before its row; and it writes a group at r12.
// It leaves the groups and bytes that are then left in r8 and r9, the offsets in lr, and the stack as
// it was.
#[unsafe(naked)]
unsafe extern "C" fn spread_joint() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{lr}}",
        "ldr r4, [r0]",
        "ldr r5, [r1]",
        "ldr r6, [r2]",
        "ldr r7, [r3]",
        next_row!(),
        "subs r8, r8, #1",
        "lsl r11, r9, #3",
        "add r9, r9, r10",
        "subs r9, r9, #4",
        "strd r8, r9, [sp, #8]",
        "mov r10, #-1",
        "lsl r10, r10, r11",
        "mvn r10, r10",
        "uadd8 r10, r10, r10", // GE where a byte carries: those of the row that ends
        "ldr r8, [r0], #4",
        "ldr r9, [r1], #4",
        "ldr r10, [r2], #4",
        "ldr r11, [r3], #4",
        "sel r4, r4, r8",
        "sel r5, r5, r9",
        "sel r6, r6, r10",
        "sel r7, r7, r11",
        "ldr lr, [sp, #16]",
        "ldr lr, [lr]",
        spread_even!(),
        "stm r12!, {{r8-r11}}",
        spread_odd!(),
        "stm r12!, {{r8-r11}}",
        "ldrd r8, r9, [sp, #8]",
        "pop {{pc}}",
    )
}

/// The last group, if it has fewer columns; then the end of [`spread_windows`].
// SAFETY: reached by a branch from there alone, with its registers and stack, which it leaves by the C
// calling convention. If a mask says so, it reads a word of each window, from the last bytes of its
// last row on, or up to three behind them, and writes a group at r12.
#[unsafe(naked)]
unsafe extern "C" fn spread_last() {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        ".macro spread_masked mask",
        "and r8, r8, \\mask",
        "and r9, r9, \\mask",
        "and r10, r10, \\mask",
        "and r11, r11, \\mask",
        "stm r12!, {{r8-r11}}",
        ".endm",
        "ldr r10, [sp, #12]",
        "ldrd r4, r5, [r10, #4]", // masks
        "adds r6, r5, #1",
        "beq 2f",
        "strd r4, r5, [sp]",
        "cmp r9, #0",
        "bne 1f",
        next_row!(),
        "1:",
        "ldr r4, [r0]",
        "ldr r5, [r1]",
        "ldr r6, [r2]",
        "ldr r7, [r3]",
        "ldrd r0, r1, [sp]",
        spread_even!(),
        "spread_masked r0",
        spread_odd!(),
        "spread_masked r1",
        "2:",
        "add sp, #12",
        "pop {{r2, r4-r11, pc}}",
        ".purgem spread_masked",
    )
}

/// Spreads a patch to every fourth word from `to` on; what is missing in the last group is 0.
///
/// # Safety
/// `count` isn't 0; 2 · `count` words, each 16 bytes after the one before, can be written from `to`
/// on, and 4 · `count` bytes be read.
// SAFETY: the body follows the C calling convention (arguments in r0–r3, r4–r7 and lr saved and
// restored, the stack as it was). It reads a word of `from` and writes two of `to` a step, `count`
// steps, and the last two again. LDR takes any address, STR, too.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn spread_patch(
    from: *const i8,
    to: *mut u32,
    count: usize,
    recipe: &Recipe,
) {
    naked_asm!(
        env!("BITSBACK_CPU"), // see build.rs
        "push {{r4-r7, lr}}",
        "ldm r3, {{r5-r7}}", // offsets, masks
        "1:",
        "ldr r4, [r0], #4",
        "sxtab16 r12, r5, r4",
        "sxtab16 r4, r5, r4, ror #8",
        "str r12, [r1], #16",
        "str r4, [r1], #16",
        "subs r2, r2, #1",
        "bne 1b",
        "and r12, r12, r6",
        "and r4, r4, r7",
        "str r12, [r1, #-32]",
        "str r4, [r1, #-16]",
        "pop {{r4-r7, pc}}",
    )
}
