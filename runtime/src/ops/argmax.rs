//! Position of the largest value.

use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use crate::format::{OpFault, Source, Tensor, read_fields};

/// The position of the input's largest value, the first of equals, as two bytes, low one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argmax {
    /// Input, read as a vector.
    pub input: Source,
    /// Output: `[2]`.
    pub output: Tensor,
}

read_fields!(Argmax { input, output });

/// The position of the largest value, the first of equals; 0 of nothing.
pub(crate) fn argmax(values: &[i8]) -> usize {
    let mut best = (0, i8::MIN);
    for (position, &value) in values.iter().enumerate() {
        if value > best.1 {
            best = (position, value);
        }
    }
    best.0
}

impl Operator for Argmax {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let positions = self.input.resolve(previous).len();
        let fits = positions <= usize::from(u16::MAX) + 1 && self.output.len() == 2;
        if fits { Ok(()) } else { Err(OpFault::Shape) }
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.input.resolve(previous).len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let (inputs, output) = split(arena, &self.output);
        let position = argmax(inputs.get(self.input.resolve(previous))) as u16;
        for (y, byte) in output.iter_mut().zip(position.to_le_bytes()) {
            *y = byte as i8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor};
    use std::vec;

    fn op(inputs: u32, outputs: u16) -> Op {
        Op::Argmax(Argmax { input: Source::Previous, output: tensor(inputs, &[outputs], 0) })
    }

    #[test]
    fn first_of_equals() {
        assert_eq!(argmax(&[3, 7, -1, 7]), 1);
        assert_eq!(argmax(&[-128; 3]), 0);
        assert_eq!(argmax(&[]), 0);
    }

    #[test]
    fn positions_take_two_bytes() {
        let mut x = vec![0; 1000];
        x[777] = 1;
        let found = run(&tensor(0, &[1000], 0), &[op(1000, 2)], &[], &x).unwrap();
        assert_eq!(found, 777u16.to_le_bytes().map(|byte| byte as i8));
    }

    #[test]
    fn shapes_must_fit() {
        assert_eq!(fault(&tensor(0, &[4], 0), op(4, 2), &[]), None);
        assert_eq!(fault(&tensor(0, &[4], 0), op(4, 1), &[]), Some(OpFault::Shape));
        assert_eq!(fault(&tensor(0, &[300, 300], 0), op(90000, 2), &[]), Some(OpFault::Shape));
    }
}
