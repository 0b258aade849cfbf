//! Inferences, and the sentinel that watches them where the model has one.

use bitsback_runtime::sentinel::{Alarm, Sentinel, Watch};
use bitsback_runtime::{Interpreter, Model};

use crate::self_test::{ARENA, LIMITS};

/// Inferences of a trial, as a power of two.
pub const TRIAL: u8 = 6;

/// The watch of a model's sentinel; `None` where it has none that is proved.
#[inline(never)]
pub fn start(model: &[u8], is_on_trial: bool) -> Option<Watch> {
    let model = Model::<'_>::parse_with(model, LIMITS).ok()?;
    let sentinel = Sentinel::new(&model).ok()??;
    Some(if is_on_trial { Watch::on_trial(&sentinel, TRIAL) } else { Watch::new() })
}

/// What an inference says.
pub struct Seen {
    /// The class.
    pub class: usize,
    /// The sentinel's alarm, from the first one on.
    pub alarm: Option<Alarm>,
}

/// Runs a model, which a start has checked, on pixels; `None` if it takes others.
// A frame of its own, as the self-test's.
#[inline(never)]
pub fn classify(model: &[u8], pixels: &[u8], watch: Option<&mut Watch>) -> Option<Seen> {
    let mut arena = [0; ARENA];
    let model = Model::<'_>::trust(model).ok()?;
    let mut interpreter = Interpreter::new(&model, &mut arena).ok()?;
    let look = interpreter.set_input_bytes_looking(pixels).ok()?;
    interpreter.invoke();
    let alarm = match (watch, Sentinel::trust(&model)) {
        (Some(watch), Ok(Some(sentinel))) => watch.feed(&sentinel, look, interpreter.output()),
        _ => None,
    };
    Some(Seen { class: interpreter.class(), alarm })
}
