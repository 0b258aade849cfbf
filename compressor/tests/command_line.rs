//! The program as its users call it: outputs, exit codes, keys of JSON.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bitsback::data::{Numbers, npy};
use bitsback_runtime::Op;
use bitsback_runtime::format::{
    Affine, Bias, ByteAffine, Clamp, Layout, Meta, Preprocess, Requantization, Shape, Source,
    Tensor, Weights, pack_row,
};
use bitsback_runtime::ops::Dense;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::writer::{model_len, write_model};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with `model.bbk`: 2 × 2 gray pixels; the answer is the brightest one.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.bbk"), brightest_pixel()).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bitsback"))
            .current_dir(self.folder.path())
            .args(args)
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; its last line as JSON.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }

    /// Runs a command that must fail; its exit code and error object.
    fn failure(&self, args: &[&str]) -> (i32, Value) {
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        let error: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(error["error"]["exit_code"], output.status.code().unwrap());
        (output.status.code().unwrap(), error["error"].clone())
    }
}

/// The identity, 2 bits a weight.
fn brightest_pixel() -> Vec<u8> {
    let mut section = Vec::new();
    for row in 0..4 {
        let mut packed = [0];
        let values: Vec<i16> = (0..4).map(|column| i16::from(row == column)).collect();
        pack_row(&values, 2, &mut packed).unwrap();
        section.extend(packed);
    }
    let input = Tensor { offset: 0, shape: Shape::new(&[2, 2, 1]), zero_point: -128 };
    let mut preprocess = Preprocess::Bytes(Default::default());
    if let Preprocess::Bytes(channels) = &mut preprocess {
        channels.push(ByteAffine { mul: 1, add: -128, shift: 0 }).unwrap();
    }
    let meta = Meta {
        name: "brightest",
        classes: "north-west\nnorth-east\nsouth-west\nsouth-east",
        op_names: "scores",
        input,
        input_scale: 1.0 / 255.0,
        output_scale: 1.0 / 255.0,
        preprocess,
    };
    let dense = Op::Dense(Dense {
        input: Source::Previous,
        output: Tensor { offset: 4, shape: Shape::flat(4), zero_point: -128 },
        affine: Affine {
            weights: Weights { offset: 0, bits: 2, layout: Layout::RowMajor },
            bias: Bias::None,
            requantization: Requantization::PerTensor(Multiplier::ONE),
            clamp: Clamp::NONE,
        },
    });
    let mut file = vec![0; model_len(&meta, std::slice::from_ref(&dense), &section).unwrap()];
    write_model(&meta, &[dense], &section, &mut file).unwrap();
    file
}

/// Saves 2 × 2 gray pixels.
fn save_pixels(path: &Path, pixels: [u8; 4]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::GrayImage::from_raw(2, 2, pixels.to_vec()).unwrap().save(path).unwrap();
}

#[test]
fn inspect_adds_up() {
    let scene = Scene::new();
    let value = scene.json(&["inspect", "model.bbk"]);
    assert_eq!(value["file_bytes"], fs::metadata(scene.path("model.bbk")).unwrap().len());
    assert_eq!(value["float_bytes"], 4 * 16);
    assert_eq!((&value["arena_bytes"], &value["macs"]), (&8.into(), &16.into()));
    // Four rows of four bytes behind a head of eight, on a multiple of four.
    assert_eq!(value["weights_ram_bytes"], 3 + 8 + 16);
    let layer = &value["layers"][0];
    assert_eq!((&layer["name"], &layer["op"]), (&"scores".into(), &"dense".into()));
    assert_eq!((&layer["bits"], &layer["weight_bytes"]), (&2.into(), &4.into()));
    assert_eq!(layer["shape"], serde_json::json!([4]));
    let sections = value["sections"].as_object().unwrap();
    let sum: u64 = sections.values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(value["file_bytes"], sum);
    let text = String::from_utf8(scene.run(&["inspect", "model.bbk"]).stdout).unwrap();
    assert!(text.contains("north-west") && text.contains("scores"), "{text}");
}

#[test]
fn run_takes_an_image() {
    let scene = Scene::new();
    save_pixels(&scene.path("a.png"), [10, 200, 30, 40]);
    let value = scene.json(&["run", "model.bbk", "a.png"]);
    assert_eq!((&value["count"], &value["classes"][0]), (&1.into(), &1.into()));
    assert_eq!(value["names"][0], "north-east");
    assert!((value["outputs"][0][1].as_f64().unwrap() - 200.0 / 255.0).abs() < 1e-6);
}

#[test]
fn run_takes_and_gives_raw_values() {
    let scene = Scene::new();
    let mut file = fs::File::create(scene.path("in.npy")).unwrap();
    let values = [-128_i8, -1, 0, 127, 5, 4, 3, 2];
    npy::write(&mut file, &[2, 4], values.into_iter()).unwrap();
    let value = scene.json(&["run", "model.bbk", "in.npy", "--raw", "-o", "out.npy"]);
    assert_eq!(value["classes"], serde_json::json!([3, 0]));
    let array = npy::read(&scene.path("out.npy")).unwrap();
    assert_eq!(array.dims, [2, 4]);
    assert_eq!(array.numbers, Numbers::Signed(values.to_vec()));
    save_pixels(&scene.path("a.png"), [1, 2, 3, 4]);
    let (code, error) = scene.failure(&["run", "model.bbk", "a.png", "--raw"]);
    assert_eq!((code, &error["kind"]), (3, &"data".into()));
}

