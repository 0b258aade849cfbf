//! Fully connected layer with coded weights.

use serde::{Deserialize, Serialize};

use super::coded::{CodedAffine, Rows};
use super::operands::split;
use super::{Operator, Parameters};
use crate::features::Features;
use crate::format::{Memory, OpFault, Source, Tensor, read_fields};

/// y = requantize(W·x + b), as [`super::Dense`]; rows of any length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodedDense {
    /// Input, read as a vector.
    pub input: Source,
    /// Output, of one dimension.
    pub output: Tensor,
    /// Parameters, one row per output.
    pub affine: CodedAffine,
}

read_fields!(CodedDense { input, output, affine });

impl Operator for CodedDense {
    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        self.affine.check(section, self.output.len(), self.input.resolve(previous).len())
    }

    fn features(&self) -> Features {
        self.affine.features()
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let (rows, columns) = (self.output.len(), self.input.resolve(previous).len());
        self.affine.parameters(rows, columns, (rows as u64).saturating_mul(columns as u64))
    }

    fn steps(&self, previous: &Tensor) -> u64 {
        self.affine.steps(&self.parameters(previous))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let x = inputs.get(input);
        let zero_points = [input.zero_point, self.output.zero_point];
        let mut memory = Memory::NEW;
        if let Some(mut rows) =
            Rows::new(&self.affine, section, &mut memory, output.len(), 1, zero_points)
        {
            rows.multiply(x, output);
        }
    }
}
