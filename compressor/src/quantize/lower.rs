//! From a graph of floats, scales and widths to a graph of integers.

use std::collections::BTreeMap;

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;

use super::QuantizeError;
use super::arithmetic::{clamp, fixed, not_finer_than, ratio, runtime_window, small};
use super::fuse::{self, Step};
use super::means::added_by_rounding;
use super::weights::Rows;
use crate::calibrate::{ByteMap, InputQuantization, Quantization, RawInput};
use crate::graph::ops::LeakyRelu;
use crate::graph::{Affine, Graph, Node, Op, ValueId, Window};
use crate::integer_graph::{self, IntegerGraph, Matrix, Origin, Value};
use crate::lower::multiplier::{HARD_SWISH_STEPS, hard_swish, multiplier};

/// Width of weights where nothing else is asked for.
pub const DEFAULT_BITS: u8 = 8;
/// Largest bias in units of the accumulator: half of 32 bits, the other half is for the products.
const MAX_BIAS: f64 = (1i64 << 30) as f64;
/// Integer bits of what the logistic function and the hyperbolic tangent compute with.
const LOGISTIC_INTEGER_BITS: i32 = 4;
/// And of softmax.
const SOFTMAX_INTEGER_BITS: i32 = 5;
/// The output of the logistic function and of softmax: 0 to 1 in 256ths.
const UNIT: Quantization = Quantization { scale: 1.0 / 256.0, zero_point: i8::MIN };
/// The output of the hyperbolic tangent: −1 to 1 in 128ths.
const SYMMETRIC: Quantization = Quantization { scale: 1.0 / 128.0, zero_point: 0 };

/// Everything that quantisation decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Quantisation of values.
    pub activations: BTreeMap<ValueId, Quantization>,
    /// Whether these are prescribed. If not, values that aren't listed follow from others, and
    /// limits are fused wherever they can be.
    pub prescribed: bool,
    /// Width of a layer's weights by the value that its node writes; [`DEFAULT_BITS`] for others.
    pub bits: BTreeMap<ValueId, u8>,
    /// Scales of weights that are given.
    pub scales: BTreeMap<ValueId, Vec<f32>>,
    /// A constant that every input value lacks; see [`InputQuantization::residual`].
    pub residual: f32,
    /// How raw bytes become inputs.
    pub bytes: Vec<ByteMap>,
    /// What layers read on average, by the value; what rounding adds to that is taken off their biases.
    pub means: BTreeMap<ValueId, Vec<f32>>,
}

impl Plan {
    /// Prescribed scales of values.
    pub fn of(activations: &BTreeMap<ValueId, Quantization>) -> Self {
        Self { activations: activations.clone(), prescribed: true, ..Self::default() }
    }

    /// Scales that calibration chose, for inputs that are quantised as stated.
    pub fn calibrated(
        graph: &Graph<Affine>,
        activations: BTreeMap<ValueId, Quantization>,
        input: &InputQuantization,
    ) -> Self {
        let mut activations = activations;
        fuse::align_joins(graph, &mut activations);
        let bytes = match &input.raw {
            RawInput::Bytes => vec![ByteMap { mul: 1, add: -128, shift: 0 }],
            RawInput::ByteChannels(maps) => maps.clone(),
            RawInput::Nothing | RawInput::Features { .. } => Vec::new(),
        };
        Self { activations, residual: input.residual, bytes, ..Self::default() }
    }
}

/// The graph of integers.
///
/// # Errors
/// A value without a scale, or an operator or size that the runtime doesn't have, by name.
pub fn lower(graph: &Graph<Affine>, plan: &Plan) -> Result<IntegerGraph, QuantizeError> {
    graph.check()?;
    let mut lowering = Lowering {
        graph,
        plan,
        integers: IntegerGraph { bytes: plan.bytes.clone(), ..IntegerGraph::default() },
        values: vec![None; graph.values.len()],
    };
    let input = &graph.values[graph.input];
    let quantization = plan.activations.get(&graph.input).copied();
    let quantization = quantization.ok_or_else(|| QuantizeError::NoScale {
        node: "the model's input".to_owned(),
        value: input.name.clone(),
    })?;
    let input = lowering.value(&input.name, input.dims.clone(), quantization, Origin::Computed);
    lowering.integers.input = input;
    lowering.values[graph.input] = Some(input);
    let has_scale = |id: ValueId| plan.prescribed && plan.activations.contains_key(&id);
    for step in fuse::steps(graph, has_scale) {
        lowering.step(&step)?;
    }
    lowering.integers.output = lowering.values[graph.output].unwrap_or_default();
    Ok(lowering.integers)
}

