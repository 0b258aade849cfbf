//! Entropy-coded weights: an adaptive binary range coder, and what it predicts each weight from.
//!
//! A stream is the rows of one layer, each a bias (where biases are coded) and its weights. Every
//! value is a few binary decisions, each with an adaptive probability of its own; one description
//! of them ([`Contexts`]) serves both sides, since a coder may write the decisions or read
//! them. A layer has a few thousand decisions at most, so probabilities learn by counting.
//!
//! Any bytes are a stream: weights stay within the stated width, biases within 16 bits, and bytes
//! beyond the end are zeros.

mod contexts;
mod decoder;
#[cfg(any(test, feature = "writer"))]
mod encoder;
mod probability;
mod weights;

#[cfg(any(test, feature = "writer"))]
pub use contexts::CodedRow;
pub use contexts::{CODED_BIAS_MAX, Contexts, MEMORY, Memory};
pub use decoder::Decoder;
#[cfg(any(test, feature = "writer"))]
pub use encoder::encode;
#[cfg(any(bitsback_isa = "dsp", bitsback_isa = "mve", bitsback_isa = "thumb2"))]
pub(crate) use weights::STEPS;
pub use weights::coded_limit;
pub(crate) use weights::{Found, Weights};

#[cfg(test)]
mod tests;
