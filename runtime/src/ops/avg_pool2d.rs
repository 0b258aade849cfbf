//! Mean of each window.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use super::pool::Pool;
use crate::format::{Clamp, OpFault, Source, Tensor, Window, read_fields};

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

read_fields!(AvgPool2d { input, output, window, clamp });

impl Operator for AvgPool2d {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        Pool::check(&self.window, self.clamp, self.input.resolve(previous), &self.output)
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        Pool::steps(&self.window, &self.output)
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let values = inputs.get(input);
        let Some(pool) = Pool::new(&self.window, input, &self.output) else { return };
        pool.sum(values, output, |sum, count| self.clamp.apply(mean(sum, count as i32)));
    }
}

/// sum / count, rounded half away from zero; `count` is at least 1.
pub(crate) fn mean(sum: i32, count: i32) -> i32 {
    let half = count / 2;
    let rounded = if sum > 0 { sum.wrapping_add(half) } else { sum.wrapping_sub(half) };
    rounded.checked_div(count).unwrap_or_default()
}
