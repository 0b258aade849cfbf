//! What labels and outputs mean to the program: classes by value and name, single outputs, data
//! without labels, shapes.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Cursor, Write};
use std::process::{Command, Output};

use bitsback::data::npy;
use bitsback::export;
use bitsback::graph::ops::{Conv2d, Dense, Logistic, Mean, Tanh};
use bitsback::graph::{Affine, Computation, Graph, Window};
use bitsback::import::onnx::FloatModel;
use tempfile::TempDir;

/// A folder in which the program runs.
struct Scene(TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
        command.current_dir(self.0.path()).args(args).output().unwrap()
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code and the message of what must fail.
    fn failure(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    }
}

/// The ONNX file of a chain of nodes; each value's dimensions, the input's first.
fn onnx(dims: &[&[usize]], nodes: Vec<Computation>) -> Vec<u8> {
    let mut graph = Graph::of_input(dims[0].to_vec());
    for (at, (Computation { op, parameters }, dims)) in
        nodes.into_iter().zip(&dims[1..]).enumerate()
    {
        graph.push(&format!("n{at}"), op, vec![at], dims.to_vec(), parameters);
    }
    export::onnx(&FloatModel { graph, ..FloatModel::default() }, false).unwrap()
}

/// Four numbers, whose largest is the class.
fn largest_of_four() -> Vec<u8> {
    let weight = (0..16).map(|at| f32::from(u8::from(at % 5 == 0))).collect();
    onnx(&[&[4], &[4]], vec![Computation::new(Dense {}, Affine { weight, bias: vec![0.0; 4] })])
}

/// x − y of two numbers, maybe through a sigmoid.
fn difference(sigmoid: bool) -> Vec<u8> {
    let dense = Computation::new(Dense {}, Affine { weight: vec![1.0, -1.0], bias: vec![0.0] });
    if sigmoid {
        return onnx(&[&[2], &[1], &[1]], vec![dense, Logistic {}.into()]);
    }
    onnx(&[&[2], &[1]], vec![dense])
}

/// A table of `count` examples of four numbers of which `label` has the largest, with its name by
/// `named`, unless that is empty; every tenth label is wrong.
fn four(count: usize, named: impl Fn(usize) -> String) -> String {
    let mut table = String::from("a,b,c,d,label\n");
    for example in 0..count {
        let class = example % 4;
        let label = named(if example % 10 == 9 { (class + 1) % 4 } else { class });
        if label.is_empty() {
            continue;
        }
        for at in 0..4 {
            write!(table, "{},", if at == class { 4.0 } else { (example + at) as f32 % 3.0 })
                .unwrap();
        }
        writeln!(table, "{label}").unwrap();
    }
    table
}

/// A table of pairs, labelled by `label`.
fn pairs(label: impl Fn(f32) -> String) -> String {
    let mut table = String::from("x,y,label\n");
    for example in 0..80u8 {
        let (x, y) = (f32::from(example % 9) - 4.0, f32::from(example % 7) - 3.2);
        writeln!(table, "{x},{y},{}", label(x - y)).unwrap();
    }
    table
}

/// An NPY file of real numbers.
fn array(shape: &[u64], values: &[f32]) -> Vec<u8> {
    let shape: Vec<usize> = shape.iter().map(|&dim| dim as usize).collect();
    let mut bytes = Vec::new();
    npy::write(&mut bytes, &shape, values.iter().copied()).unwrap();
    bytes
}

/// An NPZ file of such arrays.
fn npz(arrays: &[(&str, &[u64], &[f32])]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    for (name, shape, values) in arrays {
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file(format!("{name}.npy"), options).unwrap();
        archive.write_all(&array(shape, values)).unwrap();
    }
    archive.finish().unwrap();
    bytes.into_inner()
}

fn percent(value: &serde_json::Value) -> f64 {
    (value.as_f64().unwrap() * 100.0).round() / 100.0
}

