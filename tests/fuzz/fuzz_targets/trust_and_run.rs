//! Bytes that nobody has checked: `Model::trust` takes most of them, and running them must be safe.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = bytes.to_vec();
    bitsback_fuzz::head(&mut file);
    bitsback_fuzz::trust_and_run(&file, 0x55);
});
