use super::simulate::Simulation;
use super::*;
use crate::calibrate::{InputQuantization, RangeMethod, calibrate};
use crate::data::Normalization;
use crate::device::DeviceName;
use crate::lower::{Graph, LowerOptions, lower};
use crate::network::{Affine, Layer, Padding, Shape, Topology};
use crate::serialize::{ModelInfo, serialize};
use crate::verify;
use proptest::prelude::*;

const EXAMPLES: usize = 24;

fn topology(padding: Padding, average: bool, keep: usize, crop: bool) -> Topology {
    let window = |size, stride| (size, stride, padding);
    let (size, stride, padding) = window([3, 2], [2, 2]);
    let pool = if average {
        Layer::AvgPool2d { size, stride, padding }
    } else {
        Layer::MaxPool2d { size, stride, padding }
    };
    let conv = Layer::Conv2d { channels: 1, filters: 3, kernel: [3, 3], stride: [1, 1], padding };
    let input = Shape::Image { height: 8, width: 7, channels: 1 };
    let mut layers = vec![conv, Layer::Relu, pool, Layer::Flatten];
    if crop {
        layers.insert(0, Layer::Crop { before: [1, 1], size: [6, 5] });
    }
    let front = Topology { input, layers: layers.clone() };
    let features = crate::shapes::walk(&front).unwrap().last().map_or(0, |shape| shape.len());
    let keep: Vec<u32> = (0..features as u32).filter(|i| *i as usize % keep != 1).collect();
    let inputs = keep.len();
    layers.extend([
        Layer::Select { keep },
        Layer::Dense { inputs, outputs: 9 },
        Layer::Relu6,
        Layer::Dense { inputs: 9, outputs: 4 },
    ]);
    Topology { input, layers }
}

/// Two residual blocks, one with a convolution in its shortcut, and depthwise convolutions.
fn residual(padding: Padding, keep: usize) -> Topology {
    let name = |name: &str| name.to_owned();
    let conv = |channels, filters, kernel, stride| Layer::Conv2d {
        channels,
        filters,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::Same,
    };
    let depthwise = |channels, stride| Layer::DepthwiseConv2d {
        channels,
        kernel: [3, 3],
        stride: [stride; 2],
        padding: Padding::Same,
    };
    let channels = 2 + keep;
    let layers = vec![
        conv(1, channels, 3, 1),
        Layer::Relu,
        Layer::Mark { name: name("a") },
        depthwise(channels, 1),
        Layer::Relu6,
        conv(channels, channels, 1, 1),
        Layer::Add { name: name("a") },
        Layer::MaxPool2d { size: [2, 2], stride: [1, 1], padding },
        Layer::Relu,
        Layer::Mark { name: name("b") },
        conv(channels, 5, 3, 2),
        Layer::Relu,
        depthwise(5, 1),
        Layer::Mark { name: name("left") },
        Layer::From { name: name("b") },
        conv(channels, 5, 1, 2),
        Layer::Add { name: name("left") },
        Layer::Relu,
        Layer::AvgPool2d { size: [2, 2], stride: [1, 1], padding },
        Layer::Flatten,
    ];
    let mut topology =
        Topology { input: Shape::Image { height: 8, width: 7, channels: 1 }, layers };
    let inputs = crate::shapes::infer(&topology).unwrap().last().map_or(0, |shape| shape.len());
    topology.layers.push(Layer::Dense { inputs, outputs: 4 });
    topology
}

fn network(topology: Topology, seed: u64) -> FloatNetwork {
    let mut network = crate::train::initialize::deterministic(&topology, seed);
    for Affine { bias, .. } in &mut network.affine {
        bias.iter_mut().enumerate().for_each(|(i, b)| *b = (i as f32 * 1.7).sin() * 0.3);
    }
    network
}

struct Bench {
    network: FloatNetwork,
    examples: Examples,
    input: InputQuantization,
    activations: Activations,
}

impl Bench {
    fn new(topology: Topology, offset: f32, seed: u64) -> Self {
        let n = Normalization { offset: vec![offset], scale: vec![1.0 / 64.0] };
        let input = InputQuantization::bytes(&n);
        let byte = |i: usize| ((i as u64 * 7919 + seed * 31 + i as u64 / 56 * 13) % 256) as f32;
        let inputs: Vec<f32> =
            (0..EXAMPLES * 56).map(|i| (byte(i) - n.offset[0]) * n.scale[0]).collect();
        let network = network(topology, seed);
        let activations =
            calibrate(&network, &inputs, input.clone(), RangeMethod::LeastSquares).unwrap();
        let labels = (0..EXAMPLES as u32).map(|i| i % 4).collect();
        let shape = network.topology.input;
        Self {
            network,
            examples: Examples { shape, inputs, labels, classes: 4 },
            input,
            activations,
        }
    }

