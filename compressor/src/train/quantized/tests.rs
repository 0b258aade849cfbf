use super::simulate::Simulation;
use super::*;
use crate::compile::calibrate::{calibrate, plan};
use crate::compile::serialize::ModelInfo;
use crate::compile::storage::{Goal, SizeConfig};
use crate::compile::{self, CompileOptions, Compiled, Head, InputQuantization};
use crate::data::Normalization;
use crate::device::DeviceName;
use crate::graph::ops::{
    Add, AvgPool2d, Clip, Concat, Conv2d, Dense, DepthwiseConv2d, HardSigmoid, HardSwish,
    LeakyRelu, Logistic, MaxPool2d, Mean, Mul, Op, Pad, Reshape, Select, Slice, Softmax, Tanh,
};
use crate::graph::{Padding, Plan, ValueId, Window, lower};
use crate::numbers::Shape;
use crate::train::initialize;
use crate::verify;
use proptest::prelude::*;

const EXAMPLES: usize = 24;

/// What training at given widths starts with.
fn integers(network: &Graph<Affine>, bits: &[u8], per_channel: bool) -> Vec<Rows> {
    let start = Start::at_widths(network, bits.to_vec(), per_channel);
    Learned::new(network.clone(), start).integers()
}

/// A graph of one chain of images, until it is flat.
struct Chain {
    graph: Graph<()>,
    at: ValueId,
}

impl Chain {
    fn new() -> Self {
        Self { graph: Graph::of_input(vec![8, 7, 1]), at: 0 }
    }

    fn dims(&self) -> [usize; 3] {
        self.graph.values[self.at].image().unwrap()
    }

    fn push(&mut self, op: impl Into<Op>, inputs: Vec<ValueId>, dims: Vec<usize>) -> ValueId {
        let op = op.into();
        let parameters = op.is_affine().then_some(());
        self.at = self.graph.push("", op, inputs, dims, parameters);
        self.at
    }

    /// A function of single values.
    fn unary(&mut self, op: impl Into<Op>) -> ValueId {
        let dims = self.graph.values[self.at].dims.clone();
        self.push(op, vec![self.at], dims)
    }

    /// A window of `size` with a stride that makes `channels` channels by what `op` says.
    fn window<O: Into<Op>>(
        &mut self,
        op: impl Fn(Window) -> O,
        size: [usize; 2],
        stride: usize,
        padding: Padding,
        channels: usize,
    ) -> ValueId {
        let [height, width, _] = self.dims();
        let rule = Window::with_rule(size, [stride; 2], [1; 2], padding, [height, width]);
        let (window, [rows, columns]) = rule.unwrap();
        self.push(op(window), vec![self.at], vec![rows, columns, channels])
    }

    fn conv(&mut self, channels: usize, size: usize, stride: usize) -> ValueId {
        self.window(|window| Conv2d { window }, [size; 2], stride, Padding::Same, channels)
    }

    fn flat(&mut self) -> usize {
        let len = self.graph.values[self.at].len();
        self.push(Reshape {}, vec![self.at], vec![len]);
        len
    }

    fn dense(&mut self, units: usize) {
        self.push(Dense {}, vec![self.at], vec![units]);
    }

    fn finish(mut self) -> Graph<()> {
        self.graph.number_nodes();
        self.graph.check_structure().unwrap();
        self.graph
    }
}

fn pool(chain: &mut Chain, average: bool, size: [usize; 2], stride: usize, padding: Padding) {
    let [_, _, channels] = chain.dims();
    if average {
        chain.window(|window| AvgPool2d { window }, size, stride, padding, channels);
    } else {
        chain.window(|window| MaxPool2d { window }, size, stride, padding, channels);
    }
}

/// A convolution, a pooling, a selection, and dense layers.
fn plain(padding: Padding, average: bool, keep: usize, crop: bool) -> Graph<()> {
    let mut chain = Chain::new();
    if crop {
        chain.push(Slice::crop([1, 1]), vec![0], vec![6, 5, 1]);
    }
    chain.window(|window| Conv2d { window }, [3, 3], 1, padding, 3);
    chain.unary(Clip::RELU);
    pool(&mut chain, average, [3, 2], 2, padding);
    let features = chain.flat();
    let keep: Vec<u32> = (0..features as u32).filter(|i| *i as usize % keep != 1).collect();
    let kept = keep.len();
    chain.push(Select { keep }, vec![chain.at], vec![kept]);
    chain.dense(9);
    chain.unary(Clip::RELU6);
    chain.dense(4);
    chain.finish()
}

