//! Numbers: ranges, quantisations, multipliers, each defined once. The ground floor: it uses nothing
//! else of this crate.

mod half;
mod multiplier;
mod quantization;
mod range;
mod rows;
mod shape;

pub use half::half;
pub use multiplier::{HARD_SWISH_STEPS, factor, hard_swish, hard_swish_scales, multiplier};
pub use quantization::{Quantization, not_finer_than};
pub use range::{BINS, Range, least_squares};
pub use rows::{Rows, largest};
pub use shape::Shape;
