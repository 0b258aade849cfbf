//! Many examples through the integer runtime, on all processors.

use std::num::NonZero;
use std::thread;

use bitsback_runtime::{Interpreter, Model};

use super::model_file::{self, Example};
use crate::data::{Dataset, Values};

/// Predicted class of each of the listed examples, in their order; `None` if an example doesn't
/// fit the model's input.
///
/// Inference is deterministic, so how the examples are shared among threads changes nothing.
pub(super) fn classes(model: &Model<'_>, data: &Dataset, examples: &[u32]) -> Option<Vec<usize>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = examples.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = examples
            .chunks(share)
            .map(|chunk| scope.spawn(move || share_of(model, data, chunk)))
            .collect();
        let mut all = Vec::with_capacity(examples.len());
        for worker in workers {
            all.extend(worker.join().ok()??);
        }
        Some(all)
    })
}

/// One thread's part.
fn share_of(model: &Model<'_>, data: &Dataset, examples: &[u32]) -> Option<Vec<usize>> {
    let mut arena = model_file::arena(model);
    let mut interpreter = Interpreter::new(model, &mut arena).ok()?;
    let width = data.shape.len();
    let mut classes = Vec::with_capacity(examples.len());
    for &example in examples {
        let start = (example as usize).checked_mul(width)?;
        let input = match &data.inputs {
            Values::Bytes(all) => Example::Bytes(all.get(start..start + width)?),
            Values::Floats(all) => Example::Features(all.get(start..start + width)?),
        };
        if !model_file::set_input(&mut interpreter, input) {
            return None;
        }
        interpreter.invoke();
        classes.push(interpreter.class());
    }
    Some(classes)
}
