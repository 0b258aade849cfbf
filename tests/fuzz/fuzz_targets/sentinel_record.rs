//! Sentinels' records of any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitsback_fuzz::sentinel_record(bytes));
