//! Models of TensorFlow Lite, imported and run by the runtime, against the bytes that TensorFlow
//! Lite Micro gave for the same inputs.
//!
//! `fixtures/tflite` holds those that may be committed. A folder with more, in the same form, is
//! named by `BITSBACK_TFLITE_MODELS`; where it isn't set, the test says that it did not run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use bitsback::compile::{CompileOptions, InputQuantization, ModelInfo};
use bitsback::golden;
use bitsback::graph::ops::Clip;
use bitsback::graph::{Affine, Executor, Graph, Node, Quantization, Range};
use bitsback::import::onnx::FloatModel;
use bitsback::import::{ImportError, ImportOptions, floats, import};
use bitsback::quantize::{RangeMethod, calibrate, means, plan, write};
use bitsback::verify::run_batch;
use bitsback_runtime::Model;

/// Where further models are.
const MORE: &str = "BITSBACK_TFLITE_MODELS";
/// How far floats may be from the integers, in steps of the output, at most and in the mean: each layer
/// rounds.
const APART: (f32, f32) = (3.0, 1.0);
/// The same limit on the mean of deep networks that end with a softmax, whose slope adds to it.
const DEEP_APART: f32 = 5.0;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tflite")
}

/// The values of a NumPy file of int8.
fn npy(path: &Path) -> Vec<i8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..10 + header]).contains("'|i1'"), "not int8");
    bytes[10 + header..].iter().map(|&byte| byte as i8).collect()
}

/// Names of the models of a folder, without `.tflite`.
fn models(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".tflite").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// What `cargo xtask` exits with when something it needs is not installed.
const EXIT_MISSING: i32 = 3;