/// Two residual blocks, one with a convolution in its shortcut, and depthwise convolutions.
fn residual(padding: Padding, keep: usize) -> Graph<()> {
    let channels = 2 + keep;
    let mut chain = Chain::new();
    let depthwise = |chain: &mut Chain, channels| {
        let op = |window| DepthwiseConv2d { window };
        chain.window(op, [3, 3], 1, Padding::Same, channels)
    };
    chain.conv(channels, 3, 1);
    let a = chain.unary(Clip::RELU);
    depthwise(&mut chain, channels);
    chain.unary(Clip::RELU6);
    let x = chain.conv(channels, 1, 1);
    chain.push(Add {}, vec![x, a], chain.graph.values[x].dims.clone());
    pool(&mut chain, false, [2, 2], 1, padding);
    let b = chain.unary(Clip::RELU);
    chain.conv(5, 3, 2);
    chain.unary(Clip::RELU);
    let left = depthwise(&mut chain, 5);
    chain.at = b;
    let x = chain.conv(5, 1, 2);
    chain.push(Add {}, vec![x, left], chain.graph.values[x].dims.clone());
    chain.unary(Clip::RELU);
    pool(&mut chain, true, [2, 2], 1, padding);
    chain.flat();
    chain.dense(4);
    chain.finish()
}

/// Gates, joins, borders and functions that are left to the runtime; with a softmax in the middle, behind
/// which little is learned.
fn gated(softmax: bool) -> Graph<()> {
    let mut chain = Chain::new();
    chain.conv(4, 3, 1);
    let a = chain.unary(HardSwish {});
    chain.push(Mean {}, vec![a], vec![1, 1, 4]);
    chain.conv(4, 1, 1);
    let gate = chain.unary(Logistic {});
    let x = chain.push(Mul {}, vec![a, gate], vec![8, 7, 4]);
    let y = chain.unary(LeakyRelu { alpha: 0.1 });
    chain.push(Concat { axis: 2 }, vec![x, y], vec![8, 7, 8]);
    chain.push(Pad { before: vec![1, 0, 0], fill: 0.25 }, vec![chain.at], vec![9, 8, 8]);
    let op = |window| DepthwiseConv2d { window };
    chain.window(op, [3, 3], 2, Padding::Valid, 16);
    chain.unary(HardSigmoid { slope: 0.3 });
    chain.unary(Tanh {});
    let x = chain.unary(Clip { low: -0.5, high: 0.75 });
    let y = chain.push(Mean {}, vec![x], vec![16]);
    let [rows, columns, _] = chain.graph.values[x].image().unwrap();
    chain.push(Add {}, vec![x, y], vec![rows, columns, 16]);
    chain.flat();
    if softmax {
        chain.dense(6);
        chain.unary(Softmax {});
    }
    chain.dense(4);
    chain.finish()
}

fn network(structure: &Graph<()>, seed: u64) -> Graph<Affine> {
    let mut network = initialize::deterministic(structure, seed);
    for Affine { bias, .. } in network.parameters_mut() {
        bias.iter_mut().enumerate().for_each(|(i, b)| *b = (i as f32 * 1.7).sin() * 0.3);
    }
    network
}

struct Bench {
    network: Graph<Affine>,
    examples: Examples,
    input: InputQuantization,
    activations: Activations,
}

impl Bench {
    fn new(structure: &Graph<()>, offset: f32, seed: u64) -> Self {
        let n = Normalization { offset: vec![offset], scale: vec![1.0 / 64.0] };
        let input = InputQuantization::bytes(&n);
        let byte = |i: usize| ((i as u64 * 7919 + seed * 31 + i as u64 / 56 * 13) % 256) as f32;
        let inputs: Vec<f32> =
            (0..EXAMPLES * 56).map(|i| (byte(i) - n.offset[0]) * n.scale[0]).collect();
        let network = network(structure, seed);
        let activations = calibrate(&network, &inputs, &input, RangeMethod::LeastSquares).unwrap();
        let labels = (0..EXAMPLES as u32).map(|i| i % 4).collect();
        let shape = Shape::of(&[8, 7, 1]);
        Self {
            network,
            examples: Examples { shape, inputs, labels, classes: 4 },
            input,
            activations,
        }
    }

