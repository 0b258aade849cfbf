//! Requirements in, model out: fronts, their exit codes, and a front that is killed on the way.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Small enough for seconds: a hidden layer of 24 on the bundled digits.
const JOB: &str = r#"
[data]
validation_fraction = 0.5

[network]
layers = [
    { type = "flatten" },
    { type = "dense", units = 24 },
    { type = "relu" },
    { type = "dense" },
]

[pretrain]
epochs = 6
batch = 32

[variational]
epochs = 3
batch = 32

[finetune]
epochs = 3
batch = 32

[quantize]
epochs = 4
batch = 32
rate = 0.1

[golden]
vectors = 4

[front]
points = 3
"#;

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    /// A job with these requirements, written as `NAME.toml`.
    fn new(requirements: &str) -> Self {
        Self::of(&format!("{JOB}\n[requirements]\n{requirements}\n"))
    }

    fn of(text: &str) -> Self {
        let scene = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(scene.path("job.toml"), text).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, out: &str, rest: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
        command.current_dir(self.folder.path());
        command.args(["compress", "job.toml", "--json", "--out", out]).args(rest);
        command
    }

    fn run(&self, out: &str, rest: &[&str]) -> Output {
        self.command(out, rest).output().unwrap()
    }
}

/// The last line of standard output.
fn result(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap()
}