#[test]
fn evaluate_counts_by_class_name_in_a_folder_of_images() {
    let scene = Scene::new();
    // Only three of the four classes, and one image in the wrong folder.
    save_pixels(&scene.path("images/south-east/a.png"), [0, 0, 0, 9]);
    save_pixels(&scene.path("images/north-west/a.png"), [9, 0, 0, 0]);
    save_pixels(&scene.path("images/north-west/b.png"), [0, 0, 9, 0]);
    let value = scene.json(&["evaluate", "model.bbk", "images"]);
    assert_eq!((&value["count"], &value["errors"]), (&3.into(), &1.into()));
    assert!((value["error_percent"].as_f64().unwrap() - 100.0 / 3.0).abs() < 1e-9);
    assert_eq!(value["confusion"][0], serde_json::json!([1, 0, 1, 0]));
    assert_eq!(value["confusion"][3], serde_json::json!([0, 0, 0, 1]));
}

#[test]
fn evaluate_takes_a_table_of_pixels() {
    let scene = Scene::new();
    fs::write(scene.path("t.csv"), "a,b,c,d,label\n9,0,0,0,0\n0,9,0,0,1\n0,0,9,0,1\n").unwrap();
    let value = scene.json(&["evaluate", "model.bbk", "t.csv"]);
    assert_eq!((&value["count"], &value["errors"]), (&3.into(), &1.into()));
    let text = String::from_utf8(scene.run(&["evaluate", "model.bbk", "t.csv"]).stdout).unwrap();
    assert!(text.contains("1 of 3 examples"), "{text}");
}

#[test]
fn damaged_models_are_refused_by_every_verb() {
    let scene = Scene::new();
    let mut bytes = brightest_pixel();
    bytes[40] ^= 1;
    fs::write(scene.path("flipped.bbk"), &bytes).unwrap();
    fs::write(scene.path("cut.bbk"), &bytes[..20]).unwrap();
    fs::write(scene.path("t.csv"), "a,b,c,d,label\n9,0,0,0,0\n").unwrap();
    for model in ["flipped.bbk", "cut.bbk"] {
        for args in
            [&["inspect", model][..], &["run", model, "t.npy"], &["evaluate", model, "t.csv"]]
        {
            let (code, error) = scene.failure(args);
            assert_eq!((code, &error["kind"]), (4, &"model".into()), "{args:?}");
            assert!(error["message"].as_str().unwrap().contains(model));
        }
    }
}

#[test]
fn exit_codes_tell_failures_apart() {
    let scene = Scene::new();
    fs::write(scene.path("bad.toml"), "sed = 1\n").unwrap();
    fs::write(scene.path("t.xyz"), "").unwrap();
    assert_eq!(scene.failure(&["compress", "bad.toml"]).0, 2);
    assert_eq!(scene.failure(&["run", "model.bbk", "t.xyz"]).0, 2);
    assert_eq!(scene.failure(&["inspect"]).0, 2);
    fs::write(scene.path("short.csv"), "a,b,label\n1,2,0\n").unwrap();
    assert_eq!(scene.failure(&["evaluate", "model.bbk", "short.csv"]).0, 3);
    assert_eq!(scene.failure(&["evaluate", "model.bbk", "none.csv"]).0, 74);
    assert_eq!(scene.failure(&["inspect", "none.bbk"]).0, 74);
    fs::write(scene.path("job.toml"), "").unwrap();
    let (code, error) = scene.failure(&["compress", "job.toml", "--out", "."]);
    assert_eq!(code, 2, "the folder isn't empty");
    assert!(error["hint"].as_str().unwrap().contains("--resume"));
}

#[test]
fn wrong_keys_are_named_with_the_right_one() {
    let scene = Scene::new();
    fs::write(scene.path("bad.toml"), "sed = 1\n").unwrap();
    let (_, error) = scene.failure(&["compress", "bad.toml"]);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("sed") && message.contains("seed"), "{message}");
}

#[test]
fn help_is_a_result() {
    let scene = Scene::new();
    for args in [&["--help"][..], &["help", "compress"], &["--version"]] {
        let output = scene.run(args);
        assert!(output.status.success() && !output.stdout.is_empty() && output.stderr.is_empty());
    }
    let doctor = scene.json(&["doctor"]);
    assert_eq!(doctor["checks"][5]["present"], true, "the digits are bundled");
}

