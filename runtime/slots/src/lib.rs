//! Two model slots in NOR flash, and which of them runs: `no_std`, no allocation, no float, no panic.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod gate;
#[cfg(feature = "signature")]
pub mod package;

pub use gate::{Announced, Gate};

/// Bytes at the start of a slot that hold its model's head; the model begins behind them, aligned for every
/// kernel if its slot is.
pub const HEAD_LEN: usize = 256;
