//! A worn-out page is an error that leaves the old model running.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod power;

use bitsback_slots::{Error, Layout, Restart, Slots};

use power::flash::{Flash, FlashError, Wear};
use power::package::{Package, Refusal, TestGate};

const PAGE: usize = 512;
const WRITE: usize = 4;
const SLOT_LEN: usize = 3 * PAGE;
const LAYOUT: Layout = Layout::contiguous(0, PAGE as u32, SLOT_LEN as u32);

type Device = Slots<Flash<PAGE, WRITE>, TestGate>;

fn start(mut flash: Flash<PAGE, WRITE>) -> Device {
    flash.power_up();
    Slots::start(flash, TestGate, LAYOUT, Restart::Other).unwrap()
}

fn version(device: &Device) -> u32 {
    device.chosen().expect("a model to run").version
}

/// Stages and activates.
fn update(device: &mut Device, package: &Package) -> Result<(), Error<FlashError, Refusal>> {
    let there = device.begin(&package.head)? as usize;
    device.write(&package.model[there..])?;
    device.finish()?;
    device.activate(1)
}

/// A device with a model that was confirmed in the field, and so with state in both pages.
fn confirmed() -> (Flash<PAGE, WRITE>, Package) {
    let first = Package::new(1, 900);
    let second = Package::new(2, 900);
    let mut flash = Flash::new(2 + 2 * SLOT_LEN / PAGE, 1);
    flash.provision(LAYOUT.slots[0] as usize, &first.slot());
    let mut device = start(flash);
    update(&mut device, &second).unwrap();
    let mut device = start(device.release());
    device.confirm().unwrap();
    (device.release(), second)
}

#[test]
fn a_worn_page_leaves_the_old_model_running() {
    let (flash, old) = confirmed();
    let new = Package::new(3, 1_000);
    let (mut failed, mut succeeded) = (0, 0);
    for page in 0..2 + 2 * SLOT_LEN / PAGE {
        for wear in [Wear::Erasures, Wear::Writes, Wear::StuckBits] {
            for seed in 0..20 {
                let mut flash = flash.clone();
                flash.plan(&[], seed);
                flash.worn = Some((page, wear));
                let mut device = start(flash);
                assert_eq!(version(&device), old.version());
                let result = update(&mut device, &new);
                assert_eq!(version(&device), old.version());
                if let Err(error) = result {
                    let is_named = matches!(
                        error,
                        Error::Flash(FlashError::Worn) | Error::Worn { .. } | Error::Refused(_)
                    );
                    assert!(is_named, "{error:?}");
                    failed += 1;
                }
                // Whatever was written: the old one as long as the new one wasn't activated, and never none.
                let device = start(device.release());
                let expected = if result.is_ok() { new.version() } else { old.version() };
                let found = version(&device);
                let is_uncounted = device.fault().is_some() && found == old.version();
                assert!(found == expected || is_uncounted, "{page} {wear:?} {seed}: {found}");
                succeeded += usize::from(found == new.version());
            }
        }
    }
    assert!(failed > 100 && succeeded > 100, "{failed} failed, {succeeded} succeeded");
}

#[test]
fn a_trial_that_cannot_be_counted_is_not_run() {
    let (flash, old) = confirmed();
    let mut device = start(flash);
    update(&mut device, &Package::new(3, 1_000)).unwrap();
    let flash = device.release();
    let mut uncounted = 0;
    for page in 0..2 {
        let mut flash = flash.clone();
        flash.worn = Some((page, Wear::Erasures));
        let device = start(flash);
        let is_counted = device.fault().is_none();
        assert_eq!(version(&device), if is_counted { 3 } else { old.version() });
        assert_eq!(device.chosen().unwrap().is_on_trial, is_counted);
        uncounted += usize::from(!is_counted);
    }
    // A start writes to one page of the two.
    assert_eq!(uncounted, 1);
}
