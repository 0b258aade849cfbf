//! Mean over all positions of an image: global average pooling with its own output scale.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use super::pool::Pixels;
use crate::arch::CHUNK_ROWS;
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::{Multiplier, requantize};

/// Most positions averaged: sums of differences of at most 255 stay within 32 bits.
const MAX_POSITIONS: usize = 1 << 23;

/// y = requantize(Σ (x − zero point)) over all dimensions but the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mean {
    /// Input.
    pub input: Source,
    /// Output, with one value per channel.
    pub output: Tensor,
    /// Input scale / output scale / number of positions; see [`Multiplier::over`].
    pub multiplier: Multiplier,
    /// Fused activation.
    pub clamp: Clamp,
}

read_fields!(Mean { input, output, multiplier, clamp });

impl Operator for Mean {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let channels = input.shape.channels();
        if self.output.len() != channels || input.len() / channels.max(1) > MAX_POSITIONS {
            return Err(OpFault::Shape);
        }
        if !self.multiplier.is_sound() {
            return Err(OpFault::Multiplier);
        }
        if self.clamp.min > self.clamp.max { Err(OpFault::Clamp) } else { Ok(()) }
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.input.resolve(previous).len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let values = inputs.get(input);
        let zero = i32::from(input.zero_point);
        let channels = output.len();
        let positions = values.len().checked_div(channels).unwrap_or_default();
        let [rows, columns] = match input.shape.image() {
            Some([height, width, _]) => [height, width],
            None => [1, positions],
        };
        let stride = columns.wrapping_mul(channels);
        let pixels = Pixels { values, rows, columns, stride };
        pixels.sum(output, &mut [0; CHUNK_ROWS], &|sum, count| {
            let sum = sum.wrapping_sub((count as i32).wrapping_mul(zero));
            self.clamp.apply(requantize(sum, self.multiplier, self.output.zero_point))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor, values};
    use proptest::prelude::*;

    fn op(channels: u16, multiplier: Multiplier, clamp: Clamp) -> Op {
        let output = tensor(100, &[channels], 5);
        Op::Mean(Mean { input: Source::Previous, output, multiplier, clamp })
    }

    proptest! {
        #[test]
        fn within_a_step_of_the_real_mean(x in values(48), zero: i8) {
            let op = op(4, Multiplier::ONE.over(12), Clamp::NONE);
            let found = run(&tensor(0, &[3, 4, 4], zero), &[op], &[], &x).unwrap();
            for (channel, &y) in found.iter().enumerate() {
                let sum: f64 = x.iter().skip(channel).step_by(4).map(|&x| f64::from(x)).sum();
                let exact = (sum / 12.0 - f64::from(zero) + 5.0).clamp(-128.0, 127.0);
                prop_assert!((f64::from(y) - exact).abs() < 0.6, "{y} for {exact}");
            }
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[2, 2, 3], 0);
        assert_eq!(fault(&input, op(3, Multiplier::ONE, Clamp::NONE), &[]), None);
        assert_eq!(fault(&input, op(4, Multiplier::ONE, Clamp::NONE), &[]), Some(OpFault::Shape));
        let wrong = Multiplier { value: -1, shift: 0 };
        assert_eq!(fault(&input, op(3, wrong, Clamp::NONE), &[]), Some(OpFault::Multiplier));
        let clamp = Clamp { min: 1, max: 0 };
        assert_eq!(fault(&input, op(3, Multiplier::ONE, clamp), &[]), Some(OpFault::Clamp));
    }
}
