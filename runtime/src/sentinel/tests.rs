//! Sections: written, found in files, refused.

use super::testing::{any_table, draft, draft_with, kinds, model};
use super::*;
use crate::writer::{model_len, seal, set_margin, set_sentinel, write_model};
use crate::{Interpreter, Model};
use proptest::prelude::*;
use std::path::Path;
use std::vec;
use std::vec::Vec;

/// A file of a model of ten values with this section.
fn with(section: &[u8]) -> Vec<u8> {
    let mut file = model(10, false);
    set_sentinel(&mut file, section);
    file
}

/// Section bytes for parts, which needn't be sound.
fn closed(parts: &[u8]) -> Vec<u8> {
    let len = (parts.len() + section::TAIL_LEN) as u16;
    [parts, &len.to_le_bytes(), &SECTION_MAGIC].concat()
}

/// Why a model of ten values refuses these parts.
fn fault(parts: &[u8]) -> Option<Fault> {
    Sentinel::new(&Model::parse(&with(&closed(parts))).unwrap()).err()
}

/// The parts of a section of all kinds, without its end.
fn parts() -> Vec<u8> {
    let mut bytes = draft(10).to_bytes().unwrap();
    bytes.truncate(bytes.len() - section::TAIL_LEN);
    bytes
}

#[test]
fn every_kind_is_written_and_read() {
    for (draft, values, class_alone) in kinds() {
        let bytes = draft.to_bytes().unwrap();
        assert!(bytes.len() <= MAX_SECTION_LEN, "{}", bytes.len());
        let mut file = model(values, class_alone);
        let without = file.clone();
        set_sentinel(&mut file, &bytes);
        assert!(file.ends_with(&bytes));
        assert_eq!(file.len(), without.len() + bytes.len());
        let parsed = Model::parse(&file).unwrap();
        let sentinel = Sentinel::new(&parsed).unwrap().unwrap();
        assert_eq!(Draft::of(&sentinel), draft);
        assert_eq!(Draft::of(&sentinel).to_bytes().unwrap(), bytes);
        let trusted = Sentinel::trust(&parsed).unwrap().unwrap();
        assert_eq!((trusted.answers(), Draft::of(&trusted)), (sentinel.answers(), draft));
        let places = (0..MAX_BETS).filter(|&place| sentinel.has_bet(place)).count();
        assert_eq!(sentinel.bets(), places);
        // Another takes its place, and none is as before.
        set_sentinel(&mut file, &bytes);
        assert_eq!(file.len(), without.len() + bytes.len());
        set_sentinel(&mut file, &[]);
        assert_eq!(file, without);
    }
    assert_eq!(draft(10).to_bytes().unwrap().len(), 255, "the longest");
}

#[test]
fn a_bound_of_one_can_be_stored_and_one_just_below_it_becomes_one() {
    let mut draft = Draft { inputs: None, classes: Vec::new(), ..draft(0) };
    let Some(answer) = &mut draft.answer else { panic!("it has one") };
    answer.table = [[0; TILTS]; 8];
    for (up, read) in [(4096, 4096), (4095, 4096), (4094, 4094)] {
        let Some(answer) = &mut draft.answer else { panic!("it has one") };
        answer.up[0] = up;
        answer.lo[0] = 4000;
        let bytes = draft.to_bytes().unwrap();
        let sentinel = Sentinel::read(&bytes[..bytes.len() - section::TAIL_LEN], false).unwrap();
        assert_eq!(Draft::of(&sentinel).answer.unwrap().up[0], read);
    }
}

#[test]
fn files_from_before_have_none_and_compute_the_same_with_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "bbk") {
            continue;
        }
        let mut file = std::fs::read(&path).unwrap();
        let output = |file: &[u8]| {
            let model = Model::parse(file).unwrap();
            let mut arena = vec![0; model.arena_len()];
            let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
            interpreter.input_mut().fill(17);
            interpreter.invoke();
            let there = Sentinel::new(&model).map(|sentinel| sentinel.is_some());
            (interpreter.output().to_vec(), there)
        };
        let (before, there) = output(&file);
        assert_eq!(there, Ok(false), "{path:?}");
        let inputs = Draft { answer: None, classes: Vec::new(), ..draft(0) };
        set_sentinel(&mut file, &inputs.to_bytes().unwrap());
        assert_eq!(output(&file), (before, Ok(true)), "{path:?}");
        count += 1;
    }
    assert!(count > 20, "the old files are gone");
}

