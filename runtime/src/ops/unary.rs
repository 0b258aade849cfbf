//! Operators that make each output of the one input in its place: what they share.

use super::operands::{copied, same_len};
use super::{Operands, Operator};
use crate::format::{OpFault, Tensor};

/// A function of one value, with its parameters.
pub(crate) trait Unary: Operands {
    /// Elementary steps of a value.
    const STEPS: u64;

    /// Proves the parameters sound.
    fn check_parameters(&self) -> Result<(), OpFault>;

    /// The function, of inputs with this zero point.
    fn function(&self, zero_point: i8) -> impl Fn(i8) -> i8;
}

impl<U: Unary> Operator for U {
    fn in_place(&self) -> bool {
        true
    }

    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        same_len(input(self, previous), self.output())?;
        self.check_parameters()
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        (self.output().len() as u64).saturating_mul(U::STEPS)
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let input = input(self, previous);
        let function = self.function(input.zero_point);
        for y in copied(arena, input, self.output()) {
            *y = function(*y);
        }
    }
}

/// The one input.
fn input<'t>(op: &'t impl Unary, previous: &'t Tensor) -> &'t Tensor {
    op.inputs().first().map_or(previous, |source| source.resolve(previous))
}
