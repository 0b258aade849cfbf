//! ONNX models: what is read and computed here, against what ONNX Runtime computed.
//!
//! `onnx/models.py` makes the models; `cargo xtask test --only onnx` runs it, to compare what is
//! committed with ONNX Runtime again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use bitsback::float_graph::Executor;
use bitsback::import::onnx::{self, FloatModel};

/// Largest difference to ONNX Runtime's outputs.
const TOLERANCE: f32 = 1e-4;

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx/models")
}

/// The values of a NumPy file of float32.
fn npy(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..10 + header]).contains("'<f4'"), "not float32");
    bytes[10 + header..].as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(models())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".onnx").map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn read(name: &str) -> (FloatModel, Vec<f32>, Vec<f32>) {
    let file = |ending: &str| models().join(format!("{name}.{ending}"));
    let bytes = std::fs::read(file("onnx")).unwrap();
    let model = onnx::read(&bytes, None).unwrap_or_else(|error| panic!("{name}: {error}"));
    (model, npy(&file("in.npy")), npy(&file("out.npy")))
}

/// Outputs in the order of the file.
fn in_file_order(model: &FloatModel, outputs: &[f32]) -> Vec<f32> {
    let order = &model.output_order;
    if order.is_empty() {
        return outputs.to_vec();
    }
    let mut ordered = vec![0.0; outputs.len()];
    for (to, from) in ordered.chunks_exact_mut(order.len()).zip(outputs.chunks_exact(order.len())) {
        order.iter().zip(from).for_each(|(&place, &number)| to[place] = number);
    }
    ordered
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn floats_agree_with_onnx_runtime() {
    let names = names();
    assert!(names.len() >= 11, "{names:?}");
    for name in names {
        let (model, inputs, expected) = read(&name);
        if model.is_quantized() {
            continue;
        }
        let outputs = Executor::new(&model.graph).unwrap().run(&inputs).unwrap();
        let difference = largest_difference(&in_file_order(&model, &outputs), &expected);
        println!("{name}: {} nodes, largest difference {difference:.2e}", model.graph.nodes.len());
        assert!(difference <= TOLERANCE, "{name}: {difference}");
    }
}
