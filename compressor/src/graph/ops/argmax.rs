//! Positions of largest values: what a model of integers may end with.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, ops};

use super::super::integer::{Emitter, IntegerOperator};
use super::super::lower::LowerError;
use super::Op;
use crate::numbers::Quantization;

/// The position of the largest value, in two bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IntegerArgmax {}

impl IntegerOperator for IntegerArgmax {
    fn label(&self) -> &'static str {
        "argmax"
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        Ok(runtime::Op::Argmax(ops::Argmax { input, output }))
    }

    /// Floats have the scores that it chooses from.
    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        None
    }
}
