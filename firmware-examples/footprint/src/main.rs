//! The least firmware that runs a model: no output, no messages, the operators of this model and
//! no others, which the build script has checked. `cargo xtask bench` links it with and without inference; the difference, less the
//! model's own bytes, is the code that a model costs in flash.
//!
//! `BITSBACK_MODEL` is the model's absolute path at build time.
#![no_std]
#![no_main]

#[cfg(feature = "packages")]
mod packages;
#[cfg(feature = "sentinel")]
mod sentinel;
#[cfg(feature = "slots")]
mod slots;

use core::hint::black_box;
use core::panic::PanicInfo;

#[cfg(family = "cortex_m")]
#[cortex_m_rt::entry]
fn main() -> ! {
    start()
}

#[cfg(family = "riscv")]
#[riscv_rt::entry]
fn main() -> ! {
    start()
}

// The ARM926 has no start-up crate: the board's script begins at `_start`, and a stack is all that
// Rust needs.
#[cfg(family = "arm9")]
core::arch::global_asm!(
    ".section .text.start, \"ax\"",
    ".global _start",
    ".arm",
    "_start: ldr sp, =_stack_start",
    "bl bitsback_footprint_start",
    ".ltorg",
);

// The same for AArch64, which must switch its vector registers on.
#[cfg(family = "aarch64")]
core::arch::global_asm!(
    ".section .text.start, \"ax\"",
    ".global _start",
    "_start: mov x0, #(3 << 20)",
    "msr cpacr_el1, x0",
    "isb",
    "adrp x0, _stack_start",
    "add x0, x0, :lo12:_stack_start",
    "mov sp, x0",
    "bl bitsback_footprint_start",
);

// SAFETY: the assembly above is the only caller; it sets the stack up and expects no return.
#[cfg(any(family = "arm9", family = "aarch64"))]
#[unsafe(no_mangle)]
extern "C" fn bitsback_footprint_start() -> ! {
    start()
}

fn start() -> ! {
    #[cfg(not(feature = "empty"))]
    inference::run();
    #[cfg(feature = "slots")]
    slots::run();
    #[cfg(feature = "packages")]
    packages::run();
    loop {
        // Keeps the compiler from treating an empty endless loop as it likes.
        black_box(());
    }
}

#[cfg(not(feature = "empty"))]
mod inference {
    use core::hint::black_box;

    use bitsback_runtime::{ALL_KINDS, Interpreter, Model, arena_len, include_model, op_kinds};

    static MODEL: &[u8] = include_model!(env!("BITSBACK_MODEL"));
    /// What is proven to hold no path to a panic is every operator, whatever the model has.
    const KINDS: u32 = if cfg!(feature = "no-panic") { ALL_KINDS } else { op_kinds(MODEL) };
    /// Where every firmware has its arena: start-up clears it, and the linker knows whether it fits.
    static mut ARENA: [i8; arena_len(MODEL)] = [0; arena_len(MODEL)];

    /// What all weights take, or less where `BITSBACK_WEIGHTS_RAM` says so at build time.
    #[cfg(feature = "unpacked")]
    const WEIGHTS_LEN: usize = {
        let whole = bitsback_runtime::weights_len(MODEL);
        match option_env!("BITSBACK_WEIGHTS_RAM") {
            Some(text) => match usize::from_str_radix(text, 10) {
                Ok(given) if given < whole => given,
                _ => whole,
            },
            None => whole,
        }
    };
    #[cfg(feature = "unpacked")]
    static mut WEIGHTS: [u8; WEIGHTS_LEN] = [0; WEIGHTS_LEN];

    /// One inference as a product would do it: parse, input, invoke, class.
    pub(crate) fn run() {
        // build.rs has checked it.
        #[cfg(not(feature = "checks"))]
        let model = Model::<KINDS>::trust_only(black_box(MODEL));
        #[cfg(feature = "checks")]
        let model = Model::<KINDS>::parse_only(black_box(MODEL));
        let Ok(model) = model else { return };
        // SAFETY: this runs once, and nothing else names the arena.
        let arena = unsafe { (&raw mut ARENA).as_mut_unchecked() };
        #[cfg(not(feature = "unpacked"))]
        let made = Interpreter::new(&model, arena);
        #[cfg(feature = "unpacked")]
        let made = {
            // SAFETY: as the arena.
            let weights = unsafe { (&raw mut WEIGHTS).as_mut_unchecked() };
            Interpreter::with_weights(&model, arena, weights)
        };
        let Ok(mut interpreter) = made else { return };
        // Value by value, as from a sensor: filling is no part of inference.
        for input in interpreter.input_mut() {
            *input = black_box(0);
        }
        #[cfg(feature = "sentinel")]
        let look = super::sentinel::look(&mut interpreter);
        interpreter.invoke();
        black_box(interpreter.class());
        #[cfg(feature = "sentinel")]
        super::sentinel::run(&interpreter, look);
    }
}

#[cfg(not(feature = "no-panic"))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        black_box(());
    }
}

/// Calls what nobody defines: a program links only if the linker finds no way here.
#[cfg(feature = "no-panic")]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_path_is_left() -> !;
    }
    // SAFETY: never called: a program that could call it doesn't link.
    unsafe { a_panic_path_is_left() }
}
