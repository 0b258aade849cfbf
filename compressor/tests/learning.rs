//! A job that states nothing about training: it learns what little data of low contrast teach, and
//! says so where they teach nothing.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SIDE: u32 = 12;
const CLASSES: usize = 3;

/// Layers and nothing else: all about training is left to the defaults.
const JOB: &str = r#"
[data]
kind = "images"
inputs = "parts"

[network]
layers = [
    { type = "conv2d", filters = 8, kernel = 3, padding = "same" },
    { type = "relu" },
    { type = "max-pool", size = 2 },
    { type = "flatten" },
    { type = "dense", units = 24 },
    { type = "relu" },
    { type = "dense" },
]
"#;

/// A linear congruential generator.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as u32 % sides
    }
}

/// A cross, a frame or a bar, twelve grey levels brighter than what is around it, in noise.
fn image(shape: usize, dice: &mut Dice) -> image::GrayImage {
    let (left, top, ground) = (dice.roll(4), dice.roll(4), 110 + dice.roll(20));
    image::GrayImage::from_fn(SIDE, SIDE, |x, y| {
        let (dx, dy) = (x.wrapping_sub(left), y.wrapping_sub(top));
        let inside = dx < 9 && dy < 9;
        let edge = |d: u32| d == 0 || d == 8;
        let drawn = match shape {
            0 => dx == 4 || dy == 4,
            1 => edge(dx) || edge(dy),
            _ => (3..6).contains(&dx),
        };
        let value = ground + 12 * u32::from(inside && drawn) + dice.roll(7);
        image::Luma([value as u8])
    })
}

/// Writes as many images of each class; of a random shape, where labels are to mean nothing.
fn parts(folder: &Path, counts: [usize; CLASSES], noise: bool) {
    let mut dice = Dice(0x1234_5678);
    for (class, count) in counts.into_iter().enumerate() {
        let folder = folder.join(format!("parts/class-{class}"));
        fs::create_dir_all(&folder).unwrap();
        for index in 0..count {
            let shape = if noise { dice.roll(CLASSES as u32) as usize } else { class };
            image(shape, &mut dice).save(folder.join(format!("{index}.png"))).unwrap();
        }
    }
}

fn compress(folder: &Path, job: &str) -> Output {
    fs::write(folder.join("job.toml"), job).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
    let args = ["compress", "job.toml", "--json", "--force", "--out", "out"];
    command.current_dir(folder).args(args).output().unwrap()
}

fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn three_hundred_images_of_low_contrast_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    parts(folder.path(), [100; CLASSES], false);
    let output = compress(folder.path(), JOB);
    let summary = summary(&output);
    for network in ["dense", "compressed"] {
        let error = summary[network]["error_percent"].as_f64().unwrap();
        assert!(error < 15.0, "{network}: {error} %\n{}", words(&output));
    }
    assert_eq!(summary["chance"]["compressed"], "better", "{}", words(&output));
    assert!(summary["file_bytes"].as_u64() < Some(6_000), "{summary}");
    let resolved = fs::read_to_string(folder.path().join("out/job.toml")).unwrap();
    assert!(resolved.contains("normalization = \"standard\""), "{resolved}");
}

#[test]
fn labels_that_mean_nothing_are_no_compressed_network() {
    let folder = tempfile::tempdir().unwrap();
    parts(folder.path(), [100; CLASSES], true);
    let output = compress(folder.path(), JOB);
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert!(words(&output).contains("no better than chance"), "{}", words(&output));
    let summary = summary(&output);
    assert_eq!(summary["chance"]["dense"], "not-better", "{summary}");
    let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    assert!(page.contains("no better than chance") && page.contains("What helps"));
}

#[test]
fn what_is_too_little_is_said_before_training() {
    let folder = tempfile::tempdir().unwrap();
    parts(folder.path(), [100, 100, 4], false);
    let stated = "[pretrain]\nepochs = 2\nbatch = 64\n[variational]\nepochs = 0\n\
                  [finetune]\nepochs = 0\n[requirements]\nerror_rise_points = 0.5\n\
                  [data]\nkind = \"images\"\ninputs = \"parts\"\nnormalization = \"unit\"\n\
                  validation_count = 20\n";
    let job = format!("{stated}{}", &JOB[JOB.find("[network]").unwrap()..]);
    let output = compress(folder.path(), &job);
    let notes = String::from_utf8_lossy(&output.stdout).into_owned();
    for warning in [
        "[pretrain] is 6 steps (2 epochs of 3)",
        "one of 20 validation examples is 5.00 points",
        "class `class-2`: ",
        " training, 0 validation and ",
        "inputs vary by 0.0",
    ] {
        assert!(notes.contains(warning), "{warning}\n{notes}");
    }
    let failed = words(&output);
    assert_eq!(output.status.code(), Some(5), "{failed}");
    for remedy in ["leave out [data] normalization", "[pretrain] epochs and batch"] {
        assert!(failed.contains(remedy), "{failed}");
    }
}