#[test]
fn numbers_are_outputs_whichever_the_data_have() {
    let scene = Scene::new();
    scene.write("model.onnx", largest_of_four());
    scene.write("all.csv", four(120, |class| class.to_string()));
    let without = |class: usize| if class == 0 { String::new() } else { class.to_string() };
    scene.write("without.csv", four(120, without));
    scene.write("beyond.csv", four(40, |class| (class + 1).to_string()));
    scene.json(&["quantize", "model.onnx", "--data", "all.csv", "-o", "m.bbk"]);
    let all = scene.json(&["evaluate", "m.bbk", "all.csv"]);
    assert_eq!(percent(&all["error_percent"]), 10.0);
    assert_eq!(all["notes"], serde_json::json!([]));
    let some = scene.json(&["evaluate", "m.bbk", "without.csv"]);
    assert!(percent(&some["error_percent"]) < 15.0, "{some}");
    assert_eq!(some["classes"].as_array().unwrap().len(), 4);
    assert!(some["notes"][0].as_str().unwrap().contains("no example of `0`"), "{some}");
    let compared = scene.json(&["compare", "model.onnx", "m.bbk", "--data", "without.csv"]);
    assert_eq!(percent(&compared["error_percent"][0]), percent(&some["error_percent"]));
    let again = ["quantize", "model.onnx", "--data", "without.csv", "-o", "m2.bbk"];
    assert!(percent(&scene.json(&again)["float_error_percent"]) < 15.0);
    for args in [
        &["evaluate", "m.bbk", "beyond.csv"][..],
        &["compare", "m.bbk", "m.bbk", "--data", "beyond.csv"],
        &["quantize", "model.onnx", "--data", "beyond.csv", "-o", "x.bbk"],
    ] {
        let (code, message) = scene.failure(args);
        assert!(code == 3 && message.contains("`4` has no output"), "{code} {message}");
    }
}

#[test]
fn names_are_looked_up_and_unknown_ones_refused() {
    let scene = Scene::new();
    let trees = ["ash", "birch", "cedar", "dogwood"];
    scene.write("model.onnx", largest_of_four());
    scene.write("all.csv", four(120, |class| trees[class].to_owned()));
    let without = |class: usize| if class == 0 { "" } else { trees[class] }.to_owned();
    scene.write("without.csv", four(120, without));
    let odd = |class: usize| if class == 2 { "willow" } else { trees[class] }.to_owned();
    scene.write("odd.csv", four(120, odd));
    scene.json(&["quantize", "model.onnx", "--data", "all.csv", "-o", "n.bbk"]);
    for args in [
        &["evaluate", "n.bbk", "without.csv"][..],
        &["evaluate", "n.bbk", "without.csv", "--classes", "ash,birch,cedar,dogwood"],
    ] {
        assert!(percent(&scene.json(args)["error_percent"]) < 15.0);
    }
    // Only one of the two has the names.
    for pair in [["model.onnx", "n.bbk"], ["n.bbk", "model.onnx"]] {
        let args = ["compare", pair[0], pair[1], "--data", "without.csv"];
        assert!(percent(&scene.json(&args)["error_percent"][1]) < 15.0);
    }
    let (code, message) = scene.failure(&["evaluate", "n.bbk", "odd.csv"]);
    assert!(code == 3 && message.contains("`willow`"), "{code} {message}");
    // Three names say nothing about four outputs.
    let args = ["quantize", "model.onnx", "--data", "without.csv", "-o", "x.bbk"];
    let (code, message) = scene.failure(&args);
    assert!(code == 3 && message.contains("--classes"), "{code} {message}");
    let named = [&args[..], &["--classes", "ash,birch,cedar,dogwood"]].concat();
    assert!(percent(&scene.json(&named)["float_error_percent"]) < 15.0);
    let (code, message) = scene.failure(&[&args[..], &["--classes", "ash,birch"]].concat());
    assert!(code == 2 && message.contains("4 classes"), "{code} {message}");
}

