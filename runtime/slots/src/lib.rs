//! Two model slots in NOR flash, and which of them runs: `no_std`, no allocation, no float, no panic, no
//! unsafe code.
//!
//! A device runs the model in one slot while the next arrives in the other. That one is then tried for some
//! starts; it is confirmed, or the device goes back. Power may go at any moment: a start always chooses a
//! model that the [`Gate`] accepts, and none that is older than the confirmed one, unless the program or a
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
//! ```
//! use bitsback_slots::{Error, Gate, Layout, MappedFlash, Reason, Restart, Slots};
//!
//! /// From 192 kB on: two pages of 1 kB for state, two slots of 24 kB.
//! const LAYOUT: Layout = Layout::contiguous(192 * 1024, 1024, 24 * 1024);
//!
//! fn run<F: MappedFlash, G: Gate>(
//!     flash: F,
//!     gate: G,
//!     mut receive: impl FnMut() -> Option<(&'static [u8], &'static [u8])>,
//!     mut is_sound: impl FnMut(&[u8]) -> bool,
//! ) -> Result<(), Error<F::Error, G::Refusal>> {
//!     let mut slots = Slots::start(flash, gate, LAYOUT, Restart::Other)?;
//!     let is_on_trial = slots.chosen().is_some_and(|chosen| chosen.is_on_trial);
//!     match slots.model().map(&mut is_sound) {
//!         Some(true) if is_on_trial => slots.confirm()?,
//!         Some(false) if is_on_trial => return slots.roll_back(Reason::SelfTest), // and reset
//!         _ => {}
//!     }
//!     if let Some((head, model)) = receive() {
//!         let there = slots.begin(head)?;
//!         slots.write(model.get(there as usize..).unwrap_or_default())?;
//!         slots.finish()?;
//!         slots.activate(3)?; // and reset
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Features
//!
//! `signature`, on by default, is the module `package`: packages signed with Ed25519 and their gate.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "writer"))]
extern crate alloc;
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
