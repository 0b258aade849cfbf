//! Start-up: from the reset vector to the firmware's `run`, and what a processor fault does.

use semihosting::process;

/// The exit code after a processor fault (a hard fault, an unhandled trap).
const EXIT_FAULT: i32 = 102;

// SAFETY: `main!` defines the function with exactly this signature and the Rust ABI; it takes
// nothing and touches no state of ours, so calling it has no precondition.
unsafe extern "Rust" {
    safe fn bitsback_board_main() -> i32;
}

fn start() -> ! {
    process::exit(bitsback_board_main())
}

#[cfg(family = "cortex_m")]
mod cortex_m {
    use cortex_m_rt::{ExceptionFrame, entry, exception};

    #[entry]
    fn main() -> ! {
        super::start()
    }

    // SAFETY: a hard fault may strike anywhere; this handler reads its own frame only, prints
    // and ends the program, so no broken invariant is relied on afterwards.
    #[exception]
    unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
        semihosting::eprintln!("error: hard fault at {:#010x}", frame.pc());
        semihosting::process::exit(super::EXIT_FAULT)
    }
}

#[cfg(family = "riscv")]
mod riscv {
    use riscv_rt::entry;

    #[entry]
    fn main() -> ! {
        super::start()
    }

    /// riscv-rt calls this for every exception that nothing else handles.
    // SAFETY: the symbol's contract (riscv-rt's link.x) is a C function that gets the trap frame;
    // we ignore the frame and end the program.
    #[unsafe(export_name = "ExceptionHandler")]
    extern "C" fn exception() -> ! {
        semihosting::eprintln!("error: processor exception");
        semihosting::process::exit(super::EXIT_FAULT)
    }
}

#[cfg(family = "arm9")]
mod arm9 {
    // QEMU enters at `_start` in supervisor mode with RAM zeroed and every section in place, so a
    // stack pointer is all that Rust needs. Every exception but a reset ends the program; its
    // mode has a stack pointer of its own, which needs a value first.
    core::arch::global_asm!(
        ".section .vectors, \"ax\"",
        ".arm",
        ".rept 8",
        "b 1f",
        ".endr",
        "1: ldr sp, =_stack_start",
        "bl bitsback_board_exception",
        ".ltorg",
        ".section .text.start, \"ax\"",
        ".global _start",
        ".arm",
        "_start: ldr sp, =_stack_start",
        "bl bitsback_board_start",
        ".ltorg",
    );
}

#[cfg(family = "aarch64")]
mod aarch64 {
    // QEMU enters at `_start` at exception level 1 with RAM zeroed and every section in place. The
    // vector registers must be switched on before anything is compiled to use them. Every exception
    // ends the program: all sixteen vectors, 128 bytes apart, go to one place.
    core::arch::global_asm!(
        ".section .text.start, \"ax\"",
        ".global _start",
        "_start: mov x0, #(3 << 20)",
        "msr cpacr_el1, x0",
        "adr x0, 2f",
        "msr vbar_el1, x0",
        "isb",
        "adrp x0, _stack_start",
        "add x0, x0, :lo12:_stack_start",
        "mov sp, x0",
        "bl bitsback_board_start",
        ".balign 2048",
        "2:",
        ".rept 16",
        "b 1f",
        ".balign 128",
        ".endr",
        "1: adrp x0, _stack_start",
        "add x0, x0, :lo12:_stack_start",
        "mov sp, x0",
        "bl bitsback_board_exception",
    );
}

/// What the assembly of boards without a start-up crate calls.
#[cfg(any(family = "arm9", family = "aarch64"))]
mod loaded {
    // SAFETY: the assembly of this file is the only caller; it sets the stack up and expects no return.
    #[unsafe(no_mangle)]
    extern "C" fn bitsback_board_start() -> ! {
        super::start()
    }

    // SAFETY: as above; what the stack held before is of no use to anyone any more.
    #[unsafe(no_mangle)]
    extern "C" fn bitsback_board_exception() -> ! {
        semihosting::eprintln!("error: processor exception");
        semihosting::process::exit(super::EXIT_FAULT)
    }
}

/// Executes an instruction that no core has, to show what a processor fault does.
pub fn fault() -> ! {
    #[cfg(any(target_arch = "arm", target_arch = "aarch64"))]
    // SAFETY: the permanently undefined instruction raises an exception whose handler ends the
    // program; nothing after it runs.
    unsafe {
        core::arch::asm!("udf #0", options(noreturn));
    }
    #[cfg(target_arch = "riscv32")]
    // SAFETY: as above; `unimp` is RISC-V's permanently illegal instruction.
    unsafe {
        core::arch::asm!("unimp", options(noreturn));
    }
}
