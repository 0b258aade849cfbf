//! Deltas of any bytes, in pieces of any size, resumed anywhere.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitsback_fuzz::unpack_delta(bytes));
