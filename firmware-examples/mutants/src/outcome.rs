//! What becomes of a file, as one number that host and cores compute alike.

use bitsback_runtime::{Interpreter, Model, Profiler, Running};

/// Of a file that is refused.
pub const REFUSED: u32 = 0;

/// Most steps, and values that are moved, of a file that is run although it is refused.
const TRUSTED_STEPS_MAX: u64 = 1 << 15;

/// Loads a file and runs it once on an arena of zeros, of exactly the bytes that it needs, with an
/// input that begins with `fill`: a checksum of all operators' outputs, or [`REFUSED`]. `None` where
/// the arena is too short.
pub fn of(file: &[u8], arena: &mut [i8], fill: i8) -> Option<u32> {
    let Ok(model) = Model::parse(file) else {
        trust(file, arena, fill);
        return Some(REFUSED);
    };
    let arena = arena.get_mut(..model.arena_len())?;
    arena.fill(0);
    let mut interpreter = Interpreter::new(&model, arena).ok()?;
    for (place, step) in interpreter.input_mut().iter_mut().zip((0..=u8::MAX).cycle()) {
        *place = fill.wrapping_add(step.wrapping_mul(89) as i8);
    }
    let mut sum = Sum(0x811C_9DC5);
    interpreter.invoke_with(&mut sum);
    sum.byte(interpreter.class() as u8);
    Some(sum.0 | 1)
}

/// Runs a file that no check has accepted, if its shapes say that it ends soon: what it computes means
/// nothing, but kernels must end, and stay where they belong.
fn trust(file: &[u8], arena: &mut [i8], fill: i8) {
    let Ok(model) = Model::trust(file) else { return };
    let steps = model.ops().fold(0, |sum: u64, step| {
        let read = step.inputs().fold(0, |sum: usize, input| sum.saturating_add(input.len()));
        let moved = read.saturating_add(step.output().len()) as u64;
        sum.saturating_add(step.op.steps(&step.previous)).saturating_add(moved)
    });
    if steps > TRUSTED_STEPS_MAX {
        return;
    }
    if let Some(arena) = arena.get_mut(..model.arena_len())
        && let Ok(mut interpreter) = Interpreter::new(&model, arena)
    {
        interpreter.input_mut().fill(fill);
        interpreter.invoke();
    }
}

/// FNV-1a over the outputs of all operators.
struct Sum(u32);

impl Sum {
    fn byte(&mut self, byte: u8) {
        self.0 = (self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
}

impl Profiler for Sum {
    fn after(&mut self, _running: &Running<'_>, output: &[i8]) {
        output.iter().for_each(|&value| self.byte(value as u8));
    }
}
