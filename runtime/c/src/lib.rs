//! The C interface of `bitsback-runtime`: what `include/bitsback.h` declares.
//!
//! `cargo xtask c` builds this crate as a static library for a bare-metal core and writes the
//! header. As a plain library it is what the tests below its files call, on the host, the way C
//! would.
//!
//! C promises less than Rust's types do, so each function checks what can be checked (null,
//! alignment, lengths, overlaps, whether a model was loaded) and returns a [`BitsbackStatus`]; what
//! remains, that pointers point to so many bytes, each function's `# Safety` says. All unsafe code
//! is in `exports` and `watch` (the functions), `pointers` (from C's pointers to slices) and `panicked`.
//!
//! The library holds every operator, unless `BITSBACK_OP_KINDS` named those of one model when it
//! was built (`cargo xtask c --model`).
#![no_std]

#[cfg(test)]
extern crate std;

mod exports;
mod kinds;
#[cfg(target_os = "none")]
mod panicked;
mod pointers;
mod status;
mod watch;

pub use exports::*;
pub use pointers::{BITSBACK_MODEL_ALIGNMENT, BITSBACK_STEPS_MOST, BITSBACK_WORDS, Bitsback};
pub use status::BitsbackStatus;
pub use watch::*;
