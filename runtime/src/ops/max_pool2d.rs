//! Largest value of each window.

use serde::{Deserialize, Serialize};

use crate::format::{Clamp, Source, Tensor, Window};

/// The largest value of each window, per channel; padding never wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaxPool2d {
    /// Input image.
    pub input: Source,
    /// Output image, with the input's zero point.
    pub output: Tensor,
    /// Size, stride and padding.
    pub window: Window,
    /// Fused activation.
    pub clamp: Clamp,
}
