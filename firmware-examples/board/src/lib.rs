//! The boards that QEMU emulates: memory maps, start-up, host I/O, instruction and stack counts.
//!
//! A firmware crate writes
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! board::main!(run);
//! fn run() -> Result<(), board::Failure> { board::println!("hello"); Ok(()) }
//! ```
//!
//! and a build script that links with `-Tboard.x`. `Ok` exits QEMU with 0, `Err` is printed and
//! exits with 1, a panic is printed and exits with 101, a processor fault exits with 102.
//!
//! All unsafe code of the firmware workspace is in this crate; each block says why it is sound.
#![no_std]

use core::fmt::Display;

pub use semihosting::{eprintln, fs, io, print, println};

pub mod counter;
mod failure;
#[cfg(all(feature = "updates", any(chip = "nrf51", chip = "mps2")))]
pub mod flash;
#[cfg(not(feature = "updates"))]
mod model_slot;
#[cfg(any(family = "cortex_m", family = "arm9"))]
mod register;
#[cfg(all(feature = "updates", any(chip = "nrf51", chip = "mps2")))]
pub mod reset;
pub mod stack;
mod start;
#[cfg(all(feature = "updates", any(chip = "nrf51", chip = "mps2")))]
pub mod uart;

pub use failure::Failure;
#[cfg(not(feature = "updates"))]
pub use model_slot::{ModelSlotError, model_slot};
pub use start::fault;

include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// The exit code of a firmware whose `run` returned an error.
const EXIT_ERROR: i32 = 1;

/// Names the function that the board calls after start-up: `fn() -> Result<(), impl Display>`.
#[macro_export]
macro_rules! main {
    ($run:path) => {
        // The board's start-up code is the only caller, and it declares this very signature.
        #[unsafe(no_mangle)]
        fn bitsback_board_main() -> i32 {
            $crate::report($run())
        }
    };
}

/// Turns the result of a firmware's `run` into its exit code, printing the error if there is one.
pub fn report<E: Display>(result: Result<(), E>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            EXIT_ERROR
        }
    }
}
