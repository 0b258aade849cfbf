//! Update packages of any bytes: opened, admitted, unpacked, checked.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bitsback_fuzz::open_package(bytes));