#[test]
fn a_single_output_is_a_class_by_its_threshold() {
    let scene = Scene::new();
    let class = |difference: f32| if difference > 0.0 { "1" } else { "0" }.to_owned();
    scene.write("numbers.csv", pairs(class));
    let named = |difference: f32| if difference > 0.0 { "on" } else { "off" }.to_owned();
    scene.write("names.csv", pairs(named));
    scene.write("x.npy", array(&[3, 2], &[2.0, -1.0, -2.0, 1.0, 3.0, 1.0]));
    for (file, sigmoid) in [("sigmoid.onnx", true), ("logit.onnx", false)] {
        scene.write(file, difference(sigmoid));
        let quantized = scene.json(&["quantize", file, "--data", "numbers.csv", "-o", "m.bbk"]);
        assert_eq!(
            (&quantized["task"], percent(&quantized["float_error_percent"])),
            (&"binary".into(), 0.0)
        );
        let found = scene.json(&["evaluate", "m.bbk", "numbers.csv"]);
        assert_eq!((&found["task"], percent(&found["error_percent"])), (&"binary".into(), 0.0));
        let compared = scene.json(&["compare", file, "m.bbk", "--data", "numbers.csv"]);
        assert_eq!(compared["error_percent"], serde_json::json!([0.0, 0.0]), "{compared}");
        // With names on the model, or for the asking.
        let classes = ["--classes", "off,on"];
        let args = ["quantize", file, "--data", "names.csv", "-o", "n.bbk"];
        scene.json(&[&args[..], &classes].concat());
        let given = scene.json(&["run", "n.bbk", "x.npy"]);
        assert_eq!(given["classes"], serde_json::json!([1, 0, 1]));
        assert_eq!(given["names"], serde_json::json!(["on", "off", "on"]));
        assert_eq!(percent(&scene.json(&["evaluate", "n.bbk", "names.csv"])["error_percent"]), 0.0);
        let given = scene.json(&[&["run", "m.bbk", "x.npy"][..], &classes].concat());
        assert_eq!(given["classes"], serde_json::json!([1, 0, 1]));
        let numbers = scene.json(&["run", "n.bbk", "x.npy", "--task", "regression"]);
        assert_eq!(numbers["classes"], serde_json::json!([]));
    }
    // Only a sigmoid says by itself that a class is meant.
    scene.json(&["quantize", "sigmoid.onnx", "--data", "numbers.csv", "-o", "s.bbk"]);
    assert_eq!(scene.json(&["run", "s.bbk", "x.npy"])["task"], "binary");
    scene.json(&["quantize", "logit.onnx", "--data", "numbers.csv", "-o", "l.bbk"]);
    assert_eq!(scene.json(&["run", "l.bbk", "x.npy"])["task"], "regression");
    scene.write("two.csv", pairs(|difference| if difference > 0.0 { "2" } else { "1" }.to_owned()));
    let (code, message) = scene.failure(&["evaluate", "s.bbk", "two.csv"]);
    assert!(code == 3 && message.contains("`2`"), "{code} {message}");
}

/// Whichever operator is the last, floats, integers, and both beside one another have one threshold.
#[test]
fn a_single_output_has_one_threshold() {
    let scene = Scene::new();
    let one = |scale, shift| {
        Computation::new(Dense {}, Affine { weight: vec![scale], bias: vec![shift] })
    };
    let positive = |difference: f32| difference > 0.0;
    let negative = |difference: f32| difference < 0.0;
    let all = |_: f32| true;
    type IsSecond = fn(f32) -> bool;
    let cases: [(Computation, Computation, IsSecond); 4] = [
        (Logistic {}.into(), one(-1.0, 1.0), negative),
        (Logistic {}.into(), one(0.98, 0.01), positive),
        (Tanh {}.into(), one(0.5, 0.5), positive),
        // Logits of which none is below 0, though some are below a half.
        (one(0.5, 3.45), one(2.0, 0.2), all),
    ];
    for (first, last, class) in cases {
        let dense = Computation::new(Dense {}, Affine { weight: vec![1.0, -1.0], bias: vec![0.0] });
        let name = format!("{} {}", first.op.name(), last.op.name());
        scene.write("model.onnx", onnx(&[&[2], &[1], &[1], &[1]], vec![dense, first, last]));
        scene.write("data.csv", pairs(|difference| u8::from(class(difference)).to_string()));
        let args = ["quantize", "model.onnx", "--data", "data.csv", "-o", "m.bbk"];
        let binary = ["--task", "binary"];
        let quantized = scene.json(&[&args[..], &binary].concat());
        let errors = [&quantized["float_error_percent"], &quantized["integer_error_percent"]];
        assert_eq!(errors.map(percent), [0.0, 0.0], "{name}: {quantized}");
        let evaluated = scene.json(&[&["evaluate", "m.bbk", "data.csv"][..], &binary].concat());
        assert_eq!(percent(&evaluated["error_percent"]), 0.0, "{name}: {evaluated}");
        for models in [["model.onnx", "m.bbk"], ["m.bbk", "model.onnx"], ["m.bbk", "m.bbk"]] {
            let args = [&["compare"][..], &models, &["--data", "data.csv"], &binary].concat();
            let compared = scene.json(&args);
            assert_eq!(compared["error_percent"], serde_json::json!([0.0, 0.0]), "{compared}");
        }
    }
}

