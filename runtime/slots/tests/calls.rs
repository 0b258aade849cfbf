//! What each call promises where power stays, and each error.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod power;

use bitsback_runtime::ParseError;
use bitsback_slots::{Chosen, Error, HEAD_LEN, Layout, Note, Other, Reason, Restart, Slot, Slots};

use power::flash::{Flash, FlashError};
use power::package::{Package, Refusal, TestGate};

const PAGE: usize = 1024;
const WRITE: usize = 4;
const SLOT_LEN: usize = 33 * PAGE;
const LAYOUT: Layout = Layout::contiguous(0, PAGE as u32, SLOT_LEN as u32);
const LEN: usize = 32_000;

type Memory = Flash<PAGE, WRITE>;
type Device = Slots<Memory, TestGate>;
type Failure = Error<FlashError, Refusal>;

fn empty() -> Memory {
    Flash::new(2 + 2 * SLOT_LEN / PAGE, 1)
}

fn provisioned() -> Device {
    let mut flash = empty();
    flash.provision(LAYOUT.slots[0] as usize, &Package::new(1, LEN).slot());
    start(flash)
}

fn start(flash: Memory) -> Device {
    Slots::start(flash, TestGate, LAYOUT, Restart::Other).unwrap()
}

fn again(device: Device) -> Device {
    start(device.release())
}

fn stage(device: &mut Device, package: &Package) -> Result<(), Failure> {
    let there = device.begin(&package.head)? as usize;
    package.model[there..].chunks(77).try_for_each(|chunk| device.write(chunk))?;
    device.finish()
}

/// A device that has the model of this version on trial.
fn on_trial(version: u32, starts: u8) -> Device {
    let mut device = provisioned();
    stage(&mut device, &Package::new(version, LEN)).unwrap();
    device.activate(starts).unwrap();
    again(device)
}

fn running(device: &Device) -> (u32, Slot, bool) {
    let Chosen { version, slot, is_on_trial, .. } = device.chosen().unwrap();
    (version, slot, is_on_trial)
}

#[test]
fn a_model_is_tried_confirmed_and_gone_back_from() {
    let mut device = on_trial(2, 1);
    assert_eq!(running(&device), (2, Slot::B, true));
    assert_eq!(device.model().unwrap(), Package::new(2, LEN).model);
    assert_eq!((device.version_before(), provisioned().version_before()), (Some(1), None));
    device.confirm().unwrap();
    assert_eq!(device.version_before(), None);
    assert_eq!(running(&device), (2, Slot::B, false));
    let mut device = again(device);
    assert_eq!(device.state().other(), Other::Previous);
    device.roll_back(Reason::Alarm).unwrap();
    let device = again(device);
    // The older model was confirmed before: it may run. The floor stays where it is.
    assert_eq!(running(&device), (1, Slot::A, false));
    assert_eq!(device.state().floor(), 2);
    assert_eq!(device.state().note(), Some(Note { version: 2, reason: Reason::Alarm }));
}

#[test]
fn a_trial_ends_with_its_starts() {
    let device = again(on_trial(2, 2));
    assert_eq!(running(&device), (2, Slot::B, true));
    let mut device = again(device);
    assert_eq!(running(&device), (1, Slot::A, false));
    assert_eq!(device.state().note(), Some(Note { version: 2, reason: Reason::Unconfirmed }));
    // It may have another chance, without being sent again.
    device.activate(1).unwrap();
    assert_eq!(running(&again(device)), (2, Slot::B, true));
}

#[test]
fn the_watchdog_ends_a_trial_that_has_begun() {
    let mut device = provisioned();
    stage(&mut device, &Package::new(2, LEN)).unwrap();
    device.activate(3).unwrap();
    let watchdog = |flash| Slots::start(flash, TestGate, LAYOUT, Restart::Watchdog).unwrap();
    // The watchdog of the old model, or the application's way to start again.
    let device = watchdog(device.release());
    assert_eq!(running(&device), (2, Slot::B, true));
    let device = watchdog(device.release());
    assert_eq!(running(&device), (1, Slot::A, false));
    assert_eq!(device.state().note(), Some(Note { version: 2, reason: Reason::Watchdog }));
}

