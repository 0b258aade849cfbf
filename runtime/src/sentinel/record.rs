//! The record of a window, which a device sends home: 58 bytes. `docs/FORMAT.md` gives them.

use core::fmt;

use super::section::{packed_len, put_twelve_bits, twelve_bits};
use super::watch::Watch;
use super::{BINS, MAX_BETS, MAX_CLASSES, ORDINALS, Sentinel};

/// Bytes of a record.
pub const RECORD_LEN: usize = 58;
/// The version that is written and read.
pub const RECORD_VERSION: u8 = 1;
/// Where the counts start.
const COUNTS_AT: usize = 11;
/// Counts that are sent: all but the last of each statistic, and of the classes.
const COUNTS: usize = ORDINALS * (BINS - 1) + MAX_CLASSES - 1;
/// Where the checksum starts.
const CRC_AT: usize = COUNTS_AT + packed_len(COUNTS);
const _: () = assert!(CRC_AT + 2 == RECORD_LEN);
/// Above the number of inferences: which statistics there are.
const ANSWER: u16 = 0x1000;
const INPUTS: u16 = 0x2000;
const CLASSES: u16 = 0x4000;
const TWELVE_BITS: u16 = 0x0FFF;
/// The place of the alarm, where there is none.
const NONE: usize = 255;

/// A record, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The model: its file's checksum.
    pub model: u32,
    /// The device's number of the window.
    pub window: u16,
    /// Inferences that were counted, 0 to 4095.
    pub fed: u16,
    /// The place of the bet that is in alarm; [`Sentinel::bet_at`] says which one it is.
    pub alarm: Option<u8>,
    /// The highest evidence in whole bits, 255 for more.
    pub evidence: u8,
    /// How many inferences had each bin of answer, brightness and roughness; `None` for a statistic that the
    /// model's sentinel doesn't have.
    pub counts: [Option<[u16; BINS]>; ORDINALS],
    /// How many had each class symbol.
    pub classes: Option<[u16; MAX_CLASSES]>,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(all(feature = "defmt", target_os = "none"), derive(defmt::Format))]
pub enum RecordFault {
    /// There are not 58 of them.
    Length {
        /// Bytes given.
        given: usize,
    },
    /// The checksum differs: they were damaged.
    Crc {
        /// As the record says.
        stated: u16,
        /// Of the bytes given.
        computed: u16,
    },
    /// A version that this library doesn't know.
    Version {
        /// The record's.
        found: u8,
    },
    /// There is no bet at the place that is in alarm.
    Alarm {
        /// That place.
        place: u8,
    },
    /// Counts exceed the number of inferences, or are there without their statistic.
    Counts,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { given } => write!(f, "a record has {RECORD_LEN} bytes, not {given}"),
            Self::Crc { stated, computed } => write!(
                f,
                "byte {CRC_AT}: checksum {stated:#06x}, but the bytes give {computed:#06x}: damaged"
            ),
            Self::Version { found } => {
                write!(f, "byte 0: version {found} of records, which is not known here")
            }
            Self::Alarm { place } => write!(f, "byte 9: there is no bet {place}"),
            Self::Counts => f.write_str("byte 11: counts don't fit the number of inferences"),
        }
    }
}

impl core::error::Error for RecordFault {}

impl Record {
    /// Reads a record.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordFault> {
        let length = RecordFault::Length { given: bytes.len() };
        let record: &[u8; RECORD_LEN] = bytes.try_into().map_err(|_| length)?;
        let [version, m0, m1, m2, m3, w0, w1, f0, f1, alarm, evidence, rest @ ..] = *record;
        let (counts, crc) = rest.split_last_chunk::<2>().ok_or(length)?;
        let (stated, computed) = (u16::from_le_bytes(*crc), crc16(record.split_at(CRC_AT).0));
        if stated != computed {
            return Err(RecordFault::Crc { stated, computed });
        }
        if version != RECORD_VERSION {
            return Err(RecordFault::Version { found: version });
        }
        let alarm = match usize::from(alarm) {
            0..MAX_BETS => Some(alarm),
            NONE => None,
            _ => return Err(RecordFault::Alarm { place: alarm }),
        };
        let head = u16::from_le_bytes([f0, f1]);
        if head & !(ANSWER | INPUTS | CLASSES | TWELVE_BITS) != 0 {
            return Err(RecordFault::Counts);
        }
        let fed = head & TWELVE_BITS;
        let numbers: [u16; COUNTS] = core::array::from_fn(|at| twelve_bits(counts, at));
        let (ordinals, classes) = numbers.split_at(ORDINALS * (BINS - 1));
        let mut counts = [None; ORDINALS];
        let (each, _) = ordinals.as_chunks::<{ BINS - 1 }>();
        for ((counts, sent), flag) in counts.iter_mut().zip(each).zip([ANSWER, INPUTS, INPUTS]) {
            *counts = completed(sent, fed, head & flag != 0)?;
        }
        Ok(Self {
            model: u32::from_le_bytes([m0, m1, m2, m3]),
            window: u16::from_le_bytes([w0, w1]),
            fed,
            alarm,
            evidence,
            counts,
            classes: completed(classes, fed, head & CLASSES != 0)?,
        })
    }
}

