//! Position of the largest value.

use serde::{Deserialize, Serialize};

use crate::format::{Source, Tensor};

/// The position of the input's largest value, the first of equals, as two bytes, low one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argmax {
    /// Input, read as a vector.
    pub input: Source,
    /// Output: `[2]`.
    pub output: Tensor,
}