#[test]
fn a_regression_is_measured_by_distances() {
    let scene = Scene::new();
    scene.write("model.onnx", difference(false));
    scene.write("targets.csv", pairs(|difference| format!("{:.2}", difference + 0.25)));
    let args = ["quantize", "model.onnx", "--data", "targets.csv", "-o", "m.bbk"];
    let quantized = scene.json(&args);
    assert_eq!(
        (&quantized["task"], &quantized["float_error_percent"]),
        (&"regression".into(), &serde_json::Value::Null)
    );
    let float = quantized["float_deviation"]["mean_absolute_error"].as_f64().unwrap();
    assert!((float - 0.25).abs() < 0.01, "{quantized}");
    let found = scene.json(&["evaluate", "m.bbk", "targets.csv"]);
    assert!((found["mean_absolute_error"].as_f64().unwrap() - 0.25).abs() < 0.1, "{found}");
    assert!(found["r_squared"].as_f64().unwrap() > 0.95, "{found}");
    let compared = scene.json(&["compare", "model.onnx", "m.bbk", "--data", "targets.csv"]);
    assert_eq!(compared["agreeing"], serde_json::Value::Null);
    assert!(compared["mean"].as_f64().unwrap() < 0.1, "{compared}");
    let auto = scene.json(&[&args[..], &["--bits", "auto", "--tolerance", "100"]].concat());
    assert!(auto["layers"][0]["bits"].as_u64().unwrap() < 8, "{auto}");
    let (code, message) = scene.failure(&[&args[..], &["--max-error", "1"]].concat());
    assert!(code == 2 && message.contains("--max-error"), "{code} {message}");
    scene.write("nan.csv", pairs(|d| if d > 3.0 { "nan".to_owned() } else { format!("{d:.2}") }));
    let (code, message) = scene.failure(&["evaluate", "m.bbk", "nan.csv"]);
    assert!(code == 3 && message.contains("NaN"), "{code} {message}");
}

#[test]
fn quantising_needs_no_labels() {
    let scene = Scene::new();
    scene.write("model.onnx", largest_of_four());
    let x: Vec<f32> = (0..160).map(|at| f32::from(at as u8 % 13) - 6.0).collect();
    let one = vec![2.0; 40];
    let reals: Vec<f32> = (0..40).map(|at| at as f32 / 7.0).collect();
    scene.write("none.npz", npz(&[("x", &[40, 4], &x)]));
    scene.write("one.npz", npz(&[("x", &[40, 4], &x), ("y", &[40], &one)]));
    scene.write("reals.npz", npz(&[("x", &[40, 4], &x), ("y", &[40], &reals)]));
    scene.write("itself.npz", npz(&[("x", &[40, 4], &x), ("y", &[40, 4], &x)]));
    let table: String =
        x.chunks(4).map(|row| format!("{row:?}\n").replace(['[', ']', ' '], "")).collect();
    scene.write("none.csv", format!("a,b,c,d\n{table}"));
    for data in ["none.npz", "one.npz", "reals.npz", "itself.npz", "none.csv"] {
        let quantized = scene.json(&["quantize", "model.onnx", "--data", data, "-o", "m.bbk"]);
        assert!(quantized["distance"]["largest"].as_f64().unwrap() < 0.2, "{data} {quantized}");
        let auto = ["quantize", "model.onnx", "--data", data, "-o", "a.bbk", "--bits", "auto"];
        scene.json(&auto);
        let compared = scene.json(&["compare", "model.onnx", "m.bbk", "--data", data]);
        assert!(compared["largest"].as_f64().unwrap() < 0.2, "{data} {compared}");
    }
    // Of labels that are all alike nothing is counted where the model gives what it takes.
    let quantized = scene.json(&["quantize", "model.onnx", "--data", "one.npz", "-o", "m.bbk"]);
    assert_eq!(quantized["float_error_percent"], serde_json::Value::Null, "{quantized}");
    for data in ["none.npz", "one.npz", "reals.npz", "none.csv"] {
        let (code, message) = scene.failure(&["evaluate", "m.bbk", data]);
        assert!(code == 3 && message.contains("no labels"), "{code} {message}");
    }
    // What an autoencoder should give is what it is given.
    let found = scene.json(&["evaluate", "m.bbk", "itself.npz"]);
    assert_eq!(found["task"], "regression");
    assert!(found["root_mean_squared_error"].as_f64().unwrap() < 0.1, "{found}");
}

