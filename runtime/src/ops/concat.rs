//! Tensors side by side.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::Operator;
use super::operands::split;
use crate::format::{OpFault, Source, Tensor, read_fields};

/// Most operands; more are joined in turns.
pub const MAX_CONCAT: usize = 4;

/// The operands one after another along an axis. All have the output's scale and zero point, and
/// its shape but for that axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concat {
    /// Operands.
    pub inputs: Vec<Source, MAX_CONCAT, u8>,
    /// Output.
    pub output: Tensor,
    /// The axis, counted from the slowest dimension.
    pub axis: u8,
}

read_fields!(Concat { inputs, output, axis });

impl Concat {
    /// Values of `tensor` that lie together: its dimensions from the axis on.
    fn run_len(&self, tensor: &Tensor) -> usize {
        let dims = tensor.shape.dims().iter().skip(usize::from(self.axis));
        dims.fold(1, |product: usize, &dim| product.saturating_mul(usize::from(dim)))
    }
}

impl Operator for Concat {
    fn check(&self, previous: &Tensor, _section: &[u8]) -> Result<(), OpFault> {
        let axis = usize::from(self.axis);
        let whole = self.output.shape.dims();
        let mut sum = 0u32;
        for source in &self.inputs {
            let input = source.resolve(previous);
            let dims = input.shape.dims();
            let mut pairs = dims.iter().zip(whole).enumerate();
            if dims.len() != whole.len() || pairs.any(|(i, (a, b))| i != axis && a != b) {
                return Err(OpFault::Shape);
            }
            if input.zero_point != self.output.zero_point {
                return Err(OpFault::ZeroPoint);
            }
            sum = sum.saturating_add(u32::from(dims.get(axis).copied().unwrap_or_default()));
        }
        match whole.get(axis) {
            Some(&dim) if u32::from(dim) == sum => Ok(()),
            _ => Err(OpFault::Shape),
        }
    }

    fn steps(&self, _previous: &Tensor) -> u64 {
        self.output.len() as u64
    }

    fn run(&self, previous: &Tensor, _section: &[u8], arena: &mut [i8]) {
        let (inputs, output) = split(arena, &self.output);
        let stride = self.run_len(&self.output).max(1);
        let mut start = 0usize;
        for source in &self.inputs {
            let input = source.resolve(previous);
            let len = self.run_len(input).max(1);
            let runs = inputs.get(input).chunks_exact(len);
            for (out, run) in output.chunks_exact_mut(stride).zip(runs) {
                let out = out.get_mut(start..).unwrap_or_default();
                out.iter_mut().zip(run).for_each(|(y, &x)| *y = x);
            }
            start = start.saturating_add(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;
    use crate::ops::testing::{fault, run, tensor};

    fn op(inputs: &[Tensor], dims: &[u16], axis: u8) -> Op {
        let inputs = inputs.iter().cloned().map(Source::At).collect();
        Op::Concat(Concat { inputs, output: tensor(8, dims, 0), axis })
    }

    #[test]
    fn along_each_axis() {
        let x = [1, 2, 3, 4, 5, 6, 7, 8];
        let (square, wide) = (tensor(0, &[2, 2], 0), tensor(4, &[2, 2], 0));
        let input = tensor(0, &[8], 0);
        let found = run(&input, &[op(&[square.clone(), wide.clone()], &[4, 2], 0)], &[], &x);
        assert_eq!(found.unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        let found = run(&input, &[op(&[square.clone(), wide], &[2, 4], 1)], &[], &x);
        assert_eq!(found.unwrap(), [1, 2, 5, 6, 3, 4, 7, 8]);
        let column = tensor(4, &[2, 1], 0);
        let found = run(&input, &[op(&[column.clone(), square, column], &[2, 4], 1)], &[], &x);
        assert_eq!(found.unwrap(), [5, 1, 2, 5, 6, 3, 4, 6]);
    }

    #[test]
    fn each_fault() {
        let input = tensor(0, &[8], 0);
        let square = tensor(0, &[2, 2], 0);
        let fault_of =
            |inputs: &[Tensor], dims: &[u16], axis| fault(&input, op(inputs, dims, axis), &[]);
        let one = core::slice::from_ref(&square);
        assert_eq!(fault_of(one, &[2, 2], 0), None);
        for (inputs, dims, axis) in [
            (&[][..], &[2, 2][..], 0),
            (one, &[3, 2], 0),
            (one, &[2, 3], 0),
            (one, &[4], 0),
            (one, &[2, 2], 2),
        ] {
            assert_eq!(fault_of(inputs, dims, axis), Some(OpFault::Shape));
        }
        let shifted = tensor(0, &[2, 2], 1);
        assert_eq!(fault_of(&[shifted], &[2, 2], 0), Some(OpFault::ZeroPoint));
    }
}
