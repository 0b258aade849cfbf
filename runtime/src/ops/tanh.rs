//! The hyperbolic tangent in fixed point.

use serde::{Deserialize, Serialize};

use super::fixed_point::{INPUT_INTEGER_BITS, input_radius, tanh};
use super::unary::Unary;
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::{Multiplier, rounding_divide_by_pot};

/// y = tanh(x).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tanh {
    /// Input.
    pub input: Source,
    /// Output, with as many values, zero point 0, scale 1/128.
    pub output: Tensor,
    /// Input scale · 2²⁷ as a factor; its shift is 0 to 30.
    pub multiplier: Multiplier,
}

read_fields!(Tanh { input, output, multiplier });

impl Unary for Tanh {
    const STEPS: u64 = 32; // of the multiplications in an exponential and a reciprocal

    fn check_parameters(&self) -> Result<(), OpFault> {
        if self.output.zero_point != 0 {
            return Err(OpFault::ZeroPoint);
        }
        let sound = self.multiplier.is_sound() && self.multiplier.shift >= 0;
        if sound { Ok(()) } else { Err(OpFault::Multiplier) }
    }

    fn function(&self, zero_point: i8) -> impl Fn(i8) -> i8 {
        let radius = input_radius(INPUT_INTEGER_BITS, self.multiplier.shift);
        move |x| {
            let x = i32::from(x) - i32::from(zero_point);
            let steps = if x <= -radius {
                -128
            } else if x >= radius {
                127
            } else {
                rounding_divide_by_pot(tanh(self.multiplier.apply(x)), 31 - 7)
            };
            Clamp::NONE.apply(steps)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor};
    use std::vec::Vec;

    fn multiplier(scale: f64) -> Multiplier {
        let real = scale * f64::from(1 << 27);
        let shift = real.log2().floor() as i8 + 1;
        Multiplier { value: (real * 2f64.powi(31 - i32::from(shift))) as i32, shift }
    }

    fn op(outputs: u16, zero_point: i8, multiplier: Multiplier) -> Op {
        let output = tensor(0, &[outputs], zero_point);
        Op::Tanh(Tanh { input: Source::Previous, output, multiplier })
    }

    #[test]
    fn all_inputs_are_within_a_step_of_the_real_function() {
        let x: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        for (scale, zero_point) in [(0.05, 0), (0.1, -128), (0.001, 127), (1.0, 3)] {
            let op = op(256, 0, multiplier(scale));
            let found = run(&tensor(0, &[256], zero_point), &[op], &[], &x).unwrap();
            for (&x, &y) in x.iter().zip(&found) {
                let real = (f64::from(x) - f64::from(zero_point)) * scale;
                let exact = real.tanh() * 128.0;
                assert!((f64::from(y) - exact.min(127.0)).abs() < 1.01, "{x}: {y} for {exact}");
            }
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4], 0);
        let good = multiplier(0.1);
        assert_eq!(fault(&input, op(4, 0, good), &[]), None);
        assert_eq!(fault(&input, op(4, 1, good), &[]), Some(OpFault::ZeroPoint));
        let right = Multiplier { shift: -1, ..good };
        assert_eq!(fault(&input, op(4, 0, right), &[]), Some(OpFault::Multiplier));
    }
}
