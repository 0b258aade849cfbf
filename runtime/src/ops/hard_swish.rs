//! Hard swish in 16-bit fixed point.

use serde::{Deserialize, Serialize};

use super::unary::Unary;
use crate::format::{Clamp, OpFault, Source, Tensor, read_fields};
use crate::requantize::{Multiplier, rounding_divide_by_pot};
use crate::requantize::{saturating_rounding_doubling_high_mul as high_mul, saturating_shift_left};

/// Bits that an input is shifted up by, to fill 16 bits.
const UP: u32 = 7;
/// Furthest shift to the right that leaves a bit of 16.
const MIN_SHIFT: i8 = -15;

/// y = x · min(max(x + 3, 0), 6) / 6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardSwish {
    /// Input.
    pub input: Source,
    /// Output, with as many values.
    pub output: Tensor,
    /// Input scale / output scale / 128, with a fraction of 16 bits; its shift is −15 to 0.
    pub multiplier: Multiplier,
    /// Input scale · 256 / 3, which makes 1 of 3, with a fraction of 16 bits; its shift is −15 or
    /// more.
    pub gate: Multiplier,
}

read_fields!(HardSwish { input, output, multiplier, gate });

impl HardSwish {
    /// The output, without its zero point, of an input without its own: at most 16 bits.
    fn apply(&self, x: i32) -> i32 {
        let x = x.wrapping_shl(UP);
        let scaled = high_mul(x, self.multiplier.value);
        let product = self.openness(x).wrapping_mul(scaled) / (1 << 15);
        rounding_divide_by_pot(product, self.multiplier.shift.unsigned_abs().into())
    }

    /// min(max(x + 3, 0), 6) / 6 with 15 bits behind the point.
    fn openness(&self, x: i32) -> i32 {
        let left = self.gate.shift.max(0).unsigned_abs();
        let right = self.gate.shift.min(0).unsigned_abs();
        // The last bit goes behind the product: what saturates before saturates there again.
        let last = u32::from(left > 0);
        let up = saturating_shift_left(x, u32::from(left).wrapping_sub(last));
        let share = saturating_shift_left(high_mul(up, self.gate.value), last);
        rounding_divide_by_pot(share, right.into()).wrapping_add(1 << 15) >> 1
    }
}

/// Whether a fraction has 16 bits.
fn is_narrow(multiplier: Multiplier) -> bool {
    multiplier.is_sound() && multiplier == multiplier.narrowed() && multiplier.shift >= MIN_SHIFT
}

impl Unary for HardSwish {
    const STEPS: u64 = 6; // three products, and as much again for their rounding

    fn check_parameters(&self) -> Result<(), OpFault> {
        let sound =
            is_narrow(self.multiplier) && self.multiplier.shift <= 0 && is_narrow(self.gate);
        if sound { Ok(()) } else { Err(OpFault::Multiplier) }
    }

