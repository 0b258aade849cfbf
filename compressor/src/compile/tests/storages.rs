//! Every way of storing a layer gives the same outputs.

use bitsback_runtime::Op;
use bitsback_runtime::format::{Clamp, Requantization, Window as RuntimeWindow};
use bitsback_runtime::requantize::Multiplier;
use proptest::prelude::*;

use super::*;
use crate::cost::prediction::advice::Misfit;
use crate::graph::ops::{IntegerConv2d, IntegerDense, IntegerDepthwiseConv2d, IntegerMaxPool2d};
use crate::numbers::Range;

/// The kinds of layers that have weights.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Dense,
    Conv2d,
    DepthwiseConv2d,
}

/// A layer over 6 × 6 pixels, or over as many features.
#[derive(Clone, Debug)]
struct Layer {
    kind: Kind,
    channels: usize,
    /// Of each channel of a depthwise convolution, or in all.
    outputs: usize,
    bits: u8,
    /// Numbers that weights, biases and multipliers are taken from in turn.
    numbers: Vec<i32>,
    per_channel: bool,
    /// Most are zero, as coding likes it.
    sparse: bool,
    zero_points: [i8; 2],
    dilation: u16,
    pooled: bool,
}

impl Layer {
    fn outputs(&self) -> usize {
        match self.kind {
            Kind::DepthwiseConv2d => self.channels * self.outputs,
            Kind::Dense | Kind::Conv2d => self.outputs,
        }
    }

    fn matrix(&self) -> Matrix {
        let rows = self.outputs();
        let columns = match self.kind {
            Kind::Dense => 36 * self.channels,
            Kind::Conv2d => 9 * self.channels,
            Kind::DepthwiseConv2d => 9,
        };
        let mut numbers = self.numbers.iter().copied().cycle();
        let half = 1 << (self.bits - 1);
        let weight = |(at, number): (usize, i32)| {
            let zero = self.sparse && at % 4 != 0;
            if zero { 0 } else { number.rem_euclid(2 * half - 1) - half + 1 }
        };
        let weights = numbers.by_ref().take(rows * columns).enumerate();
        let values = weights.map(|pair| weight(pair) as i16).collect();
        let bias = numbers.by_ref().take(rows).map(|number| number % 3000).collect();
        let multiplier = |number: i32| {
            let value = (1 << 30) + number.rem_euclid(1 << 30);
            Multiplier { value, shift: -(number.rem_euclid(7) as i8) - 3 }
        };
        let multipliers = numbers.take(if self.per_channel { rows } else { 1 });
        let multipliers = multipliers.map(multiplier).collect();
        let clamp = Clamp { min: -100, max: 120 };
        let bits = self.bits;
        Matrix { rows, columns, bits, values, bias, multipliers, clamp, ..Matrix::default() }
    }

    fn graph(&self) -> IntegerGraph {
        let quantization =
            self.zero_points.map(|zero_point| Quantization { scale: 1.0, zero_point });
        let value = |dims: &[usize], which: usize| IntegerValue {
            name: "v".into(),
            dims: dims.to_vec(),
            quantization: quantization[which],
            origin: Origin::Computed,
            real: None,
        };
        let reach = usize::from(self.dilation) * 2;
        let (side, outputs) = (6 - reach, self.outputs());
        let window = RuntimeWindow { size: [3; 2], stride: [1; 2], padding: [0; 2] };
        let dilation = [self.dilation; 2];
        let (op, dims): (IntegerOp, _) = match self.kind {
            Kind::Dense => (IntegerDense {}.into(), vec![outputs]),
            Kind::Conv2d => (IntegerConv2d { window, dilation }.into(), vec![side, side, outputs]),
            Kind::DepthwiseConv2d => {
                (IntegerDepthwiseConv2d { window, dilation }.into(), vec![side, side, outputs])
            }
        };
        let (name, parameters) = ("layer".to_owned(), Some(self.matrix()));
        let mut graph = IntegerGraph {
            values: vec![value(&[6, 6, self.channels], 0), value(&dims, 1)],
            nodes: vec![IntegerNode { name, op, inputs: vec![0], output: 1, parameters }],
            input: 0,
            output: 1,
        };
        if self.pooled && dims.len() == 3 {
            let window = RuntimeWindow { size: [2; 2], stride: [2; 2], padding: [0; 2] };
            let op = IntegerMaxPool2d { window, clamp: Clamp { min: -90, max: 127 } }.into();
            graph.values.push(value(&[side / 2, side / 2, outputs], 1));
            let (name, inputs) = ("pool".to_owned(), vec![1]);
            graph.nodes.push(IntegerNode { name, op, inputs, output: 2, parameters: None });
            graph.output = 2;
        }
        graph
    }
}

fn layers() -> impl Strategy<Value = Layer> {
    let kind = prop_oneof![Just(Kind::Dense), Just(Kind::Conv2d), Just(Kind::DepthwiseConv2d)];
    let sizes = (kind, 1usize..5, 1usize..10, 2u8..=8);
    let numbers = proptest::collection::vec(any::<i32>(), 1..300);
    let flags = any::<[bool; 3]>();
    let rest = (numbers, flags, any::<[i8; 2]>(), 1u16..=2);
    (sizes, rest).prop_map(
        |((kind, channels, outputs, bits), (numbers, flags, zeros, dilation))| {
            let [per_channel, sparse, pooled] = flags;
            let zero_points = zeros;
            Layer {
                kind,
                channels,
                outputs,
                bits,
                numbers,
                per_channel,
                sparse,
                zero_points,
                dilation,
                pooled,
            }
        },
    )
}

