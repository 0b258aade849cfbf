//! Golden models: small, deterministic, one per weight width and one per kind of operator.
//!
//! `tests/golden/<name>/` holds `model.bbk` and its vectors (see `bitsback::golden`). The tests
//! demand that the compressor still writes these very bytes and that the runtime still gives these
//! very outputs; the firmware's conformance example demands the latter of every core. To accept a
//! deliberate change: `BITSBACK_BLESS=1 cargo test --release -p bitsback-tests --test golden`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use bitsback::compile::{
    CompileOptions, Head, InputQuantization, ModelInfo, append_head, compile, serialize,
};
use bitsback::data::Normalization;
use bitsback::golden::{self, DECISIONS_FILE, GOLDEN_FILE, GoldenError, INPUTS_FILE, OUTPUTS_FILE};
use bitsback::graph::ops::{AvgPool2d, Clip, Conv2d, Dense, MaxPool2d, Op, Reshape, Select};
use bitsback::graph::{Affine, Graph, Padding, Plan, Window, lower};
use bitsback::internals::at_width;
use bitsback::quantize::{RangeMethod, calibrate, plan};
use bitsback_runtime::writer::set_margin;
use bitsback_runtime::{Interpreter, Model, weights_len};

const MODEL_FILE: &str = "model.bbk";
const VECTORS: usize = 12;
/// How far rounding biases moves an output, as jobs have it: a 64th of a step.
const BIAS_TOLERANCE: f64 = 1.0 / 64.0;

/// A golden model's recipe.
struct Recipe {
    name: String,
    network: Graph<Affine>,
    bits: Vec<u8>,
    head: Head,
    normalization: Normalization,
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in −1…1, exactly representable.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// A network in the making: its name decides its weights.
struct Draft {
    name: String,
    numbers: Numbers,
    network: Graph<Affine>,
}

impl Draft {
    fn new(name: &str, dims: &[usize]) -> Self {
        let numbers = Numbers(name.bytes().map(u64::from).sum());
        Self { name: name.to_owned(), numbers, network: Graph::of_input(dims.to_vec()) }
    }

    fn dims(&self) -> &[usize] {
        &self.network.values[self.network.output].dims
    }

    fn affine(&mut self, weights: usize, outputs: usize) -> Option<Affine> {
        let mut floats = |count: usize| (0..count).map(|_| self.numbers.float()).collect();
        Some(Affine { weight: floats(weights), bias: floats(outputs) })
    }

    fn push(mut self, op: impl Into<Op>, dims: Vec<usize>, affine: Option<Affine>) -> Self {
        self.network.push("node", op, vec![self.network.output], dims, affine);
        self
    }

    fn dense(mut self, outputs: usize) -> Self {
        let inputs = self.dims().iter().product::<usize>();
        let affine = self.affine(inputs * outputs, outputs);
        self.push(Dense {}, vec![outputs], affine)
    }

    /// A square window over the image, and the size of what it gives.
    fn window(&self, size: usize, step: usize, rule: Padding) -> (Window, [usize; 2], usize) {
        let &[height, width, channels] = self.dims() else { panic!("no image") };
        let window = Window::with_rule([size; 2], [step; 2], [1; 2], rule, [height, width]);
        let (window, to) = window.unwrap();
        (window, to, channels)
    }

    fn conv(mut self, filters: usize, size: usize, step: usize, rule: Padding) -> Self {
        let (window, [height, width], channels) = self.window(size, step, rule);
        let affine = self.affine(filters * size * size * channels, filters);
        self.push(Conv2d { window }, vec![height, width, filters], affine)
    }

    fn max_pool(self) -> Self {
        let (window, [height, width], channels) = self.window(2, 2, Padding::Valid);
        self.push(MaxPool2d { window }, vec![height, width, channels], None)
    }

    fn avg_pool(self) -> Self {
        let (window, [height, width], channels) = self.window(3, 2, Padding::Same);
        self.push(AvgPool2d { window }, vec![height, width, channels], None)
    }

