//! Product of two tensors.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::{broadcast, zip_map};
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::{Multiplier, requantize};

/// y = requantize(a·b), with a and b less their zero points.
///
/// The second operand may be shorter: one value per channel, or one in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mul {
    /// Operands.
    pub inputs: [Source; 2],
    /// Output.
    pub output: Tensor,
    /// a's scale · b's scale / output scale.
    pub multiplier: Multiplier,
    /// Fused activation.
    pub clamp: Clamp,
}

read_fields!(Mul { inputs, output, multiplier, clamp });

impl Operator for Mul {
    fn in_place(&self) -> bool {
        true
    }

    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        broadcast(self.inputs.each_ref().map(|input| input.resolve(previous)), &self.output)?;
        if !self.multiplier.is_sound() {
            return Err(OpFault::Multiplier);
        }
        if self.clamp.min > self.clamp.max { Err(OpFault::Clamp) } else { Ok(()) }
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        self.output.len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let inputs = self.inputs.each_ref().map(|input| input.resolve(previous));
        let [first, second] = inputs.map(|input| i32::from(input.zero_point));
        zip_map(arena, inputs, &self.output, |a, b| {
            let product = (i32::from(a) - first).wrapping_mul(i32::from(b) - second);
            self.clamp.apply(requantize(product, self.multiplier, self.output.zero_point))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{clamp, fault, multiplier, run, tensor, values};
    use proptest::prelude::*;

    fn mul(second: Source, output: Tensor, multiplier: Multiplier, clamp: Clamp) -> Mul {
        Mul { inputs: [Source::At(tensor(0, &[4, 2], -7)), second], output, multiplier, clamp }
    }

    proptest! {
        #[test]
        fn matches_the_oracle(
            x in values(16), zeros: [i8; 2], multiplier in multiplier(), clamp in clamp(),
            place in prop_oneof![Just(0u32), Just(8), Just(16)],
            length in prop_oneof![Just(8usize), Just(2), Just(1)],
        ) {
            prop_assume!(place != 8 || length == 8);
            let second = Source::At(tensor(8, &[length as u16], zeros[0]));
            let op = mul(second, tensor(place, &[4, 2], zeros[1]), multiplier, clamp);
            let found = run(&tensor(0, &[16], 0), &[Op::Mul(op)], &[], &x).unwrap();
            for (i, &y) in found.iter().enumerate() {
                let a = i32::from(x[i]) + 7;
                let b = i32::from(x[8 + i % length]) - i32::from(zeros[0]);
                let exact = requantize(a * b, multiplier, zeros[1]);
                prop_assert_eq!(i32::from(y), exact.clamp(clamp.min.into(), clamp.max.into()));
            }
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[8], 0);
        let op = |length: u16, multiplier, clamp| {
            let second = Source::At(tensor(0, &[length], 0));
            Op::Mul(mul(second, tensor(8, &[4, 2], 0), multiplier, clamp))
        };
        assert_eq!(fault(&input, op(2, Multiplier::ONE, Clamp::NONE), &[]), None);
        let shape = op(3, Multiplier::ONE, Clamp::NONE);
        assert_eq!(fault(&input, shape, &[]), Some(OpFault::Shape));
        let wrong = Multiplier { value: -1, shift: 0 };
        assert_eq!(fault(&input, op(1, wrong, Clamp::NONE), &[]), Some(OpFault::Multiplier));
        let clamp = op(1, Multiplier::ONE, Clamp { min: 1, max: 0 });
        assert_eq!(fault(&input, clamp, &[]), Some(OpFault::Clamp));
    }
}
