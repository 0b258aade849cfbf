//! Fully connected layer.

use serde::{Deserialize, Serialize};

use crate::format::{Affine, Source, Tensor};

/// y = requantize(W·x + b). Weights: outputs × inputs; the input's shape is read as a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dense {
    /// Input.
    pub input: Source,
    /// Output, of one dimension.
    pub output: Tensor,
    /// Parameters, one row per output.
    pub affine: Affine,
}
