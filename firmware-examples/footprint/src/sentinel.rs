//! A sentinel beside the model: what a product calls of it, an inference, a trial and a record.

use core::hint::black_box;

use bitsback_runtime::sentinel::{RECORD_LEN, Sentinel, Watch};
use bitsback_runtime::{Interpreter, Weights};

/// One inference with a look at its input. The build script has checked the sentinel, too, unless the program
/// checks what it is given.
pub(crate) fn run<const KINDS: u32, W: Weights>(interpreter: &mut Interpreter<'_, '_, KINDS, W>) {
    let model = interpreter.model();
    #[cfg(not(feature = "checks"))]
    let sentinel = Sentinel::trust(model);
    #[cfg(feature = "checks")]
    let sentinel = Sentinel::new(model);
    let Ok(Some(sentinel)) = sentinel else { return };
    let mut watch = Watch::new();
    let raw = black_box([0; 16]);
    let Ok(look) = interpreter.set_input_bytes_looking(&raw) else { return };
    interpreter.invoke();
    black_box(watch.feed(&sentinel, look, interpreter.output()));
    #[cfg(feature = "no-panic")]
    {
        let mut record = [0; RECORD_LEN];
        watch.record(&sentinel, model.header().crc, 1, &mut record);
        black_box((record, bitsback_runtime::sentinel::Record::read(&black_box(record))));
        black_box(watch.alarm(&sentinel).map(|alarm| alarm.bet.name()));
        watch.start_window();
        watch.reset();
        watch = Watch::on_trial(&sentinel, black_box(10));
        black_box(sentinel.trial_exponent(black_box(10)));
        watch.settle();
        black_box((watch.is_due(), watch.evidence()));
    }
}
