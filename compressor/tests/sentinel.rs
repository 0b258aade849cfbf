//! Models that notice that the field has changed: jobs and the command that make them.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

mod scene;

use std::fs;

use bitsback::data::{DataConfig, DataKind, load};
use bitsback_runtime::Model;
use bitsback_runtime::sentinel::Sentinel;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use scene::{Scene, small_job};
use serde_json::Value;

/// Bets of a model's sentinel; none without.
fn bets(scene: &Scene, name: &str) -> Option<usize> {
    let bytes = fs::read(scene.path(name)).unwrap();
    let model = Model::parse(&bytes).unwrap();
    Sentinel::new(&model).unwrap().map(|sentinel| sentinel.bets())
}

fn job(validation: usize, sentinel: &str) -> String {
    small_job(validation, &format!("\n[sentinel]\n{sentinel}"))
}

#[test]
fn a_job_makes_a_sentinel_and_everything_tells_of_it() {
    let scene = Scene::new();
    scene.write("plain.toml", job(500, ""));
    let plain = scene.json(&["compress", "plain.toml", "--out", "plain"]);
    assert_eq!((plain.get("sentinel"), bets(&scene, "plain/model.bbk")), (None, None));
    scene.write("job.toml", job(500, "profile = \"all\""));
    let summary = scene.json(&["compress", "job.toml", "--out", "out"]);
    let sentinel = &summary["sentinel"];
    assert_eq!((&sentinel["examples"], &sentinel["profile"]), (&500.into(), &"all".into()));
    let bytes = sentinel["bytes"].as_u64().unwrap();
    assert!(bytes <= 256, "{sentinel}");
    let longer = |of: &Value| of["file_bytes"].as_u64().unwrap();
    assert_eq!(longer(&summary), longer(&plain) + bytes);
    assert_eq!(summary["error_percent"], plain["error_percent"]);
    assert_eq!(bets(&scene, "out/model.bbk"), Some(28));
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
    assert_eq!((&found["decimate"], bets(&scene, "watched.bbk")), (&3.into(), Some(18)));
    assert_eq!(bets(&scene, model), None, "the model itself stays");
    // Another takes its place.
    let again = ["sentinel", "watched.bbk", "--data", "job.toml", "-o", "quiet.bbk"];
    let text = scene.text(&[&again[..], &["--profile", "quiet"]].concat());
    assert!(text.contains("false alarm within 10,000") && text.contains("noticed after"), "{text}");
    assert_eq!(bets(&scene, "quiet.bbk"), Some(6));
    let evaluated =
        |model: &str| scene.json(&["evaluate", model, "job.toml"])["error_percent"].clone();
    assert_eq!(evaluated("quiet.bbk"), evaluated(model));
}

/// A recording of digits that each stay for ten frames.
#[test]
fn a_recording_says_how_far_apart_inferences_must_be() {
    let scene = Scene::new();
    scene.write("job.toml", job(500, ""));
    scene.json(&["compress", "job.toml", "--out", "out"]);
    let digits = load(&DataConfig { kind: DataKind::Digits, ..DataConfig::default() }).unwrap();
    let row = |at: u32| {
        let pixels: Vec<String> = digits.bytes(at).unwrap().iter().map(u8::to_string).collect();
        pixels.join(",") + "\n"
    };
    // The set's own order is that of the classes, again and again.
    let mut order: Vec<u32> = (0..1_797).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    let frames: String = order.iter().map(|&at| row(at).repeat(10)).collect();
    scene.write("frames.csv", &frames);
    let args = ["sentinel", "out/model.bbk", "--data", "job.toml", "--recording", "frames.csv"];
    let found = scene.json(&args);
    let every = found["decimate"].as_u64().unwrap();
    assert!((9..=20).contains(&every), "{found}");
    assert!(scene.text(&args).contains(&format!("feed one inference in {every}\n")));
    scene.write("frames.csv", frames.lines().take(999).collect::<Vec<_>>().join("\n"));
    let (code, text) = scene.failure(&args);
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("frames.csv") && text.contains("1000 frames") && text.contains("999"));
    assert_eq!(scene.failure(&[&args[..], &["--decimate", "2"]].concat()).0, 2);
}

/// Killed while it trains, and resumed: the sentinel is the same, byte for byte.
#[test]
fn a_killed_job_has_the_same_sentinel_when_it_goes_on() {
    let scene = Scene::new();
    scene.write("job.toml", job(500, "profile = \"all\"").replace("epochs = 40", "epochs = 60"));
    scene.json(&["compress", "job.toml", "--out", "whole"]);
    let mut child =
        scene.command(&["compress", "job.toml", "--out", "cut", "--quiet"]).spawn().unwrap();
    let checkpoint = scene.path("cut/checkpoint.bin");
    let killed = (0..3_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        checkpoint.exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(killed && !scene.path("cut/model.bbk").exists(), "killed in the middle");
    scene.json(&["compress", "job.toml", "--out", "cut", "--resume"]);
    let model = |folder: &str| fs::read(scene.path(folder).join("model.bbk")).unwrap();
    assert!(model("cut") == model("whole"));
    assert_eq!(bets(&scene, "cut/model.bbk"), Some(28));
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
