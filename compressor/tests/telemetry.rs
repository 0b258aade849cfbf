//! `bitsback telemetry` as its users call it, with records of the device's own code.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bitsback::data::{DataConfig, DataKind, load};
use bitsback_runtime::sentinel::{RECORD_LEN, Sentinel, Watch};
use bitsback_runtime::{Interpreter, Model};
use serde_json::Value;
use tempfile::TempDir;

/// Inferences of a window.
const WINDOW: usize = 200;

/// A folder with a model, and devices that run it.
struct Scene {
    folder: TempDir,
    model: Vec<u8>,
    /// Images, row after row of 64 pixels.
    images: Vec<Vec<u8>>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/watched");
        let model = fs::read(golden.join("model.bbk")).unwrap();
        fs::write(folder.path().join("model.bbk"), &model).unwrap();
        let digits = load(&DataConfig { kind: DataKind::Digits, ..DataConfig::default() }).unwrap();
        let images = (0..digits.len() as u32).map(|at| digits.bytes(at).unwrap().to_vec());
        Self { folder, model, images: images.collect() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Windows of a device that sees every `stride`-th image, darker by a factor.
    fn device(&self, windows: u16, stride: usize, gain: f64) -> Vec<u8> {
        let model = Model::parse(&self.model).unwrap();
        let sentinel = Sentinel::new(&model).unwrap().unwrap();
        let mut arena = vec![0; model.arena_len()];
        let mut interpreter = Interpreter::new(&model, &mut arena).unwrap();
        let (mut watch, mut records) = (Watch::new(), Vec::new());
        let mut images = (0..).map(|turn| &self.images[turn * stride % self.images.len()]);
        for window in 0..windows {
            for image in images.by_ref().take(WINDOW) {
                let pixels: Vec<u8> =
                    image.iter().map(|&pixel| (f64::from(pixel) * gain) as u8).collect();
                let look = interpreter.set_input_bytes_looking(&pixels).unwrap();
                interpreter.invoke();
                watch.feed(&sentinel, look, interpreter.output());
            }
            let mut record = [0; RECORD_LEN];
            watch.record(&sentinel, model.header().crc, window, &mut record);
            watch.start_window();
            records.extend(record);
        }
        records
    }

    fn run(&self, line: &str, input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
        command.current_dir(self.folder.path()).args(line.split(' '));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The exit code, and what was found.
    fn judged(&self, line: &str, input: &[u8]) -> (i32, Value) {
        let output = self.run(&format!("telemetry model.bbk {line} --json"), input);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().last().unwrap_or("null");
        (output.status.code().unwrap(), serde_json::from_str(line).unwrap())
    }
}

/// Seven devices, of which the fifth has become dark.
fn fleet(scene: &Scene) {
    fs::create_dir_all(scene.path("records/in-parts")).unwrap();
    for (number, stride) in [7, 11, 13, 17, 19].into_iter().enumerate() {
        let gain = if number == 4 { 0.6 } else { 1.0 };
        let records = scene.device(5, stride, gain);
        fs::write(scene.path(&format!("records/{number}.rec")), records).unwrap();
    }
    for (part, window) in scene.device(4, 23, 1.0).chunks(RECORD_LEN).enumerate() {
        fs::write(scene.path(&format!("records/in-parts/{part}")), window).unwrap();
    }
}

#[test]
fn the_dark_device_is_found_and_the_others_are_not() {
    let scene = Scene::new();
    fleet(&scene);
    let (code, found) = scene.judged("records", &[]);
    assert_eq!((code, &found["drifted"], &found["records"]), (5, &true.into(), &29.into()));
    let devices = found["devices"].as_array().unwrap();
    let drifted: Vec<&str> = devices
        .iter()
        .filter(|device| device["drifted"] == true)
        .map(|device| device["name"].as_str().unwrap())
        .collect();
    assert_eq!(drifted, ["records/4.rec"]);
    assert_eq!(devices[0]["cause"], "brightness lo6");
    assert!(devices[0]["own_alarm"].as_str().unwrap().starts_with("brightness"));
    assert!(devices[1]["evidence_bits"].as_f64().unwrap() < 5.0, "{}", devices[1]);
    let (code, found) = scene.judged("records/0.rec records/1.rec records/in-parts", &[]);
    assert_eq!((code, &found["drifted"]), (0, &false.into()), "{found}");
    let text = scene.run("telemetry model.bbk records", &[]);
    let (out, err) =
        (String::from_utf8(text.stdout).unwrap(), String::from_utf8(text.stderr).unwrap());
    assert!(out.contains("differs") && err.contains("1 of 6 devices"), "{out}{err}");
}

#[test]
fn order_repetition_and_pipes_change_nothing() {
    let scene = Scene::new();
    let records = scene.device(4, 7, 0.9);
    let (_, expected) = scene.judged("-", &records);
    let mut shuffled: Vec<&[u8]> = records.chunks(RECORD_LEN).rev().collect();
    shuffled.push(shuffled[1]);
    let (_, found) = scene.judged("-", &shuffled.concat());
    assert_eq!((&expected["duplicates"], &found["duplicates"]), (&0.into(), &1.into()));
    assert_eq!(expected["devices"], found["devices"]);
    assert_eq!(expected["devices"][0]["inferences"], 4 * WINDOW);
}

#[test]
fn damaged_and_foreign_records_are_named_and_left_out() {
    let scene = Scene::new();
    let good = scene.device(3, 7, 1.0);
    let mut bytes = good.clone();
    bytes[RECORD_LEN + 20] ^= 1;
    // Rubbish before the last record, and half a record behind it.
    bytes.splice(2 * RECORD_LEN..2 * RECORD_LEN, [0xA5; 7]);
    bytes.extend(&good[..30]);
    let mut foreign = good[..RECORD_LEN].to_vec();
    foreign[1] ^= 1;
    let crc = foreign[..RECORD_LEN - 2].iter().fold(0xFFFFu16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    });
    foreign[RECORD_LEN - 2..].copy_from_slice(&crc.to_le_bytes());
    bytes.splice(0..0, foreign.iter().copied());
    fs::write(scene.path("r"), &bytes).unwrap();
    let (code, found) = scene.judged("r", &[]);
    assert_eq!((code, &found["records"]), (0, &2.into()), "{found}");
    assert_eq!(found["devices"][0]["missing"], 1);
    let skipped = found["skipped"].as_array().unwrap();
    let places: Vec<(u64, u64)> = skipped
        .iter()
        .map(|s| (s["offset"].as_u64().unwrap(), s["bytes"].as_u64().unwrap()))
        .collect();
    let at = |records: u64| records * RECORD_LEN as u64;
    assert_eq!(places, [(0, at(1)), (at(2), at(1) + 7), (at(4) + 7, 30)]);
    assert!(skipped[0]["reason"].as_str().unwrap().contains("of another model"));
    assert!(skipped[1]["reason"].as_str().unwrap().contains("checksum"));
    // Another record of a window that is there.
    let other = scene.device(1, 11, 1.0);
    let (_, found) = scene.judged("-", &[&good[..], &other[..]].concat());
    let reason = found["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("window 0 came first"), "{reason}");
}

/// A device that has become dark, and is meant to be: by its own records it is no change any more.
#[test]
fn a_sentinel_is_made_anew_by_what_devices_count() {
    let mut scene = Scene::new();
    let dark = scene.device(10, 7, 0.6);
    fs::write(scene.path("dark.rec"), &dark).unwrap();
    assert_eq!(scene.judged("dark.rec", &[]).0, 5);
    let anew = "sentinel model.bbk --records dark.rec --false-alarms 0.01 -o anew.bbk --json";
    let output = scene.run(anew, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&found["examples"], &found["profile"]), (&2_000.into(), &"all".into()));
    assert_eq!(found["delays"], serde_json::json!([]), "no inputs, so nothing is predicted");
    assert!(found["bets"].as_u64().unwrap() > 15, "those on dark inputs can gain nothing: {found}");
    let text = scene.run(&anew.replace("anew.bbk --json", "again.bbk"), &[]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("2,000 inferences that devices counted") && !text.contains("noticed after")
    );
    // Another file, another id: records of the old one aren't taken for its own.
    fs::copy(scene.path("anew.bbk"), scene.path("model.bbk")).unwrap();
    assert_eq!(scene.judged("dark.rec", &[]).0, 3);
    scene.model = fs::read(scene.path("anew.bbk")).unwrap();
    assert_eq!(scene.judged("-", &scene.device(10, 11, 0.6)).0, 0, "dark is usual now");
    let (code, found) = scene.judged("-", &scene.device(10, 11, 1.0));
    assert_eq!(code, 5, "and light is a change: {found}");
    // What can't be.
    fs::write(scene.path("few.rec"), scene.device(1, 7, 0.6)).unwrap();
    let exit = |line: &str| scene.run(line, &[]).status.code().unwrap();
    assert_eq!(exit("sentinel model.bbk --records few.rec"), 6, "200 inferences");
    assert_eq!(exit("sentinel model.bbk --records dark.rec"), 3, "of another model");
    assert_eq!(exit("sentinel model.bbk --records few.rec --data few.rec"), 2);
    assert_eq!(exit("sentinel model.bbk"), 2);
    assert_eq!(exit("sentinel model.bbk --records few.rec -o few.rec"), 2, "records are kept");
}

#[test]
fn nothing_to_go_by_is_an_error() {
    let scene = Scene::new();
    assert_eq!(scene.judged("-", &[]).0, 3);
    assert_eq!(scene.judged("-", b"no record at all").0, 3);
    assert_eq!(scene.judged("nowhere", &[]).0, 74);
    // As slow as rubbish can be, and more of it than a device can have.
    let ones = vec![1; 100_000 * RECORD_LEN + 1];
    fs::write(scene.path("ones"), &ones[1..]).unwrap();
    assert_eq!(scene.judged("ones", &[]).0, 3);
    fs::write(scene.path("ones"), &ones).unwrap();
    assert_ne!(scene.judged("ones", &[]).0, 3);
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/digits/model.bbk");
    fs::copy(plain, scene.path("model.bbk")).unwrap();
    assert_eq!(scene.judged("-", &scene.device(1, 7, 1.0)).0, 4);
}
