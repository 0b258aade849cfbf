//! Fully connected layer.

use serde::{Deserialize, Serialize};

use super::affine::Layer;
use super::operands::split;
use super::{Operator, Parameters};
use crate::arch;
use crate::format::{Affine, OpFault, Source, Tensor};

/// y = requantize(W·x + b). Weights: outputs × inputs; the input's shape is read as a vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dense {
    /// Input.
    pub input: Source,
    /// Output, of one dimension.
    pub output: Tensor,
    /// Parameters, one row per output.
    pub affine: Affine,
}

impl Operator for Dense {
    fn inputs(&self) -> &[Source] {
        core::slice::from_ref(&self.input)
    }

    fn check(&self, previous: &Tensor, section: &[u8]) -> Result<(), OpFault> {
        self.affine.check(section, self.output.len(), self.input.resolve(previous).len())
    }

    fn parameters(&self, previous: &Tensor) -> Parameters {
        let (rows, columns) = (self.output.len(), self.input.resolve(previous).len());
        self.affine.parameters(rows, columns, (rows as u64).saturating_mul(columns as u64))
    }

    fn run(&self, previous: &Tensor, section: &[u8], arena: &mut [i8]) {
        let input = self.input.resolve(previous);
        let (inputs, output) = split(arena, &self.output);
        let x = inputs.get(input);
        let zero_point = self.output.zero_point;
        let Some(layer) = Layer::find(&self.affine, section, output.len(), x.len(), zero_point)
        else {
            return;
        };
        let offset = if layer.folded { 0 } else { -i16::from(input.zero_point) };
        for (row, (weights, y)) in layer.rows().zip(output).enumerate() {
            let sum = arch::dot(layer.bits, weights, 0, x, offset);
            *y = layer.finish(row, sum.wrapping_add(layer.bias(row)));
        }
    }
}