    fn function(&self, zero_point: i8) -> impl Fn(i8) -> i8 {
        let output = i32::from(self.output.zero_point);
        move |x| {
            let x = i32::from(x).wrapping_sub(zero_point.into());
            Clamp::NONE.apply(self.apply(x).wrapping_add(output))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor};
    use std::vec::Vec;

    fn multiplier(real: f64) -> Multiplier {
        let shift = real.log2().floor() as i8 + 1;
        Multiplier { value: (real * 2f64.powi(31 - i32::from(shift))).round() as i32, shift }
            .narrowed()
    }

    fn op(outputs: u16, zero_point: i8, multiplier: Multiplier, gate: Multiplier) -> Op {
        let output = tensor(0, &[outputs], zero_point);
        Op::HardSwish(HardSwish { input: Source::Previous, output, multiplier, gate })
    }

    /// The operator for scales of its input and output.
    fn scaled(input: f64, output: f64, zero_point: i8) -> Op {
        op(256, zero_point, multiplier(input / output / 128.0), multiplier(input * 256.0 / 3.0))
    }

    /// The same arithmetic in 16 bits that must not overflow, step by step.
    fn in_16_bits(x: i16, [value, gate]: [i16; 2], [right, shift]: [i8; 2]) -> i16 {
        let rounded = |a: i16, b: i16| {
            let product = i32::from(a) * i32::from(b);
            let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
            i16::try_from((product + nudge) / (1 << 15)).unwrap()
        };
        let divided = |x: i16, by: i8| {
            let (x, half) = (i32::from(x), if by > 0 { 1 << (by - 1) } else { 0 });
            i16::try_from(x.signum() * ((x.abs() + half) >> by)).unwrap()
        };
        let up = x * 128;
        let scaled = rounded(up, value);
        let mut share = up;
        for _ in 1..shift {
            share = share.saturating_mul(2);
        }
        share = rounded(share, gate);
        share = if shift > 0 { share.saturating_mul(2) } else { divided(share, -shift) };
        let open = i16::try_from((i32::from(share) + (1 << 15)) / 2).unwrap();
        let product = i16::try_from(i32::from(open) * i32::from(scaled) / (1 << 15)).unwrap();
        divided(product, right)
    }

    #[test]
    fn every_input_gives_the_bits_of_16_bit_arithmetic() {
        let x: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        let (values, zero) = ([16_384, 20_001, 27_307, 32_767], -128i8);
        let mut output = 0i8;
        for value in values {
            for gate in values {
                for (right, shift) in [(0, 30), (0, 12), (1, 3), (3, 1), (6, 0), (15, -1), (7, -15)]
                {
                    output = output.wrapping_add(37);
                    let wide =
                        |value: i16, shift| Multiplier { value: i32::from(value) << 16, shift };
                    let op = op(256, output, wide(value, -right), wide(gate, shift));
                    let found = run(&tensor(0, &[256], zero), &[op], &[], &x).unwrap();
                    for (&x, &y) in x.iter().zip(&found) {
                        let x = i16::from(x) - i16::from(zero);
                        let exact = in_16_bits(x, [value, gate], [right, shift]);
                        let exact = i32::from(exact) + i32::from(output);
                        assert_eq!(i32::from(y), exact.clamp(-128, 127), "{x} {value} {gate}");
                    }
                }
            }
        }
    }

    #[test]
    fn all_inputs_are_within_a_step_of_the_real_function() {
        let x: Vec<i8> = (i8::MIN..=i8::MAX).collect();
        for (scale, zero_point, out, output) in [
            (0.05, 0, 0.05, -120),
            (0.1, -128, 0.1, -128),
            (0.01, 100, 0.02, 3),
            (1.0, 3, 2.0, -128),
        ] {
            let op = scaled(scale, out, output);
            let found = run(&tensor(0, &[256], zero_point), &[op], &[], &x).unwrap();
            for (&x, &y) in x.iter().zip(&found) {
                let real = (f64::from(x) - f64::from(zero_point)) * scale;
                let exact = real * (real + 3.0).clamp(0.0, 6.0) / 6.0 / out + f64::from(output);
                let exact = exact.clamp(-128.0, 127.0);
                assert!((f64::from(y) - exact).abs() < 1.01, "{real}: {y} for {exact}");
            }
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[4], 0);
        let good = Multiplier { value: 1 << 30, shift: -7 };
        assert_eq!(fault(&input, op(4, 9, good, good), &[]), None);
        assert_eq!(fault(&input, op(3, 9, good, good), &[]), Some(OpFault::Overlap));
        let apart = Op::HardSwish(HardSwish {
            input: Source::Previous,
            output: tensor(4, &[3], 0),
            multiplier: good,
            gate: good,
        });
        assert_eq!(fault(&input, apart, &[]), Some(OpFault::Shape));
        let left = Multiplier { shift: 1, ..good };
        assert_eq!(fault(&input, op(4, 9, good, left), &[]), None);
        for wrong in [
            left,
            Multiplier { shift: -16, ..good },
            Multiplier { value: -(1 << 30), ..good },
            Multiplier { value: (1 << 30) + 1, ..good },
        ] {
            assert_eq!(fault(&input, op(4, 9, wrong, good), &[]), Some(OpFault::Multiplier));
        }
        for wrong in [
            Multiplier { shift: -16, ..good },
            Multiplier { shift: 31, ..good },
            Multiplier { value: (1 << 30) + 1, ..good },
        ] {
            assert_eq!(fault(&input, op(4, 9, good, wrong), &[]), Some(OpFault::Multiplier));
        }
    }
}
