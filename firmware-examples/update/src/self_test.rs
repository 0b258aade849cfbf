//! The golden self-test: inputs whose classes any model for this task must give.
//!
//! Golden vectors of one model would be of no use to the next, whose scores are others. What stays is what the
//! product can't do without; a model that was trained on swapped labels, or of another product, fails here.

use bitsback_runtime::{Interpreter, Limits, Model};

#[path = "../../classify/src/digits.rs"]
mod digits;

/// Bytes of RAM for any model's arena.
pub const ARENA: usize = 2048;
/// How long an inference may take: a million steps are a second or two of a Cortex-M0 at 16 MHz.
pub const LIMITS: Limits = Limits::steps(1 << 20);
/// The classes of [`digits::DIGITS`].
const CLASSES: [usize; 4] = [7, 2, 0, 4];
/// How many inputs there are.
pub const INPUTS: usize = CLASSES.len();

/// How many of the inputs a model gives their classes; those that it can't take are wrong.
// A frame of its own: the arena is on the stack only when no signature is being checked.
#[inline(never)]
pub fn count(model: &[u8]) -> usize {
    let mut arena = [0; ARENA];
    let Ok(model) = Model::<'_>::parse_with(model, LIMITS) else { return 0 };
    let Ok(mut interpreter) = Interpreter::new(&model, &mut arena) else { return 0 };
    let is_right = |(pixels, class): &(&[u8; 64], usize)| {
        interpreter.set_input_bytes(*pixels).is_ok() && {
            interpreter.invoke();
            interpreter.class() == *class
        }
    };
    digits::DIGITS.iter().zip(CLASSES).filter(is_right).count()
}
