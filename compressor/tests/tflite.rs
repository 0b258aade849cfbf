//! Int8 models of TensorFlow Lite as a newcomer's own: quantised anew, compressed, exported.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A LeNet-5 of the shape 8-13-13, trained on MNIST.
const MODEL: &str = "lenet5_8_13_13_10_ptfc_int8";
/// Values of an image.
const PIXELS: usize = 28 * 28;
/// Noisy copies of each stored input.
const COPIES: usize = 6;

/// A folder with the model, and a table of copies of its stored inputs with the classes that it gives
/// them; two classes that it doesn't give are labels of noise.
fn scene() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tflite");
    fs::copy(fixtures.join(format!("{MODEL}.tflite")), folder.path().join("model.tflite")).unwrap();
    let int8 = |ending: &str, len: usize| {
        let bytes = fs::read(fixtures.join(format!("{MODEL}.{ending}.npy"))).unwrap();
        bytes[bytes.len() - len..].iter().map(|&byte| i32::from(byte as i8)).collect::<Vec<_>>()
    };
    let (inputs, outputs) = (int8("in16", 16 * PIXELS), int8("tflm16", 16 * 10));
    let mut table: String = (0..PIXELS).map(|column| format!("x{column},")).collect();
    table += "label\n";
    let mut row = |pixel: &dyn Fn(usize) -> i32, label: usize| {
        (0..PIXELS).for_each(|at| write!(table, "{},", pixel(at).clamp(0, 255)).unwrap());
        writeln!(table, "{label}").unwrap();
    };
    for copy in 0..COPIES {
        let noise = |at: usize, most: usize| ((at * 7919 + copy * 104_729) % most) as i32;
        for (image, scores) in inputs.chunks_exact(PIXELS).zip(outputs.chunks_exact(10)) {
            let class = (0..10).rev().max_by_key(|&class| scores[class]).unwrap();
            row(&|at| image[at] + 128 + noise(at, 21) - 10, class);
        }
        for class in [3, 8] {
            row(&|at| noise(at * class, 256), class);
        }
    }
    fs::write(folder.path().join("images.csv"), table).unwrap();
    folder
}

/// A short job from the model.
fn job(folder: &TempDir, name: &str, model: &str, normalization: &str) {
    let text = format!(
        "[data]\nkind = \"csv\"\ninputs = \"images.csv\"\npixels = true\nshape = [28, 28, 1]\n\
         normalization = \"{normalization}\"\n\n[network]\nmodel = \"{model}\"\n\n\
         [variational]\nepochs = 2\n\n[finetune]\nepochs = 2\n\n[quantize]\nepochs = 2\n\n\
         [requirements]\nerror_rise_points = 100.0\n"
    );
    fs::write(folder.path().join(name), text).unwrap();
}

fn run(folder: &TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
    command.current_dir(folder.path()).args(args).arg("--json").output().unwrap()
}

