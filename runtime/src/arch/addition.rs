//! A sum of two quantised tensors as kernels see it.

use crate::format::Clamp;
use crate::requantize::{Multiplier, requantize};

/// Positions that operands are shifted left before they are scaled, to keep their fraction.
pub(crate) const LEFT_SHIFT: u32 = 20;

/// Constants of a sum, for kernels in the order in which they load them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Addition {
    /// Zero points of the operands.
    pub(crate) zeros: [i32; 2],
    /// Fractions of the operands' and of the result's factor.
    pub(crate) values: [i32; 3],
    /// The output's zero point.
    pub(crate) zero_point: i32,
    /// Their shifts, none to the left.
    pub(crate) shifts: [i32; 3],
    /// Activation.
    pub(crate) min: i32,
    /// Activation.
    pub(crate) max: i32,
}

impl Addition {
    /// The sum of any two values.
    #[inline(always)]
    pub(crate) fn of_values(&self) -> impl Fn(i8, i8) -> i8 + use<> {
        let [za, zb] = self.zeros;
        let [va, vb, vy] = self.values;
        let [sa, sb, sy] = self.shifts.map(|shift| shift as i8);
        let multiplier = |value, shift| Multiplier { value, shift };
        let (first, second, output) = (multiplier(va, sa), multiplier(vb, sb), multiplier(vy, sy));
        let zero_point = self.zero_point as i8;
        let clamp = Clamp { min: self.min as i8, max: self.max as i8 };
        let scaled = |x: i8, zero: i32, multiplier: Multiplier| {
            multiplier.apply(i32::from(x).wrapping_sub(zero).wrapping_shl(LEFT_SHIFT))
        };
        move |a, b| {
            let sum = scaled(a, za, first).wrapping_add(scaled(b, zb, second));
            clamp.apply(requantize(sum, output, zero_point))
        }
    }
}
