//! Golden models: small, deterministic, one per weight width and one per kind of operator.
//!
//! `tests/golden/<name>/` holds `model.bbk` and its vectors (see `bitsback::golden`). The tests
//! demand that the compressor still writes these very bytes and that the runtime still gives these
//! very outputs; the firmware's conformance example demands the latter of every core. To accept a
//! deliberate change: `BITSBACK_BLESS=1 cargo test --release -p bitsback-tests --test golden`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use bitsback::bit_width::at_width;
use bitsback::calibrate::{InputQuantization, RangeMethod, calibrate};
use bitsback::data::Normalization;
use bitsback::files;
use bitsback::golden::{self, GOLDEN_FILE, GoldenError, INPUTS_FILE, OUTPUTS_FILE};
use bitsback::lower::{Head, LowerOptions, lower};
use bitsback::network::{Affine, FloatNetwork, Layer, Padding, Shape, Topology};
use bitsback::serialize::{ModelInfo, serialize};

const MODEL_FILE: &str = "model.bbk";
const VECTORS: usize = 12;
/// Far more than a golden model may have (4 kB), and little enough to read at once.
const MAX_MODEL_BYTES: u64 = 1 << 16;

/// A golden model's recipe.
struct Recipe {
    name: String,
    network: FloatNetwork,
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

fn dense(inputs: usize, outputs: usize) -> Layer {
    Layer::Dense { inputs, outputs }
}

fn conv(channels: usize, filters: usize, size: usize, step: usize, padding: Padding) -> Layer {
    let (kernel, stride) = ([size, size], [step, step]);
    Layer::Conv2d { channels, filters, kernel, stride, padding }
}

fn unit() -> Normalization {
    Normalization { offset: vec![0.0], scale: vec![1.0 / 255.0] }
}

fn recipe(name: &str, input: Shape, layers: Vec<Layer>, bits: &[u8]) -> Recipe {
    let topology = Topology { input, layers };
    let mut numbers = Numbers(name.bytes().map(u64::from).sum());
    let affine = topology
        .affine_layers()
        .map(|layer| {
            let (outputs, row) = match layer {
                Layer::Conv2d { channels, filters, kernel, .. } => {
                    (*filters, kernel[0] * kernel[1] * channels)
                }
                Layer::Dense { inputs, outputs } => (*outputs, *inputs),
                _ => (0, 0),
            };
            Affine {
                weight: (0..outputs * row).map(|_| numbers.float()).collect(),
                bias: (0..outputs).map(|_| numbers.float()).collect(),
            }
        })
        .collect();
    Recipe {
        name: name.to_owned(),
        network: FloatNetwork { topology, affine, norms: Vec::new() },
        bits: bits.to_vec(),
        head: Head::Logits,
        normalization: unit(),
    }
}

/// Dense layers alone, at one width.
fn dense_at(bits: u8) -> Recipe {
    let mut layers = vec![dense(24, 13), Layer::Relu, dense(13, 5)];
    if bits == 1 {
        // One bit holds −1 and 0, behind which a ReLU would leave nothing.
        layers.remove(1);
    }
    let mut dense = recipe(&format!("dense-w{bits}"), Shape::Flat(24), layers, &[bits, bits]);
    if bits == 1 {
        let affine = dense.network.affine.iter_mut();
        affine.flat_map(|a| &mut a.weight).for_each(|w| *w = -w.abs());
    }
    dense
}

/// Convolutions and both poolings, at one width.
fn conv_at(bits: u8) -> Recipe {
    let pool = |size, step| ([size, size], [step, step]);
    let (size, stride) = pool(2, 2);
    let max = Layer::MaxPool2d { size, stride, padding: Padding::Valid };
    let (size, stride) = pool(3, 2);
    let avg = Layer::AvgPool2d { size, stride, padding: Padding::Same };
    let layers = vec![
        conv(1, 5, 3, 1, Padding::Same),
        max,
        Layer::Relu,
        conv(5, 3, 3, 1, Padding::Valid),
        Layer::Relu6,
        avg,
        Layer::Flatten,
        dense(12, 4),
    ];
    let input = Shape::Image { height: 11, width: 12, channels: 1 };
    recipe(&format!("conv-w{bits}"), input, layers, &[bits, bits, bits])
}

fn recipes() -> Vec<Recipe> {
    let mut all: Vec<Recipe> = [1, 2, 3, 4, 5, 6, 7, 8, 16].map(dense_at).into();
    all.extend([2, 3, 4, 8, 16].map(conv_at));

    let keep = (0..40).filter(|i| i % 3 != 1).collect();
    let layers = vec![Layer::Select { keep }, dense(27, 9), Layer::Relu, dense(9, 3)];
    all.push(recipe("select", Shape::Flat(40), layers, &[8, 4]));

    let layers = vec![dense(10, 7), Layer::Relu, dense(7, 6)];
    let mut softmax = recipe("softmax", Shape::Flat(10), layers.clone(), &[8, 8]);
    softmax.head = Head::Softmax;
    all.push(softmax);
    let mut argmax = recipe("argmax", Shape::Flat(10), layers, &[3, 5]);
    argmax.head = Head::Argmax;
    all.push(argmax);

    // Three channels with their own normalisation, strides, mixed widths.
    let layers = vec![
        conv(3, 4, 3, 2, Padding::Same),
        Layer::Relu,
        conv(4, 6, 2, 1, Padding::Valid),
        Layer::Relu,
        Layer::Flatten,
        dense(72, 10),
    ];
    let input = Shape::Image { height: 7, width: 9, channels: 3 };
    let mut colour = recipe("colour", input, layers, &[7, 4, 3]);
    colour.normalization = Normalization {
        offset: vec![125.5, 100.25, 80.0],
        scale: vec![0.015625, 0.0078125, 0.01171875],
    };
    all.push(colour);
    all
}

/// Raw inputs: noise, then nothing, then everything.
fn raw(recipe: &Recipe) -> Vec<u8> {
    let width = recipe.network.topology.input.len();
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
    let activations = calibrate(&recipe.network, &normalised, input, RangeMethod::MinMax).unwrap();
    let layers = recipe.network.affine.iter().zip(&recipe.bits);
    let weights: Vec<_> = layers.map(|(a, &bits)| at_width(&a.weight, bits).0).collect();
    let options = LowerOptions { head: recipe.head, ..LowerOptions::default() };
    let graph = lower(&recipe.network, &weights, &activations, &options).unwrap();
    let info = ModelInfo { name: recipe.name.clone(), ..ModelInfo::default() };
    let quantised = activations.input.quantize(&normalised);
    (serialize(&graph, &info).unwrap(), quantised)
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
            files::write_atomic(&folder.join(MODEL_FILE), &model).unwrap();
            golden::write(&folder, &model, &inputs).unwrap();
        }
        let stored = files::read(&folder.join(MODEL_FILE), MAX_MODEL_BYTES).unwrap();
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
        let model = files::read(&folder.join(MODEL_FILE), MAX_MODEL_BYTES).unwrap();
        if let Err(error) = golden::check(&folder, &model) {
            panic!("{}: {error}", folder.display());
        }
    }
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
