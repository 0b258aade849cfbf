//! A sentinel beside the model: what a product calls of it. The program that is proven to hold no path to a panic
//! calls the rest, too: a look on the input's way, a trial, a record.

use core::hint::black_box;

use bitsback_runtime::sentinel::{Look, Sentinel, Watch};
#[cfg(feature = "no-panic")]
use bitsback_runtime::sentinel::{RECORD_LEN, Record};
use bitsback_runtime::{Interpreter, Weights};

/// Looks at the input.
pub(crate) fn look<const KINDS: u32, W: Weights>(
    interpreter: &mut Interpreter<'_, '_, KINDS, W>,
) -> Look {
    #[cfg(feature = "no-panic")]
    if let Ok(look) = interpreter.set_input_bytes_looking(black_box(&[0; 16])) {
        black_box(look);
    }
    Look::of(interpreter.input_mut())
}

/// Feeds an inference. The build script has checked the sentinel, too, unless the program checks what it is
/// given.
pub(crate) fn run<const KINDS: u32, W: Weights>(
    interpreter: &Interpreter<'_, '_, KINDS, W>,
    look: Look,
) {
    #[cfg(not(feature = "checks"))]
    let sentinel = Sentinel::trust(interpreter.model());
    #[cfg(feature = "checks")]
    let sentinel = Sentinel::new(interpreter.model());
    let Ok(Some(sentinel)) = sentinel else { return };
    let mut watch = Watch::new();
    black_box(watch.feed(&sentinel, look, interpreter.output()));
    #[cfg(feature = "no-panic")]
    all(&sentinel, &mut watch, interpreter.model().header().crc);
}

/// Everything else.
#[cfg(feature = "no-panic")]
fn all(sentinel: &Sentinel<'_>, watch: &mut Watch, model: u32) {
    let mut record = [0; RECORD_LEN];
    watch.record(sentinel, model, 1, &mut record);
    let _ = black_box(Record::read(black_box(&record)));
    black_box(watch.alarm(sentinel).map(|alarm| alarm.bet.name()));
    watch.start_window();
    watch.reset();
    black_box(watch.is_due());
    *watch = Watch::on_trial(sentinel, black_box(10));
    black_box((sentinel.trial_exponent(black_box(10)), watch.evidence()));
    watch.settle();
    black_box(watch);
}