struct Lowering<'g> {
    graph: &'g Graph<Affine>,
    plan: &'g Plan,
    integers: IntegerGraph,
    /// The integer value that each float value became.
    values: Vec<Option<integer_graph::ValueId>>,
}

impl<'g> Lowering<'g> {
    fn step(&mut self, step: &Step) -> Result<(), QuantizeError> {
        let node = &self.graph.nodes[step.node];
        let first = self.operand(node, 0)?;
        let from = self.quantization(first);
        match &node.op {
            Op::Dense(_) => self.affine(node, step, None),
            Op::Conv2d(op) => self.affine(node, step, Some(op.window)),
            Op::DepthwiseConv2d(op) => self.affine(node, step, Some(op.window)),
            Op::MaxPool2d(op) => self.pool(node, step, op.window),
            Op::AvgPool2d(op) => self.pool(node, step, op.window),
            Op::Mean(_) => {
                let to = self.wanted(node, step.output)?;
                let count = self.graph.values[node.inputs[0]].len()
                    / self.graph.values[node.output].len().max(1);
                let factor = ratio(from, to).over(u32::try_from(count).unwrap_or(u32::MAX));
                self.unary(
                    node,
                    step,
                    integer_graph::Kind::Mean(factor, clamp(step.limits, to)),
                    to,
                )
            }
            Op::Add(_) | Op::Mul(_) => self.pair(node, step),
            Op::Concat(op) => self.concat(node, step, op.axis),
            Op::Pad(op) => {
                let before = op.before.iter().map(|&border| small(node, "a border", border));
                let before = before.collect::<Result<Vec<u16>, _>>()?;
                let kind = integer_graph::Kind::Pad(before, from.quantize(op.fill));
                self.unary(node, step, kind, from)
            }
            Op::Reshape(_) => {
                let dims = self.graph.values[step.output].dims.clone();
                let name = self.graph.values[step.output].name.clone();
                let view = self.value(&name, dims, from, Origin::View(first));
                self.finish(node, step, view)
            }
            _ => self.activation(node, step, first),
        }
    }

    /// A pooling.
    fn pool(
        &mut self,
        node: &Node<Affine>,
        step: &Step,
        window: Window,
    ) -> Result<(), QuantizeError> {
        let first = self.operand(node, 0)?;
        let from = self.quantization(first);
        let (to, input) = (self.image(node, step.output)?, self.as_image(first));
        let output = self.written(step, to, from);
        let (window, _) = runtime_window(node, window)?;
        let clamp = clamp(step.limits, from);
        let kind = match node.op {
            Op::MaxPool2d(_) => integer_graph::Kind::MaxPool2d(window, clamp),
            _ => integer_graph::Kind::AvgPool2d(window, clamp),
        };
        self.push(node, kind, vec![input], output);
        self.finish(node, step, output)
    }

