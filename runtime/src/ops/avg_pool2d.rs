//! Mean of each window.

use serde::{Deserialize, Serialize};

use crate::format::{Clamp, Source, Tensor, Window};

/// The mean of each window, per channel, over the positions inside the image, rounded half away
/// from zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvgPool2d {
    /// Input image.
    pub input: Source,
    /// Output image, with the input's zero point.
    pub output: Tensor,
    /// Size, stride and padding.
    pub window: Window,
    /// Fused activation.
    pub clamp: Clamp,
}
