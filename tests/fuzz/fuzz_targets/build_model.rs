//! Records built from the fuzzer's choices and written by the runtime's own writer: shapes that
//! nearly fit, multipliers and offsets near their limits.
#![no_main]

use bitsback_fuzz::{DrawnModel, parse_and_run};

libfuzzer_sys::fuzz_target!(|drawn: DrawnModel| {
    if let Some(file) = drawn.write() {
        parse_and_run(&file, drawn.fill());
    }
});
