//! To another scale, limited: requantisation and activations that stand alone.

use serde::{Deserialize, Serialize};

use super::unary::Unary;
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::{Multiplier, requantize};

/// y = clamp(requantize(x − zero point)): TFLite's int8 `QUANTIZE`, and `RELU`, `RELU6` where
/// they couldn't be fused. With [`Multiplier::ONE`] and equal zero points it only limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescale {
    /// Input.
    pub input: Source,
    /// Output, with as many values.
    pub output: Tensor,
    /// Input scale / output scale.
    pub multiplier: Multiplier,
    /// The activation.
    pub clamp: Clamp,
}

read_fields!(Rescale { input, output, multiplier, clamp });

impl Unary for Rescale {
    const STEPS: u64 = 1;

    fn check_parameters(&self) -> Result<(), OpFault> {
        if self.clamp.min > self.clamp.max {
            return Err(OpFault::Clamp);
        }
        if self.multiplier.is_sound() { Ok(()) } else { Err(OpFault::Multiplier) }
    }

    fn function(&self, zero_point: i8) -> impl Fn(i8) -> i8 {
        move |x| {
            let x = i32::from(x) - i32::from(zero_point);
            self.clamp.apply(requantize(x, self.multiplier, self.output.zero_point))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{clamp, fault, multiplier, run, tensor, values};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn op(output: Tensor, multiplier: Multiplier, clamp: Clamp) -> Op {
        Op::Rescale(Rescale { input: Source::Previous, output, multiplier, clamp })
    }

    #[test]
    fn relu_is_a_limit() {
        let relu = Clamp { min: -3, max: 127 };
        let op = op(tensor(0, &[5], -3), Multiplier::ONE, relu);
        let found = run(&tensor(0, &[5], -3), &[op], &[], &[-128, -4, -3, 0, 127]).unwrap();
        assert_eq!(found, [-3, -3, -3, 0, 127]);
    }

    proptest! {
        #[test]
        fn matches_the_oracle(
            x in values(9), zeros: (i8, i8), multiplier in multiplier(), clamp in clamp(),
            in_place: bool,
        ) {
            let output = tensor(if in_place { 0 } else { 9 }, &[9], zeros.1);
            let found = run(&tensor(0, &[9], zeros.0), &[op(output, multiplier, clamp)], &[], &x);
            let expected: Vec<i8> = x.iter().map(|&x| {
                let real = (f64::from(x) - f64::from(zeros.0)) * f64::from(multiplier.value)
                    * 2f64.powi(i32::from(multiplier.shift) - 31) + f64::from(zeros.1);
                real.clamp(clamp.min.into(), clamp.max.into()) as i8
            }).collect();
            for (found, expected) in found.unwrap().iter().zip(expected) {
                prop_assert!((i16::from(*found) - i16::from(expected)).abs() <= 1);
            }
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4], 0);
        let fault_of = |op: Op| fault(&input, op, &[]);
        let good = || tensor(4, &[2, 2], 0);
        assert_eq!(fault_of(op(good(), Multiplier::ONE, Clamp::NONE)), None);
        let longer = op(tensor(4, &[5], 0), Multiplier::ONE, Clamp::NONE);
        assert_eq!(fault_of(longer), Some(OpFault::Shape));
        let negative = Multiplier { value: -1, shift: 0 };
        assert_eq!(fault_of(op(good(), negative, Clamp::NONE)), Some(OpFault::Multiplier));
        let clamp = Clamp { min: 1, max: 0 };
        assert_eq!(fault_of(op(good(), Multiplier::ONE, clamp)), Some(OpFault::Clamp));
    }
}
