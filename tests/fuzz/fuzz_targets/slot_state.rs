//! Flash that holds records and slots of the fuzzer's choice, sound, almost sound, or neither: a start
//! never panics and chooses nothing that the gate refuses, and a new model can go all the way or is refused.
#![no_main]

// The simulated flash and the gate of the crate's own tests.
#[path = "../../../runtime/slots/tests/power/mod.rs"]
mod power;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    power::garbage::start_with(bytes);
});
