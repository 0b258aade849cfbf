//! Two-dimensional convolution (cross-correlation).

use serde::{Deserialize, Serialize};

use crate::format::{Affine, Source, Tensor, Window};

/// y = requantize(W ⋆ x + b). Weights: filters × kernel height × kernel width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Input image.
    pub input: Source,
    /// Output image; its channels are the filters.
    pub output: Tensor,
    /// Kernel size, stride and padding.
    pub window: Window,
    /// Distance between taps, down and right; 1 is the ordinary convolution.
    pub dilation: [u16; 2],
    /// Parameters, one row per filter.
    pub affine: Affine,
}
