//! ONNX models: what is read and computed here, against what ONNX Runtime computed.
//!
//! `onnx/models.py` makes the models; `cargo xtask test --only onnx` runs it, to compare what is
//! committed with ONNX Runtime again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use bitsback::compile::{CompileOptions, InputQuantization, ModelInfo};
use bitsback::data::Layout;
use bitsback::graph::ops::Op;
use bitsback::graph::{Executor, Quantization, Range};
use bitsback::import::onnx::{self, FloatModel};
use bitsback::import::{Basis, ImportError, ImportOptions, InputLayout, import};
use bitsback::quantize::{RangeMethod, calibrate, plan, write};
use bitsback::verify::run_batch;
use bitsback_runtime::Model;

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
    let model = onnx::read(&bytes, None, None).unwrap_or_else(|error| panic!("{name}: {error}"));
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
    assert!(names.len() >= 35, "{names:?}");
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

/// Those without a model: arithmetic on shapes, another name of one that is there, and a name that the
/// standard no longer has.
const WITHOUT_MODEL: [&str; 4] = ["Ceil", "Mod", "com.microsoft.DequantizeLinear", "Upsample"];

#[test]
fn every_operator_has_a_model() {
    let files: Vec<Vec<u8>> = names()
        .iter()
        .map(|name| std::fs::read(models().join(format!("{name}.onnx"))).unwrap())
        .collect();
    // A node's fourth field is its operator: a tag, a length, the name.
    let has = |file: &[u8], name: &str| {
        let field = [&[4 << 3 | 2, name.len() as u8], name.as_bytes()].concat();
        file.windows(field.len()).any(|bytes| bytes == field)
    };
    for operator in &onnx::SUPPORTED {
        let found = files.iter().any(|file| has(file, operator.name));
        let name = operator.name;
        let listed = WITHOUT_MODEL.contains(&name);
        assert!(found || listed, "no model of tests/onnx/models has {name}: add one to models.py");
        assert!(!(found && listed), "{name} has a model: WITHOUT_MODEL needn't list it");
    }
}

#[test]
fn the_order_of_the_input_is_proved_or_said_to_be_assumed() {
    use Basis::{Assumed, Proved};
    use Layout::{ChannelsFirst as First, ChannelsLast as Last};
    let table = [
        ("lenet", First, Proved),
        ("dynamic", First, Proved),
        ("normalised_first", First, Proved),
        ("sequence", First, Proved),
        ("poolings_of_steps", First, Proved),
        ("channels_last", Last, Proved),
        ("gray_last", Last, Proved),
        ("scaled_last", Last, Proved),
        ("step_last", Last, Proved),
        ("image_of_sequence_last", Last, Proved),
        ("flat_last", Last, Assumed),
    ];
    for (name, layout, basis) in table {
        assert_eq!(read(name).0.input_layout, Some(InputLayout { layout, basis }), "{name}");
    }
    assert_eq!(read("mlp").0.input_layout, None);
}

#[test]
fn an_order_is_taken_where_none_is_proved_and_else_must_agree() {
    let with = |name: &str, layout: Layout| {
        let bytes = std::fs::read(models().join(format!("{name}.onnx"))).unwrap();
        onnx::read(&bytes, None, Some(layout))
    };
    let [first, last] = [Layout::ChannelsFirst, Layout::ChannelsLast];
    let given = |layout| Some(InputLayout { layout, basis: Basis::Given });
    // 6 × 5 × 1 are six channels of 5 × 1 then.
    let first_given = with("flat_last", first).unwrap();
    assert_eq!(first_given.input_layout, given(first));
    assert_eq!(first_given.graph.values[first_given.graph.input].dims, [5, 1, 6]);
    assert_eq!(with("flat_last", last).unwrap().input_layout, given(last));
    assert_eq!(with("gray_last", last).unwrap().input_layout, given(last));
    for (name, layout) in [("lenet", last), ("gray_last", first), ("scaled_last", first)] {
        let refused = with(name, layout).unwrap_err();
        assert!(matches!(&refused, ImportError::Layout { given, .. } if *given == layout.name()));
        assert!(refused.to_string().contains("Conv"), "{refused}");
    }
    assert!(matches!(with("mlp", first), Err(ImportError::NoLayout { rank: 1 })));
}