    /// An activation that is an operator of its own.
    fn activation(
        &mut self,
        node: &Node<Affine>,
        step: &Step,
        first: integer_graph::ValueId,
    ) -> Result<(), QuantizeError> {
        let from = self.quantization(first);
        match &node.op {
            Op::Clip(op) => {
                let to = self.wanted(node, step.output)?;
                let limits = clamp(Some((op.low, op.high)), to);
                let kind = integer_graph::Kind::Rescale(ratio(from, to), limits);
                self.unary(node, step, kind, to)
            }
            Op::LeakyRelu(LeakyRelu { alpha }) => {
                let to = self.wanted(node, step.output)?;
                let factor = f64::from(from.scale) / f64::from(to.scale);
                let negative = multiplier(factor * f64::from(alpha.abs()));
                let value = if *alpha < 0.0 { -negative.value } else { negative.value };
                let negative = Multiplier { value, ..negative };
                let kind = integer_graph::Kind::LeakyRelu(multiplier(factor), negative);
                self.unary(node, step, kind, to)
            }
            Op::HardSwish(_) => {
                // The product's factor takes no left shift.
                let finest = f64::from(from.scale) / f64::from(HARD_SWISH_STEPS);
                let to = not_finer_than(self.wanted(node, step.output)?, finest);
                let [product, gate] = hard_swish(from.scale, to.scale);
                self.unary(node, step, integer_graph::Kind::HardSwish(product, gate), to)
            }
            Op::Logistic(_) => {
                let factor = fixed(from, LOGISTIC_INTEGER_BITS);
                self.unary(node, step, integer_graph::Kind::Logistic(factor), UNIT)
            }
            Op::Tanh(_) => {
                let factor = fixed(from, LOGISTIC_INTEGER_BITS);
                self.unary(node, step, integer_graph::Kind::Tanh(factor), SYMMETRIC)
            }
            Op::Softmax(_) => {
                let factor = fixed(from, SOFTMAX_INTEGER_BITS);
                self.unary(node, step, integer_graph::Kind::Softmax(factor), UNIT)
            }
            Op::LogSoftmax(_) if step.output == self.graph.output => {
                self.values[step.output] = Some(first);
                Ok(())
            }
            Op::LogSoftmax(_) => Err(unsupported(node, "the model's output")),
            _ => Err(unsupported(node, "a part of a job's network")),
        }
    }

    /// A layer with weights.
    fn affine(
        &mut self,
        node: &Node<Affine>,
        step: &Step,
        window: Option<Window>,
    ) -> Result<(), QuantizeError> {
        let affine = node.parameters.as_ref();
        let affine = affine.ok_or_else(|| unsupported(node, "a layer with weights"))?;
        let first = self.operand(node, 0)?;
        let from = self.quantization(first);
        let rows = self.rows(node, affine, from);
        let units: Vec<f64> =
            rows.scales.iter().map(|&s| f64::from(from.scale) * f64::from(s)).collect();
        let mut to = self.wanted(node, step.output)?;
        if !self.plan.prescribed {
            to = not_finer_than(to, units.iter().copied().fold(0.0, f64::max));
        }
        let columns = affine.weight.len() / affine.bias.len().max(1);
        // What the input's zero lacks goes through the weights.
        let residual = if node.inputs[0] == self.graph.input { self.plan.residual } else { 0.0 };
        let mean = self.plan.means.get(&node.inputs[0]);
        let mean = mean.and_then(|mean| node.op.mean_columns(&self.graph.site(node), mean));
        let added = mean.map_or_else(Vec::new, |mean| added_by_rounding(affine, &rows, &mean));
        let bias = |(row, (&bias, unit)): (usize, (&f32, &f64))| {
            let sum: i64 =
                rows.values[row * columns..][..columns].iter().map(|&w| i64::from(w)).sum();
            let lacking = f64::from(residual) * f64::from(rows.scales[row]) * sum as f64;
            let added = added.get(row).copied().unwrap_or_default();
            ((f64::from(bias) + lacking - added) / unit).round().clamp(-MAX_BIAS, MAX_BIAS) as i32
        };
        let bias = affine.bias.iter().zip(&units).enumerate().map(bias).collect();
        let multipliers = units.iter().map(|unit| multiplier(unit / f64::from(to.scale))).collect();
        let matrix = Matrix {
            rows: affine.bias.len(),
            columns,
            bits: rows.bits,
            values: rows.values,
            bias,
            multipliers,
            clamp: clamp(step.limits, to),
        };
        let Some(window) = window else {
            let dims = self.graph.values[step.output].dims.clone();
            let output = self.written(step, dims, to);
            self.push(node, integer_graph::Kind::Dense(matrix), vec![first], output);
            return self.finish(node, step, output);
        };
        let (dims, input) = (self.image(node, step.output)?, self.as_image(first));
        let output = self.written(step, dims, to);
        let (window, dilation) = runtime_window(node, window)?;
        let kind = match node.op {
            Op::DepthwiseConv2d(_) => {
                integer_graph::Kind::DepthwiseConv2d(window, dilation, matrix)
            }
            _ => integer_graph::Kind::Conv2d(window, dilation, matrix),
        };
        self.push(node, kind, vec![input], output);
        self.finish(node, step, output)
    }

