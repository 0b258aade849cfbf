//! The program on ONNX models as its users call it.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with the models of `tests/onnx/models` and a table of 40 images for `lenet`.
fn scene() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/onnx/models");
    for name in ["lenet.onnx", "quantized.onnx"] {
        fs::copy(models.join(name), folder.path().join(name)).unwrap();
    }
    for (name, values) in [("lenet.csv", 144), ("quantized.csv", 128)] {
        let mut table: String = (0..values).map(|column| format!("x{column},")).collect();
        table += "label\n";
        for example in 0..40 {
            for column in 0..values {
                let noise = (example * 7919 + column * 104_729) % 2003;
                write!(table, "{:.3},", f64::from(noise) / 1001.5 - 1.0).unwrap();
            }
            writeln!(table, "{}", example % 5).unwrap();
        }
        fs::write(folder.path().join(name), table).unwrap();
    }
    folder
}

fn run(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
    command.current_dir(folder.path()).args(args).arg("--json").output().unwrap()
}

fn json(folder: &TempDir, args: &[&str]) -> Value {
    let output = run(folder, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn failure(folder: &TempDir, args: &[&str]) -> (i32, String) {
    let output = run(folder, args);
    let text = String::from_utf8(output.stderr).unwrap();
    let error: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    (output.status.code().unwrap(), error["error"]["message"].as_str().unwrap().to_owned())
}

const QUANTIZE: [&str; 6] = ["quantize", "lenet.onnx", "--data", "lenet.csv", "-o", "lenet.bbk"];

#[test]
fn floats_are_quantised_and_compared() {
    let folder = scene();
    let value = json(&folder, &QUANTIZE);
    assert!(value["agreement_percent"].as_f64().unwrap() >= 90.0, "{value}");
    let bytes = fs::metadata(folder.path().join("lenet.bbk")).unwrap().len();
    assert_eq!(
        (value["file_bytes"].as_u64(), &value["layers"][0]["bits"]),
        (Some(bytes), &8.into())
    );
    assert!(value["float_bytes"].as_u64().unwrap() > 2 * bytes, "{value}");
    let args = ["compare", "lenet.onnx", "lenet.bbk", "--data", "lenet.csv"];
    let compared = json(&folder, &args);
    assert_eq!((&compared["count"], &compared["floats"]), (&40.into(), &true.into()));
    assert!(compared["agreement_percent"].as_f64().unwrap() >= 90.0, "{compared}");
    let layers = compared["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
    let pooled = ["conv2d_max_pool2d_1", "conv2d_max_pool2d_2", "dense_1", "dense_2"];
    assert_eq!(names, pooled, "{compared}");
    assert_eq!(compared["first_divergence"], Value::Null, "{compared}");
    let same = json(&folder, &["compare", "lenet.onnx", "lenet.onnx", "--data", "lenet.csv"]);
    assert_eq!((&same["agreeing"], &same["largest"]), (&40.into(), &0.0.into()));
}

#[test]
fn widths_follow_from_the_tolerance() {
    let folder = scene();
    let auto = json(&folder, &[&QUANTIZE[..], &["--bits", "auto", "--tolerance", "100"]].concat());
    assert!(auto["layers"].as_array().unwrap().iter().all(|layer| layer["bits"] == 2), "{auto}");
    assert_eq!(auto["decided_on"], 10);
    let four = json(&folder, &[&QUANTIZE[..], &["--bits", "4"]].concat());
    assert!(four["layers"].as_array().unwrap().iter().all(|layer| layer["bits"] == 4), "{four}");
    assert!(auto["file_bytes"].as_u64() < four["file_bytes"].as_u64());
}

#[test]
fn requirements_and_scalings_that_do_not_hold_are_told() {
    let folder = scene();
    let (code, message) = failure(&folder, &[&QUANTIZE[..], &["--max-bytes", "100"]].concat());
    assert!(code == 5 && message.contains("above 100"), "{message}");
    let (code, message) = failure(&folder, &[&QUANTIZE[..], &["--max-error", "1"]].concat());
    assert!(code == 5 && message.contains("above 1 %"), "{message}");
    assert_eq!(failure(&folder, &[&QUANTIZE[..], &["--std", "0"]].concat()).0, 2);
    assert_eq!(failure(&folder, &[&QUANTIZE[..], &["--bits", "9"]].concat()).0, 2);
    let (code, message) =
        failure(&folder, &[&QUANTIZE[..3], &["quantized.csv"], &QUANTIZE[4..]].concat());
    assert!(code == 3 && message.contains("128"), "{code} {message}");
}

#[test]
fn what_is_read_is_never_replaced() {
    let folder = scene();
    json(&folder, &QUANTIZE);
    let path = |name: &str| folder.path().join(name);
    fs::copy(path("lenet.bbk"), path("rows.npy")).unwrap();
    let names = ["lenet.onnx", "lenet.csv", "lenet.bbk", "quantized.onnx", "rows.npy"];
    let all = || names.map(|name| fs::read(path(name)).unwrap());
    let before = all();
    for args in [
        &["quantize", "lenet.onnx", "--data", "lenet.csv", "-o", "lenet.onnx"][..],
        &["quantize", "lenet.onnx", "--data", "lenet.csv", "-o", "./lenet.csv"],
        &["import", "quantized.onnx", "-o", "quantized.onnx"],
        &["export", "lenet.bbk", "--to", "onnx", "-o", "lenet.bbk"],
        &["run", "lenet.bbk", "rows.npy", "-o", "rows.npy"],
        &["run", "lenet.bbk", "rows.npy", "-o", "./lenet.bbk"],
    ] {
        let (code, message) = failure(&folder, args);
        assert!(code == 2 && message.contains("would replace"), "{args:?} {code} {message}");
    }
    assert!(all() == before);
    // An output of before is replaced.
    json(&folder, &QUANTIZE);
}

#[test]
fn numbers_that_mean_nothing_are_refused() {
    let folder = scene();
    for (option, value) in [
        ("--max-error", "nan"),
        ("--max-error", "-1"),
        ("--max-error", "101"),
        ("--tolerance", "nan"),
        ("--tolerance", "-5"),
        ("--calibration", "0"),
        ("--pixels", "0,0"),
        ("--instructions", "2MB"),
    ] {
        let (code, message) = failure(&folder, &[&QUANTIZE[..], &[option, value]].concat());
        assert!(code == 2 && message.contains(option), "{code} {message}");
        assert!(message.contains("give a") || message.contains("such as") || option == "--pixels");
    }
    let limits = ["--goal", "flash", "--instructions", "2M"];
    json(&folder, &[&QUANTIZE[..], &limits].concat());
    json(&folder, &[&["import", "quantized.onnx", "-o", "x.bbk"][..], &limits].concat());
    let (code, message) = failure(&folder, &[&QUANTIZE[..], &limits[..3], &["1K"]].concat());
    assert!(code == 5 && message.contains("--instructions 1000 can't be met"), "{message}");
    for limits in [&["--flash-bytes", "1K"][..], &["--goal", "flash", "--flash-bytes", "1K"]] {
        let output = run(&folder, &[&QUANTIZE[..], limits].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains("explains --goal"), "{text}");
    }
}

#[test]
fn a_quantised_file_is_imported_and_floats_are_not() {
    let folder = scene();
    let (code, message) = failure(&folder, &["import", "lenet.onnx", "-o", "x.bbk"]);
    assert!(code == 4 && message.contains("bitsback quantize"), "{message}");
    json(&folder, &["import", "quantized.onnx", "-o", "quantized.bbk"]);
    let args = ["compare", "quantized.onnx", "quantized.bbk", "--data", "quantized.csv"];
    let compared = json(&folder, &args);
    assert_eq!((&compared["floats"], &compared["largest"]), (&false.into(), &0.0.into()));
    let operators = json(&folder, &["supported-ops"]);
    let names = operators["onnx"].as_array().unwrap();
    assert!(names.iter().any(|operator| operator["name"] == "Gemm"), "{operators}");
}

#[test]
fn what_is_exported_is_read_again() {
    let folder = scene();
    json(&folder, &QUANTIZE);
    json(&folder, &["export", "lenet.bbk", "--to", "onnx", "-o", "floats.onnx"]);
    let args = ["compare", "lenet.onnx", "floats.onnx", "--data", "lenet.csv"];
    assert!(json(&folder, &args)["agreement_percent"].as_f64().unwrap() >= 90.0);
    json(&folder, &["export", "lenet.bbk", "--to", "onnx-qdq", "-o", "integers.onnx"]);
    json(&folder, &["import", "integers.onnx", "-o", "again.bbk"]);
    let args = ["compare", "lenet.bbk", "again.bbk", "--data", "lenet.csv"];
    let compared = json(&folder, &args);
    assert!(compared["agreement_percent"].as_f64().unwrap() >= 95.0, "{compared}");
}
