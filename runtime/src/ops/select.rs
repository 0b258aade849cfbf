//! Keeps some of the input's values: what pruned inputs need.

use serde::{Deserialize, Serialize};

use super::affine::part;
use super::operands::split;
use super::{Operator, Parameters};
use crate::format::{OpFault, Source, Tensor, read_fields};

/// The values whose bit is set in the mask, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Select {
    /// Input, read as a vector.
    pub input: Source,
    /// Output, with the input's zero point.
    pub output: Tensor,
    /// First byte of the mask in the weight section: one bit per input value, the first in the
    /// least significant bit; the last byte's free bits are 0.
    pub mask: u32,
}

read_fields!(Select { input, output, mask });

impl Operator for Select {
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        let input = self.input.resolve(previous);
        if input.zero_point != self.output.zero_point {
            return Err(OpFault::ZeroPoint);
        }
        let n = input.len();
        let mask = part(section, self.mask, n.div_ceil(8)).ok_or(OpFault::Section)?;
        let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
        // With a multiple of 8 inputs there are no free bits.
        let free = mask.last().map_or(0, |byte| byte.checked_shr(n as u32 % 8).unwrap_or(0));
        let in_use = n.is_multiple_of(8) || free == 0;
        if ones as usize == self.output.len() && in_use { Ok(()) } else { Err(OpFault::Mask) }
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let mask_bytes = self.input.resolve(previous).len().div_ceil(8);
        Parameters { mask_bytes, ..Parameters::default() }
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.input.resolve(previous).len() as u64
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let (inputs, output) = split(arena, &self.output);
        let values = inputs.get(self.input.resolve(previous));
        let mask = part(section, self.mask, values.len().div_ceil(8)).unwrap_or_default();
        let mut output = output.iter_mut();
        for (byte, group) in mask.iter().zip(values.chunks(8)) {
            for (bit, &x) in group.iter().enumerate() {
                if byte >> (bit & 7) & 1 == 1
                    && let Some(y) = output.next()
                {
                    *y = x;
                }
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
    use std::vec::Vec;

    fn select(inputs: u32, kept: u16, zero_point: i8) -> Op {
        let output = tensor(inputs, &[kept], zero_point);
        Op::Select(Select { input: Source::Previous, output, mask: 0 })
    }

    proptest! {
        #[test]
        fn keeps_what_the_mask_says((x, keep) in (1usize..80).prop_flat_map(|n| {
            (values(n), proptest::collection::vec(any::<bool>(), n))
        })) {
            let kept: Vec<i8> =
                x.iter().zip(&keep).filter(|&(_, &keep)| keep).map(|(&x, _)| x).collect();
            prop_assume!(!kept.is_empty());
            let mut mask = vec![0; x.len().div_ceil(8)];
            for (i, _) in keep.iter().enumerate().filter(|&(_, &keep)| keep) {
                mask[i / 8] |= 1 << (i % 8);
            }
            let op = select(x.len() as u32, kept.len() as u16, 4);
            let found = run(&tensor(0, &[x.len() as u16], 4), &[op], &mask, &x).unwrap();
            prop_assert_eq!(found, kept);
        }
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[10], 0);
        let fault_of = |op: Op, mask: &[u8]| fault(&input, op, mask);
        assert_eq!(fault_of(select(10, 3, 0), &[0b1000_0001, 0b10]), None);
        assert_eq!(fault_of(select(10, 2, 0), &[0b1000_0001, 0b10]), Some(OpFault::Mask));
        assert_eq!(fault_of(select(10, 3, 0), &[0b1000_0001, 0b100]), Some(OpFault::Mask));
        assert_eq!(fault_of(select(10, 2, 0), &[0b1000_0001]), Some(OpFault::Section));
        assert_eq!(fault_of(select(10, 3, 1), &[0b1000_0001, 0b10]), Some(OpFault::ZeroPoint));
    }
}
