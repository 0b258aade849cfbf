pub use crate::numbers::{HARD_SWISH_STEPS, factor, hard_swish, multiplier};
