//! Models that notice that the field has changed: jobs and the command that make them.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use bitsback_runtime::Model;
use bitsback_runtime::sentinel::Sentinel;
use serde_json::Value;
use tempfile::TempDir;

/// A folder in which the program runs.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
        command.current_dir(self.0.path()).args(args).output().unwrap()
    }

    /// What a command that must succeed prints.
    fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its last line as JSON.
    fn json(&self, args: &[&str]) -> Value {
        let text = self.text(&[args, &["--json", "--quiet"]].concat());
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }

    /// The exit code and the message of what must fail.
    fn failure(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Bets of a model's sentinel; none without.
    fn bets(&self, name: &str) -> Option<usize> {
        let bytes = fs::read(self.path(name)).unwrap();
        let model = Model::parse(&bytes).unwrap();
        Sentinel::new(&model).unwrap().map(|sentinel| sentinel.bets())
    }
}

/// A job of seconds, with so many validation examples.
fn job(validation: usize, sentinel: &str) -> String {
    format!(
        "[data]\nkind = \"digits\"\nnormalization = \"unit\"\ntest_fraction = 0.25\n\
         validation_count = {validation}\n\n\
         [network]\nlayers = [\n  {{ type = \"flatten\" }},\n  {{ type = \"dense\", units = 24 }},\n  \
         {{ type = \"relu\" }},\n  {{ type = \"dense\" }},\n]\n\n\
         [pretrain]\nepochs = 40\nbatch = 32\n\n[variational]\nepochs = 0\n\n[finetune]\nepochs = 0\n\n\
         [quantize]\nepochs = 0\n\n[requirements]\nerror_rise_points = 10.0\n\n[sentinel]\n{sentinel}\n"
    )
}

#[test]
fn a_job_makes_a_sentinel_and_everything_tells_of_it() {
    let scene = Scene::new();
    scene.write("plain.toml", job(500, ""));
    let plain = scene.json(&["compress", "plain.toml", "--out", "plain"]);
    assert_eq!((plain.get("sentinel"), scene.bets("plain/model.bbk")), (None, None));
    scene.write("job.toml", job(500, "profile = \"all\""));
    let summary = scene.json(&["compress", "job.toml", "--out", "out"]);
    let sentinel = &summary["sentinel"];
    assert_eq!((&sentinel["examples"], &sentinel["profile"]), (&500.into(), &"all".into()));
    let bytes = sentinel["bytes"].as_u64().unwrap();
    assert!(bytes <= 256, "{sentinel}");
    let longer = |of: &Value| of["file_bytes"].as_u64().unwrap();
    assert_eq!(longer(&summary), longer(&plain) + bytes);
    assert_eq!(summary["error_percent"], plain["error_percent"]);
    assert_eq!(scene.bets("out/model.bbk"), Some(28));
    let golden = |folder: &str| fs::read(scene.path(folder).join("golden/outputs.i8")).unwrap();
    assert_eq!(golden("out"), golden("plain"));

    let delays = sentinel["delays"].as_array().unwrap();
    assert_eq!(delays[0]["inferences"], Value::Null, "nothing changed: {}", delays[0]);
    let dark = delays.iter().find(|delay| delay["change"] == "values times 0.2").unwrap();
    assert!(dark["inferences"].as_f64().unwrap() < 100.0, "{dark}");
    let report = fs::read_to_string(scene.path("out/report.html")).unwrap();
    assert!(report.contains("<h2>Sentinel</h2>") && report.contains("values times 0.2"));
    let inspected = scene.json(&["inspect", "out/model.bbk"]);
    assert_eq!(&inspected["sentinel"]["summary"], sentinel);
    assert!(
        scene
            .text(&["inspect", "out/model.bbk"])
            .contains("\nwatched answers, inputs, classes by 28 bets")
    );
}

#[test]
fn the_command_does_it_for_a_model_that_is_there() {
    let scene = Scene::new();
    scene.write("job.toml", job(500, ""));
    scene.json(&["compress", "job.toml", "--out", "out"]);
    let model = "out/model.bbk";
    let args = ["sentinel", model, "--data", "job.toml", "-o", "watched.bbk"];
    let found = scene.json(&[&args[..], &["--profile", "no-prior", "--decimate", "3"]].concat());
    assert_eq!((&found["decimate"], scene.bets("watched.bbk")), (&3.into(), Some(18)));
    assert_eq!(scene.bets(model), None, "the model itself stays");
    // Another takes its place.
    let again = ["sentinel", "watched.bbk", "--data", "job.toml", "-o", "quiet.bbk"];
    let text = scene.text(&[&again[..], &["--profile", "quiet"]].concat());
    assert!(text.contains("false alarm within 10,000") && text.contains("noticed after"), "{text}");
    assert_eq!(scene.bets("quiet.bbk"), Some(6));
    let evaluated =
        |model: &str| scene.json(&["evaluate", model, "job.toml"])["error_percent"].clone();
    assert_eq!(evaluated("quiet.bbk"), evaluated(model));
}

#[test]
fn what_can_not_be_promised_is_said_before_training() {
    let scene = Scene::new();
    scene.write("job.toml", job(200, "profile = \"all\""));
    let (code, text) = scene.failure(&["compress", "job.toml", "--out", "out"]);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("300 reference examples") && text.contains("200"), "{text}");
    let argmax = job(500, "profile = \"quiet\"");
    scene.write("job.toml", argmax.replace("[network]\n", "[network]\noutput = \"argmax\"\n"));
    let (code, text) = scene.failure(&["compress", "job.toml", "--out", "out"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("sentinel.profile` compares the scores of classes"), "{text}");
    scene.write("job.toml", job(500, "profile = \"all\"\nfalse_alarms = 0.0"));
    let (code, text) = scene.failure(&["compress", "job.toml", "--out", "out"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("sentinel.false_alarms"), "{text}");
}