/// Runs a model's vectors on an emulated core: `false` when the machine lacks what that needs.
fn on_core(core: &str, model: &[u8], inputs: &[i8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.bbk");
    std::fs::write(&file, model).unwrap();
    golden::write(folder.path(), model, inputs).unwrap();
    let output = std::process::Command::new(env!("CARGO"))
        .args(["run", "--release", "--quiet", "--package", "xtask", "--", "qemu", "--json"])
        .args(["--core", core, "--model"])
        .arg(&file)
        .arg("--golden")
        .arg(folder.path())
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    if output.status.code() == Some(EXIT_MISSING) {
        assert!(std::env::var_os("CI").is_none(), "CI must run this");
        println!("not run: {}", String::from_utf8_lossy(&output.stderr));
        return false;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let row: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    println!("{core}: {row}");
    assert!(output.status.success() && row["ran"] == true && row["mismatches"] == 0, "{row}");
    true
}

/// Imports a model and runs it on the emulated cores, whose bytes are compared with those that
/// [`check`] has found equal to TensorFlow Lite Micro's.
fn check_on_cores(folder: &Path, name: &str) {
    check(folder, name);
    let bytes = std::fs::read(folder.join(format!("{name}.tflite"))).unwrap();
    let model = import(&bytes, &ImportOptions::default()).unwrap().bytes;
    let inputs = npy(&folder.join(format!("{name}.in16.npy")));
    for core in ["cortex-m4", "cortex-m0-large", "cortex-m55"] {
        if !on_core(core, &model, &inputs) {
            return;
        }
    }
}

#[test]
fn emulated_cores_compute_what_tensorflow_lite_micro_computes() {
    for name in models(&fixtures()) {
        check_on_cores(&fixtures(), &name);
    }
    if let Some(folder) = std::env::var_os(MORE).map(PathBuf::from) {
        for name in models(&folder) {
            check_on_cores(&folder, &name);
        }
    }
}

/// Imports a model, compares every byte, and gives the arena's length.
fn check(folder: &Path, name: &str) -> usize {
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let bytes = std::fs::read(file("tflite")).unwrap();
    let imported =
        import(&bytes, &ImportOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let outputs = run_batch(&imported.bytes, &npy(&file("in16.npy"))).unwrap();
    assert!(outputs == npy(&file("tflm16.npy")), "{name}: other bytes than TensorFlow Lite Micro");
    let arena = Model::parse(&imported.bytes).unwrap().arena_len();
    println!(
        "{name}: {} outputs equal, arena {arena}, file {}",
        outputs.len(),
        imported.bytes.len()
    );
    arena
}

#[test]
fn committed_models_compute_what_tensorflow_lite_micro_computes() {
    let names = models(&fixtures());
    assert!(!names.is_empty());
    for name in names {
        check(&fixtures(), &name);
    }
}

#[test]
fn further_models_compute_what_tensorflow_lite_micro_computes() {
    let Some(folder) = std::env::var_os(MORE).map(PathBuf::from) else {
        println!("not run: {MORE} names no folder with NAME.tflite, .in16.npy and .tflm16.npy");
        return;
    };
    let arenas: Vec<(String, usize)> =
        models(&folder).into_iter().map(|name| (name.clone(), check(&folder, &name))).collect();
    assert!(!arenas.is_empty(), "no models in {}", folder.display());
}

#[test]
fn channels_that_never_change_are_left_out() {
    let bytes = std::fs::read(fixtures().join("constant_channels.tflite")).unwrap();
    let imported = import(&bytes, &ImportOptions::default()).unwrap();
    let left_out = &imported.compiled.left_out;
    assert!(left_out.channels >= 34 && left_out.of_channels == 72, "{left_out:?}");
    assert!(left_out.products >= 53_912 && left_out.of_products == 75_856, "{left_out:?}");
    let macs = Model::parse(&imported.bytes).unwrap().macs();
    assert_eq!(macs, left_out.of_products - left_out.products);
}

#[test]
fn arenas_are_not_larger_than_those_of_tensorflow_lite_micro() {
    // TensorFlow Lite Micro's own arena of this model.
    assert!(check(&fixtures(), "lenet5_8_13_13_10_ptfc_int8") <= 7_220);
}

/// Real inputs and outputs of a model's vectors, and the output's step.
fn real_vectors(folder: &Path, name: &str) -> (Vec<f32>, Vec<f32>, f32) {
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    let imported =
        import(&std::fs::read(file("tflite")).unwrap(), &ImportOptions::default()).unwrap();
    let model = Model::parse(&imported.bytes).unwrap();
    let real = |integers: Vec<i8>, scale: f32, zero_point: i8| -> Vec<f32> {
        let quantization = Quantization { scale, zero_point };
        integers.into_iter().map(|q| quantization.dequantize(q)).collect()
    };
    let meta = model.meta();
    let inputs = real(npy(&file("in16.npy")), meta.input_scale, model.input().zero_point);
    let outputs = real(npy(&file("tflm16.npy")), meta.output_scale, model.output().zero_point);
    (inputs, outputs, meta.output_scale)
}

/// Largest and mean difference of the floats' outputs to the integers', in steps of these.
fn apart(graph: &Graph<Affine>, inputs: &[f32], outputs: &[f32], step: f32) -> (f32, f32) {
    let found = Executor::new(graph).unwrap().run(inputs).unwrap();
    assert_eq!(found.len(), outputs.len());
    let differences = found.iter().zip(outputs).map(|(a, b)| (a - b).abs() / step);
    let (largest, sum) = differences.fold((0.0, 0.0), |(m, s), d| (f32::max(m, d), s + d));
    (largest, sum / outputs.len() as f32)
}

/// The graph with every value cut off where int8 ends: inputs of these models are noise that goes
/// further than what they were calibrated with.
fn cut_off(model: &FloatModel) -> Graph<Affine> {
    let mut graph = Graph { nodes: Vec::new(), ..model.graph.clone() };
    for node in &model.graph.nodes {
        graph.nodes.push(node.clone());
        let Some(scale) = model.activations.get(&node.output) else { continue };
        graph.values.push(graph.values[node.output].clone());
        let before = graph.values.len() - 1;
        graph.nodes.last_mut().unwrap().output = before;
        let clip = Clip { low: scale.dequantize(i8::MIN), high: scale.dequantize(i8::MAX) };
        graph.nodes.push(Node::new(&node.name, clip, vec![before], node.output));
    }
    graph
}

#[test]
fn floats_follow_the_integers_that_they_are_read_from() {
    let more = std::env::var_os(MORE).map(PathBuf::from);
    for folder in std::iter::once(fixtures()).chain(more) {
        for name in models(&folder) {
            let bytes = std::fs::read(folder.join(format!("{name}.tflite"))).unwrap();
            let model =
                floats(&bytes, None, None).unwrap_or_else(|error| panic!("{name}: {error}"));
            let (inputs, outputs, step) = real_vectors(&folder, &name);
            let (largest, mean) = apart(&cut_off(&model), &inputs, &outputs, step);
            println!("{name}: {largest:.2} steps apart at most, {mean:.2} in the mean");
            let near = if folder == fixtures() {
                largest <= APART.0 && mean <= APART.1
            } else {
                mean <= DEEP_APART
            };
            assert!(near, "{name}: {largest} steps, {mean}");
            if name.starts_with("lenet") {
                let (largest, mean) = apart(&model.freed().graph, &inputs, &outputs, step);
                let near = largest <= APART.0 && mean <= APART.1;
                assert!(near, "{name}: {largest} steps, {mean}");
            }
        }
    }
}

/// The values of a NumPy file of float32.
fn real_npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..10 + header]).contains("'<f4'"), "not float32");
    bytes[10 + header..].as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

