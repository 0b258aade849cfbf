//! Two model slots in NOR flash, and which of them runs: `no_std`, no allocation, no float, no panic, no
//! unsafe code.
//!
//! A device runs the model in one slot while the next arrives in the other. That one is then tried for some
//! starts; it is confirmed, or the device goes back. Power may go at any moment: a start always chooses a
//! model that the [`Gate`] has accepted, and never one that is older than what was confirmed, unless the program or a
//! failed trial went back to it.
//!
//! ```text
//!                  begin, write, finish          activate             confirm
//! the other slot:  ───────────────────► staged ───────────► on trial ─────────► the confirmed model;
//!                                         ▲                    │                that before is the way back
//!                                         └── activate ── failed ◄── roll_back, a watchdog's reset,
//!                                                                    no starts left, damaged
//! ```
//!
//! A program [starts](Slots::start) the slots once after each reset, with its flash, its gate, a
//! [`Layout`] of whole pages, and what the reset's cause was. State takes two pages, the fewest that survive
//! the loss of power while one is erased.
//!
//! # Features
//!
//! `signature`, on by default, is the module `package`: packages signed with Ed25519 and their gate.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod error;
mod flash;
mod gate;
mod layout;
mod log;
#[cfg(feature = "signature")]
pub mod package;
mod slots;
mod staging;
mod state;

pub use error::Error;
pub use flash::MappedFlash;
pub use gate::{Announced, Gate};
pub use layout::Layout;
pub use slots::{Chosen, Slots};
pub use state::{Note, Other, Reason, Restart, Slot, State};

/// Bytes at the start of a slot that hold its model's head; the model begins behind them, aligned for every
/// kernel if the flash is.
pub const HEAD_LEN: usize = 256;