/// Counts with the last one, which is what the others leave of all inferences; `None` where there is no such
/// statistic, and nothing was counted.
fn completed<const N: usize>(
    sent: &[u16],
    fed: u16,
    is_there: bool,
) -> Result<Option<[u16; N]>, RecordFault> {
    let mut counts = [0; N];
    let mut left = fed;
    for (place, &count) in counts.iter_mut().zip(sent) {
        left = left.checked_sub(count).ok_or(RecordFault::Counts)?;
        *place = count;
    }
    if let Some(last) = counts.last_mut() {
        *last = left;
    }
    match is_there {
        true => Ok(Some(counts)),
        false if left == fed => Ok(None),
        false => Err(RecordFault::Counts),
    }
}

/// Writes the record of a watch, with the ids of model and window.
pub(super) fn write(
    watch: &Watch,
    sentinel: &Sentinel<'_>,
    (model, window): (u32, u16),
    out: &mut [u8; RECORD_LEN],
) {
    let flags = [
        (ANSWER, sentinel.has_answer()),
        (INPUTS, sentinel.has_inputs()),
        (CLASSES, sentinel.has_classes()),
    ];
    let head =
        flags.iter().fold(watch.fed, |head, &(flag, is)| if is { head | flag } else { head });
    let ([m0, m1, m2, m3], [w0, w1]) = (model.to_le_bytes(), window.to_le_bytes());
    let [f0, f1] = head.to_le_bytes();
    let evidence = (watch.evidence() / 16).min(255) as u8;
    *out = [0; RECORD_LEN];
    let (start, rest) = out.split_at_mut(COUNTS_AT);
    start.copy_from_slice(&[
        RECORD_VERSION,
        m0,
        m1,
        m2,
        m3,
        w0,
        w1,
        f0,
        f1,
        watch.alarm_at,
        evidence,
    ]);
    let (ordinals, classes) = watch.counts.split_at(ORDINALS * BINS);
    let ordinals = ordinals.chunks_exact(BINS).zip([ANSWER, INPUTS, INPUTS]);
    let mut position = 0..;
    for (counts, flag) in ordinals.chain([(classes, CLASSES)]) {
        let (_, sent) = counts.split_last().unwrap_or((&0, &[]));
        for (&count, position) in sent.iter().zip(&mut position) {
            // A watch counts symbols of statistics that aren't there, too.
            put_twelve_bits(rest, position, if head & flag != 0 { count } else { 0 });
        }
    }
    let (covered, crc) = out.split_at_mut(CRC_AT);
    crc.copy_from_slice(&crc16(covered).to_le_bytes());
}

/// CRC-16 (CCITT-FALSE): polynomial 0x1021, from 0xFFFF, the highest bit first.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value_of_the_standard() {
        assert_eq!(crc16(b"123456789"), 0x29B1);
        assert_eq!(crc16(b""), 0xFFFF);
    }

    fn sealed(record: &mut [u8; RECORD_LEN]) -> Result<Record, RecordFault> {
        let crc = crc16(&record[..CRC_AT]).to_le_bytes();
        record[CRC_AT..].copy_from_slice(&crc);
        Record::read(record)
    }

    /// A record of 300 inferences, 13 in each bin that is sent, 11 of each class.
    fn record() -> [u8; RECORD_LEN] {
        let mut record = [0; RECORD_LEN];
        record[..COUNTS_AT].copy_from_slice(&[1, 4, 3, 2, 1, 7, 0, 0x2C, 0x71, 25, 31]);
        for position in 0..COUNTS {
            let count = if position < 21 { 13 } else { 11 };
            put_twelve_bits(&mut record[COUNTS_AT..CRC_AT], position, count);
        }
        sealed(&mut record).unwrap();
        record
    }

    #[test]
    fn the_last_count_is_what_is_left() {
        let found = Record::read(&record()).unwrap();
        assert_eq!((found.model, found.window, found.fed), (0x0102_0304, 7, 300));
        assert_eq!((found.alarm, found.evidence), (Some(25), 31));
        assert_eq!(found.counts, [Some([13, 13, 13, 13, 13, 13, 13, 209]); 3]);
        assert_eq!(found.classes, Some([11, 11, 11, 11, 11, 11, 11, 11, 11, 201]));
    }

    #[test]
    fn every_damaged_byte_and_length_is_noticed() {
        let record = record();
        for at in 0..RECORD_LEN {
            for bits in 1..=255 {
                let mut damaged = record;
                damaged[at] ^= bits;
                let found = Record::read(&damaged);
                assert!(matches!(found, Err(RecordFault::Crc { .. })), "{at}: {found:?}");
            }
            let short = Record::read(&record[..at]);
            assert_eq!(short, Err(RecordFault::Length { given: at }));
        }
        let long = [&record[..], &[0]].concat();
        assert_eq!(Record::read(&long), Err(RecordFault::Length { given: 59 }));
    }

    #[test]
    fn each_fault_is_named() {
        let changed = |at: usize, byte: u8| {
            let mut record = record();
            record[at] = byte;
            sealed(&mut record)
        };
        assert_eq!(changed(0, 2), Err(RecordFault::Version { found: 2 }));
        assert_eq!(changed(9, 28), Err(RecordFault::Alarm { place: 28 }));
        assert_eq!(changed(9, 255).unwrap().alarm, None);
        // A bit of the head that means nothing, a statistic less, and more counts than inferences.
        for (at, byte) in [(8, 0xF1), (8, 0x61), (8, 0x51), (8, 0x31), (8, 0x70), (11, 223)] {
            assert_eq!(changed(at, byte), Err(RecordFault::Counts), "{at}: {byte}");
        }
    }
}