/// A convolution of one tap that keeps channels, means over the image: the brightest channel.
fn brightest_channel() -> Vec<u8> {
    let weight = (0..9).map(|at| f32::from(u8::from(at % 4 == 0))).collect();
    let conv =
        Computation::new(Conv2d { window: Window::ONE }, Affine { weight, bias: vec![0.0; 3] });
    onnx(&[&[4, 5, 3], &[4, 5, 3], &[3]], vec![conv, Mean {}.into()])
}

#[test]
fn arrays_of_another_shape_are_refused_or_transposed() {
    let scene = Scene::new();
    scene.write("model.onnx", brightest_channel());
    let (mut last, mut first, mut y) = (Vec::new(), Vec::new(), Vec::new());
    for example in 0..24usize {
        let pixel = |place: usize, channel: usize| {
            let bright = if channel == example % 3 { 1.0 } else { 0.0 };
            bright + ((example + place * 7 + channel) % 5) as f32 / 10.0
        };
        last.extend((0..60).map(|at| pixel(at / 3, at % 3)));
        first.extend((0..60).map(|at| pixel(at % 20, at / 20)));
        y.push((example % 3) as f32);
    }
    let data = |name: &str, dims: &[u64], x: &[f32]| {
        let shape = [&[24], dims].concat();
        scene.write(&format!("{name}.npz"), npz(&[("x", &shape, x), ("y", &[24], &y)]));
        scene.write(&format!("{name}.npy"), array(&shape, x));
    };
    data("last", &[4, 5, 3], &last);
    data("flat", &[60], &last);
    data("first", &[3, 4, 5], &first);
    data("other", &[5, 4, 3], &last);
    for name in ["last", "flat"] {
        let data = format!("{name}.npz");
        let args = ["quantize", "model.onnx", "--data", &data, "-o", "m.bbk"];
        assert_eq!(scene.json(&args)["float_error_percent"], 0.0);
        assert_eq!(scene.json(&["evaluate", "m.bbk", &data])["error_percent"], 0.0);
    }
    let right = scene.json(&["run", "m.bbk", "last.npy"])["outputs"].clone();
    for (name, remedy) in [("first", "--data-layout channels-first"), ("other", "4 × 5 × 3")] {
        let (npz, npy) = (format!("{name}.npz"), format!("{name}.npy"));
        for args in [
            &["quantize", "model.onnx", "--data", &npz, "-o", "x.bbk"][..],
            &["evaluate", "m.bbk", &npz],
            &["compare", "model.onnx", "m.bbk", "--data", &npz],
            &["run", "m.bbk", &npy],
        ] {
            let (code, message) = scene.failure(args);
            assert!(code == 3 && message.contains(remedy), "{args:?} {code} {message}");
        }
    }
    let said = ["--data-layout", "channels-first"];
    let args = ["quantize", "model.onnx", "--data", "first.npz", "-o", "x.bbk"];
    assert_eq!(scene.json(&[&args[..], &said].concat())["float_error_percent"], 0.0);
    let found = scene.json(&[&["evaluate", "m.bbk", "first.npz"][..], &said].concat());
    assert_eq!(found["error_percent"], 0.0);
    let given = scene.json(&[&["run", "m.bbk", "first.npy"][..], &said].concat());
    assert_eq!(given["outputs"], right);
}

