//! Softmax in fixed point.

use serde::{Deserialize, Serialize};

use crate::format::{Source, Tensor};
use crate::requantize::Multiplier;

/// y = exp(β·x) / Σ exp(β·x) over the fastest dimension; output scale 1/256, zero point −128.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softmax {
    /// Input.
    pub input: Source,
    /// Output, of the input's shape, zero point −128.
    pub output: Tensor,
    /// min(β · input scale · 2²⁶, 2³¹ − 1) as a factor; its shift is 0 to 30.
    pub multiplier: Multiplier,
}