/// The last line of what a command that must succeed says.
fn json(folder: &TempDir, args: &[&str]) -> Value {
    let output = run(folder, args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn failure(folder: &TempDir, args: &[&str]) -> (i32, String) {
    let output = run(folder, args);
    let text = String::from_utf8(output.stderr).unwrap();
    let error: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    (output.status.code().unwrap(), error["error"]["message"].as_str().unwrap().to_owned())
}

/// A job that starts from `model` ends with a smaller one that starts where that one was.
fn compresses(folder: &TempDir, model: &str) {
    job(folder, "job.toml", model, "unit");
    let summary = json(folder, &["compress", "job.toml", "--out", "out", "--force"]);
    let evaluated = json(folder, &["evaluate", model, "job.toml", "--pixels", "0,1"]);
    let (dense, given) = (&summary["dense"]["error_percent"], &evaluated["error_percent"]);
    let apart = dense.as_f64().unwrap() - given.as_f64().unwrap();
    assert!(apart.abs() <= 10.0, "{dense} {given}");
    let before = fs::metadata(folder.path().join("model.tflite")).unwrap().len();
    assert!(summary["file_bytes"].as_u64().unwrap() < before, "{summary}");
    let layers: Vec<&str> =
        summary["layers"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(layers, ["conv2d_1", "conv2d_2", "dense_1", "dense_2"]);
    json(folder, &["inspect", "out/model.bbk"]);
}

#[test]
fn an_int8_model_is_compressed_as_itself_and_as_quantised_onnx() {
    let folder = scene();
    compresses(&folder, "model.tflite");
    json(&folder, &["export", "model.tflite", "--to", "onnx-qdq", "-o", "quantised.onnx"]);
    compresses(&folder, "quantised.onnx");
}

#[test]
fn data_that_are_scaled_otherwise_are_told_what_to_set() {
    let folder = scene();
    job(&folder, "job.toml", "model.tflite", "symmetric");
    let (code, message) = failure(&folder, &["compress", "job.toml", "--out", "out"]);
    let says = "job.toml:6: the model's inputs were 0.00 to 1.00 when it was quantised, but the data as \
                they are normalised run from -1.00 to 1.00; set `normalization = \"unit\"` in [data]";
    assert!(code == 2 && message.ends_with(says), "{code} {message}");
    let args = ["quantize", "model.tflite", "--data", "job.toml", "-o", "x.bbk", "--pixels=-1,1"];
    let (code, message) = failure(&folder, &args);
    assert!(code == 2 && message.ends_with("as --pixels=0.00,1.00"), "{code} {message}");
}

#[test]
fn pixels_are_what_the_file_says() {
    let folder = scene();
    job(&folder, "job.toml", "model.tflite", "unit");
    let said = json(&folder, &["evaluate", "model.tflite", "job.toml", "--pixels", "0,1"]);
    assert_eq!(said["notes"].as_array().unwrap().len(), 0, "{said}");
    let unsaid = json(&folder, &["evaluate", "model.tflite", "job.toml"]);
    assert_eq!(unsaid["confusion"], said["confusion"]);
    assert!(unsaid["notes"][0].as_str().unwrap().contains("0.00 to 1.00"), "{unsaid}");
    let wrong = ["--pixels=-1,1"];
    let notes = |value: &Value| value["notes"][0].as_str().unwrap().to_owned();
    let evaluated =
        json(&folder, &[&["evaluate", "model.tflite", "job.toml"][..], &wrong].concat());
    assert!(notes(&evaluated).contains("0.00 to 1.00"), "{evaluated}");
    let args = ["import", "model.tflite", "-o", "m.bbk"];
    assert!(notes(&json(&folder, &[&args[..], &wrong].concat())).contains("is that how"));
    // Real numbers that can't be what the model takes.
    let floats = json(&folder, &["evaluate", "model.tflite", "images.csv"]);
    assert!(notes(&floats).contains("far outside"), "{floats}");
}

#[test]
fn an_int8_model_is_quantised_anew() {
    let folder = scene();
    job(&folder, "job.toml", "model.tflite", "unit");
    let quantize = ["quantize", "model.tflite", "--data", "job.toml", "-o", "model.bbk", "--bits"];
    let eight = json(&folder, &[&quantize[..], &["8"]].concat());
    assert!(eight["agreement_percent"].as_f64().unwrap() >= 90.0, "{eight}");
    let compared = json(&folder, &["compare", "model.tflite", "model.bbk", "--data", "job.toml"]);
    assert!(compared["agreement_percent"].as_f64().unwrap() >= 90.0, "{compared}");
    let auto = json(&folder, &[&quantize[..], &["auto", "--tolerance", "5"]].concat());
    assert!(auto["file_bytes"].as_u64() < eight["file_bytes"].as_u64(), "{auto}");
}

#[test]
fn an_int8_model_is_exported_in_every_form() {
    let folder = scene();
    let export = |to: &str, file: &str| {
        json(&folder, &["export", "model.tflite", "--to", to, "-o", file]);
        fs::read(folder.path().join(file)).unwrap()
    };
    assert!(String::from_utf8(export("c-header", "model.h")).unwrap().contains("MODEL_ARENA_LEN"));
    assert!(String::from_utf8(export("rust", "model.rs")).unwrap().contains("MODEL_ARENA_LEN"));
    export("onnx", "floats.onnx");
    export("onnx-qdq", "integers.onnx");
    job(&folder, "job.toml", "model.tflite", "unit");
    for model in ["floats.onnx", "integers.onnx"] {
        let args = ["compare", "model.tflite", model, "--data", "job.toml", "--pixels", "0,1"];
        let compared = json(&folder, &args);
        assert!(compared["agreement_percent"].as_f64().unwrap() >= 90.0, "{model} {compared}");
    }
}

#[test]
fn weights_without_layers_are_told_where_they_go() {
    let folder = scene();
    fs::write(folder.path().join("model.pt"), b"PK\x03\x04").unwrap();
    let (_, message) =
        failure(&folder, &["quantize", "model.pt", "--data", "images.csv", "-o", "x.bbk"]);
    assert!(message.contains("[network] weights"), "{message}");
}