    /// The integers of a layer's weights.
    fn rows(&self, node: &Node<Affine>, affine: &Affine, from: Quantization) -> Rows {
        if let Some(scales) = self.plan.scales.get(&node.output) {
            return Rows::given(&affine.weight, scales, affine.bias.len());
        }
        let bits = self.plan.bits.get(&node.output).copied().unwrap_or(DEFAULT_BITS);
        let finest = |bias: &f32| (f64::from(bias.abs()) / f64::from(from.scale) / MAX_BIAS) as f32;
        let least: Vec<f32> = affine.bias.iter().map(finest).collect();
        Rows::nearest(&affine.weight, &least, bits)
    }

    /// A sum or a product.
    fn pair(&mut self, node: &Node<Affine>, step: &Step) -> Result<(), QuantizeError> {
        let (first, second) = (self.operand(node, 0)?, self.operand(node, 1)?);
        let to = self.wanted(node, step.output)?;
        let [a, b] = [first, second].map(|id| f64::from(self.quantization(id).scale));
        let limits = clamp(step.limits, to);
        let kind = if matches!(node.op, Op::Mul(_)) {
            integer_graph::Kind::Mul(multiplier(a * b / f64::from(to.scale)), limits)
        } else {
            let twice = 2.0 * a.max(b);
            let sum = multiplier(twice / (f64::from(1u32 << 20) * f64::from(to.scale)));
            integer_graph::Kind::Add([multiplier(a / twice), multiplier(b / twice)], sum, limits)
        };
        let dims = self.graph.values[step.output].dims.clone();
        let output = self.written(step, dims, to);
        self.push(node, kind, vec![first, second], output);
        self.finish(node, step, output)
    }

    /// A join: every operand in the scale of the output.
    fn concat(
        &mut self,
        node: &Node<Affine>,
        step: &Step,
        axis: usize,
    ) -> Result<(), QuantizeError> {
        let to = self.wanted(node, step.output)?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for place in 0..node.inputs.len() {
            let operand = self.operand(node, place)?;
            inputs.push(self.rescaled(node, operand, to));
        }
        let dims = self.graph.values[step.output].dims.clone();
        let output = self.written(step, dims, to);
        self.push(node, integer_graph::Kind::Concat(axis), inputs, output);
        self.finish(node, step, output)
    }

    /// An operator of one operand that gives values of the quantisation `to`.
    fn unary(
        &mut self,
        node: &Node<Affine>,
        step: &Step,
        kind: integer_graph::Kind,
        to: Quantization,
    ) -> Result<(), QuantizeError> {
        let input = self.operand(node, 0)?;
        let dims = self.graph.values[step.output].dims.clone();
        let output = self.written(step, dims, to);
        self.push(node, kind, vec![input], output);
        self.finish(node, step, output)
    }

    /// Makes `output` what `step` writes: in its own dimensions, and in the scale that is
    /// prescribed for it.
    fn finish(
        &mut self,
        node: &Node<Affine>,
        step: &Step,
        output: integer_graph::ValueId,
    ) -> Result<(), QuantizeError> {
        let value = &self.graph.values[step.output];
        let mut output = output;
        if self.integers.values[output].dims != value.dims {
            let quantization = self.quantization(output);
            output =
                self.value(&value.name, value.dims.clone(), quantization, Origin::View(output));
        }
        if let (true, Some(&to)) = (self.plan.prescribed, self.plan.activations.get(&step.output)) {
            output = self.rescaled(node, output, to);
        }
        self.values[step.output] = Some(output);
        Ok(())
    }

