//! Records built from the fuzzer's choices and written by the runtime's own writer: shapes that
//! nearly fit, multipliers and offsets near their limits.
#![no_main]

use bitsback_fuzz::{Sketch, parse_and_run};

libfuzzer_sys::fuzz_target!(|sketch: Sketch| {
    if let Some(file) = sketch.write() {
        parse_and_run(&file, sketch.fill());
    }
});
