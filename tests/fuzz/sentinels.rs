//! Sentinels' sections and their records, of any bytes.

use std::sync::OnceLock;

use bitsback_runtime::sentinel::{
    ClassBet, Draft, Event, Look, Ordinal, RECORD_LEN, Record, RecordFault, SECTION_MAGIC,
    Sentinel, Watch,
};
use bitsback_runtime::writer::set_sentinel;
use bitsback_runtime::{Model, OpKind};

/// Inferences that an accepted sentinel is fed.
const FEEDS: i32 = 30;
/// Where a record's checksum is.
const CRC_AT: usize = RECORD_LEN - 2;

/// A small model without a sentinel, whose outputs are scores.
fn model() -> &'static [u8] {
    static MODEL: OnceLock<Vec<u8>> = OnceLock::new();
    MODEL.get_or_init(|| {
        let mut samples = super::samples().into_iter().map(|(_, file)| file);
        let is_short = |file: &Vec<u8>| {
            Model::parse(file).is_ok_and(|model| model.last_kind() == OpKind::Mean)
        };
        samples.find(is_short).expect("a sample that ends with a mean")
    })
}

/// The parts of a section with every group, whose bets gain nothing.
fn parts(classes: usize) -> Vec<u8> {
    let event = Event { hit: 0, loss: 1 };
    let edges = [10, 20, 30, 40, 50, 60, 70];
    let (up, lo) = ([4096, 3500, 3000, 2500, 2000, 1500, 1000], [600, 500, 400, 300, 200, 100, 0]);
    let of = Ordinal { edges, table: [[0; 4]; 8], low: event, high: event, up, lo };
    let draft = Draft {
        threshold: 100,
        decimate: 1,
        answer: Some(of),
        inputs: Some([of; 2]),
        classes: vec![ClassBet { event, up: 500 }; classes],
        ..Draft::default()
    };
    let mut bytes = draft.to_bytes().expect("bets that are fair");
    bytes.truncate(bytes.len() - 6);
    bytes
}

/// Bytes as the parts of a section, and as changes of a sound one: refused, or proved, written again as they
/// were, and fed without a panic. The model itself stays sound.
pub fn sentinel_section(bytes: &[u8]) {
    let classes = Model::parse(model()).expect("a sample").output().len();
    let mut changed = parts(classes);
    for change in bytes.chunks_exact(2).take(8) {
        let place = usize::from(change[0]) % changed.len();
        changed[place] = change[1];
    }
    for parts in [bytes, &changed] {
        let len = (parts.len() as u16).wrapping_add(6).to_le_bytes();
        let section = [parts, &len, &SECTION_MAGIC].concat();
        let mut file = model().to_vec();
        set_sentinel(&mut file, &section);
        let model = Model::parse(&file).expect("a sentinel is no reason to refuse a model");
        let proved = Sentinel::new(&model);
        if let Ok(Some(sentinel)) = &proved {
            assert_eq!(Draft::of(sentinel).to_bytes().as_deref(), Ok(&section[..]));
        }
        for sentinel in [proved, Sentinel::trust(&model)].into_iter().flatten().flatten() {
            feed(&sentinel, bytes);
        }
    }
}

/// Feeds outputs of any bytes, and reads the record of what was seen.
fn feed(sentinel: &Sentinel<'_>, bytes: &[u8]) {
    let mut watch = Watch::on_trial(sentinel, bytes.len() as u8);
    let output: Vec<i8> = bytes.iter().map(|&byte| byte as i8).collect();
    for step in 0..FEEDS {
        let look = Look { brightness: i32::MIN + (step << 26), roughness: step << 8 };
        let start = step as usize % (output.len() + 1);
        let alarm = watch.feed(sentinel, look, &output[start..]);
        assert_eq!(alarm, watch.alarm(sentinel));
        // A threshold of 0 is never proved.
        let threshold = sentinel.threshold();
        assert!(threshold == 0 || alarm.is_some() == (watch.evidence() >= threshold));
    }
    let mut record = [0; RECORD_LEN];
    watch.record(sentinel, 1, 2, &mut record);
    let read = Record::read(&record).expect("a record that was just written");
    assert_eq!((read.fed, read.alarm.is_some()), (watch.fed(), watch.alarm(sentinel).is_some()));
}

/// Any bytes are no record, or, with the checksum that belongs to them, one whose counts fit.
pub fn sentinel_record(bytes: &[u8]) {
    let _ = Record::read(bytes);
    let mut record = [0; RECORD_LEN];
    for (place, &byte) in record.iter_mut().zip(bytes) {
        *place = byte;
    }
    if let Err(RecordFault::Crc { computed, .. }) = Record::read(&record) {
        record[CRC_AT..].copy_from_slice(&computed.to_le_bytes());
    }
    if let Ok(read) = Record::read(&record) {
        for counts in read.counts.iter().flatten() {
            assert_eq!(counts.iter().sum::<u16>(), read.fed);
        }
        assert!(read.classes.is_none_or(|counts| counts.iter().sum::<u16>() == read.fed));
    }
}
