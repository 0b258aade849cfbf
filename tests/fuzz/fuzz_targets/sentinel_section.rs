//! Sentinels' sections of any bytes, and of sound ones with bytes changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitsback_fuzz::sentinel_section(bytes));
