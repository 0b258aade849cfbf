//! Sum of two tensors.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::{broadcast, zip_map};
use crate::arch::{Addition, Isa, Kernels};
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::Multiplier;

/// y = requantize(a·2²⁰·m₁ + b·2²⁰·m₂), with a and b less their zero points.
///
/// With s = 2·max(a's scale, b's scale): m₁ = a's scale / s, m₂ = b's scale / s and the output's
/// factor is s / (2²⁰ · output scale). The second operand may be shorter: one value per channel,
/// or one in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// Operands.
    pub inputs: [Source; 2],
    /// Output.
    pub output: Tensor,
    /// Factors of the operands, none above 1.
    pub multipliers: [Multiplier; 2],
    /// Factor of the sum, not above 1.
    pub output_multiplier: Multiplier,
    /// Fused activation.
    pub clamp: Clamp,
}

read_fields!(Add { inputs, output, multipliers, output_multiplier, clamp });

impl Operator for Add {
    fn in_place(&self) -> bool {
        true
    }

    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        broadcast(self.inputs.each_ref().map(|input| input.resolve(previous)), &self.output)?;
        let [first, second] = self.multipliers;
        let sound = |m: Multiplier| m.is_sound() && m.shift <= 0;
        if !(sound(first) && sound(second) && sound(self.output_multiplier)) {
            return Err(OpFault::Multiplier);
        }
        if self.clamp.min > self.clamp.max { Err(OpFault::Clamp) } else { Ok(()) }
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        self.output.len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let inputs = self.inputs.each_ref().map(|input| input.resolve(previous));
        let addition = self.constants(inputs.map(|input| input.zero_point.into()));
        let range = |tensor: &Tensor| tensor.offset as usize..tensor.end();
        if Isa::add(arena, inputs.map(range), range(&self.output), &addition).is_none() {
            zip_map(arena, inputs, &self.output, addition.of_values());
        }
    }
}

impl Add {
    /// What kernels are told of it, with the operands' zero points.
    pub(crate) fn constants(&self, zeros: [i32; 2]) -> Addition {
        let [first, second] = self.multipliers;
        let factors = [first, second, self.output_multiplier];
        Addition {
            zeros,
            values: factors.map(|factor| factor.value),
            zero_point: self.output.zero_point.into(),
            shifts: factors.map(|factor| factor.shift.into()),
            min: self.clamp.min.into(),
            max: self.clamp.max.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor, values};
    use proptest::prelude::*;

    /// A factor of at most 1.
    fn multiplier(real: f64) -> Multiplier {
        let shift = (real.log2().floor() as i8 + 1).min(0);
        let value = (real * 2f64.powi(31 - i32::from(shift))).round().min(f64::from(i32::MAX));
        Multiplier { value: value as i32, shift }
    }

    fn add(inputs: [Source; 2], output: Tensor, scales: [f64; 3]) -> Add {
        let twice = 2.0 * scales[0].max(scales[1]);
        Add {
            inputs,
            output,
            multipliers: [multiplier(scales[0] / twice), multiplier(scales[1] / twice)],
            output_multiplier: multiplier(twice / (f64::from(1 << 20) * scales[2])),
            clamp: Clamp::NONE,
        }
    }

    proptest! {
        #[test]
        fn within_a_step_of_the_real_sum(
            x in values(16), scales in [0.01f64..1.0, 0.01f64..1.0, 0.01f64..1.0],
            zeros: [i8; 3], place in prop_oneof![Just(0u32), Just(8), Just(16)],
            length in prop_oneof![Just(8usize), Just(2), Just(1)],
        ) {
            prop_assume!(place != 8 || length == 8);
            let second = tensor(8, &[length as u16], zeros[1]);
            let first = Source::At(tensor(0, &[4, 2], zeros[0]));
            let output = tensor(place, &[4, 2], zeros[2]);
            let op = Op::Add(add([first, Source::At(second)], output, scales));
            let found = run(&tensor(0, &[16], 0), &[op], &[], &x).unwrap();
            for (i, &y) in found.iter().enumerate() {
                let real = |x: i8, k: usize| (f64::from(x) - f64::from(zeros[k])) * scales[k];
                let sum = real(x[i], 0) + real(x[8 + i % length], 1);
                let exact = (sum / scales[2] + f64::from(zeros[2])).clamp(-128.0, 127.0);
                prop_assert!((f64::from(y) - exact).abs() < 0.51, "{y} for {exact}");
            }
        }
    }

    #[test]
    fn a_tensor_may_be_added_to_itself_in_place() {
        let both = [Source::Previous, Source::Previous];
        let op = Op::Add(add(both, tensor(0, &[3], 0), [1.0; 3]));
        let found = run(&tensor(0, &[3], 0), &[op], &[], &[3, -5, 100]).unwrap();
        assert_eq!(found, [6, -10, 127]);
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4], 0);
        let both = || [Source::Previous, Source::Previous];
        let good = add(both(), tensor(4, &[4], 0), [1.0; 3]);
        assert_eq!(fault(&input, Op::Add(good.clone()), &[]), None);
        let shape = add(both(), tensor(4, &[5], 0), [1.0; 3]);
        assert_eq!(fault(&input, Op::Add(shape), &[]), Some(OpFault::Shape));
        let partly = add(both(), tensor(1, &[4], 0), [1.0; 3]);
        assert_eq!(fault(&input, Op::Add(partly), &[]), Some(OpFault::Overlap));
        let left = Multiplier { value: 1, shift: 1 };
        let changed = Add { output_multiplier: left, ..good.clone() };
        assert_eq!(fault(&input, Op::Add(changed), &[]), Some(OpFault::Multiplier));
        let clamp = Clamp { min: 1, max: 0 };
        assert_eq!(fault(&input, Op::Add(Add { clamp, ..good }), &[]), Some(OpFault::Clamp));
    }
}