#[test]
fn weights_that_end_as_a_section_does_are_no_section() {
    let plain = model(3, false);
    let parsed = Model::parse(&plain).unwrap();
    let (meta, ops): (_, Vec<_>) = (parsed.meta(), parsed.ops().map(|step| step.op).collect());
    let weights = [&[9, 9], &SECTION_MAGIC[..]].concat();
    let mut file = vec![0; model_len(&meta, &ops, &weights).unwrap()];
    assert_eq!(write_model(&meta, &ops, &weights, &mut file), Ok(plain.len() + 10));
    let none = |file: &[u8]| Sentinel::new(&Model::parse(file).unwrap()).unwrap().is_none();
    assert!(none(&file));
    let before = file.clone();
    set_sentinel(&mut file, &draft(3).to_bytes().unwrap());
    assert!(!none(&file));
    set_sentinel(&mut file, &[]);
    assert_eq!(file, before);
    // Of a writer that knows nothing of sections.
    file.truncate(file.len() - 4);
    let len = file.len() as u32;
    file[12..16].copy_from_slice(&len.to_le_bytes());
    seal(&mut file);
    assert_eq!(Sentinel::new(&Model::parse(&file).unwrap()).unwrap_err(), Fault::Length);
    set_sentinel(&mut file, &[]);
    assert_eq!(file, before);
    let mut no_model = b"none".to_vec();
    set_sentinel(&mut no_model, &[1]);
    assert_eq!(no_model, b"none");
}

#[test]
fn a_margin_and_a_sentinel_go_together() {
    let mut file = with(&draft(10).to_bytes().unwrap());
    set_margin(&mut file, 9);
    let model = Model::parse(&file).unwrap();
    assert_eq!((model.margin(), Sentinel::new(&model).unwrap().is_some()), (9, true));
}

/// One change of a sound section for each fault.
#[test]
fn each_fault_is_named() {
    let sound = parts();
    let changed = |at: usize, byte: u8| {
        let mut parts = sound.clone();
        parts[at] = byte;
        fault(&parts)
    };
    let (edges, tables) = (section::HEAD_LEN, section::HEAD_LEN + 7 + 28);
    let (tails, classes) = (tables + 96, tables + 96 + 12);
    let bounds = classes + 20;
    assert_eq!(fault(&sound), None);
    for (at, byte, expected) in [
        (1, 255, Fault::Numbers),   // threshold
        (2, 0x27, Fault::Reserved), // kind
        (2, 0x0F, Fault::Kind),     // values with classes
        (2, 0x0A, Fault::Kind),     // values without their statistic
        (2, 0x00, Fault::Kind),
        (2, 0x17, Fault::Classes), // a map of ten
        (2, 0x03, Fault::Classes), // ten without classes
        (2, 0x06, Fault::Length),
        (3, 32, Fault::Numbers), // shift
        (4, 0, Fault::Numbers),  // decimation
        (5, 0, Fault::Classes),
        (5, 11, Fault::Classes),
        (5, 9, Fault::Length),
        (7, 17, Fault::Numbers), // tolerance
        (edges + 1, 5, Fault::Edges { statistic: 0 }),
        (edges + 7 + 3, 0xFE, Fault::Edges { statistic: 1 }),
        (edges + 21, 30, Fault::Edges { statistic: 2 }),
        (tables, 127, Fault::Bet { place: 0 }),
        (tables + 3, 127, Fault::Bet { place: 3 }),
        (tables + 32 + 30, 127, Fault::Bet { place: 6 }),
        (tables + 95, 127, Fault::Bet { place: 11 }),
        (tails, 128, Fault::Bet { place: 12 }),
        (tails + 1, 0, Fault::Bet { place: 12 }),
        (tails + 3, 128, Fault::Bet { place: 13 }),
        (tails + 10, 127, Fault::Bet { place: 17 }),
        (classes + 1, 0, Fault::Bet { place: 18 }),
        (classes + 18, 127, Fault::Bet { place: 27 }),
        (bounds + 1, 0x90, Fault::Bounds { statistic: 0 }),
    ] {
        assert_eq!(changed(at, byte), Some(expected), "byte {at}: {byte}");
    }
    assert_eq!(changed(0, 0), None, "a threshold of 256");
    let small = Draft { threshold: 0, ..draft(10) };
    assert_eq!(small.to_bytes(), Err(Fault::Numbers));
}

