//! Runs every golden vector of a model and compares every output byte, with no tolerance.
//!
//! One build serves any model: the model lies in the board's model slot, and the vectors are
//! files that the host lends (semihosting): `inputs.i8` and `outputs.i8`, raw int8, vector after
//! vector, beside `model.bbk`, whose length says how much of the slot it fills. One vector is in
//! memory at a time, so their number has no limit.
//!
//! The last line printed is JSON: vectors, mismatches (differing bytes), the mean instructions of
//! an inference, bytes of arena and of stack (the deepest of loading and inference). Exits with 0
//! only if every byte was equal.
#![no_std]
#![no_main]

mod failure;
mod vectors;

use bitsback_runtime::{ISA, Interpreter, Model};
use board::{counter, println, stack};

use failure::Failure;
use vectors::Stream;

/// Vectors that are timed. More would add nothing: the count is the same for each but for the
/// timer's last tick, and 40 ticks of 40 instructions average that out.
const TIMED_VECTORS: u64 = 40;

board::main!(run);

fn run() -> Result<(), Failure> {
    let model_bytes = vectors::length_of(c"model.bbk").ok_or(Failure::File("model.bbk"))?;
    let bytes = board::model_slot(model_bytes)?;
    let (parsed, load_stack) = stack::bytes_used(|| Model::parse(bytes));
    let model = parsed?;
    let mut arena = [0; board::ARENA_BYTES];
    let mut interpreter = Interpreter::new(&model, &mut arena)?;

    let input_len = interpreter.input_mut().len();
    let output_len = interpreter.output().len();
    let mut inputs = Stream::open(c"inputs.i8").ok_or(Failure::File("inputs.i8"))?;
    let mut outputs = Stream::open(c"outputs.i8").ok_or(Failure::File("outputs.i8"))?;
    let vectors = inputs.vectors(input_len).ok_or(Failure::Length("inputs.i8"))?;
    if outputs.vectors(output_len) != Some(vectors) {
        return Err(Failure::Length("outputs.i8"));
    }

    let mut costs = Costs::default();
    costs.used(load_stack);
    let mut mismatches = 0;
    for vector in 0..vectors {
        inputs.read(interpreter.input_mut()).ok_or(Failure::File("inputs.i8"))?;
        if vector < TIMED_VECTORS {
            costs.measure(|| interpreter.invoke());
        } else {
            interpreter.invoke();
        }
        for (place, &got) in interpreter.output().iter().enumerate() {
            let expected = outputs.next().ok_or(Failure::File("outputs.i8"))?;
            if got != expected {
                if mismatches == 0 {
                    println!(
                        "mismatch: vector {vector}, output {place}: expected {expected}, got {got}"
                    );
                }
                mismatches += 1;
            }
        }
    }
    costs.print(vectors, mismatches, model.arena_len());
    if mismatches > 0 { Err(Failure::Mismatches(mismatches)) } else { Ok(()) }
}

/// What loading and inference cost, the latter over the timed vectors.
#[derive(Default)]
struct Costs {
    timed: u64,
    instructions: u64,
    stack_bytes: usize,
    /// Whether a timer ran out or the stack went below its paint: then the sums are too small.
    incomplete: bool,
}

impl Costs {
    fn measure(&mut self, inference: impl FnOnce()) {
        let (((), instructions), stack) = stack::bytes_used(|| counter::instructions(inference));
        self.incomplete |= instructions.is_none();
        self.timed += 1;
        self.instructions += instructions.unwrap_or(0);
        self.used(stack);
    }

    /// So many bytes of stack, or more than were painted.
    fn used(&mut self, stack: Option<usize>) {
        self.incomplete |= stack.is_none();
        self.stack_bytes = self.stack_bytes.max(stack.unwrap_or(0));
    }

    fn print(&self, vectors: u64, mismatches: u64, arena_bytes: usize) {
        let mean = self.instructions.checked_div(self.timed).unwrap_or(0);
        let (instructions, stack_bytes) =
            if self.incomplete { (0, 0) } else { (mean, self.stack_bytes) };
        println!(
            "{{\"isa\":\"{ISA}\",\"vectors\":{vectors},\"mismatches\":{mismatches},\
             \"instructions\":{instructions},\"arena_bytes\":{arena_bytes},\
             \"stack_bytes\":{stack_bytes}}}"
        );
    }
}
