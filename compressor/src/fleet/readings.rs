//! Records as they arrive: in any order, some of them twice, some damaged, some of other models.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bitsback_runtime::sentinel::{RECORD_LEN, RECORD_VERSION, Record, RecordFault, Sentinel};
use serde::Serialize;

use crate::sentinel::Counts;

/// Records of one model, by device and window.
#[derive(Debug)]
pub(crate) struct Readings {
    model: u32,
    devices: BTreeMap<String, BTreeMap<u16, Record>>,
    duplicates: u64,
    skipped: Vec<Skipped>,
}

/// Bytes that were passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// The file.
    pub(crate) place: String,
    /// The first byte.
    pub(crate) offset: usize,
    /// How many bytes.
    pub(crate) bytes: usize,
    /// Why.
    pub(crate) reason: String,
}

impl Readings {
    /// Nothing yet, of the model with this id.
    pub(crate) fn of(model: u32) -> Self {
        Self { model, devices: BTreeMap::new(), duplicates: 0, skipped: Vec::new() }
    }

    /// Takes the records of a device in, one after another in `bytes`, which were read at `place`. What is no
    /// record of this model's sentinel is passed over and remembered: behind damaged bytes the next record is
    /// sought at every byte.
    pub(crate) fn take(
        &mut self,
        device: &str,
        place: &str,
        bytes: &[u8],
        sentinel: &Sentinel<'_>,
    ) {
        let windows = self.devices.entry(device.to_owned()).or_default();
        let mut damage: Option<(usize, RecordFault)> = None;
        let skip = |skipped: &mut Vec<Skipped>, offset, bytes, reason: &dyn ToString| {
            let reason = reason.to_string();
            skipped.push(Skipped { place: place.to_owned(), offset, bytes, reason });
        };
        let mut at = 0;
        while at < bytes.len() {
            if damage.is_some() && bytes[at] != RECORD_VERSION {
                at += 1;
                continue;
            }
            let end = bytes.len().min(at + RECORD_LEN);
            let record = match Record::read(&bytes[at..end]) {
                Ok(record) => record,
                Err(fault) => {
                    damage.get_or_insert((at, fault));
                    at += 1;
                    continue;
                }
            };
            if let Some((from, fault)) = damage.take() {
                skip(&mut self.skipped, from, at - from, &fault);
            }
            let stray = stray(&record, self.model, sentinel);
            match (stray, windows.entry(record.window)) {
                (Some(reason), _) => skip(&mut self.skipped, at, RECORD_LEN, &reason),
                (None, Entry::Vacant(window)) => {
                    window.insert(record);
                }
                (None, Entry::Occupied(first)) if *first.get() == record => self.duplicates += 1,
                (None, Entry::Occupied(_)) => {
                    let window = record.window;
                    let reason = format!("another record of window {window} came first");
                    skip(&mut self.skipped, at, RECORD_LEN, &reason);
                }
            }
            at += RECORD_LEN;
        }
        if let Some((from, fault)) = damage {
            skip(&mut self.skipped, from, bytes.len() - from, &fault);
        }
    }

    /// The devices that were named, and their windows in order. A device may have none.
    pub(super) fn devices(&self) -> &BTreeMap<String, BTreeMap<u16, Record>> {
        &self.devices
    }

    /// What all devices counted together.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for record in self.devices.values().flat_map(BTreeMap::values) {
            sum.all += u64::from(record.fed);
            let ordinals = sum
                .ordinals
                .iter_mut()
                .zip(&record.counts)
                .flat_map(|(sum, counts)| sum.iter_mut().zip(counts.iter().flatten()));
            let classes = sum.classes.iter_mut().zip(record.classes.iter().flatten());
            ordinals.chain(classes).for_each(|(sum, &count)| *sum += u64::from(count));
        }
        sum
    }

    /// Records that are used.
    pub(crate) fn records(&self) -> usize {
        self.devices.values().map(BTreeMap::len).sum()
    }

    /// Records that came more than once, and count once.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// What was passed over.
    pub(crate) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }
}

/// Why a sound record isn't one of this model's sentinel, if it isn't.
fn stray(record: &Record, own: u32, sentinel: &Sentinel<'_>) -> Option<String> {
    let found = record.model;
    if found != own {
        return Some(format!("of another model, {found:08x} instead of {own:08x}"));
    }
    let expected = [sentinel.has_answer(), sentinel.has_inputs(), sentinel.has_inputs()];
    let fits = record.counts.each_ref().map(Option::is_some) == expected
        && record.classes.is_some() == sentinel.has_classes()
        && record.alarm.is_none_or(|place| sentinel.has_bet(place.into()));
    (!fits).then(|| "of another sentinel: its statistics or bets are others".to_owned())
}
