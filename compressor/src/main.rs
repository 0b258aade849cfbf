//! The `bitsback` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

// A training step allocates and frees every intermediate tensor. The C library's allocator gives
// large blocks back to the system each time and pays page faults to have them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bitsback::internals::main()
}