/// Outputs of a model of integers in real units.
fn run(bytes: &[u8], inputs: &[f32]) -> Vec<f32> {
    let model = Model::parse(bytes).unwrap();
    let zero_point = model.input().zero_point;
    let input = Quantization { scale: model.meta().input_scale, zero_point };
    let integers: Vec<i8> = inputs.iter().map(|&x| input.quantize(x)).collect();
    let (scale, zero) = (model.meta().output_scale, f32::from(model.output().zero_point));
    let outputs = run_batch(bytes, &integers).unwrap();
    outputs.iter().map(|&q| scale * (f32::from(q) - zero)).collect()
}

#[test]
fn a_quantised_file_keeps_its_scales_and_integers() {
    let (model, inputs, expected) = read("quantized");
    assert!(model.is_quantized());
    let bytes = std::fs::read(models().join("quantized.onnx")).unwrap();
    let imported = import(&bytes, &ImportOptions::default()).unwrap();
    let parsed = Model::parse(&imported.bytes).unwrap();
    assert_eq!((parsed.meta().input_scale, parsed.input().zero_point), (1.0 / 128.0, 0));
    assert_eq!((parsed.meta().output_scale, parsed.output().zero_point), (0.05, 0));
    let outputs = run(&imported.bytes, &inputs);
    let steps: Vec<f32> =
        outputs.iter().zip(&expected).map(|(a, b)| ((a - b) / 0.05).round().abs()).collect();
    println!("steps between: {steps:?}");
    // Between are operators that ONNX Runtime computes with floats and rounds once more.
    assert!(steps.iter().all(|&step| step <= 1.0), "{steps:?}");
    assert!(steps.iter().filter(|&&step| step > 0.0).count() * 4 <= steps.len(), "{steps:?}");
}

#[test]
fn floats_are_not_imported_without_scales() {
    let bytes = std::fs::read(models().join("lenet.onnx")).unwrap();
    let refused = import(&bytes, &ImportOptions::default());
    assert!(matches!(refused, Err(ImportError::Floats)));
}

#[test]
fn every_model_is_quantised_and_follows_its_floats() {
    for name in names() {
        let (model, inputs, _) = read(&name);
        if model.is_quantized() {
            continue;
        }
        let input = InputQuantization::floats(Range { low: -1.0, high: 1.0 }, None);
        let scales = calibrate(&model.graph, &inputs, &input, RangeMethod::MinMax).unwrap();
        let plan = plan(&model.graph, scales, &input);
        let (compile, info) = (CompileOptions::default(), ModelInfo::default());
        let written = write(&model.graph, &plan, &input, &compile, &info);
        let (bytes, _) = written.unwrap_or_else(|error| panic!("{name}: {error}"));
        let floats = Executor::new(&model.graph).unwrap().run(&inputs).unwrap();
        let integers = run(&bytes, &inputs);
        // A logarithm of a softmax is left out, which moves all scores of an example alike.
        let log = model.graph.nodes.iter().any(|node| matches!(node.op, Op::LogSoftmax(_)));
        let classes = floats.len() / (inputs.len() / model.graph.values[model.graph.input].len());
        let centred = |scores: &[f32]| -> Vec<f32> {
            let each = scores.chunks_exact(classes).flat_map(|row| {
                let mean = row.iter().sum::<f32>() / classes as f32;
                row.iter().map(move |x| if log { x - mean } else { *x })
            });
            each.collect()
        };
        let (floats, integers) = (centred(&floats), centred(&integers));
        let signal: f32 = floats.iter().map(|x| x.powi(2)).sum();
        let noise: f32 = floats.iter().zip(&integers).map(|(a, b)| (a - b).powi(2)).sum();
        println!("{name}: {} bytes, {:.1} dB", bytes.len(), 10.0 * (signal / noise).log10());
        assert!(noise * 300.0 < signal, "{name}: more than −25 dB of noise");
    }
}