    fn lowered(&self, integers: &[IntegerWeights], bias_tolerance: f64) -> (Graph, Vec<u8>) {
        let options = LowerOptions { bias_tolerance, ..LowerOptions::default() };
        let graph = lower(&self.network, integers, &self.activations, &options).unwrap();
        let bytes = serialize(&graph, &ModelInfo::default()).unwrap();
        (graph, bytes)
    }

    fn setting<'a>(
        &'a self,
        config: &'a QuantizeConfig,
        bits: &'a [u8],
        device: &'a Device,
    ) -> Setting<'a> {
        Setting {
            config,
            bits,
            calibration: &self.examples.inputs,
            method: RangeMethod::LeastSquares,
            input: &self.input,
            validation: &self.examples,
            seed: 3,
            device,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Every logit, bit for bit, with and without gradients.
    #[test]
    fn the_simulation_is_the_runtime(
        same in any::<bool>(), average in any::<bool>(), keep in 2usize..5, seed in 0u64..1000,
        bits in prop::collection::vec(2u8..=8, 7), branches in any::<bool>(), crop in any::<bool>(), offset in prop::sample::select(vec![0.0, 127.5]),
        tolerance in prop::sample::select(vec![1.0 / 64.0, 0.25, 0.5]),
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let topology =
            if branches { residual(padding, keep) } else { topology(padding, average, keep, crop && !same) };
        let bench = Bench::new(topology, offset, seed);
        let bits = &bits[..bench.network.affine.len()];
        let integers = Learned::new(bench.network.clone(), bits).integers(bits);
        let (graph, bytes) = bench.lowered(&integers, tolerance);
        let simulation =
            Simulation::new(&bench.network, &integers, &bench.activations, tolerance).unwrap();
        let quantized = bench.input.quantize(&bench.examples.inputs);
        let device_outputs = verify::run_batch(&bytes, &quantized).unwrap();
        let plain = DeviceName::default().open().unwrap();
        let examples = in_integers(&bench.examples, &bench.input);
        for device in [plain.clone().autodiff(), plain] {
            let tensors = simulation.tensors(&integers, &device);
            let x = crate::train::tensor::Value::from_examples(
                examples.inputs.clone(), examples.shape, &device,
            );
            let logits = simulation.forward(x, &tensors);
            let logits = if device.is_autodiff() { logits.inner() } else { logits };
            let zero = simulation.layers().last().unwrap().output.zero_point;
            let found: Vec<i8> = crate::train::tensor::values(logits)
                .iter()
                .map(|y| ((y / graph.output_scale).round() + f32::from(zero)) as i8)
                .collect();
            prop_assert_eq!(&found, &device_outputs);
        }
    }
}

#[test]
fn training_lowers_the_loss_and_the_rate_empties_layers() {
    training_lowers(topology(Padding::Valid, false, 3, false), 0.7);
}

#[test]
fn networks_with_branches_train_and_shrink_alike() {
    training_lowers(residual(Padding::Valid, 3), 0.85);
}

fn training_lowers(topology: Topology, factor: f64) {
    let bench = Bench::new(topology, 0.0, 5);
    let device = DeviceName::default().open().unwrap().autodiff();
    let bits = vec![4; bench.network.affine.len()];
    let run = |rate| {
        let config = QuantizeConfig {
            epochs: Some(60),
            batch: Some(8),
            rate: Some(rate),
            average: 0.9,
            learning_rate: 1e-2,
            ..Default::default()
        };
        let setting = bench.setting(&config, &bits, &device);
        let lineage = Lineage::new(&bench.network.topology);
        let mut state = State::new(bench.network.clone(), lineage, &setting).unwrap();
        let augment = Default::default();
        let mut lessons =
            Lessons::new(&bench.examples, &augment, 1, 60, &device).in_integers(&bench.input);
        let mut losses = Vec::new();
        train(&mut state, &setting, &mut lessons, &mut Watch(&mut losses)).unwrap();
        let quantized = state.into_best(&bits);
        let integers = quantized.integers(&bits);
        let zeros = integers.iter().flat_map(|l| &l.values).filter(|v| **v == 0).count();
        let kept: usize = integers.iter().map(|l| l.values.len()).sum();
        (losses[0], *losses.last().unwrap(), kept - zeros)
    };
    let (first, last, nonzero) = run(0.0);
    assert!(last < factor * first, "{first} {last}");
    let (_, _, fewer) = run(0.3);
    assert!(fewer * 3 < nonzero * 2, "{fewer} {nonzero}");
}

/// Keeps the validation losses.
struct Watch<'a>(&'a mut Vec<f64>);

impl Observer<State> for Watch<'_> {
    fn step(&mut self, _: &State, report: &StepReport) -> Result<(), TrainError> {
        self.0.extend(report.validation.map(|(loss, _)| loss));
        Ok(())
    }
}
