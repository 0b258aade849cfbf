//! Start-up: from the reset vector to the firmware's `run`, and what a processor fault does.

use semihosting::process;

/// The exit code after a processor fault (a hard fault, an unhandled trap).
#[cfg(not(family = "arm9"))]
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
    // QEMU enters here in supervisor mode with RAM zeroed and every section in place, so a
    // stack pointer is all that Rust needs.
    core::arch::global_asm!(
        ".section .text.start, \"ax\"",
        ".global _start",
        ".arm",
        "_start:",
        "ldr sp, =_stack_start",
        "bl bitsback_board_start",
        ".ltorg",
    );

    // SAFETY: the assembly above is the only caller; it sets the stack up and expects no return.
    #[unsafe(no_mangle)]
    extern "C" fn bitsback_board_start() -> ! {
        super::start()
    }
}