    /// A value in another scale.
    fn rescaled(
        &mut self,
        node: &Node<Affine>,
        id: integer_graph::ValueId,
        to: Quantization,
    ) -> integer_graph::ValueId {
        let from = self.quantization(id);
        if from == to {
            return id;
        }
        let Value { name, dims, .. } = self.integers.values[id].clone();
        let output = self.value(&name, dims, to, Origin::Computed);
        let kind = integer_graph::Kind::Rescale(ratio(from, to), Clamp::NONE);
        self.push(node, kind, vec![id], output);
        output
    }

    /// The integer value of an operand; a constant is quantised when it is met first.
    fn operand(
        &mut self,
        node: &Node<Affine>,
        place: usize,
    ) -> Result<integer_graph::ValueId, QuantizeError> {
        let id = node.inputs.get(place).copied().unwrap_or(self.graph.input);
        if let Some(value) = self.values[id] {
            return Ok(value);
        }
        let value = &self.graph.values[id];
        let Some(numbers) = &value.constant else {
            return Err(QuantizeError::NoScale {
                node: node.name.clone(),
                value: value.name.clone(),
            });
        };
        let nothing = crate::calibrate::Range { low: 0.0, high: 0.0 };
        let range = numbers.iter().fold(nothing, |range, &x| crate::calibrate::Range {
            low: range.low.min(x),
            high: range.high.max(x),
        });
        let quantization = match self.plan.activations.get(&id) {
            Some(&given) => given,
            None => Quantization::of_range(range),
        };
        let integers = numbers.iter().map(|&x| quantization.quantize(x)).collect();
        let (name, dims) = (value.name.clone(), value.dims.clone());
        let made = self.value(&name, dims, quantization, Origin::Constant(integers));
        self.values[id] = Some(made);
        Ok(made)
    }

    fn wanted(&self, node: &Node<Affine>, id: ValueId) -> Result<Quantization, QuantizeError> {
        self.plan.activations.get(&id).copied().ok_or_else(|| QuantizeError::NoScale {
            node: node.name.clone(),
            value: self.graph.values[id].name.clone(),
        })
    }

    fn quantization(&self, id: integer_graph::ValueId) -> Quantization {
        let Value { scale, zero_point, .. } = self.integers.values[id];
        Quantization { scale, zero_point }
    }

    fn value(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        quantization: Quantization,
        origin: Origin,
    ) -> integer_graph::ValueId {
        let Quantization { scale, zero_point } = quantization;
        let name = name.to_owned();
        self.integers.values.push(Value { name, dims, scale, zero_point, origin });
        self.integers.values.len() - 1
    }

    fn written(
        &mut self,
        step: &Step,
        dims: Vec<usize>,
        quantization: Quantization,
    ) -> integer_graph::ValueId {
        let name = self.graph.values[step.output].name.clone();
        self.value(&name, dims, quantization, Origin::Computed)
    }

    /// Height, width and channels of a value.
    fn image(&self, node: &Node<Affine>, id: ValueId) -> Result<Vec<usize>, QuantizeError> {
        let image = self.graph.values[id].image();
        image.map(Vec::from).ok_or_else(|| unsupported(node, "an operator on images"))
    }

    /// A value as an image.
    fn as_image(&mut self, id: integer_graph::ValueId) -> integer_graph::ValueId {
        let value = self.integers.values[id].clone();
        let dims = match *value.dims.as_slice() {
            [channels] => vec![1, 1, channels],
            [width, channels] => vec![1, width, channels],
            _ => return id,
        };
        let quantization = self.quantization(id);
        self.value(&value.name, dims, quantization, Origin::View(id))
    }

    fn push(
        &mut self,
        node: &Node<Affine>,
        kind: integer_graph::Kind,
        inputs: Vec<integer_graph::ValueId>,
        output: integer_graph::ValueId,
    ) {
        let name = node.name.clone();
        self.integers.nodes.push(integer_graph::Node { name, kind, inputs, output });
    }
}

fn unsupported(node: &Node<Affine>, supported: &'static str) -> QuantizeError {
    QuantizeError::Unsupported { node: node.name.clone(), kind: node.op.name(), supported }
}