    fn compiled(
        &self,
        rows: &[Rows],
        bias_tolerance: f64,
        size: Option<SizeConfig>,
    ) -> (Vec<u8>, Compiled) {
        self.compiled_with(rows, bias_tolerance, size, Head::Logits)
    }

    fn compiled_with(
        &self,
        rows: &[Rows],
        bias_tolerance: f64,
        size: Option<SizeConfig>,
        head: Head,
    ) -> (Vec<u8>, Compiled) {
        let rows = self.network.layers().map(|node| node.output).zip(rows.iter().cloned());
        let plan = plan(&self.network, self.activations.clone(), &self.input);
        let plan = Plan { rows: rows.collect(), bias_tolerance, ..plan };
        let mut integers = lower(&self.network, &plan).unwrap();
        compile::append_head(&mut integers, head);
        let options = CompileOptions { size, ..CompileOptions::default() };
        let info = ModelInfo::default();
        compile::write(&integers, &self.input, &options, &info).unwrap()
    }

    fn context<'a>(
        &'a self,
        config: &'a QuantizeConfig,
        device: &'a Device,
    ) -> TrainingContext<'a> {
        TrainingContext {
            config,
            calibration: &self.examples.inputs,
            method: RangeMethod::LeastSquares,
            input: &self.input,
            validation: &self.examples,
            seed: 3,
            device,
        }
    }

    /// Every logit, bit for bit, with and without gradients, however the weights are stored.
    fn check(&self, bits: &[u8], tolerance: f64, per_channel: bool) {
        let bits = &bits[..self.network.layers().count()];
        let integers = integers(&self.network, bits, per_channel);
        let simulation =
            Simulation::new(&self.network, &integers, &self.activations, &self.input, tolerance);
        let simulation = simulation.unwrap();
        let quantized = self.input.quantize(&self.examples.inputs);
        let sizes = [Goal::Flash, Goal::Instructions]
            .map(|goal| Some(SizeConfig { goal, ..SizeConfig::default() }));
        let [(bytes, compiled), coded, fast] =
            [None, sizes[0], sizes[1]].map(|size| self.compiled(&integers, tolerance, size));
        let device_outputs = verify::run_batch(&bytes, &quantized).unwrap();
        for (bytes, _) in [coded, fast] {
            assert_eq!(verify::run_batch(&bytes, &quantized).unwrap(), device_outputs);
        }
        let plain = DeviceName::default().open().unwrap();
        let examples = in_integers(&self.examples, &self.input);
        for device in [plain.clone().autodiff(), plain] {
            let tensors = simulation.tensors(&device);
            let x = crate::graph::tensor::Value::from_examples(
                examples.inputs.clone(),
                examples.shape,
                &device,
            );
            let logits = simulation.forward(x, &tensors);
            let logits = if device.is_autodiff() { logits.inner() } else { logits };
            let zero = simulation.output().zero_point;
            let found: Vec<i8> = crate::graph::tensor::values(logits)
                .iter()
                .map(|y| ((y / compiled.output_scale).round() + f32::from(zero)) as i8)
                .collect();
            assert_eq!(found, device_outputs);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_simulation_is_the_runtime(
        same in any::<bool>(), average in any::<bool>(), keep in 2usize..5, seed in 0u64..1000,
        bits in prop::collection::vec(2u8..=8, 7), shape in 0..3,
        crop in any::<bool>(), offset in prop::sample::select(vec![0.0, 127.5]),
        tolerance in prop::sample::select(vec![1.0 / 64.0, 0.25, 0.5]), per_channel in any::<bool>(),
    ) {
        let padding = if same { Padding::Same } else { Padding::Valid };
        let structure = match shape {
            0 => residual(padding, keep),
            1 => gated(true),
            _ => plain(padding, average, keep, crop && !same),
        };
        Bench::new(&structure, offset, seed).check(&bits, tolerance, per_channel);
    }
}

/// Of logits that are near to one another, a softmax makes equal bytes, of which the device takes the first.
#[test]
fn a_softmax_s_classes_are_the_device_s() {
    let mut bench = Bench::new(&plain(Padding::Same, false, 3, false), 0.0, 5);
    let last = bench.network.parameters_mut().last().unwrap();
    last.weight.iter_mut().for_each(|x| *x *= 1e-4);
    // The first class, which takes what is equal, has the least logit.
    last.bias = vec![-1e-4, 0.0, 0.0, 0.0];
    let inputs = &bench.examples.inputs;
    bench.activations =
        calibrate(&bench.network, inputs, &bench.input, RangeMethod::LeastSquares).unwrap();
    let quantized = bench.input.quantize(inputs);
    let bits = vec![8; bench.network.layers().count()];
    let integers = integers(&bench.network, &bits, false);
    let device = DeviceName::default().open().unwrap();
    let mut labels = None;
    for head in [Head::Logits, Head::Softmax, Head::Argmax] {
        let (bytes, _) = bench.compiled_with(&integers, 0.25, None, head);
        // What the logits say is right.
        let labels = labels.get_or_insert_with(|| verify::predict(&bytes, &quantized).unwrap());
        let found = verify::evaluate(&bytes, &quantized, labels).unwrap().error_percent();
        assert_eq!(found > 0.0, head == Head::Softmax, "{head:?}: {found}");
        bench.examples.labels.clone_from(labels);
        let examples = in_integers(&bench.examples, &bench.input);
        let (network, activations) = (&bench.network, &bench.activations);
        let simulation = Simulation::new(network, &integers, activations, &bench.input, 0.25);
        let simulation = simulation.unwrap().with_head(head).unwrap();
        assert_eq!(score(&simulation, &examples, &device).error_percent, found, "{head:?}");
    }
}

#[test]
fn training_lowers_the_loss_and_the_rate_empties_layers() {
    training_lowers(&plain(Padding::Valid, false, 3, false), 0.7, false);
}

#[test]
fn networks_with_branches_train_and_shrink_alike() {
    training_lowers(&residual(Padding::Valid, 3), 0.85, false);
}

#[test]
fn networks_with_gates_train_alike() {
    training_lowers(&gated(false), 0.95, false);
}

/// Rows that leave take their steps along.
#[test]
fn each_channel_learns_its_step() {
    training_lowers(&residual(Padding::Valid, 3), 0.85, true);
}

#[test]
fn a_row_starts_and_is_rounded_by_its_own_weights() {
    let mut network = network(&plain(Padding::Valid, false, 3, false), 1);
    let first = network.parameters_mut().next().unwrap();
    let columns = first.weight.len() / first.bias.len();
    first.weight[..columns].iter_mut().for_each(|w| *w *= 10.0);
    let bits = vec![4; network.layers().count()];
    let [layers, channels] =
        [false, true].map(|per_channel| integers(&network, &bits, per_channel));
    for (layer, channel) in layers.iter().zip(&channels) {
        let outputs = channel.scales.len();
        assert!(layer.scales.len() == 1 && outputs > 1 && channel.values.len() % outputs == 0);
    }
    assert!(channels[0].scales[0] > 4.0 * channels[0].scales[1]);
    // One step for all is far too coarse for the other rows.
    let first = network.parameters().next().unwrap();
    let error = |rows: &[Rows]| -> f32 {
        let weights = first.weight.iter().zip(rows[0].dequantized()).skip(columns);
        weights.map(|(w, q)| (w - q).powi(2)).sum()
    };
    assert!(error(&channels) < 0.2 * error(&layers));
}

fn training_lowers(structure: &Graph<()>, factor: f64, per_channel: bool) {
    let bench = Bench::new(structure, 0.0, 5);
    let device = DeviceName::default().open().unwrap().autodiff();
    let bits = vec![4; bench.network.layers().count()];
    let run = |rate| {
        let config = QuantizeConfig {
            epochs: Some(60),
            batch: Some(8),
            rate: Some(rate),
            average: 0.9,
            per_channel,
            learning_rate: 1e-2,
            ..Default::default()
        };
        let context = bench.context(&config, &device);
        let start = Start::at_widths(&bench.network, bits.clone(), per_channel);
        let lineage = Lineage::new(&bench.network);
        let mut state = State::new(bench.network.clone(), lineage, start, &context).unwrap();
        let augment = Default::default();
        let mut batches = TrainingBatches::new(&bench.examples, &augment, 1, 60, &device)
            .in_integers(&bench.input);
        let mut losses = Vec::new();
        train(&mut state, &context, &mut batches, &mut Watch(&mut losses)).unwrap();
        let quantized = state.into_best();
        let integers = quantized.integers();
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