#[test]
fn the_smallest_point_that_meets_everything_becomes_the_model() {
    let scene = Scene::new("error_percent = 60.0\narena_bytes = 4096\nerror_rise_points = 100.0");
    let output = scene.run("out", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let summary = result(&output);
    let front = &summary["front"];
    let points = front["points"].as_array().unwrap();
    assert_eq!((points.len(), front["met"].as_bool()), (3, Some(true)));
    let chosen = front["chosen"].as_u64().unwrap();
    let least = points.iter().map(|p| p["file_bytes"].as_u64().unwrap()).min().unwrap();
    assert_eq!(summary["file_bytes"].as_u64(), Some(least));
    let folder = scene.path("out");
    let point = folder.join(format!("front/point-{chosen}"));
    assert_eq!(bytes(&folder, "model.bbk"), bytes(&point, "model.bbk"));
    for file in ["ledger.csv", "ledger-bits.csv", "metrics.jsonl", "point.json"] {
        assert!(point.join(file).is_file(), "{file}");
    }
    for point in points {
        assert!(point["error_bound_percent"].as_f64() > point["error_percent"].as_f64());
        assert_eq!(point["instructions_from"], "estimated");
    }
    let page = String::from_utf8(bytes(&folder, "report.html")).unwrap();
    assert!(page.contains("<section id=\"front\">") && page.contains("has the fewest bytes"));
}

#[test]
fn what_no_point_meets_is_named_and_the_nearest_is_there() {
    let scene = Scene::new("flash_bytes = 100\nerror_rise_points = 100.0");
    let output = scene.run("out", &[]);
    assert_eq!(output.status.code(), Some(5), "{}", words(&output));
    assert!(words(&output).contains("fails flash_bytes = 100"), "{}", words(&output));
    let front = &result(&output)["front"];
    assert_eq!(front["met"], false);
    assert!(scene.path("out/model.bbk").is_file());
}

#[test]
fn what_can_t_be_promised_is_said_before_training() {
    let scene = Scene::new("error_percent = 0.1");
    let output = scene.run("out", &[]);
    assert_eq!(output.status.code(), Some(6), "{}", words(&output));
    let words = words(&output);
    assert!(words.contains("not enough validation data") && words.contains("2995"), "{words}");
    assert!(!scene.path("out/model.bbk").exists());

    let wrong = Scene::new("class_error_percent = [50.0, 50.0]");
    let output = wrong.run("out", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(self::words(&output).contains("10 classes"));
}

/// Two temperatures, two points each.
fn two_temperatures() -> Scene {
    let job = JOB.replace("points = 3", "points = 2\ntemperatures = [0.5, 2.0]");
    Scene::of(&format!("{job}\n[requirements]\nerror_percent = 60.0\nerror_rise_points = 100.0"))
}

#[test]
fn every_temperature_has_a_line_of_its_own() {
    let scene = two_temperatures();
    let output = scene.run("out", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    let summary = result(&output);
    let front = &summary["front"];
    let figure = |name: &str| -> Vec<f64> {
        front["points"].as_array().unwrap().iter().map(|p| p[name].as_f64().unwrap()).collect()
    };
    assert_eq!(figure("temperature"), [0.5, 0.5, 2.0, 2.0]);
    assert_eq!(figure("point"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(front["confidence"], 0.95);
    assert!((front["confidence_of_each"].as_f64().unwrap() - 0.975).abs() < 1e-9);
    // The posteriors differ, so their gentlest points do.
    let folder = scene.path("out");
    let point = |n: u64| folder.join(format!("front/point-{n}"));
    assert_ne!(bytes(&point(1), "ledger.csv"), bytes(&point(3), "ledger.csv"));
    let chosen = front["chosen"].as_u64().unwrap();
    assert_eq!(bytes(&folder, "model.bbk"), bytes(&point(chosen), "model.bbk"));
    let own = String::from_utf8(bytes(&folder, "metrics.jsonl")).unwrap();
    assert!(own.contains("pretrain") && !own.contains("variational"), "{own}");
    for line in ["front/temperature-0.5", "front/temperature-2"] {
        let rows = String::from_utf8(bytes(&folder.join(line), "metrics.jsonl")).unwrap();
        assert!(rows.contains("variational") && rows.contains("finetune"), "{rows}");
    }
    let json = String::from_utf8(bytes(&point(3), "point.json")).unwrap();
    assert!(json.contains("\"temperature\": 2.0"), "{json}");
    let page = String::from_utf8(bytes(&folder, "report.html")).unwrap();
    for text in ["KL temperature", "97.5 %", ">variational<", ">pretrain<"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn a_front_of_two_temperatures_killed_anywhere_ends_with_the_same_bytes() {
    let scene = two_temperatures();
    assert!(scene.run("whole", &[]).status.success());
    for reached in [
        "checkpoint.bin",
        "front/temperature-0.5/checkpoint.bin",
        "front/point-2/checkpoint.bin",
        "front/temperature-2/checkpoint.bin",
        "front/point-3/point.json",
        "front/point-4/checkpoint.bin",
    ] {
        let mut command = scene.command("killed", &["--resume"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let reached = scene.path("killed").join(reached);
        while !reached.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached.exists(), "{}", reached.display());
    }
    assert!(!scene.path("killed/report.html").exists(), "it was never killed in the middle");
    assert!(scene.run("killed", &["--resume"]).status.success());
    let (whole, killed) = (scene.path("whole"), scene.path("killed"));
    let folders = (1..=4).map(|n| format!("front/point-{n}/")).chain([String::new()]);
    for folder in folders {
        for file in ["model.bbk", "ledger.csv", "ledger-bits.csv"] {
            let file = format!("{folder}{file}");
            assert_eq!(bytes(&whole, &file), bytes(&killed, &file), "{file} differs");
        }
    }
}

#[test]
fn a_killed_front_resumes_to_the_identical_points() {
    let scene = Scene::new("error_percent = 60.0\nerror_rise_points = 100.0");
    assert!(scene.run("whole", &[]).status.success());
    for moment in [300, 900, 500, 1_400] {
        let mut command = scene.command("killed", &["--resume"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(scene.run("killed", &["--resume"]).status.success());
    let (whole, killed) = (scene.path("whole"), scene.path("killed"));
    for file in [
        "model.bbk",
        "ledger.csv",
        "front/point-1/model.bbk",
        "front/point-2/model.bbk",
        "front/point-3/model.bbk",
    ] {
        assert_eq!(bytes(&whole, file), bytes(&killed, file), "{file} differs");
    }
}