#[test]
fn what_is_no_number_is_not_run() {
    let scene = Scene::new();
    scene.write("model.onnx", largest_of_four());
    scene.write("all.csv", four(40, |class| class.to_string()));
    scene.json(&["quantize", "model.onnx", "--data", "all.csv", "-o", "m.bbk"]);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        scene.write("x.npy", array(&[2, 4], &[0.0, 1.0, 2.0, 3.0, 0.0, value, 2.0, 3.0]));
        let (code, message) = scene.failure(&["run", "m.bbk", "x.npy"]);
        assert!(code == 3 && message.contains("feature 1 of example 1"), "{code} {message}");
    }
}

#[test]
fn small_mistakes_are_told_apart() {
    let scene = Scene::new();
    scene.write("model.onnx", largest_of_four());
    scene.write("all.csv", four(40, |class| class.to_string()));
    scene.json(&["quantize", "model.onnx", "--data", "all.csv", "-o", "m.bbk"]);
    // Semicolons and tabs, as spreadsheets write them.
    for delimiter in [";", "\t"] {
        scene.write("other.csv", four(40, |class| class.to_string()).replace(',', delimiter));
        assert_eq!(
            percent(&scene.json(&["evaluate", "m.bbk", "other.csv"])["error_percent"]),
            10.0
        );
    }
    scene.write("x.npy", array(&[4], &[0.0, 1.0, 2.0, 3.0]));
    let (code, message) = scene.failure(&["run", "x.npy", "m.bbk"]);
    assert!(code == 2 && message.contains("the model comes first"), "{code} {message}");
    // What isn't there has one code, whatever it would have been.
    for args in [
        &["inspect", "none.bbk"][..],
        &["run", "m.bbk", "none.npy"],
        &["run", "none.bbk", "x.npy"],
        &["evaluate", "m.bbk", "none.csv"],
        &["evaluate", "m.bbk", "none.npz"],
        &["evaluate", "m.bbk", "none"],
        &["evaluate", "m.bbk", "none.toml"],
        &["compress", "none.toml"],
        &["quantize", "none.onnx", "--data", "all.csv", "-o", "x.bbk"],
        &["import", "none.tflite", "-o", "x.bbk"],
    ] {
        assert_eq!(scene.failure(args).0, 74, "{args:?}");
    }
    fs::create_dir_all(scene.0.path().join("data/mnist")).unwrap();
    scene.write("data/mnist/t10k-images-idx3-ubyte", []);
    let (code, message) = scene.failure(&["evaluate", "m.bbk", "data"]);
    assert!(code == 2 && message.contains("data/mnist"), "{code} {message}");
}

#[test]
fn names_do_not_reach_the_terminal_as_they_are() {
    let scene = Scene::new();
    scene.write("model.onnx", largest_of_four());
    let names = ["a\u{1b}[2J", "b\u{202e}", "c\u{9b}", "d"];
    scene.write("all.csv", four(40, |class| names[class].to_owned()));
    let args = ["quantize", "model.onnx", "--data", "all.csv", "-o", "m.bbk"];
    let output = scene.run(&args);
    let raw = [&b"\x1b[2J"[..], "\u{202e}".as_bytes(), "\u{9b}".as_bytes()];
    let clean = |bytes: &[u8]| raw.iter().all(|raw| !bytes.windows(raw.len()).any(|w| w == *raw));
    assert!(clean(&output.stdout) && clean(&output.stderr));
    scene.write("odd.csv", four(40, |class| format!("\u{1b}[2J{class}\u{202e}")));
    scene.write("plain.csv", four(40, |class| class.to_string()));
    let named = ["-o", "m.bbk", "--classes", "a,b,c,d"];
    scene.json(&[&["quantize", "model.onnx", "--data", "plain.csv"][..], &named].concat());
    for args in [&["evaluate", "m.bbk", "odd.csv"][..], &["evaluate", "m.bbk", "odd.csv", "--json"]]
    {
        let output = scene.run(args);
        assert!(!output.status.success() && clean(&output.stderr), "{args:?}");
    }
}