    fn limit(self, clip: Clip) -> Self {
        let dims = self.dims().to_vec();
        self.push(clip, dims, None)
    }

    fn relu(self) -> Self {
        self.limit(Clip::RELU)
    }

    fn flatten(self) -> Self {
        let len = self.dims().iter().product();
        self.push(Reshape {}, vec![len], None)
    }

    fn select(self, keep: Vec<u32>) -> Self {
        let dims = vec![keep.len()];
        self.push(Select { keep }, dims, None)
    }

    /// The recipe with so many bits a layer.
    fn at(self, bits: &[u8]) -> Recipe {
        let mut network = self.network;
        network.number_nodes();
        // Limits move before poolings, where they are part of a layer.
        network.fold(&Default::default());
        let normalization = Normalization { offset: vec![0.0], scale: vec![1.0 / 255.0] };
        Recipe { name: self.name, network, bits: bits.to_vec(), head: Head::Logits, normalization }
    }
}

/// Dense layers alone, at one width.
fn dense_at(bits: u8) -> Recipe {
    let draft = Draft::new(&format!("dense-w{bits}"), &[24]).dense(13);
    // One bit holds −1 and 0, behind which a ReLU would leave nothing.
    let draft = if bits == 1 { draft } else { draft.relu() };
    let mut recipe = draft.dense(5).at(&[bits, bits]);
    if bits == 1 {
        let affine = recipe.network.parameters_mut();
        affine.flat_map(|a| &mut a.weight).for_each(|w| *w = -w.abs());
    }
    recipe
}

/// Convolutions and both poolings, at one width.
fn conv_at(bits: u8) -> Recipe {
    let draft = Draft::new(&format!("conv-w{bits}"), &[11, 12, 1]);
    let draft = draft.conv(5, 3, 1, Padding::Same).max_pool().relu();
    let draft = draft.conv(3, 3, 1, Padding::Valid).limit(Clip::RELU6).avg_pool();
    draft.flatten().dense(4).at(&[bits, bits, bits])
}

fn recipes() -> Vec<Recipe> {
    let mut all: Vec<Recipe> = [1, 2, 3, 4, 5, 6, 7, 8, 16].map(dense_at).into();
    all.extend([2, 3, 4, 8, 16].map(conv_at));

    let keep = (0..40).filter(|i| i % 3 != 1).collect();
    let select = Draft::new("select", &[40]).select(keep);
    all.push(select.dense(9).relu().dense(3).at(&[8, 4]));

    let mut softmax = Draft::new("softmax", &[10]).dense(7).relu().dense(6).at(&[8, 8]);
    softmax.head = Head::Softmax;
    all.push(softmax);
    let mut argmax = Draft::new("argmax", &[10]).dense(7).relu().dense(6).at(&[3, 5]);
    argmax.head = Head::Argmax;
    all.push(argmax);

    // Three channels with their own normalisation, strides, mixed widths.
    let colour = Draft::new("colour", &[7, 9, 3]).conv(4, 3, 2, Padding::Same).relu();
    let colour = colour.conv(6, 2, 1, Padding::Valid).relu().flatten().dense(10);
    let mut colour = colour.at(&[7, 4, 3]);
    colour.normalization = Normalization {
        offset: vec![125.5, 100.25, 80.0],
        scale: vec![0.015625, 0.0078125, 0.01171875],
    };
    all.push(colour);
    all
}

/// Raw inputs: noise, then nothing, then everything.
fn raw(recipe: &Recipe) -> Vec<u8> {
    let width = recipe.network.values[recipe.network.input].len();
    let mut numbers = Numbers(width as u64);
    let mut raw: Vec<u8> = (0..width * (VECTORS - 2)).map(|_| numbers.next() as u8).collect();
    raw.resize(width * (VECTORS - 1), 0);
    raw.resize(width * VECTORS, 255);
    raw
}

fn build(recipe: &Recipe) -> (Vec<u8>, Vec<i8>) {
    let raw = raw(recipe);
    let n = &recipe.normalization;
    let channels = n.offset.iter().zip(&n.scale).cycle();
    let normalised: Vec<f32> =
        raw.iter().zip(channels).map(|(&x, (o, s))| (f32::from(x) - o) * s).collect();
    let input = InputQuantization::bytes(n);
    let network = &recipe.network;
    let scales = calibrate(network, &normalised, &input, RangeMethod::MinMax).unwrap();
    let layers = network.layers().zip(&recipe.bits);
    let rows = layers.map(|(node, &bits)| {
        (node.output, at_width(&node.parameters.as_ref().unwrap().weight, bits).0)
    });
    let plan = plan(network, scales, &input);
    let plan = Plan { rows: rows.collect(), bias_tolerance: BIAS_TOLERANCE, ..plan };
    let mut integers = lower(network, &plan).unwrap();
    append_head(&mut integers, recipe.head);
    let info = ModelInfo { name: recipe.name.clone(), ..ModelInfo::default() };
    // Every layer is stored as lowering leaves it: packed.
    let compiled = compile(integers, &input, &CompileOptions::default()).unwrap();
    (serialize(&compiled, &info).unwrap(), input.quantize(&normalised))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

#[test]
fn golden_models_are_what_the_compressor_writes_and_the_runtime_computes() {
    let bless = std::env::var_os("BITSBACK_BLESS").is_some();
    for recipe in recipes() {
        let folder = folder(&recipe.name);
        let (model, inputs) = build(&recipe);
        assert!(model.len() < 4096, "{}: {} bytes", recipe.name, model.len());
        if bless {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(MODEL_FILE), &model).unwrap();
            golden::write(&folder, &model, &inputs).unwrap();
        }
        let stored = std::fs::read(folder.join(MODEL_FILE)).unwrap();
        assert!(stored == model, "{}: the compressor writes another file", recipe.name);
        let checked = golden::check(&folder, &stored).unwrap();
        assert_eq!(checked.vectors, VECTORS, "{}", recipe.name);
    }
}

#[test]
fn outputs_vary_with_inputs() {
    for recipe in recipes() {
        let (model, inputs) = build(&recipe);
        let outputs = bitsback::verify::run_batch(&model, &inputs).unwrap();
        let mut vectors: Vec<&[i8]> = outputs.chunks(outputs.len() / VECTORS).collect();
        vectors.sort_unstable();
        vectors.dedup();
        assert!(vectors.len() > 1, "{}: vectors that tell nothing: {outputs:?}", recipe.name);
    }
}

/// Checks models that are committed from elsewhere, too, such as a job's.
#[test]
fn every_golden_folder_holds() {
    for entry in std::fs::read_dir(folder("")).unwrap() {
        let folder = entry.unwrap().path();
        let model = std::fs::read(folder.join(MODEL_FILE)).unwrap();
        if let Err(error) = golden::check(&folder, &model) {
            panic!("{}: {error}", folder.display());
        }
    }
}

/// The same vectors with weights unpacked: all of them, half and none.
#[test]
fn every_golden_folder_holds_with_unpacked_weights() {
    let bytes = |path: PathBuf| -> Vec<i8> {
        std::fs::read(path).unwrap().into_iter().map(|byte| byte as i8).collect()
    };
    let mut unpacked = 0;
    for entry in std::fs::read_dir(folder("")).unwrap() {
        let folder = entry.unwrap().path();
        let file = std::fs::read(folder.join(MODEL_FILE)).unwrap();
        let (inputs, outputs) = (bytes(folder.join(INPUTS_FILE)), bytes(folder.join(OUTPUTS_FILE)));
        let model = Model::parse(&file).unwrap();
        let whole = model.weights_len();
        assert_eq!(weights_len(&file), whole, "{}", folder.display());
        let (x_len, y_len) = (model.input().len(), model.output().len());
        for len in [whole, whole / 2, 0] {
            let (mut arena, mut weights) = (vec![1; model.arena_len()], vec![0xA5; len]);
            let made = Interpreter::with_weights(&model, &mut arena, &mut weights);
            let mut interpreter = made.unwrap();
            unpacked += interpreter.weights().layers();
            for (x, y) in inputs.chunks(x_len).zip(outputs.chunks(y_len)) {
                interpreter.input_mut().copy_from_slice(x);
                interpreter.invoke();
                let name = folder.display();
                assert_eq!(interpreter.output(), y, "{name}, {len} of {whole} bytes");
            }
        }
    }
    assert!(unpacked > 50, "{unpacked}");
}

// Each way in which golden vectors can fail to hold.

fn written() -> (tempfile::TempDir, Vec<u8>) {
    let (model, inputs) = build(&dense_at(4));
    let folder = tempfile::tempdir().unwrap();
    golden::write(folder.path(), &model, &inputs).unwrap();
    (folder, model)
}

#[test]
fn another_model() {
    let (folder, _) = written();
    let (other, _) = build(&dense_at(5));
    let error = golden::check(folder.path(), &other).unwrap_err();
    assert!(matches!(error, GoldenError::OtherModel { .. }), "{error}");
}

#[test]
fn another_output() {
    let (folder, model) = written();
    let file = folder.path().join(OUTPUTS_FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = golden::check(folder.path(), &model).unwrap_err();
    assert!(matches!(error, GoldenError::Mismatch { vector: 1, position: 2, .. }), "{error}");
}

#[test]
fn another_decision() {
    let (mut model, inputs) = build(&dense_at(4));
    set_margin(&mut model, 30);
    let folder = tempfile::tempdir().unwrap();
    golden::write(folder.path(), &model, &inputs).unwrap();
    golden::check(folder.path(), &model).unwrap();
    let file = folder.path().join(DECISIONS_FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    assert_eq!(bytes.len(), 2 * VECTORS);
    bytes[3] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let error = golden::check(folder.path(), &model).unwrap_err();
    assert!(matches!(error, GoldenError::Decision { vector: 1 }), "{error}");
    std::fs::write(&file, &bytes[1..]).unwrap();
    let error = golden::check(folder.path(), &model).unwrap_err();
    assert!(matches!(error, GoldenError::Length { file: DECISIONS_FILE, .. }), "{error}");
    // Without a margin, there is nothing that they would be of.
    set_margin(&mut model, 0);
    golden::write(folder.path(), &model, &inputs).unwrap();
    assert!(!file.exists() && golden::check(folder.path(), &model).is_ok());
}

#[test]
fn missing_bytes_and_files() {
    let (folder, model) = written();
    std::fs::write(folder.path().join(INPUTS_FILE), [0; 5]).unwrap();
    let error = golden::check(folder.path(), &model).unwrap_err();
    assert!(matches!(error, GoldenError::Length { found: 5, .. }), "{error}");
    std::fs::write(folder.path().join(GOLDEN_FILE), "{}").unwrap();
    let error = golden::check(folder.path(), &model).unwrap_err();
    assert!(matches!(error, GoldenError::Json { .. }), "{error}");
    std::fs::remove_file(folder.path().join(GOLDEN_FILE)).unwrap();
    let error = golden::check(folder.path(), &model).unwrap_err();
    assert!(matches!(error, GoldenError::File(_)), "{error}");
}

#[test]
fn no_model_and_no_whole_vector() {
    let folder = tempfile::tempdir().unwrap();
    let error = golden::write(folder.path(), b"no model", &[]).unwrap_err();
    assert!(matches!(error, GoldenError::Run(_)), "{error}");
    let (model, _) = build(&dense_at(4));
    let error = golden::write(folder.path(), &model, &[1; 5]).unwrap_err();
    assert!(matches!(error, GoldenError::Run(_)), "{error}");
    let (good, _) = written();
    let error = golden::check(good.path(), b"no model").unwrap_err();
    assert!(matches!(error, GoldenError::Parse(_)), "{error}");
}
