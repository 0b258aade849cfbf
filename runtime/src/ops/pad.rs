//! A border of one value.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use crate::format::{MAX_RANK, OpFault, Source, Tensor, read_fields};

/// The input within a border; what lies behind it follows from the output's shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pad {
    /// Input.
    pub input: Source,
    /// Output, of the input's rank and zero point.
    pub output: Tensor,
    /// Border before the input, per dimension.
    pub before: Vec<u16, MAX_RANK, u8>,
    /// The border's value, normally the zero point.
    pub value: i8,
}

read_fields!(Pad { input, output, before, value });

/// The last `MAX_RANK` dimensions, with ones before them.
fn padded(dims: &[u16], filler: u16) -> [usize; MAX_RANK] {
    let mut padded = [usize::from(filler); MAX_RANK];
    for (to, &from) in padded.iter_mut().rev().zip(dims.iter().rev()) {
        *to = usize::from(from);
    }
    padded
}

impl Operator for Pad {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        let (inner, outer) = (input.shape.dims(), self.output.shape.dims());
        if inner.len() != outer.len() || inner.len() != self.before.len() {
            return Err(OpFault::Shape);
        }
        let mut axes = inner.iter().zip(outer).zip(&self.before);
        if axes.any(|((&inner, &outer), &before)| {
            u32::from(inner) + u32::from(before) > u32::from(outer)
        }) {
            return Err(OpFault::Shape);
        }
        if input.zero_point == self.output.zero_point { Ok(()) } else { Err(OpFault::ZeroPoint) }
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        self.output.len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        output.fill(self.value);
        let [_, height, width, depth] = padded(input.shape.dims(), 1);
        let [_, outer_height, outer_width, outer_depth] = padded(self.output.shape.dims(), 1);
        let [b0, b1, b2, b3] = padded(&self.before, 0);
        let rows = inputs.get(input).chunks_exact(depth.max(1));
        let (mut i, mut j, mut k) = (0usize, 0usize, 0usize);
        for row in rows {
            let start = b0
                .wrapping_add(i)
                .wrapping_mul(outer_height)
                .wrapping_add(b1.wrapping_add(j))
                .wrapping_mul(outer_width)
                .wrapping_add(b2.wrapping_add(k))
                .wrapping_mul(outer_depth)
                .wrapping_add(b3);
            let place = output.get_mut(start..).unwrap_or_default();
            place.iter_mut().zip(row).for_each(|(y, &x)| *y = x);
            k = k.wrapping_add(1);
            if k == width {
                (j, k) = (j.wrapping_add(1), 0);
            }
            if j == height {
                (i, j) = (i.wrapping_add(1), 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor, values};
    use proptest::prelude::*;
    use std::vec;

    fn op(place: u32, dims: &[u16], before: &[u16], value: i8) -> Op {
        let before = before.iter().copied().collect();
        let output = tensor(place, dims, 0);
        Op::Pad(Pad { input: Source::Previous, output, before, value })
    }

    proptest! {
        #[test]
        fn matches_the_oracle(
            (dims, before, after, x) in (1usize..=4).prop_flat_map(|rank| (
                proptest::collection::vec(1u16..4, rank),
                proptest::collection::vec(0u16..3, rank),
                proptest::collection::vec(0u16..3, rank),
                values(81),
            )),
        ) {
            let outer: std::vec::Vec<u16> =
                (0..dims.len()).map(|i| dims[i] + before[i] + after[i]).collect();
            let input = tensor(0, &dims, 0);
            let x = &x[..input.len()];
            let op = op(x.len() as u32, &outer, &before, 9);
            let found = run(&input, &[op], &[], x).unwrap();
            let mut expected = vec![9; found.len()];
            for (i, &value) in x.iter().enumerate() {
                let (mut rest, mut at, mut step) = (i, 0, 1);
                for axis in (0..dims.len()).rev() {
                    let position = rest % usize::from(dims[axis]);
                    rest /= usize::from(dims[axis]);
                    at += (position + usize::from(before[axis])) * step;
                    step *= usize::from(outer[axis]);
                }
                expected[at] = value;
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[2, 2], 0);
        assert_eq!(fault(&input, op(4, &[3, 3], &[1, 0], 0), &[]), None);
        assert_eq!(fault(&input, op(4, &[3, 3], &[2, 0], 0), &[]), Some(OpFault::Shape));
        assert_eq!(fault(&input, op(4, &[3, 3], &[0], 0), &[]), Some(OpFault::Shape));
        assert_eq!(fault(&input, op(4, &[9], &[1], 0), &[]), Some(OpFault::Shape));
        let shifted = tensor(0, &[2, 2], 1);
        let fault = fault(&shifted, op(4, &[3, 3], &[1, 0], 0), &[]);
        assert_eq!(fault, Some(OpFault::ZeroPoint));
    }
}
