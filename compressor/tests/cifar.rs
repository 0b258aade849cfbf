//! CIFAR-10's format and VGG-16 with batch normalisation, from files to a verified integer model, also when
//! the job is killed.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The narrowest VGG-16, and few steps of each stage.
const JOB: &str = r#"
[data]
kind = "cifar-10"
inputs = "images"
validation_count = 100
[network]
preset = "vgg-16"
width = 0.0625
[pretrain]
epochs = 8
batch = 25
learning_rate = 4e-3
[variational]
epochs = 2
batch = 25
[variational.shrink]
from_step = 2
every = 4
floor = -100.0
most_at_once = 0.2
target_weights = 20000
[finetune]
epochs = 2
batch = 25
[quantize]
epochs = 2
batch = 25
bits = [4]
[requirements]
error_rise_points = 100.0
"#;

/// A record: stripes as wide as the label says, in noise.
fn record(index: usize) -> Vec<u8> {
    let label = index % 10;
    let mut state = index as u32 + 1;
    let mut record = vec![label as u8];
    for color in 0..3 {
        for place in 0..32 * 32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (row, column) = (place / 32, place % 32);
            let across = if label.is_multiple_of(2) { row } else { column };
            let bright = across / (1 + label / 2) % 2 == color % 2;
            record.push(60 + 120 * u8::from(bright) + (state >> 27) as u8);
        }
    }
    record
}

/// So many records in each file.
fn write_images(folder: &Path, each: usize) {
    fs::create_dir_all(folder).unwrap();
    for (index, name) in ["1", "2", "3", "4", "5", ""].into_iter().enumerate() {
        let name = if name.is_empty() {
            "test_batch.bin".into()
        } else {
            format!("data_batch_{name}.bin")
        };
        let records: Vec<u8> = (index * each..(index + 1) * each).flat_map(record).collect();
        fs::write(folder.join(name), records).unwrap();
    }
    fs::write(folder.join("NOTE.txt"), "from a generator\nStripes in noise.\n").unwrap();
}

fn bitsback(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
    command.current_dir(folder).args(args);
    command
}

/// What the last line of a program's output holds.
fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{words}");
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The rows of a stage in the metrics.
fn stage(folder: &Path, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.filter(|row| row["stage"] == name).collect()
}

#[test]
fn a_small_vgg_16_goes_all_the_way_and_on_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write_images(&path.join("images"), 100);
    fs::write(path.join("job.toml"), JOB).unwrap();
    let whole = ["compress", "job.toml", "--json", "--out", "whole"];
    let summary = json(&bitsback(path, &whole).output().unwrap());

    let losses: Vec<f64> = stage(&path.join("whole"), "pretrain")
        .iter()
        .filter_map(|row| row["loss"].as_f64())
        .collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.5 * first, "{losses:?}");
    assert!(summary["compressed"]["error_percent"].as_f64() < Some(60.0), "{summary}");
    assert_eq!(summary["layers"].as_array().unwrap().len(), 15, "normalisations are folded");
    let filters = |key: &str| -> u64 {
        let layers = summary["layers"].as_array().unwrap().iter();
        layers.filter_map(|layer| layer[key].as_u64()).sum()
    };
    assert!(filters("groups_after") < filters("groups_before"), "{summary}");
    assert_eq!(summary["data_note"], "from a generator\nStripes in noise.");
    let page = fs::read_to_string(path.join("whole/report.html")).unwrap();
    assert!(page.contains("Data from a generator"), "{page}");

    // What the job counted, the files give to whoever reads them for the model.
    let evaluate = ["evaluate", "whole/model.bbk", "images", "--json"];
    let found = json(&bitsback(path, &evaluate).output().unwrap());
    assert_eq!(found["count"], 100);
    assert_eq!(found["error_percent"], summary["compressed"]["error_percent"]);

    let killed = ["compress", "job.toml", "--json", "--resume", "--out", "killed"];
    let mut child = bitsback(path, &killed).stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !path.join("killed/checkpoint.bin").exists() && begun.elapsed().as_secs() < 60 {
        sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "the job ended before it could be killed");
    json(&bitsback(path, &killed).output().unwrap());
    let bytes = |run: &str| fs::read(path.join(run).join("model.bbk")).unwrap();
    assert_eq!(bytes("whole"), bytes("killed"));
}

#[test]
fn a_damaged_batch_ends_the_job_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("images"), 10);
    fs::write(folder.path().join("job.toml"), JOB).unwrap();
    let file = folder.path().join("images/data_batch_4.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes[3073] = 77;
    fs::write(&file, bytes).unwrap();
    let output =
        bitsback(folder.path(), &["compress", "job.toml", "--out", "out"]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("data_batch_4.bin: byte 3073 is 77"), "{words}");
    assert!(matches!(output.status.code(), Some(2..=4)), "{words}");
    assert!(!folder.path().join("out").exists());
}
