//! Flash contents made of a few bytes: sound records and slots, changed.

use bitsback_runtime::format::crc32;
use bitsback_slots::{Gate, HEAD_LEN, Layout, Reason, Restart, Slots};
use embedded_storage::nor_flash::ReadNorFlash;

use super::flash::Flash;
use super::package::{Package, TestGate};

const PAGE: usize = 256;
const WRITE: usize = 4;
const SLOT_LEN: usize = 3 * PAGE;
const LAYOUT: Layout = Layout::contiguous(0, PAGE as u32, SLOT_LEN as u32);
const MODEL_LEN: usize = 400;
/// A record's fields, its checksum and its seal.
const FIELDS_LEN: usize = 20;
const RECORD_LEN: usize = 28;

/// What became of a device.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub is_chosen: bool,
    /// Whether a new model went all the way.
    pub is_updated: bool,
}

/// Starts a device whose flash holds what `bytes` say, checks what it chooses, and updates it.
///
/// # Panics
/// When it chooses what the gate refuses.
pub fn start_with(bytes: &[u8]) -> Outcome {
    let mut bytes = bytes.iter().copied();
    let mut flash = Flash::<PAGE, WRITE>::new(2 + 2 * SLOT_LEN / PAGE, 1);
    for slot in LAYOUT.slots {
        let kind = bytes.next().unwrap_or(0);
        let mut content = Package::new(u32::from(kind & 7), MODEL_LEN).slot();
        match kind >> 6 {
            0 => content.clear(),
            1 => content[usize::from(kind) % HEAD_LEN] ^= 1 << (kind & 7),
            _ => {}
        }
        flash.provision(slot as usize, &content);
    }
    let mut at = 0;
    while let Some(what) = bytes.next() {
        at += usize::from(what >> 4 & 3) * RECORD_LEN;
        let record = record(what, &mut bytes);
        if at + record.len() > 2 * PAGE {
            break;
        }
        flash.provision(at, &record);
        at += record.len();
    }
    let slots = start(flash, Restart::Watchdog);
    let is_chosen = slots.chosen().is_some();
    Outcome { is_chosen, is_updated: update(slots) == Some(()) }
}

/// A record with fields of these bytes; the checksum is right, or almost.
fn record(what: u8, bytes: &mut impl Iterator<Item = u8>) -> [u8; RECORD_LEN] {
    let mut record = [0; RECORD_LEN];
    let small = [0, 4, 8, 12].map(|at| at + usize::from(what & 1));
    for at in small.into_iter().chain(16..FIELDS_LEN) {
        record[at] = bytes.next().unwrap_or(0);
    }
    if what & 2 == 0 {
        // The version of records.
        record[16] = record[16] & 0x1F | 1 << 5;
    }
    let crc = crc32(&[&record[..FIELDS_LEN]]) ^ u32::from(what & 0xF == 0xF);
    record[FIELDS_LEN..][..4].copy_from_slice(&crc.to_le_bytes());
    record[24..].fill(if what & 4 == 0 { 0 } else { 0xFF });
    record
}

fn start(mut flash: Flash<PAGE, WRITE>, restart: Restart) -> Slots<Flash<PAGE, WRITE>, TestGate> {
    flash.power_up();
    let slots = Slots::start(flash, TestGate, LAYOUT, restart).unwrap();
    if let (Some(chosen), Some(model)) = (slots.chosen(), slots.model()) {
        assert!(chosen.offset as usize + model.len() <= slots.flash().capacity());
        let slot = chosen.offset as usize - HEAD_LEN;
        assert!(LAYOUT.slots.contains(&(slot as u32)));
        let head =
            bitsback_slots::MappedFlash::slice(slots.flash(), slot as u32, HEAD_LEN).unwrap();
        assert_eq!(TestGate.announced(head).map(|head| head.version), Ok(chosen.version));
        assert_eq!(TestGate.check_model(head, model), Ok(()));
    }
    slots
}

/// The whole cycle, as far as it goes.
fn update(mut slots: Slots<Flash<PAGE, WRITE>, TestGate>) -> Option<()> {
    let _ = (slots.confirm(), slots.roll_back(Reason::Alarm), slots.finish());
    let mut slots = start(slots.release(), Restart::Other);
    let version = slots.state().floor().saturating_add(1);
    let package = Package::new(version, MODEL_LEN);
    let there = slots.begin(&package.head).ok()?;
    slots.write(package.model.get(there as usize..)?).ok()?;
    slots.finish().ok()?;
    slots.activate(1).ok()?;
    let mut slots = start(slots.release(), Restart::Other);
    if slots.chosen().is_some_and(|chosen| chosen.is_on_trial) {
        slots.confirm().ok()?;
    }
    let is_new = slots.chosen().is_some_and(|chosen| chosen.version == version);
    assert!(is_new, "an update that went well runs");
    Some(())
}
