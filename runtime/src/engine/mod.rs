//! Runs models on hosts: prepared once, then as fast as the machine multiplies, on all of its cores.
//!
//! What an [`Interpreter`](crate::Interpreter) does, bit for bit, with memory instead of patience:
//! weights are unpacked or decoded once and laid out for vectors, a batch is shared out to threads, and
//! each thread takes several examples through an operator before the next, so that weights are read
//! once for all of them. Operators that have no other way run as the interpreter runs them.
//!
//! | file | what |
//! |---|---|
//! | `plan` | the operators, each prepared |
//! | `frame` | images as kernels read them, with their padding |
//! | `rows` | dense layers and convolutions |
//! | `channels` | depthwise convolutions |
//! | `pool` | poolings and means |
//! | `worker` | a thread's memory, and the loop over operators |

mod channels;
mod frame;
mod plan;
mod pool;
mod rows;
mod worker;

use core::fmt;
use std::thread;
use std::vec::Vec;

use crate::arch::host::KernelSet;
use crate::interpreter::Profiler;
use crate::model::Model;
use plan::Plan;
use worker::Worker;

/// A batch has other lengths than the model says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Values that are no whole number of inputs.
    Inputs {
        /// Values of an input.
        each: usize,
        /// Values given.
        given: usize,
    },
    /// There must be a place for each example's output.
    Outputs {
        /// Values of all outputs.
        needed: usize,
        /// Places given.
        given: usize,
    },
}

impl fmt::Display for BatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inputs { each, given } => {
                write!(f, "{given} values are no whole number of inputs of {each}")
            }
            Self::Outputs { needed, given } => {
                write!(f, "the batch's outputs have {needed} values, not {given}")
            }
        }
    }
}

impl core::error::Error for BatchError {}

/// A model that is prepared for this machine.
///
/// It must be one that [`Model::parse`] has accepted at some time. Of one that was only ever
/// [trusted](Model::trust), outputs may be nonsense, and lengths that don't fit may be a panic.
///
/// ```
/// use bitsback_runtime::{Engine, Model};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1/convolutional.bbk");
/// let bytes = std::fs::read(path)?;
/// let model = Model::parse(&bytes)?;
/// let mut engine = Engine::new(&model).with_threads(2);
/// let inputs = vec![5; 100 * model.input().len()];
/// let mut outputs = vec![0; 100 * model.output().len()];
/// engine.run(&inputs, &mut outputs)?; // as `Interpreter`, a hundred times
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Engine<'a> {
    plan: Plan<'a>,
    /// One a thread; there is one at least.
    workers: Vec<Worker>,
}

impl<'a> Engine<'a> {
    /// Prepares a model for one thread and the fastest kernels that this machine has.
    pub fn new(model: &Model<'a>) -> Self {
        Self::with_kernels(model, KernelSet::best())
    }

    /// As [`Self::new`], with kernels that aren't the fastest: to compare.
    pub fn with_kernels(model: &Model<'a>, kernels: KernelSet) -> Self {
        let plan = Plan::new(model, kernels);
        let workers = std::vec![Worker::new(&plan)];
        Self { plan, workers }
    }

    /// Shares batches out to so many threads, the caller's among them.
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.workers.resize_with(threads.max(1), || Worker::new(&self.plan));
        self
    }

    /// The kernels that it runs with.
    pub fn kernels(&self) -> KernelSet {
        self.plan.kernels
    }

    /// Operators that run as the interpreter runs them, by their numbers.
    pub fn interpreted(&self) -> impl Iterator<Item = u16> {
        self.plan.interpreted()
    }

    /// Computes the outputs of a batch: `inputs` are quantised inputs, one example's behind the other's,
    /// and so are `outputs`.
    pub fn run(&mut self, inputs: &[i8], outputs: &mut [i8]) -> Result<(), BatchError> {
        let examples = self.check(inputs, outputs)?;
        let Self { plan, workers } = self;
        let share = examples.div_ceil(workers.len().max(1)).max(1);
        let each = [plan.input.len().max(1), plan.output.len().max(1)];
        let [inputs_len, outputs_len] = each.map(|each| each.saturating_mul(share));
        let shares = inputs.chunks(inputs_len).zip(outputs.chunks_mut(outputs_len));
        let plan = &*plan;
        thread::scope(|scope| {
            let mut shares = workers.iter_mut().zip(shares);
            let own = shares.next();
            for (worker, (inputs, outputs)) in shares {
                scope.spawn(move || worker.run(plan, inputs, outputs));
            }
            if let Some((worker, (inputs, outputs))) = own {
                worker.run(plan, inputs, outputs);
            }
        });
        Ok(())
    }

    /// As [`Self::run`], watched: one example after the other, on the caller's thread.
    pub fn run_with(
        &mut self,
        inputs: &[i8],
        outputs: &mut [i8],
        profiler: &mut impl Profiler,
    ) -> Result<(), BatchError> {
        self.check(inputs, outputs)?;
        let Self { plan, workers } = self;
        if let Some(worker) = workers.first_mut() {
            let inputs = inputs.chunks(plan.input.len().max(1));
            for (input, output) in inputs.zip(outputs.chunks_mut(plan.output.len().max(1))) {
                worker.run_some(plan, input, output, profiler);
            }
        }
        Ok(())
    }

    /// Examples of a batch.
    fn check(&self, inputs: &[i8], outputs: &[i8]) -> Result<usize, BatchError> {
        let (each, given) = (self.plan.input.len().max(1), inputs.len());
        if !given.is_multiple_of(each) {
            return Err(BatchError::Inputs { each, given });
        }
        let examples = given / each;
        let (needed, given) = (examples.saturating_mul(self.plan.output.len()), outputs.len());
        if given == needed { Ok(examples) } else { Err(BatchError::Outputs { needed, given }) }
    }
}

#[cfg(test)]
mod tests;
