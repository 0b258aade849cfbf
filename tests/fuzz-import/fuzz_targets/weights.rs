//! Arbitrary bytes are read as a file of this format.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitsback_fuzz_import::weights(bytes));
