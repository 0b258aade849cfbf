//! What a model is sure of: jobs and commands that promise the error of it.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

mod scene;

use std::fmt::Write as _;
use std::fs;

use bitsback::export;
use bitsback::graph::ops::Dense;
use bitsback::graph::{Affine, Graph};
use bitsback::import::onnx::FloatModel;
use bitsback_runtime::Model;
use scene::{Scene, small_job};
use serde_json::Value;

fn job(requirements: &str) -> String {
    small_job(500, requirements)
}

#[test]
fn a_job_chooses_a_margin_and_everything_tells_of_it() {
    let scene = Scene::new();
    scene.write("job.toml", job("accepted_error_percent = 4.0"));
    let summary = scene.json(&["compress", "job.toml", "--out", "out"]);
    let decision = &summary["decision"];
    let margin = decision["margin"].as_u64().unwrap();
    assert!(margin > 0, "{decision}");
    let held = &decision["held_out"];
    assert!((200..=250).contains(&held["examples"].as_u64().unwrap()), "{held}");
    assert!(held["error_percent"].as_f64().unwrap() < 4.0);

    let bytes = fs::read(scene.path("out/model.bbk")).unwrap();
    assert_eq!(u64::from(Model::parse(&bytes).unwrap().margin()), margin);
    let golden = fs::read(scene.path("out/golden/decisions.u16")).unwrap();
    assert_eq!(golden.len(), 2 * 32);
    let ledger = fs::read_to_string(scene.path("out/ledger-margins.csv")).unwrap();
    assert!(ledger.starts_with("margin,accepted,errors,most_errors,chance,kept\n"), "{ledger}");
    assert!(ledger.contains(&format!("\n{margin},")) && ledger.ends_with("false\n"), "{ledger}");
    let report = fs::read_to_string(scene.path("out/report.html")).unwrap();
    assert!(report.contains("<h2>Decisions</h2>") && report.contains("ledger-margins.csv"));

    let inspected = scene.json(&["inspect", "out/model.bbk"]);
    assert_eq!((&inspected["margin"], &inspected["decision"]), (&margin.into(), decision));
    let evaluated = scene.json(&["evaluate", "out/model.bbk", "job.toml"]);
    for key in ["accepted", "errors", "coverage_percent", "error_percent"] {
        assert_eq!(evaluated["decision"][key], decision["test"][key], "{key}");
    }
    // A job without the promise leaves nothing of it.
    scene.write("job.toml", job(""));
    let summary = scene.json(&["compress", "job.toml", "--out", "out", "--force"]);
    assert_eq!(summary.get("decision"), None);
    assert!(!scene.path("out/ledger-margins.csv").exists());
    assert!(!scene.path("out/golden/decisions.u16").exists());
    let inspected = scene.json(&["inspect", "out/model.bbk"]);
    assert_eq!((&inspected["margin"], &inspected["decision"]), (&0.into(), &Value::Null));
}

#[test]
fn what_can_not_be_promised_is_said_before_training() {
    let scene = Scene::new();
    scene.write("job.toml", job("accepted_error_percent = 0.5"));
    let (code, text) = scene.failure(&["compress", "job.toml", "--out", "out"]);
    assert_eq!(code, 6, "{text}");
    assert!(
        text.contains("accepted_error_percent = 0.5 %") && text.contains("at least 800"),
        "{text}"
    );
    let argmax = job("accepted_error_percent = 4.0")
        .replace("[network]\n", "[network]\noutput = \"argmax\"\n");
    scene.write("job.toml", argmax);
    let (code, text) = scene.failure(&["compress", "job.toml", "--out", "out"]);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("accepted_error_percent` compares the scores of classes"), "{text}");
}

/// The ONNX file of one layer on four numbers: the identity, or their mean.
fn onnx(mean: bool) -> Vec<u8> {
    let mut graph = Graph::of_input(vec![4]);
    if mean {
        let affine = Affine { weight: vec![0.25; 4], bias: vec![0.0] };
        graph.push("mean", Dense {}, vec![graph.input], vec![1], Some(affine));
    } else {
        let weight = (0..16).map(|at| f32::from(u8::from(at % 5 == 0))).collect();
        let affine = Affine { weight, bias: vec![0.0; 4] };
        graph.push("same", Dense {}, vec![graph.input], vec![4], Some(affine));
    }
    export::onnx(&FloatModel { graph, ..FloatModel::default() }, false).unwrap()
}

