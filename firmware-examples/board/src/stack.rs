//! How much stack a piece of code uses: paint what lies below the stack pointer, run, look.

use core::arch::asm;
use core::ptr;

const WORD_BYTES: usize = size_of::<u32>();
const PAINT: u32 = 0x5AC3_A53C;
/// Words that are painted: deeper use than this is reported as `None`. The smallest board leaves
/// about 7 KiB below its deepest frame.
const PAINTED_WORDS: usize = if crate::ARENA_BYTES < 32 * 1024 { 1536 } else { 4096 };
/// Words below the painter's frame that stay unpainted: unoptimised builds keep the frames of
/// what the painter's loop calls there.
const MARGIN_WORDS: usize = 24;

/// Runs `code` and returns its result and the bytes of stack that it used, counted from the
/// caller's frame down in whole words; at least the margin of about 100 bytes, and `None` when
/// it used more than was painted (6 KiB on the smallest board, else 16 KiB).
#[inline(never)]
pub fn bytes_used<T>(code: impl FnOnce() -> T) -> (T, Option<usize>) {
    let top = stack_pointer();
    let painted_top = paint();
    let result = call(code);
    (result, deepest(painted_top).map(|bottom| top - bottom))
}

/// A frame of its own for `code`, so that what is inlined into it lies below the paint's top.
#[inline(never)]
fn call<T>(code: impl FnOnce() -> T) -> T {
    code()
}

#[inline(always)]
fn stack_pointer() -> usize {
    let address: usize;
    // SAFETY: copies the stack pointer to another register; no memory, no flags, no stack use.
    unsafe {
        #[cfg(any(target_arch = "arm", target_arch = "aarch64"))]
        asm!("mov {}, sp", out(reg) address, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "riscv32")]
        asm!("mv {}, sp", out(reg) address, options(nomem, nostack, preserves_flags));
    }
    address
}

/// Paints the words below this function's own frame; returns the address above the first.
#[inline(never)]
fn paint() -> usize {
    let top = stack_pointer() - MARGIN_WORDS * WORD_BYTES;
    for index in 1..=PAINTED_WORDS {
        let word = (top - index * WORD_BYTES) as *mut u32;
        // SAFETY: the address lies below the stack pointer, by more than any frame of this loop
        // (MARGIN_WORDS), in RAM that belongs to the stack alone; the stack pointer is a multiple
        // of 8, so the word is aligned; no interrupt is enabled, so nobody else pushes there.
        unsafe { ptr::write_volatile(word, PAINT) }
    }
    top
}

/// The lowest address below `top` whose paint is gone, or `top` if all of it is there;
/// `None` if even the last word has changed.
#[inline(never)]
fn deepest(top: usize) -> Option<usize> {
    let bottom = top - PAINTED_WORDS * WORD_BYTES;
    let mut address = bottom;
    // SAFETY: the very words that `paint` wrote, only read; aligned for the same reason.
    while address < top && unsafe { ptr::read_volatile(address as *const u32) } == PAINT {
        address += WORD_BYTES;
    }
    (address > bottom).then_some(address)
}