fn input(graph: &IntegerGraph) -> InputQuantization {
    let quantization = graph.values[0].quantization;
    InputQuantization { quantization, residual: 0.0, raw: RawInput::Nothing }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn storages_and_arrangements_give_the_same_outputs(layer in layers(), seed in any::<i8>()) {
        let graph = layer.graph();
        let len = graph.values[0].len();
        let values: Vec<i8> = (0..3 * len).map(|at| (at as i8).wrapping_mul(37) ^ seed).collect();
        let found = outputs(&graph, &input(&graph), &values);
        prop_assert_eq!(found.len(), 3 * graph.values[graph.output].len());
    }
}

/// What a file prescribes: integers of a few steps, at a scale for each channel.
fn prescribed() -> (Graph<Affine>, Plan) {
    let scales: Vec<f32> = (1..=8).map(|row| 0.01 * row as f32).collect();
    let steps = |at: usize| [0, 0, 0, 1, 0, 0, -1, 0, 0, 2][at * 7 % 10] as f32;
    let weight = (0..8 * 36).map(|at| steps(at) * scales[at / 36]).collect();
    let affine = Affine { weight, bias: vec![0.25; 8] };
    let mut graph = Graph::of_input(vec![6, 6, 4]);
    let window = Window { size: [3; 2], ..Window::ONE };
    let output = graph.push("conv", Conv2d { window }, vec![0], vec![4, 4, 8], Some(affine));
    let input = Quantization::of_range(Range { low: -1.0, high: 1.0 });
    let to = Quantization::of_range(Range { low: -3.0, high: 3.0 });
    let plan = Plan::of(&[(0, input), (output, to)].into());
    (graph, Plan { scales: [(output, scales)].into(), ..plan })
}

#[test]
fn an_imported_layer_with_a_multiplier_per_channel_is_coded() {
    let (graph, plan) = prescribed();
    let integers = lower(&graph, &plan).unwrap();
    let input = input(&integers);
    let values: Vec<i8> = (0..144 * 5).map(|at| (at as i8).wrapping_mul(91)).collect();
    let options = CompileOptions::default();
    let forms = STORAGES.map(|storage| stored(&integers, &input, &options, |_| storage));
    let [packed, coded, fast] = &forms;
    let Op::CodedConv2d(op) = &coded.0.ops[0] else { panic!("{:?}", coded.0.ops) };
    assert!(matches!(op.affine.requantization, Requantization::PerChannel { .. }));
    assert!(coded.1.len() < packed.1.len() && packed.1.len() < fast.1.len());
    let found = outputs(&integers, &input, &values);
    let reals = reals(&integers, &found);
    let x: Vec<f32> = values.iter().map(|&q| input.quantization.dequantize(q)).collect();
    let exact = crate::graph::Executor::new(&graph).unwrap().run(&x).unwrap();
    assert!(decibels(&exact, &reals) > 30.0, "{}", decibels(&exact, &reals));
}

#[test]
fn weights_lie_as_the_core_takes_them() {
    let (graph, plan) = prescribed();
    let integers = lower(&graph, &plan).unwrap();
    let input = input(&integers);
    let mut sizes = Vec::new();
    for core in Core::ALL {
        let options = CompileOptions { core, ..CompileOptions::default() };
        let (compiled, bytes) = stored(&integers, &input, &options, |_| Storage::Fastest);
        let Op::Conv2d(op) = &compiled.ops[0] else { panic!("{:?}", compiled.ops) };
        assert_eq!(op.affine.weights.layout, core.layout(), "{core}");
        let model = bitsback_runtime::Model::parse(&bytes).unwrap();
        assert_eq!(Misfit::find(core, &model), None, "{core}");
        sizes.push(bytes.len());
    }
    // Pairs take at most a sixteenth more bytes.
    let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
    assert!(least <= most && *most <= least + least / 8, "{least} {most}");
}

#[test]
fn ram_for_weights_is_what_limits_are_kept_with() {
    let layer = Layer {
        kind: Kind::Conv2d,
        channels: 4,
        outputs: 9,
        bits: 4,
        numbers: (0..97).map(|i| i * 7919 % 1009).collect(),
        per_channel: false,
        sparse: true,
        zero_points: [3, -5],
        dilation: 1,
        pooled: true,
    };
    let graph = layer.graph();
    let (input, info) = (input(&graph), ModelInfo::default());
    let made = |goal, instructions, weights_ram_bytes| {
        let size = Some(SizeConfig { goal, instructions, flash_bytes: None });
        let options = CompileOptions { size, weights_ram_bytes, ..CompileOptions::default() };
        let (bytes, _) = write(&graph, &input, &options, &info).unwrap();
        let costs = Costing::new(options.core, weights_ram_bytes).of(&bytes).unwrap();
        (bytes, costs.instructions)
    };
    let ram = 4096;
    let (short, slow) = made(Goal::Flash, None, 0);
    let (same, fast) = made(Goal::Flash, None, ram);
    assert!(short == same && fast < slow, "{fast} {slow}");
    // Within a limit that only the unpacked layer keeps, it stays short where there is RAM for it alone.
    let limit = Some((fast + slow) / 2);
    assert_eq!(made(Goal::Flash, limit, ram), (short.clone(), fast));
    let (longer, within) = made(Goal::Flash, limit, 0);
    assert!(longer.len() > short.len() && within <= (fast + slow) / 2);
    let (few, less) = (made(Goal::Flash, limit, 100).0, made(Goal::Instructions, None, ram).1);
    assert!(few.len() > short.len(), "too little RAM for the layer");
    assert!(less <= fast);
}
