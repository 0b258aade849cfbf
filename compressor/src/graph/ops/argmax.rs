//! Positions of largest values: what a model of integers may end with.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};

use super::super::integer::{Emitter, IntegerOperator, Relation};
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

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        matches!(step.op, runtime::Op::Argmax(_)).then_some(Self {})
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.flat(0)?, emitter.output()?);
        Ok(runtime::Op::Argmax(ops::Argmax { input, output }))
    }

    fn chooses(&self) -> bool {
        true
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        Vec::new()
    }

    /// Floats have the scores that it chooses from.
    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        None
    }
}
