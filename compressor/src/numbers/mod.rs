//! Numbers: ranges, quantisations, multipliers, each defined once. The ground floor: it uses nothing
//! else of this crate.

mod half;
mod multiplier;
mod quantization;
mod range;
mod rows;
mod shape;

pub(crate) use half::half;
pub(crate) use multiplier::{HARD_SWISH_STEPS, factor, hard_swish, hard_swish_scales, multiplier};
pub use quantization::Quantization;
pub(crate) use quantization::not_finer_than;
pub use range::Range;
pub(crate) use range::{BINS, least_squares};
pub use rows::Rows;
#[cfg(feature = "training")]
pub(crate) use rows::largest;
pub use shape::Shape;