#[test]
fn an_export_says_how_large_it_is_and_where_it_can_t_be_written() {
    let scene = Scene::new();
    for (to, file) in [("c-header", "m.h"), ("rust", "m.rs")] {
        let output = scene.run(&["export", "model.bbk", "--to", to, "-o", file]);
        let text = String::from_utf8(output.stdout).unwrap();
        let bytes = fs::metadata(scene.path(file)).unwrap().len();
        let shown = format!("{},{:03} bytes of source", bytes / 1_000, bytes % 1_000);
        assert!(text.contains(&shown), "{text} lacks {shown}");
    }
    let args = ["export", "model.bbk", "--to", "rust", "-o", "no/such/m.rs"];
    let (code, error) = scene.failure(&args);
    let message = error["message"].as_str().unwrap();
    assert!(code == 74 && message.contains("there is no folder no/such"), "{message}");
}

#[test]
fn quiet_json_is_one_object() {
    let scene = Scene::new();
    let untrained = "[pretrain]\nepochs = 0\n[variational]\nepochs = 0\n[finetune]\nepochs = 0\n";
    fs::write(scene.path("job.toml"), untrained).unwrap();
    let output = scene.run(&["compress", "job.toml", "--json", "-q"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(summary["chance"]["dense"], "not-better");
    assert_eq!(output.status.code(), Some(5), "an untrained network is no better than chance");
}

#[test]
fn amounts_have_units_and_checkouts_are_looked_at() {
    let scene = Scene::new();
    let quantize = |most: &str| {
        scene.failure(&[
            "quantize",
            "no.onnx",
            "--data",
            "no.npz",
            "-o",
            "m.bbk",
            "--max-bytes",
            most,
        ])
    };
    assert_eq!((quantize("1K").0, quantize("1Q").0), (74, 2));
    let (code, error) = scene.failure(&["certify", "model.bbk", "--checkout", "."]);
    assert!(code == 2 && error["message"].as_str().unwrap().contains("is no checkout"), "{error}");
}

#[test]
fn help_lists_every_exit_code() {
    let scene = Scene::new();
    for args in [&["help"][..], &["help", "compress"]] {
        let text = String::from_utf8(scene.run(args).stdout).unwrap();
        let codes = text.split("Exit codes:").nth(1).unwrap();
        for code in ["0 ", "2 ", "3 ", "4 ", "5 ", "6 ", "70 ", "74 ", "130 "] {
            assert!(codes.contains(code), "{args:?} lacks {code}");
        }
    }
}

#[test]
fn a_job_that_divides_otherwise_than_the_model_s_is_told() {
    let scene = Scene::new();
    let names = ["north-west", "north-east", "south-west", "south-east"];
    let rows = (0..80).map(|at| {
        let pixel = |place| if at % 4 == place { 200 + at / 8 } else { 10 };
        format!("{},{},{},{},{}\n", pixel(0), pixel(1), pixel(2), pixel(3), names[at % 4])
    });
    let table: String = std::iter::once("a,b,c,d,label\n".to_owned()).chain(rows).collect();
    fs::write(scene.path("table.csv"), table).unwrap();
    let data = "[data]\nkind = \"csv\"\ninputs = \"table.csv\"\npixels = true\nshape = [2, 2, 1]\n";
    for (name, seed) in [("job.toml", 2), ("same.toml", 2), ("other.toml", 1)] {
        fs::write(scene.path(name), format!("seed = {seed}\n{data}")).unwrap();
    }
    let notes = |job: &str| scene.json(&["evaluate", "model.bbk", job])["notes"].clone();
    assert_eq!(notes("same.toml"), serde_json::json!([]));
    let note = notes("other.toml")[0].as_str().unwrap().to_owned();
    assert!(note.contains("seed 1") && note.contains("job.toml"), "{note}");
}

/// Starts a job, stops it in its first stage as people and systems do, and sees it end in order.
#[cfg(unix)]
#[test]
fn an_interrupted_job_says_how_to_go_on() {
    ["-INT", "-TERM"].into_iter().for_each(is_interrupted_by);
    // Under `nohup` jobs, too, are to outlive the terminal.
    if !is_hang_up_ignored() {
        is_interrupted_by("-HUP");
    }
}

/// Whether this process, and so what it starts, was told to ignore SIGHUP, the first signal of the mask.
#[cfg(unix)]
fn is_hang_up_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1)
}

#[cfg(unix)]
fn is_interrupted_by(signal: &str) {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;
    let scene = Scene::new();
    // So many epochs that it can't be over before the signal arrives.
    fs::write(scene.path("long.toml"), "[pretrain]\nepochs = 1000\n").unwrap();
    let mut job = Command::new(env!("CARGO_BIN_EXE_bitsback"))
        .current_dir(scene.folder.path())
        .args(["compress", "long.toml", "--force", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(job.stdout.take().unwrap()).lines();
    let started = lines.by_ref().any(|line| line.unwrap().starts_with(r#"{"event":"progress""#));
    assert!(started, "no progress before the end");
    let signal = Command::new("kill").args([signal, &job.id().to_string()]).status().unwrap();
    assert!(signal.success());
    lines.for_each(drop);
    let mut text = String::new();
    job.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(job.wait().unwrap().code(), Some(130), "{text}");
    let error: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(error["error"]["kind"], "interrupted");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("bitsback compress long.toml --json --resume"), "{message}");
    assert!(scene.path("out/long/checkpoint.bin").is_file());
}
