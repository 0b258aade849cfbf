//! Largest value of each window.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use super::pool::Pool;
use crate::format::{Clamp, OpFault, Source, Tensor, Window, read_fields};

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

read_fields!(MaxPool2d { input, output, window, clamp });

impl Operator for MaxPool2d {
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
        let largest = (i8::MIN, |most: i8, x: i8| most.max(x));
        pool.fold(values, output, largest, |most| self.clamp.apply(i32::from(most)));
    }
}
