//! A model whose lengths and checksum are made right again after the fuzzer has changed it, so
//! that the changes reach the graph's checks.
#![no_main]

use bitsback_fuzz::{mend, parse_and_run};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    mend(&mut file);
    parse_and_run(&file, 0x55);
});