#[test]
fn what_is_noted_changes_nothing_else() {
    let mut device = on_trial(2, 1);
    device.note(Reason::FieldChanged).unwrap();
    device.confirm().unwrap();
    let device = again(device);
    assert_eq!(device.state().note(), Some(Note { version: 2, reason: Reason::FieldChanged }));
    assert_eq!(running(&device), (2, Slot::B, false));
}

#[test]
fn an_empty_device_confirms_its_first_model_at_once() {
    let mut device = start(empty());
    assert_eq!((device.chosen(), device.model(), device.fault()), (None, None, None));
    stage(&mut device, &Package::new(7, LEN)).unwrap();
    device.activate(1).unwrap();
    let mut device = again(device);
    assert_eq!(running(&device), (7, Slot::A, false));
    assert_eq!(device.roll_back(Reason::Alarm), Err(Error::NoWayBack));
}

#[test]
fn without_state_the_higher_version_runs_if_it_is_whole() {
    let mut flash = empty();
    flash.provision(LAYOUT.slots[0] as usize, &Package::new(4, LEN).slot());
    flash.provision(LAYOUT.slots[1] as usize, &Package::new(5, LEN).slot());
    assert_eq!(running(&start(flash.clone())), (5, Slot::B, false));
    flash.provision(LAYOUT.slots[1] as usize + HEAD_LEN + 5, &[0]);
    let device = start(flash);
    assert_eq!(running(&device), (4, Slot::A, false));
    assert_eq!(device.state().floor(), 4);
}

#[test]
fn a_damaged_model_gives_way_to_the_other() {
    let mut device = on_trial(2, 3);
    let mut flash = device.flash().clone();
    let at = device.chosen().unwrap().offset as usize;
    // On trial: the trial has failed.
    flash.provision(at + 9, &[0]);
    let damaged = start(flash);
    assert_eq!(running(&damaged), (1, Slot::A, false));
    assert_eq!(damaged.fault(), Some(&Error::Refused(Refusal::Digest)));
    assert_eq!(damaged.state().note(), Some(Note { version: 2, reason: Reason::Damaged }));
    // Confirmed: the one before, which is still there.
    device.confirm().unwrap();
    let mut flash = device.release();
    flash.provision(at + 9, &[0]);
    let damaged = start(flash);
    assert_eq!(running(&damaged), (1, Slot::A, false));
    assert_eq!(running(&again(damaged)), (1, Slot::A, false));
}

#[test]
fn staging_goes_on_at_the_last_note() {
    let package = Package::new(2, LEN);
    let mut device = provisioned();
    assert_eq!(device.begin(&package.head), Ok(0));
    device.write(&package.model[..20_000]).unwrap();
    let noted = device.received().unwrap();
    assert!(noted > 20_000 - 2 * SLOT_LEN as u32 / 16, "{noted}");
    let mut device = again(device);
    assert_eq!((device.received(), device.begin(&package.head)), (Some(noted), Ok(noted)));
    // Another model begins anew.
    let other = Package::new(3, LEN);
    assert_eq!(device.begin(&other.head), Ok(0));
    assert_eq!(device.begin(&package.head), Ok(0));
    stage(&mut device, &package).unwrap();
    assert_eq!(device.begin(&package.head), Ok(LEN as u32));
    device.finish().unwrap();
    device.activate(1).unwrap();
}

/// One erasure of each state page an update: what decision 39 counts on.
#[test]
fn an_update_wears_state_pages_little() {
    let mut device = on_trial(2, 1);
    device.confirm().unwrap();
    let mut flash = device.release();
    let before = flash.erasures.clone();
    for version in 3..13 {
        let mut device = start(flash);
        stage(&mut device, &Package::new(version, LEN)).unwrap();
        device.activate(1).unwrap();
        let mut device = again(device);
        device.confirm().unwrap();
        flash = device.release();
    }
    let worn: Vec<u32> = flash.erasures.iter().zip(&before).map(|(now, old)| now - old).collect();
    assert_eq!(worn[..2], [10, 10]);
    // A page of a slot once whenever it is written.
    assert!(worn[2..].iter().all(|&erasures| erasures <= 5));
}

