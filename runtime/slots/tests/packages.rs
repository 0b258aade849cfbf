//! Signed packages into slots: full ones, deltas against the model that runs, in pieces of any size, interrupted,
//! and what is refused before anything is erased.
#![cfg(feature = "signature")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
// Other tests use the rest of it.
#![allow(dead_code)]

mod power;

use bitsback_runtime::Model;
use bitsback_slots::package::{
    Header, Isa, Needs, PAYLOAD_AT, PackageError, PackageGate, PublicKey, digest, emit_number,
    message,
};
use bitsback_slots::{Error, Layout, Restart, Slots};
use ed25519_dalek::{Signer, SigningKey};
use power::flash::Flash;

const OLD: &[u8] = include_bytes!("../../../tests/golden/digits/model.bbk");
/// The same but for five bytes of its header.
const NEW: &[u8] = include_bytes!("../../../tests/golden/unsure/model.bbk");
const OTHER: &[u8] = include_bytes!("../../../tests/golden/argmax/model.bbk");
const PAGE: usize = 256;
const LAYOUT: Layout = Layout::contiguous(0, PAGE as u32, 4096);
const PAGES: usize = 2 + 2 * 4096 / PAGE;

type Gate = PackageGate<PublicKey>;
type Device = Slots<Flash<PAGE, 4>, Gate>;

fn secret() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn package(version: u32, model: &[u8], delta: Option<(&[u8], Vec<u8>)>) -> Vec<u8> {
    let parsed = Model::parse(model).unwrap();
    let key = PublicKey::new(secret().verifying_key().to_bytes());
    let (base, payload) = match delta {
        Some((base, payload)) => (Some(digest(base)), payload),
        None => (None, model.to_vec()),
    };
    let head = Header {
        key: key.id(),
        version,
        model_len: model.len() as u32,
        payload_len: payload.len() as u32,
        needs: Needs::of(&parsed, Isa::ANY, parsed.header().arena_len),
        digest: digest(model),
        base,
    }
    .emit();
    [&head[..], &secret().sign(&message(&head)).to_bytes(), &payload].concat()
}

/// What makes `model` of a base of the same length: what is equal is copied, the rest inserted.
fn delta(base: &[u8], model: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let number = |payload: &mut Vec<u8>, value: usize| {
        let (bytes, len) = emit_number(value as u32);
        payload.extend_from_slice(&bytes[..len]);
    };
    let is_same = |at: usize| base[at] == model[at];
    let mut at = 0;
    while at < model.len() {
        let len = (at..model.len()).take_while(|&next| is_same(next) == is_same(at)).count();
        number(&mut payload, len << 1 | usize::from(is_same(at)));
        match is_same(at) {
            true => number(&mut payload, 0),
            false => payload.extend_from_slice(&model[at..at + len]),
        }
        at += len;
    }
    payload
}

fn start(flash: Flash<PAGE, 4>) -> Device {
    let key = PublicKey::new(secret().verifying_key().to_bytes());
    Slots::start(flash, PackageGate::new(key, 1 << 14), LAYOUT, Restart::Other).unwrap()
}

fn restart(device: Device) -> Device {
    start(device.release())
}

/// Takes a package in, in pieces of so many bytes.
fn install(device: Device, package: &[u8], piece: usize) -> Device {
    let mut device = device;
    let mut unpacker = device.begin_package(package).unwrap();
    let payload = &package[PAYLOAD_AT..][unpacker.next() as usize..];
    for bytes in payload.chunks(piece) {
        device.take(&mut unpacker, bytes).unwrap();
    }
    device.finish().unwrap();
    device.activate(1).unwrap();
    let mut device = restart(device);
    if device.chosen().unwrap().is_on_trial {
        device.confirm().unwrap();
    }
    device
}

fn provisioned() -> Device {
    install(start(Flash::new(PAGES, 1)), &package(1, OLD, None), 100)
}

