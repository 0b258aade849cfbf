//! Leaky rectifier.

use serde::{Deserialize, Serialize};

use super::unary::Unary;
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::{Multiplier, requantize};

/// y = x for x ≥ 0 and α·x below, each side with its own factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakyRelu {
    /// Input.
    pub input: Source,
    /// Output, with as many values.
    pub output: Tensor,
    /// Input scale / output scale.
    pub positive: Multiplier,
    /// α · input scale / output scale; α, and so the factor's value, may be negative.
    pub negative: Multiplier,
}

read_fields!(LeakyRelu { input, output, positive, negative });

impl Unary for LeakyRelu {
    const STEPS: u64 = 1;

    fn check_parameters(&self) -> Result<(), OpFault> {
        let magnitude = Multiplier { value: self.negative.value.saturating_abs(), ..self.negative };
        let sound = self.positive.is_sound() && magnitude.is_sound();
        if sound { Ok(()) } else { Err(OpFault::Multiplier) }
    }

    fn function(&self, zero_point: i8) -> impl Fn(i8) -> i8 {
        move |x| {
            let x = i32::from(x) - i32::from(zero_point);
            let multiplier = if x >= 0 { self.positive } else { self.negative };
            Clamp::NONE.apply(requantize(x, multiplier, self.output.zero_point))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor};

    fn op(outputs: u16, positive: Multiplier, negative: Multiplier) -> Op {
        let output = tensor(0, &[outputs], 10);
        Op::LeakyRelu(LeakyRelu { input: Source::Previous, output, positive, negative })
    }

    const QUARTER: Multiplier = Multiplier { value: 1 << 30, shift: -1 };

    #[test]
    fn each_side_has_its_factor() {
        let input = tensor(0, &[6], -10);
        let x = [-128, -14, -12, -10, -9, 127];
        let found = run(&input, &[op(6, Multiplier::ONE, QUARTER)], &[], &x).unwrap();
        // −118/4 = −29.5; the doubling product halves it exactly, then −59/2 goes away from zero.
        assert_eq!(found, [-20, 9, 9, 10, 11, 127]);
        let mirrored = Multiplier { value: -(1 << 30), shift: -1 };
        let found = run(&input, &[op(6, Multiplier::ONE, mirrored)], &[], &x).unwrap();
        assert_eq!(found, [40, 11, 11, 10, 11, 127]);
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4], 0);
        assert_eq!(fault(&input, op(4, QUARTER, QUARTER), &[]), None);
        let wrong = Multiplier { value: -1, shift: 0 };
        assert_eq!(fault(&input, op(4, wrong, QUARTER), &[]), Some(OpFault::Multiplier));
        let wrong = Multiplier { value: 1, shift: 31 };
        assert_eq!(fault(&input, op(4, QUARTER, wrong), &[]), Some(OpFault::Multiplier));
        assert_eq!(fault(&input, op(3, QUARTER, QUARTER), &[]), Some(OpFault::Overlap));
    }
}
