//! Inferences as a sentinel sees them: of the reference, and of what becomes of it.

use bitsback_runtime::sentinel::{Answers, Look, shift_for};

/// What a model's inputs and outputs are to a sentinel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Quantised values of an input.
    pub(super) inputs: usize,
    /// Bytes of an output.
    pub(super) outputs: usize,
    /// What they are.
    pub(super) answers: Answers,
    /// Classes; 0 of values.
    pub(super) classes: usize,
}

/// The statistics of an inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Answer (0 to 255), brightness and roughness of the input, shifted to fit 16 bits.
    pub(super) values: [i16; 3],
    /// The class; 0 of values.
    pub(super) class: u16,
}

impl Form {
    /// By how many bits sums over the input are shifted.
    pub(super) fn shift(&self) -> u8 {
        shift_for(self.inputs)
    }

    /// The statistics of inferences, of quantised inputs and the outputs that belong to them, one after the
    /// other.
    pub(super) fn see(&self, inputs: &[i8], outputs: &[i8]) -> Vec<Seen> {
        let inputs = inputs.chunks_exact(self.inputs.max(1));
        let outputs = outputs.chunks_exact(self.outputs.max(1));
        inputs.zip(outputs).map(|(input, output)| self.one(input, output)).collect()
    }

    fn one(&self, input: &[i8], output: &[i8]) -> Seen {
        let (class, answer) = self.answers.of(output);
        let look = Look::of(input);
        let shifted = |sum: i32| (sum >> self.shift()) as i16;
        Seen {
            values: [answer.into(), shifted(look.brightness), shifted(look.roughness)],
            class: class as u16,
        }
    }
}