#[test]
fn layouts_that_do_not_fit_are_refused() {
    let good = LAYOUT;
    let [a, b] = good.slots;
    for bad in [
        Layout { state: 4, ..good },
        Layout { state: a, ..good },
        Layout { slots: [a, a + PAGE as u32], ..good },
        Layout { slots: [a, b + PAGE as u32], ..good },
        Layout { slots: [u32::MAX - 1023, b], ..good },
        Layout { slot_len: 0, ..good },
        Layout { slot_len: good.slot_len - 4, ..good },
    ] {
        let result = Slots::start(empty(), TestGate, bad, Restart::Other);
        assert_eq!(result.err(), Some(Error::Layout), "{bad:?}");
    }
}

#[test]
fn calls_out_of_order_are_refused() {
    let mut device = provisioned();
    assert_eq!(device.write(&[1]), Err(Error::NothingStaged));
    assert_eq!(device.finish(), Err(Error::NothingStaged));
    assert_eq!(device.activate(1), Err(Error::NothingStaged));
    assert_eq!(device.confirm(), Err(Error::NotOnTrial));
    assert_eq!(device.roll_back(Reason::Alarm), Err(Error::NoWayBack));
    let package = Package::new(2, LEN);
    device.begin(&package.head).unwrap();
    let len = LEN as u32;
    assert_eq!(device.finish(), Err(Error::Incomplete { received: 0, len }));
    assert_eq!(device.activate(1), Err(Error::Incomplete { received: 0, len }));
    device.write(&package.model).unwrap();
    assert_eq!(device.write(&[1]), Err(Error::Incomplete { received: len + 1, len }));
    device.finish().unwrap();
    device.activate(1).unwrap();
    // Activated, but this start runs the old one.
    assert_eq!(device.confirm(), Err(Error::NotOnTrial));
    assert_eq!(device.activate(1), Err(Error::InUse));
    let next = Package::new(3, LEN);
    assert_eq!(device.begin(&next.head), Err(Error::InUse));
    // After going back, the slot is in use until the next start.
    let mut device = again(device);
    device.roll_back(Reason::SelfTest).unwrap();
    assert_eq!(device.begin(&next.head), Err(Error::InUse));
    assert_eq!(again(device).begin(&next.head), Ok(0));
}

#[test]
fn heads_and_models_are_refused_by_reason() {
    let mut device = provisioned();
    let good = Package::new(2, LEN);
    let mut unsigned = good.head.clone();
    unsigned[5] ^= 1;
    assert_eq!(device.begin(&unsigned), Err(Error::Refused(Refusal::Signature)));
    assert_eq!(device.begin(b"?"), Err(Error::Refused(Refusal::Head)));
    let long = [0; HEAD_LEN + 1];
    let room = HEAD_LEN as u32;
    assert_eq!(device.begin(&long), Err(Error::Length { len: room + 1, room }));
    let old = Package::new(1, LEN - 10);
    assert_eq!(device.begin(&old.head), Err(Error::Version { found: 1, floor: 1 }));
    let large = Package::new(2, SLOT_LEN);
    let (len, room) = (SLOT_LEN as u32, (SLOT_LEN - HEAD_LEN) as u32);
    assert_eq!(device.begin(&large.head), Err(Error::Length { len, room }));
    let unsound = Package::of(2, vec![7; 100]);
    stage(&mut device, &unsound).unwrap();
    assert_eq!(device.activate(1), Err(Error::Parse(ParseError::Magic)));
    assert_eq!(device.state().other(), Other::Free);
    // None of them is in the way of a good one.
    stage(&mut device, &good).unwrap();
    device.activate(1).unwrap();
}

#[test]
fn errors_say_what_to_do() {
    let version: Failure = Error::Version { found: 3, floor: 4 };
    assert!(version.to_string().contains("needs a higher one"), "{version}");
    let worn: Failure = Error::Worn { offset: 0x400 };
    assert!(worn.to_string().contains("0x400"), "{worn}");
    let parse: Failure = Error::Parse(ParseError::Magic);
    assert_eq!(parse.to_string(), ParseError::Magic.to_string());
    let refused: Failure = Error::Refused(Refusal::Signature);
    assert_eq!(refused.to_string(), "Signature");
}
