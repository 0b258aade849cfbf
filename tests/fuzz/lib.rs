//! What the fuzz targets share: running whatever `Model::parse` accepts, building models, taking update
//! packages in, and reading sentinels.

mod draw;
mod mutate;
mod packages;
mod samples;
mod sentinels;

use bitsback_runtime::format::Source;
use bitsback_runtime::{
    Engine, Interpreter, KernelSet, Model, Profiler, Running, lead, weights_len,
};

pub use draw::DrawnModel;
pub use mutate::{CHANGES, Random, head, mend};
pub use packages::{open_package, unpack_delta};
pub use samples::{MARGIN, samples};
pub use sentinels::{sentinel_record, sentinel_section};

/// Accepted models with more steps than this aren't run: the fuzzer is to find many small ones.
const STEPS_MAX: u64 = 1 << 22;
/// Accepted models with larger arenas aren't run.
const ARENA_MAX: usize = 1 << 20;

/// Models whose weights take more bytes unpacked aren't run with all of them.
const WEIGHTS_MAX: usize = 1 << 20;

/// Adds up what it sees, so that nothing is optimised away.
struct Sum {
    total: u64,
    /// Whether every output must be whole.
    are_whole: bool,
}

impl Profiler for Sum {
    fn after(&mut self, running: &Running<'_>, output: &[i8]) {
        assert!(!self.are_whole || output.len() == running.output.len());
        self.total =
            output.iter().fold(self.total, |sum, &y| sum.rotate_left(1) ^ u64::from(y as u8));
    }
}

/// Parses, and runs what was accepted: no panic, every operator yields a whole output, and the
/// same input gives the same output on a dirty arena.
pub fn parse_and_run(bytes: &[u8], fill: i8) {
    let Ok(model) = Model::parse(bytes) else { return };
    let steps: u64 = model.ops().map(|step| step.op.steps(&step.previous)).sum();
    for step in model.ops() {
        let _ = (step.parameters(), step.kind().name(), step.inputs().count());
    }
    let _ = (model.op_name(0), model.class_name(1), model.macs());
    if steps > STEPS_MAX || model.arena_len() > ARENA_MAX {
        return;
    }
    let input = vec![fill; model.input().len()];
    let results = [0, -1].map(|dirt| {
        let mut arena = vec![dirt; model.arena_len()];
        let mut interpreter = Interpreter::new(&model, &mut arena).expect("a sufficient arena");
        interpreter.input_mut().copy_from_slice(&input);
        let mut sum = Sum { total: 0, are_whole: true };
        interpreter.invoke_with(&mut sum);
        let _ = (interpreter.class(), interpreter.probability(0));
        let sure = interpreter.decision().class();
        assert!(sure.is_none_or(|class| class == interpreter.class()));
        assert!(sure.is_some() || model.margin() > lead(interpreter.output()).1);
        assert_eq!(interpreter.dequantized_output().count(), model.output().len());
        let _ = interpreter.set_input_bytes(&vec![fill as u8; input.len()]);
        let _ = interpreter.set_input_features(&vec![f32::from(fill); input.len()]);
        sum.total
    });
    // Only a model that reads what nobody wrote may depend on the arena's former contents.
    let is_clean = reads_only_what_was_written(&model);
    assert!(!is_clean || results[0] == results[1]);
    engines_agree(&model, &input, is_clean.then_some(results[0]));
    run_unpacked(&model, &input, (bytes, results[0]));
}

/// Each of this machine's kernels gives what the interpreter gives, where the sum of that is known.
fn engines_agree(model: &Model<'_>, input: &[i8], expected: Option<u64>) {
    for kernels in KernelSet::available() {
        let mut engine = Engine::with_kernels(model, kernels);
        let mut output = vec![0; model.output().len()];
        let mut sum = Sum { total: 0, are_whole: true };
        engine.run_with(input, &mut output, &mut sum).expect("lengths that fit");
        assert!(expected.is_none_or(|expected| expected == sum.total), "{kernels:?}");
        let mut outputs = vec![0; 3 * output.len()];
        engine.run(&input.repeat(3), &mut outputs).expect("lengths that fit");
        assert!(expected.is_none() || outputs == output.repeat(3), "{kernels:?}");
    }
}

/// Runs with weights unpacked into buffers of several lengths: the same outputs of all operators, and the
/// same output where nobody looks at these.
fn run_unpacked(model: &Model<'_>, input: &[i8], (bytes, expected): (&[u8], u64)) {
    let whole = model.weights_len();
    assert_eq!(weights_len(bytes), whole);
    if whole > WEIGHTS_MAX {
        return;
    }
    let mut stored = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(model, &mut stored).expect("a sufficient arena");
    interpreter.input_mut().copy_from_slice(input);
    interpreter.invoke();
    let output = interpreter.output();
    // Of lengths between, one that the input chooses.
    let some = input.iter().fold(7, |hash: usize, &x| hash.wrapping_mul(31) ^ usize::from(x as u8));
    for len in [whole, whole / 2, some % (whole + 1), 0] {
        let mut weights = vec![0xA5; len];
        let mut arena = vec![0; model.arena_len()];
        let made = Interpreter::with_weights(model, &mut arena, &mut weights);
        let mut interpreter = made.expect("a sufficient arena");
        interpreter.input_mut().copy_from_slice(input);
        let mut sum = Sum { total: 0, are_whole: true };
        interpreter.invoke_with(&mut sum);
        assert_eq!(sum.total, expected, "{len} of {whole} bytes");
        if reads_only_what_was_written(model) {
            interpreter.input_mut().copy_from_slice(input);
            interpreter.invoke();
            assert_eq!(interpreter.output(), output, "{len} of {whole} bytes");
        }
    }
}

/// Trusts bytes that nobody has checked, and runs them: whatever they are, nothing panics, and no
/// kernel leaves its slices.
pub fn trust_and_run(bytes: &[u8], fill: i8) {
    let Ok(model) = Model::trust(bytes) else { return };
    let steps = model.ops().fold(0, |sum: u64, step| {
        let read: usize = step.inputs().map(|input| input.len()).sum();
        let moved = read.saturating_add(step.output().len()) as u64;
        sum.saturating_add(step.op.steps(&step.previous)).saturating_add(moved)
    });
    if steps > STEPS_MAX || model.arena_len() > ARENA_MAX {
        return;
    }
    let mut arena = vec![fill; model.arena_len()];
    let Ok(mut interpreter) = Interpreter::new(&model, &mut arena) else { return };
    let mut sum = Sum { total: 0, are_whole: false };
    interpreter.invoke_with(&mut sum);
    let _ = (interpreter.class(), interpreter.probability(0), interpreter.input_mut().len());
    let _ = interpreter.dequantized_output().count();
    let _ = interpreter.set_input_bytes(&[fill as u8; 4]);
    let _ = interpreter.set_input_features(&[f32::from(fill); 4]);
    let whole = model.weights_len().max(weights_len(bytes)).min(WEIGHTS_MAX);
    for len in [whole, whole / 2] {
        let mut weights = vec![0; len];
        let made = Interpreter::with_weights(&model, &mut arena, &mut weights);
        let Ok(mut interpreter) = made else { return };
        interpreter.invoke();
    }
}

/// Whether every operator reads its predecessor's output alone.
fn reads_only_what_was_written(model: &Model<'_>) -> bool {
    model.ops().all(|step| step.op.inputs().iter().all(|source| *source == Source::Previous))
}
