//! A sum of two quantised tensors, as vectors add them.

use super::panel::FinishLine;
use crate::arch::Addition;
use crate::format::Clamp;
use crate::requantize::Multiplier;

/// What kernels are told of a sum.
#[derive(Debug)]
pub(crate) struct Sum {
    addition: Addition,
    /// What scales each operand, which begins with the zero point taken from it.
    pub(super) operands: [FinishLine; 2],
    /// What scales the sum of both.
    pub(super) result: FinishLine,
    pub(super) zero_point: i8,
    pub(super) clamp: Clamp,
    /// Whether a half of what the result shifts out can be added before.
    #[cfg_attr(not(bitsback_isa = "x86_64"), allow(dead_code))]
    pub(super) is_easy: bool,
}

impl Sum {
    pub(crate) fn new(addition: Addition) -> Self {
        let [va, vb, vy] = addition.values;
        let [sa, sb, sy] = addition.shifts;
        let [za, zb] = addition.zeros;
        let line = |zero: i32, value, shift: i32| {
            FinishLine::of_all(zero.wrapping_neg(), Multiplier { value, shift: shift as i8 })
        };
        Self {
            operands: [line(za, va, sa), line(zb, vb, sb)],
            result: line(0, vy, sy),
            zero_point: addition.zero_point as i8,
            clamp: Clamp { min: addition.min as i8, max: addition.max as i8 },
            // Factors are at most 1, so that parts are below 2^28 each; and a half is at most 2^30.
            is_easy: vy >= 0 && (-31..=-1).contains(&sy),
            addition,
        }
    }

    /// Outputs from number `at` on, one by one.
    pub(super) fn each(&self, [a, b]: [&[i8]; 2], outputs: &mut [i8], at: usize) {
        let sum = self.addition.of_values();
        let outputs = outputs.get_mut(at..).unwrap_or_default();
        let (a, b) = (a.get(at..).unwrap_or_default(), b.get(at..).unwrap_or_default());
        for ((y, &a), &b) in outputs.iter_mut().zip(a).zip(b) {
            *y = sum(a, b);
        }
    }
}