/// Examples of four numbers of which one is the largest, by a hundred, or in every `doubtful`th by ten; the
/// label of every second one of these is another.
fn table(count: usize, doubtful: usize) -> String {
    let mut table = String::from("a,b,c,d,label\n");
    for example in 0..count {
        // Classes go by in an order that has nothing to do with doubt.
        let class = (example / doubtful + example) % 4;
        let doubts = example % doubtful == 0;
        let mut row = [0; 4];
        row[class] = if doubts { 10 } else { 100 };
        let wrong = doubts && (example / doubtful).is_multiple_of(2);
        let label = if wrong { (class + 1) % 4 } else { class };
        let [a, b, c, d] = row;
        writeln!(table, "{a},{b},{c},{d},{label}").unwrap();
    }
    table
}

#[test]
fn a_finished_model_gets_a_margin() {
    let scene = Scene::new();
    scene.write("model.onnx", onnx(false));
    scene.write("data.csv", table(2_000, 5));
    scene.json(&["quantize", "model.onnx", "--data", "data.csv", "-o", "model.bbk"]);
    let promise = ["--data", "data.csv", "--accepted-error", "2"];
    let margin = [&["margin", "model.bbk"][..], &promise].concat();
    let found = scene.json(&[&margin[..], &["-o", "surer.bbk", "--resample", "20"]].concat());
    let steps = found["margin"].as_u64().unwrap();
    assert_eq!(
        (&found["held_out"]["examples"], &found["held_out"]["errors"]),
        (&1_500.into(), &0.into())
    );
    assert_eq!(found["held_out"]["accepted"], 1_200);
    let resampled = &found["resampled"];
    assert_eq!((&resampled["draws"], &resampled["violations"]), (&20.into(), &0.into()));
    assert_eq!((&resampled["choosing"], &resampled["tested"]), (&500.into(), &1_500.into()));

    let [model, surer] = ["model.bbk", "surer.bbk"].map(|name| fs::read(scene.path(name)).unwrap());
    assert_eq!((model.len(), u64::from(surer[6])), (surer.len(), steps));
    assert_eq!(
        (&model[..6], &model[12..]),
        (&surer[..6], &surer[12..]),
        "but for margin and checksum"
    );
    let evaluated = scene.json(&["evaluate", "surer.bbk", "data.csv"]);
    assert_eq!(evaluated["decision"]["coverage_percent"], 80.0);
    assert_eq!(scene.json(&["evaluate", "model.bbk", "data.csv"])["decision"], Value::Null);
    let text = String::from_utf8(scene.run(&["evaluate", "surer.bbk", "data.csv"]).stdout).unwrap();
    assert!(text.contains(&format!("with its margin of {steps}: 80.0 %")), "{text}");

    // What holds of everything needs no margin.
    scene.write("data.csv", table(2_000, 2));
    let loose = ["margin", "model.bbk", "--data", "data.csv", "--accepted-error", "40"];
    assert_eq!(scene.json(&loose)["margin"], 0);
}

#[test]
fn a_margin_that_keeps_nothing_is_an_error_of_its_own() {
    let scene = Scene::new();
    scene.write("model.onnx", onnx(false));
    // All are doubtful.
    scene.write("data.csv", table(800, 1));
    scene.json(&["quantize", "model.onnx", "--data", "data.csv", "-o", "model.bbk"]);
    let margin =
        |percent| ["margin", "model.bbk", "--data", "data.csv", "--accepted-error", percent];
    let (code, text) = scene.failure(&[&margin("5")[..], &["-o", "surer.bbk"]].concat());
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("no margin keeps accepted_error_percent = 5 %"), "{text}");
    assert!(!scene.path("surer.bbk").exists());
    scene.write("data.csv", table(120, 121));
    let (code, text) = scene.failure(&margin("2"));
    assert_eq!(code, 6, "{text}");
    assert!(text.contains("examples held out would do"), "{text}");
    for wrong in ["0", "100", "-1", "many"] {
        assert_eq!(scene.failure(&margin(wrong)).0, 2, "{wrong}");
    }
}

#[test]
fn a_margin_is_for_scores_of_classes() {
    let scene = Scene::new();
    scene.write("model.onnx", onnx(true));
    scene.write("data.csv", table(200, 5));
    let quantize = ["quantize", "model.onnx", "--data", "data.csv", "-o", "model.bbk"];
    scene.json(&[&quantize[..], &["--task", "regression"]].concat());
    let margin = ["margin", "model.bbk", "--data", "data.csv", "--accepted-error", "5"];
    let (code, text) = scene.failure(&margin);
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("compares the scores of classes"), "{text}");
    let overwriting =
        ["margin", "model.bbk", "--data", "data.csv", "--accepted-error", "5", "-o", "model.bbk"];
    assert!(scene.failure(&overwriting).1.contains("which the output would replace"));
}
