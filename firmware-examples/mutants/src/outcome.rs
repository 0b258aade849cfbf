//! What becomes of a file, as one number that host and cores compute alike.

use bitsback_runtime::{Interpreter, Model, Profiler, Running};

/// Of a file that is refused.
pub const REFUSED: u32 = 0;

/// Loads a file and runs it once on an arena of zeros, of exactly the bytes that it needs, with an
/// input that begins with `fill`: a checksum of all operators' outputs, or [`REFUSED`]. `None` where
/// the arena is too short.
pub fn of(file: &[u8], arena: &mut [i8], fill: i8) -> Option<u32> {
    let Ok(model) = Model::parse(file) else { return Some(REFUSED) };
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
