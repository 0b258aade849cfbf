//! A thread's memory, and the loop over operators.

use std::vec;
use std::vec::Vec;

use super::plan::Plan;
use crate::interpreter::Profiler;

/// What a thread needs to take some examples through the operators.
#[derive(Debug)]
pub(super) struct Worker {
    /// One for each example that is under way.
    arenas: Vec<i8>,
    pub(super) scratch: Scratch,
}

/// What operators need while they run; what it holds before doesn't matter.
#[derive(Debug)]
pub(super) struct Scratch {
    /// Inputs as kernels read them.
    pub(super) image: Vec<u8>,
    /// Values that are no operator's output.
    pub(super) values: Vec<i8>,
    /// Sums.
    pub(super) sums: Vec<i32>,
}

impl Worker {
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        let needs = &plan.needs;
        Self {
            arenas: vec![0; plan.arena_len.saturating_mul(plan.at_once)],
            scratch: Scratch {
                image: vec![0; needs.image],
                values: vec![0; needs.values],
                sums: vec![0; needs.sums],
            },
        }
    }

    /// The outputs of a batch, some examples at a time.
    pub(super) fn run(&mut self, plan: &Plan<'_>, inputs: &[i8], outputs: &mut [i8]) {
        let [input, output] = [&plan.input, &plan.output].map(|tensor| tensor.len().max(1));
        let inputs = inputs.chunks(input.saturating_mul(plan.at_once));
        let outputs = outputs.chunks_mut(output.saturating_mul(plan.at_once));
        for (inputs, outputs) in inputs.zip(outputs) {
            self.run_some(plan, inputs, outputs, &mut ());
        }
    }

    /// The outputs of as many examples as there is memory for, of which the profiler sees the first.
    pub(super) fn run_some(
        &mut self,
        plan: &Plan<'_>,
        inputs: &[i8],
        outputs: &mut [i8],
        profiler: &mut impl Profiler,
    ) {
        let each = plan.arena_len.max(1);
        let [input, output] = [&plan.input, &plan.output].map(|tensor| tensor.len().max(1));
        let examples = inputs.len() / input;
        let len = each.saturating_mul(examples).min(self.arenas.len());
        let arenas = self.arenas.get_mut(..len).unwrap_or_default();
        for (arena, values) in arenas.chunks_exact_mut(each).zip(inputs.chunks_exact(input)) {
            let place = arena.get_mut(plan.input.offset as usize..plan.input.end());
            place.into_iter().for_each(|place| place.copy_from_slice(values));
        }
        for stage in &plan.stages {
            let running = stage.running();
            profiler.before(&running);
            stage.run(plan, arenas, &mut self.scratch);
            let output = stage.step.output();
            profiler.after(
                &running,
                arenas.get(output.offset as usize..output.end()).unwrap_or_default(),
            );
        }
        for (arena, places) in arenas.chunks_exact(each).zip(outputs.chunks_exact_mut(output)) {
            let values = arena.get(plan.output.offset as usize..plan.output.end());
            values.into_iter().for_each(|values| places.copy_from_slice(values));
        }
    }
}
