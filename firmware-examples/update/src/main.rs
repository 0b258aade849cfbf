//! Another model for a device in the field: it comes over a serial line, signed, is tried, and stays or goes.
//!
//! Every start chooses a model, tests it, says what runs, and then takes questions ([`frame::Kind`]). A model
//! on trial is confirmed when it has passed its self-test, the host has been heard, so that no model stays
//! with which the device can't be reached, and the sentinel of one that has it has kept quiet for 64 inferences.
//! `cargo xtask update` is the host, and README.md has what they say.
#![no_std]
#![no_main]

mod device;
mod frame;
mod line;
mod self_test;
mod watched;

use bitsback_slots::package::{PackageGate, PublicKey};
use bitsback_slots::{Layout, Restart, Slots};
use board::flash::{Flash, PAGE};
use board::reset::{self, Cause};

use device::{Device, LineError};
use line::Line;

/// Two pages for state, two slots of 16 KiB.
const LAYOUT: Layout = Layout::contiguous(0, PAGE as u32, 16 * 1024);

/// Who may send models. Take another: everybody knows the secret half of this one.
const KEY: PublicKey = match PublicKey::from_file(include_str!("../example.key.pub")) {
    Some(key) => key,
    None => PublicKey::new([0; 32]),
};

board::main!(run);

fn run() -> Result<(), board::Failure> {
    let line = Line::open().ok_or(LineError::Taken)?;
    let flash = Flash::take().ok_or(LineError::Taken)?;
    let restart = match reset::cause() {
        Cause::Watchdog => Restart::Watchdog,
        Cause::Other => Restart::Other,
    };
    let gate =
        PackageGate { limits: self_test::LIMITS, ..PackageGate::new(KEY, self_test::ARENA as u32) };
    let slots = Slots::start(flash, gate, LAYOUT, restart)?;
    Device::new(line, slots).run(restart)
}
