//! A sum of two quantised tensors as kernels see it.

use core::ops::Range;

/// Positions that operands are shifted left before they are scaled, to keep their fraction.
pub(crate) const LEFT_SHIFT: u32 = 20;

/// Constants of a sum, for kernels in the order in which they load them.
#[cfg_attr(not(any(bitsback_isa = "mve", bitsback_isa = "dsp")), allow(dead_code))] // others leave it to the operator
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

/// Where in the arena operands and output are. Operands may be the output, or one another.
#[cfg_attr(not(any(bitsback_isa = "mve", bitsback_isa = "dsp")), allow(dead_code))] // others leave it to the operator
pub(crate) struct Places {
    /// As long as the output both.
    pub(crate) operands: [Range<usize>; 2],
    /// The output.
    pub(crate) output: Range<usize>,
}
