//! A sentinel beside a model: from the answers and the inputs that a device sees, whether the field still looks
//! like the examples that the model was checked with. It knows no labels, and says nothing of accuracy.
//!
//! A model's file may end with a [section](Sentinel) of at most 256 bytes: bets against the reference, which
//! were chosen and proved when the model was compressed. Each inference gives up to four symbols: how far the
//! largest output leads (or the mean output, of models whose outputs are values), brightness and roughness of
//! the input, and the class. A [`Watch`] of 128 bytes adds the score of the symbol to each bet, never below 0,
//! and is in [alarm](Alarm) once one of them has reached the threshold.
//!
//! **What is promised.** Of inferences whose symbols follow, given all before, a law within the section's bounds
//! and tolerance: for any number n of them, the probability of an alarm is at most n · J / 2^(h/16), for J bets
//! and a threshold of h sixteenths of a bit, since every bet is [proved](proof) to be fair under each such law.
//! Frames that depend on one another are such inferences only as far as the tolerance covers it; a section can
//! ask to be fed every so many inferences. Power losses only lower the evidence, and keep the promise; an
//! inference that is fed twice breaks it.
//!
//! The bets are an e-detector in the sense of Shin, Ramdas and Rinaldo, *E-detectors: a nonparametric framework
//! for sequential change detection* (arXiv:2203.03532), with fixed tables in the place of adaptive ones; laws within a
//! distance are Saha and Ramdas's (arXiv:2408.14015), and a trial's head start is Lucas and Crosier's (1982).
//!
//! ```
//! use bitsback_runtime::sentinel::{Look, Sentinel, Watch};
//! use bitsback_runtime::{Interpreter, Model, arena_len, include_model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! static MODEL: &[u8] = include_model!(concat!(
//!     env!("CARGO_MANIFEST_DIR"),
//!     "/tests/fixtures/v1/convolutional.bbk"
//! ));
//! let mut arena = [0; arena_len(MODEL)];
//! let model = Model::parse(MODEL)?;
//! let sentinel = Sentinel::new(&model)?; // none: this file has no section
//! let mut watch = Watch::new();
//! let mut interpreter = Interpreter::new(&model, &mut arena)?;
//! interpreter.input_mut().fill(5);
//! let look = Look::of(interpreter.input_mut()); // or of set_input_bytes_looking(&pixels)?
//! interpreter.invoke();
//! if let Some(sentinel) = &sentinel
//!     && let Some(alarm) = watch.feed(sentinel, look, interpreter.output())
//! {
//!     println!("{}: {} bits of evidence", alarm.bet, alarm.evidence / 16);
//! }
//! # Ok(())
//! # }
//! ```

mod bet;
#[cfg(any(test, feature = "writer"))]
mod draft;
mod fault;
mod look;
pub mod proof;
mod record;
mod section;
mod symbols;
mod watch;

pub use bet::{Alarm, Bet};
#[cfg(any(test, feature = "writer"))]
pub use draft::Draft;
pub use fault::Fault;
pub(crate) use look::Looking;
use look::mean;
pub use look::{Look, MAX_INPUTS, MAX_OUTPUTS, shift_for};
pub use record::{RECORD_LEN, RECORD_VERSION, Record, RecordFault};
pub use section::{Answers, ClassBet, Event, Ordinal, Sentinel};
#[cfg(any(test, feature = "writer"))]
pub(crate) use section::{TAIL_LEN, find};
pub use symbols::Symbols;
pub use watch::{MAX_WINDOW, Watch};

/// Statistics with an order: the answer, brightness and roughness of the input.
pub const ORDINALS: usize = 3;
/// Bins of each.
pub const BINS: usize = 8;
/// Bets by tables on each: `lo2`, `lo6`, `hi2`, `hi6`, on small and large values, mildly and strongly.
pub const TILTS: usize = 4;
/// Most class symbols: the classes themselves, or five of more than ten, and the others.
pub const MAX_CLASSES: usize = 10;
/// Classes with a bet where there are more than [`MAX_CLASSES`].
pub const MAPPED_CLASSES: usize = 5;
/// The place of the first bet on a tail: low and high of each ordinal statistic.
pub const TAILS_AT: usize = ORDINALS * TILTS;
/// The place of the first bet on a class.
pub const CLASSES_AT: usize = TAILS_AT + 2 * ORDINALS;
/// Bets of a section at most, and places of bets.
pub const MAX_BETS: usize = CLASSES_AT + MAX_CLASSES;
/// The highest threshold, in sixteenths of a bit: evidence stays within 16 bits.
pub const MAX_THRESHOLD: u16 = 30_000;
/// What the section, and with it a file that has one, ends with.
pub const SECTION_MAGIC: [u8; 4] = *b"BBKS";
/// Most bytes of a section.
pub const MAX_SECTION_LEN: usize = 256;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
