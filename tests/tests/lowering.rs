//! From a float classifier to integers on real data, without any training: the distance to the
//! class means is a dense layer, wᵤ = 2·μᵤ, bᵤ = −|μᵤ|².
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use bitsback::compile::{self, CompileOptions, Compiled, InputQuantization, ModelInfo};
use bitsback::data::{DataConfig, DataKind, Dataset, Normalization, Split, load};
use bitsback::graph::ops::{Dense, Reshape};
use bitsback::graph::{Affine, Graph, Plan, Quantization, Rows, ValueId, lower};
use bitsback::internals::{BitRecord, at_width, choose, raise_until};
use bitsback::job::{BitRule, BitWidthConfig};
use bitsback::quantize::{RangeMethod, calibrate, plan};
use bitsback::verify::{VerifyError, evaluate, quantized_inputs, verify};

const CLASSES: usize = 10;

/// The digits with a network, its training and test examples.
struct Bench {
    dataset: Dataset,
    normalization: Normalization,
    network: Graph<Affine>,
    input: InputQuantization,
    activations: BTreeMap<ValueId, Quantization>,
    test: Vec<u32>,
}

impl Bench {
    fn new() -> Self {
        let config = DataConfig { kind: DataKind::Digits, ..DataConfig::default() };
        let dataset = load(&config).unwrap();
        let split = Split::new(&dataset, &config, 1).unwrap();
        let normalization = Normalization { offset: vec![0.0], scale: vec![1.0 / 255.0] };
        let network = nearest_mean(&dataset, &normalization, &split.train);
        let input = InputQuantization::bytes(&normalization);
        let watched = dataset.batch(&normalization, &split.train);
        let activations = calibrate(&network, &watched, &input, RangeMethod::LeastSquares).unwrap();
        Self { dataset, normalization, network, input, activations, test: split.test }
    }

    fn labels(&self) -> Vec<u32> {
        self.test.iter().map(|&example| self.dataset.labels[example as usize]).collect()
    }

    /// The one layer.
    fn layer(&self) -> &Affine {
        self.network.parameters().next().unwrap()
    }

    fn model(&self, weights: &[Rows]) -> (Compiled, Vec<u8>) {
        let layers = self.network.layers().map(|node| node.output);
        let rows = layers.zip(weights.iter().cloned()).collect();
        let plan = plan(&self.network, self.activations.clone(), &self.input);
        let integers = lower(&self.network, &Plan { rows, ..plan }).unwrap();
        let (options, info) = (CompileOptions::default(), ModelInfo::default());
        let (bytes, compiled) = compile::write(&integers, &self.input, &options, &info).unwrap();
        (compiled, bytes)
    }

    fn error_percent(&self, weights: &[Rows]) -> Result<f64, VerifyError> {
        let (_, bytes) = self.model(weights);
        let inputs = quantized_inputs(&bytes, &self.dataset, &self.test)?;
        Ok(evaluate(&bytes, &inputs, &self.labels())?.error_percent())
    }
}

fn nearest_mean(dataset: &Dataset, n: &Normalization, train: &[u32]) -> Graph<Affine> {
    let width = dataset.shape.len();
    let mut sums = vec![vec![0.0f32; width]; CLASSES];
    let mut counts = vec![0.0f32; CLASSES];
    for &example in train {
        let class = dataset.labels[example as usize] as usize;
        counts[class] += 1.0;
        let x = dataset.batch(n, &[example]);
        sums[class].iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
    }
    let mut affine = Affine::default();
    for (mut mean, count) in sums.into_iter().zip(counts) {
        mean.iter_mut().for_each(|m| *m /= count);
        affine.bias.push(-mean.iter().map(|m| m * m).sum::<f32>());
        affine.weight.extend(mean.iter().map(|m| 2.0 * m));
    }
    let mut network = Graph::of_input(dataset.shape.dims());
    network.push("flat", Reshape {}, vec![0], vec![width], None);
    network.push("dense_1", Dense {}, vec![1], vec![CLASSES], Some(affine));
    network
}

#[test]
fn eight_bits_agree_with_the_float_network() {
    let bench = Bench::new();
    let weights = [at_width(&bench.layer().weight, 8).0];
    let (compiled, bytes) = bench.model(&weights);
    let x = bench.dataset.batch(&bench.normalization, &bench.test);
    let report = verify(&bytes, &compiled, &bench.network, &x, &bench.labels()).unwrap();
    assert!(report.float_error_percent < 15.0, "{report:?}");
    assert!((report.integer_error_percent - report.float_error_percent).abs() < 0.6, "{report:?}");
    assert!(report.agreeing * 100 >= report.count * 98, "{report:?}");
    // Most of it is a logit of the test set beyond the range that training showed.
    assert!(report.largest_difference < 8.0 * compiled.output_scale, "{report:?} {compiled:?}");
    assert!(report.layers[0].sqnr_db > 45.0, "{report:?}");
    // The device's way from raw bytes gives the same integers.
    let raw = quantized_inputs(&bytes, &bench.dataset, &bench.test).unwrap();
    assert_eq!(raw, compiled.input_quantization.quantize(&x));
    let error = bench.error_percent(&weights).unwrap();
    assert_eq!(error, report.integer_error_percent);
}

#[test]
fn uncertain_weights_take_fewer_bits_and_validation_takes_them_back() {
    let bench = Bench::new();
    let count = bench.layer().weight.len();
    let widths = |variance: f32, rule| {
        let config = BitWidthConfig { rule, ..BitWidthConfig::default() };
        choose(&bench.network, &[vec![variance; count]], &config, false).unwrap()
    };
    let certain = widths(1e-5, BitRule::Posterior).0[0].bits;
    let (mut weights, mut records): (Vec<_>, Vec<BitRecord>) = widths(3e-2, BitRule::Posterior);
    assert!(weights[0].bits < certain, "{} {certain}", weights[0].bits);
    assert!(widths(1e-3, BitRule::Paper).0[0].bits > widths(1e-3, BitRule::Posterior).0[0].bits);

    let float = bench.error_percent(&[at_width(&bench.layer().weight, 8).0]).unwrap();
    let narrow = weights[0].bits;
    let config = BitWidthConfig::default();
    let target = float + 0.3;
    let reached =
        raise_until(&bench.network, &mut weights, &mut records, &config, target, |weights| {
            bench.error_percent(weights)
        })
        .unwrap();
    assert!(reached <= target, "{reached} at {} bits", weights[0].bits);
    assert_eq!(records[0].bits, weights[0].bits);
    assert_eq!(weights[0].bits > narrow, records[0].rule.contains("widened"));
}
