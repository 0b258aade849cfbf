//! Keeps some of the input's values: what pruned inputs need.

use serde::{Deserialize, Serialize};

use crate::format::{Source, Tensor};

/// The values whose bit is set in the mask, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Select {
    /// Input, read as a vector.
    pub input: Source,
    /// Output, with the input's zero point.
    pub output: Tensor,
    /// First byte of the mask in the weight section: one bit per input value, the first in the
    /// least significant bit; the last byte's free bits are 0.
    pub mask: u32,
}