/// Signal by noise, in decibels.
fn decibels(right: &[f32], found: &[f32]) -> f32 {
    assert_eq!(right.len(), found.len());
    let power = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x.powi(2)).sum::<f32>();
    let noise = power(&mut right.iter().zip(found).map(|(a, b)| a - b));
    10.0 * (power(&mut right.iter().copied()) / noise.max(1e-20)).log10()
}

#[test]
fn models_of_floats_are_read_and_quantised() {
    let folder = fixtures().join("floats");
    let more = std::env::var_os(MORE).map(|more| PathBuf::from(more).join("floats"));
    for folder in std::iter::once(folder).chain(more.filter(|folder| folder.exists())) {
        for name in models(&folder) {
            let file = |ending: &str| folder.join(format!("{name}.{ending}"));
            let bytes = std::fs::read(file("tflite")).unwrap();
            assert!(
                matches!(import(&bytes, &ImportOptions::default()), Err(ImportError::Floats)),
                "{name}"
            );
            let model = floats(&bytes, None, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            let (inputs, right) = (real_npy(&file("in.npy")), real_npy(&file("out.npy")));
            let found = Executor::new(&model.graph).unwrap().run(&inputs).unwrap();
            let of_floats = decibels(&right, &found);
            let nothing = Range { low: 0.0, high: 0.0 };
            let range = inputs.iter().fold(nothing, |range, &x| Range {
                low: range.low.min(x),
                high: range.high.max(x),
            });
            let input = InputQuantization::floats(range, None);
            let scales = calibrate(&model.graph, &inputs, &input, RangeMethod::MinMax).unwrap();
            let mut plan = plan(&model.graph, scales, &input);
            plan.means = means(&model.graph, &inputs).unwrap();
            let (compile, info) = (CompileOptions::default(), ModelInfo::default());
            let (written, _) = write(&model.graph, &plan, &input, &compile, &info).unwrap();
            let parsed = Model::parse(&written).unwrap();
            let output = Quantization {
                scale: parsed.meta().output_scale,
                zero_point: parsed.output().zero_point,
            };
            let integers = run_batch(&written, &input.quantize(&inputs)).unwrap();
            let integers: Vec<f32> = integers.iter().map(|&q| output.dequantize(q)).collect();
            let of_integers = decibels(&found, &integers);
            println!("{name}: floats {of_floats:.1} dB, integers {of_integers:.1} dB");
            // Where only weights have 8 bits, TensorFlow Lite rounds activations, too.
            let least = if name.ends_with("dynamic") { 30.0 } else { 90.0 };
            assert!(of_floats > least && of_integers > 25.0, "{name}");
        }
    }
}