#[test]
fn each_fault_of_a_draft_is_named() {
    let mapped = |map, classes| Draft { map: Some(map), ..draft(classes) }.to_bytes();
    assert_eq!(mapped([1, 2, 3, 5, 4], 5), Err(Fault::Map));
    assert_eq!(mapped([1, 2, 3, 3, 4], 5), Err(Fault::Map));
    assert_eq!(mapped([1, 2, 3, 4, 5], 6), Err(Fault::Classes));
    assert_eq!(draft(11).to_bytes(), Err(Fault::Classes));
    assert_eq!(draft(300).to_bytes(), Err(Fault::Classes));
    let change = |change: fn(&mut Ordinal)| {
        let mut draft = draft(10);
        draft.answer.iter_mut().for_each(change);
        draft.to_bytes()
    };
    assert_eq!(change(|of| of.edges[6] = 256), Err(Fault::Edges { statistic: 0 }));
    assert_eq!(change(|of| of.up[0] = 4097), Err(Fault::Bounds { statistic: 0 }));
    assert_eq!(change(|of| of.lo[0] = 4096), Err(Fault::Bounds { statistic: 0 }));
    assert_eq!(change(|of| of.lo[6] = 554), Err(Fault::Bounds { statistic: 0 }));
    let mut high = draft(10);
    high.classes[3].up = 5000;
    assert_eq!(high.to_bytes(), Err(Fault::Bet { place: 21 }));
    // Free bits, of an odd number of bounds.
    let odd = Draft { map: Some([0, 1, 2, 3, 4]), ..draft(5) }.to_bytes().unwrap();
    let mut parts = odd[..odd.len() - section::TAIL_LEN].to_vec();
    *parts.last_mut().unwrap() |= 0x10;
    assert_eq!(fault(&parts), Some(Fault::Reserved));
}

#[test]
fn a_section_of_another_model_is_refused() {
    for (section, _, section_class) in kinds() {
        let bytes = section.to_bytes().unwrap();
        for (values, class_alone) in [(1, false), (2, false), (9, false), (10, false), (10, true)] {
            let mut file = model(values, class_alone);
            set_sentinel(&mut file, &bytes);
            let made = Sentinel::new(&Model::parse(&file).unwrap()).map(|_| ());
            let (classes, values) = (section.classes.len(), usize::from(values));
            let fits = match (section.answer.is_some(), section.values) {
                (_, true) => !class_alone,
                (true, _) if class_alone => false,
                (false, _) if classes == 0 || class_alone => true,
                _ => values > 1 && (classes == 0 || classes == values) && section.map.is_none(),
            };
            let expected = if fits { Ok(()) } else { Err(Fault::Model) };
            assert_eq!(made, expected, "{values} {class_alone} {section_class} {section:?}");
        }
    }
}

/// Whatever is accepted can be fed and recorded.
fn use_it(file: &[u8], output: &[i8]) {
    let Ok(model) = Model::parse(file) else { panic!("a section is no reason to refuse a model") };
    for sentinel in [Sentinel::new(&model), Sentinel::trust(&model)].into_iter().flatten().flatten()
    {
        let mut watch = Watch::on_trial(&sentinel, 10);
        let mut out = [0; RECORD_LEN];
        for step in 0..40 {
            let look = Look { brightness: i32::MIN.wrapping_add(step << 26), roughness: step << 9 };
            let _ = watch.feed(&sentinel, look, output);
            watch.record(&sentinel, 1, 2, &mut out);
            Record::read(&out).unwrap();
        }
    }
}

#[test]
fn no_truncation_panics() {
    let sound = draft(10).to_bytes().unwrap();
    for len in 0..sound.len() {
        let parts = &sound[..len.min(sound.len() - section::TAIL_LEN - 1)];
        assert_eq!(fault(parts), Some(Fault::Length), "{len}");
        use_it(&with(&closed(parts)), &[1; 10]);
        // The end alone, which then says more than there is, of whatever is before it.
        let cut = &sound[len..];
        let found = section::find(cut);
        let expected = match cut.len() {
            4.. => Err(Fault::Length),
            _ => Ok(None),
        };
        assert_eq!(found, if len == 0 { Ok(Some(parts_of(&sound))) } else { expected });
    }
    // Lengths that the end alone doesn't reach.
    for len in 0..=section::TAIL_LEN as u16 {
        let end = [&[0; 9], &len.to_le_bytes()[..], &SECTION_MAGIC].concat();
        assert_eq!(section::find(&end).is_ok(), usize::from(len) == section::TAIL_LEN, "{len}");
    }
}

fn parts_of(section: &[u8]) -> &[u8] {
    &section[..section.len() - section::TAIL_LEN]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_used(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        output in prop::collection::vec(any::<i8>(), 0..12),
    ) {
        use_it(&with(&closed(&bytes)), &output);
        use_it(&with(&[&bytes[..], &SECTION_MAGIC].concat()), &output);
    }

    #[test]
    fn changed_sections_are_refused_or_used(
        table in any_table(),
        changes in prop::collection::vec((0usize..255, any::<u8>()), 1..4),
        output in prop::collection::vec(any::<i8>(), 10),
    ) {
        let mut bytes = draft_with(10, table).to_bytes().unwrap();
        use_it(&with(&bytes), &output);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        use_it(&with(&bytes), &output);
    }
}
