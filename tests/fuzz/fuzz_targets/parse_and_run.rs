//! Arbitrary bytes: `Model::parse` must say yes or no, and what it accepts must run.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitsback_fuzz::parse_and_run(bytes, 0x55));