#[test]
fn full_packages_and_deltas_in_pieces_of_any_size() {
    for piece in [1, 3, 63, 64, 65, 5000] {
        let device = install(start(Flash::new(PAGES, 2)), &package(1, OLD, None), piece);
        assert_eq!(device.model(), Some(OLD));
        let payload = delta(OLD, NEW);
        assert!(payload.len() < 40);
        let device = install(device, &package(2, NEW, Some((OLD, payload))), piece);
        assert_eq!(device.model(), Some(NEW));
        assert_eq!(device.chosen().unwrap().version, 2);
    }
}

/// A full package goes on at the byte that is missing, a delta from its beginning, wherever the power went.
#[test]
fn interrupted_packages_go_on() {
    let small = delta(OLD, NEW);
    for (package, len) in [
        (package(2, NEW, None), NEW.len()),
        (package(2, NEW, Some((OLD, small.clone()))), small.len()),
    ] {
        let mut resumed = 0;
        for sent in (0..=len).step_by(1 + len / 150) {
            let mut device = provisioned();
            let mut unpacker = device.begin_package(&package).unwrap();
            device.take(&mut unpacker, &package[PAYLOAD_AT..][..sent]).unwrap();
            let mut device = restart(device);
            assert_eq!(device.model(), Some(OLD));
            let unpacker = device.begin_package(&package).unwrap();
            assert!(unpacker.next() as usize <= sent);
            resumed = resumed.max(unpacker.made());
            let device = install(device, &package, 50);
            assert_eq!(device.model(), Some(NEW), "{sent} bytes of {len}");
        }
        assert!(resumed > 1500, "{resumed}");
    }
}

/// Refusals come before anything is written; what is staged already stays.
#[test]
fn what_is_refused_costs_no_page() {
    let mut device = provisioned();
    let mut unpacker = device.begin_package(&package(3, NEW, None)).unwrap();
    device.take(&mut unpacker, &NEW[..1800]).unwrap();
    let received = device.received();
    assert!(received > Some(1000));
    let steps = device.flash().steps();
    let good = package(2, NEW, None);
    let mut changed = good.clone();
    changed[16] = 9;
    let refused = |error| matches!(error, Error::Refused(PackageError::Signature));
    assert!(refused(device.begin_package(&changed).unwrap_err()));
    let old = device.begin_package(&package(1, NEW, None)).unwrap_err();
    assert_eq!(old, Error::Version { found: 1, floor: 1 });
    let foreign = package(2, NEW, Some((OTHER, delta(OLD, NEW))));
    let error = device.begin_package(&foreign).unwrap_err();
    assert_eq!(error, Error::Refused(PackageError::Base));
    for len in 0..PAYLOAD_AT {
        let error = device.begin_package(&good[..len]).unwrap_err();
        assert!(matches!(error, Error::Refused(PackageError::Truncated { .. })), "{error}");
    }
    assert_eq!(device.take(&mut unpacker, &NEW[1800..]), Err(Error::NothingStaged));
    assert_eq!((device.received(), device.flash().steps()), (received, steps));
    let device = install(device, &package(3, NEW, None), 7);
    assert_eq!(device.model(), Some(NEW));
}

#[test]
fn more_than_the_header_says_and_damaged_deltas_are_errors() {
    let mut device = provisioned();
    let full = package(2, NEW, None);
    let mut unpacker = device.begin_package(&full).unwrap();
    let len = NEW.len() as u32;
    let more = [NEW, &[0; 3]].concat();
    let error = device.take(&mut unpacker, &more).unwrap_err();
    assert_eq!(error, Error::Incomplete { received: len + 3, len });
    let mut wild = delta(OLD, NEW);
    // The second number of the first copy: a place outside of the base.
    assert_eq!(wild[1], 0);
    wild[1] = 1;
    let wild = package(2, NEW, Some((OLD, wild)));
    let mut unpacker = device.begin_package(&wild).unwrap();
    let error = device.take(&mut unpacker, &wild[PAYLOAD_AT..]).unwrap_err();
    assert!(matches!(error, Error::Refused(PackageError::Delta(_))), "{error}");
    assert!(matches!(device.finish(), Err(Error::Incomplete { .. })));
}
