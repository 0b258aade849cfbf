//! From the operators of a `.bbk` file back to a graph of floats.

use std::collections::HashMap;

use bitsback_runtime::format::{Clamp, Tensor};
use bitsback_runtime::{Model, Op, Step};

use super::ExportError;
use super::parameters::Parameters;
use super::scales::Scales;
use crate::graph::{self, Affine, Computation, Node, Value, ValueId, Window, ops};
use crate::import::onnx::FloatModel;
use crate::numbers::Quantization;
use crate::numbers::factor;

/// Scales that operators fix: outputs of logistic functions and softmax, and of tanh.
const UNIT: f64 = 1.0 / 256.0;
const SYMMETRIC: f64 = 1.0 / 128.0;
/// The largest weight of a layer whose scale nothing fixes.
const LARGEST_WEIGHT: f64 = 1.0;
/// Limits that nothing reaches.
const OPEN: ops::Clip = ops::Clip { low: f32::NEG_INFINITY, high: f32::INFINITY };

/// The graph of floats that a model computes, with the quantisation of every value. An argmax at
/// the end is left out: the graph then gives what it chooses from.
///
/// # Errors
/// An operator that has no counterpart, by its place.
pub fn recover(model: &Model<'_>) -> Result<FloatModel, ExportError> {
    let mut recovery = Recovery::new(model);
    let steps: Vec<Step> = model.ops().collect();
    for step in &steps {
        recovery.relate(step)?;
    }
    let last = recovery.at(model.output());
    if let Some(output) = last {
        recovery.scales.fix(output, f64::from(model.meta().output_scale));
    }
    let mut recovered = recovery.layers(model, &steps)?;
    recovered.graph.output = last.or(recovery.last).unwrap_or(recovered.graph.input);
    recovered.graph.check()?;
    Ok(recovered)
}

/// What is known while operators are gone through.
struct Recovery {
    values: Vec<Value>,
    zero_points: Vec<i8>,
    scales: Scales,
    /// The value that was written last at a place of the arena.
    places: HashMap<u32, ValueId>,
    /// For each operator: what it reads, as it is written and as it is read, and what it writes.
    ends: Vec<(Vec<[ValueId; 2]>, ValueId)>,
    /// What is between the convolution and the pooling of operators that are both, by their outputs.
    convolved: HashMap<ValueId, ValueId>,
    /// What the last operator but an argmax writes.
    last: Option<ValueId>,
}

impl Recovery {
    fn new(model: &Model<'_>) -> Self {
        let mut recovery = Self {
            values: Vec::new(),
            zero_points: Vec::new(),
            scales: Scales::default(),
            places: HashMap::new(),
            ends: Vec::new(),
            convolved: HashMap::new(),
            last: None,
        };
        let input = recovery.value("input", model.input());
        recovery.places.insert(model.input().offset, input);
        recovery.scales.fix(input, f64::from(model.meta().input_scale));
        recovery
    }

    fn value(&mut self, name: &str, tensor: &Tensor) -> ValueId {
        let dims = tensor.shape.dims().iter().map(|&dim| usize::from(dim)).collect();
        self.values.push(Value { name: name.to_owned(), dims, constant: None });
        self.zero_points.push(tensor.zero_point);
        self.scales.push()
    }

    /// The value at a tensor's place.
    fn at(&self, tensor: &Tensor) -> Option<ValueId> {
        let id = *self.places.get(&tensor.offset)?;
        (self.values[id].len() == tensor.len()).then_some(id)
    }

    /// Enters an operator: what it reads and writes, and how the scales of these are related.
    fn relate(&mut self, step: &Step) -> Result<(), ExportError> {
        let operands = self.operands(step)?;
        let output = self.value(&format!("value_{}", step.index), step.output());
        let (start, end) = (step.output().offset, step.output().end());
        let values = &self.values;
        self.places.retain(|&place, &mut id| {
            place as usize >= end || place as usize + values[id].len() <= start as usize
        });
        self.places.insert(start, output);
        let read = |at: usize| operands.get(at).map_or(output, |[_, read]| *read);
        let scales = &mut self.scales;
        match &step.op {
            Op::MaxPool2d(_) | Op::AvgPool2d(_) | Op::Select(_) | Op::Pad(_) | Op::Concat(_) => {
                operands.iter().for_each(|[_, read]| scales.relate(output, *read, 1.0));
            }
            Op::Add(op) => {
                let sum = factor(op.output_multiplier) * f64::from(1u32 << 20);
                scales.relate(read(0), output, factor(op.multipliers[0]) * sum);
                scales.relate(read(1), output, factor(op.multipliers[1]) * sum);
            }
            Op::Mean(op) => {
                let count = self.values[read(0)].len() / self.values[output].len().max(1);
                scales.relate(read(0), output, factor(op.multiplier) * count as f64);
            }
            Op::Rescale(op) => scales.relate(read(0), output, factor(op.multiplier)),
            Op::LeakyRelu(op) => scales.relate(read(0), output, factor(op.positive)),
            Op::HardSwish(op) => {
                scales.fix(read(0), factor(op.gate) * 3.0 / 256.0);
                scales.relate(read(0), output, factor(op.multiplier) * 128.0);
            }
            Op::Logistic(op) => {
                scales.fix(read(0), factor(op.multiplier) / f64::from(1u32 << 27));
                scales.fix(output, UNIT);
            }
            Op::Softmax(op) => {
                scales.fix(read(0), factor(op.multiplier) / f64::from(1u32 << 26));
                scales.fix(output, UNIT);
            }
            Op::Tanh(op) => {
                scales.fix(read(0), factor(op.multiplier) / f64::from(1u32 << 27));
                scales.fix(output, SYMMETRIC);
            }
            Op::Argmax(_) => {
                self.last = operands.first().map(|[written, _]| *written);
                self.places.remove(&step.output().offset);
            }
            Op::Dense(_)
            | Op::Conv2d(_)
            | Op::DepthwiseConv2d(_)
            | Op::CodedDense(_)
            | Op::CodedConv2d(_)
            | Op::CodedDepthwiseConv2d(_)
            | Op::Mul(_) => {}
            Op::Conv2dMaxPool2d(op) => {
                let ([height, width], filters) = (op.positions, op.output.shape.channels());
                let convolved = self.value("", step.output());
                self.values[convolved].dims = vec![height.into(), width.into(), filters];
                self.scales.relate(output, convolved, 1.0);
                self.convolved.insert(output, convolved);
            }
        }
        self.ends.push((operands, output));
        Ok(())
    }

    /// What an operator reads: each value as it is written, and as it is read.
    fn operands(&mut self, step: &Step) -> Result<Vec<[ValueId; 2]>, ExportError> {
        let mut operands = Vec::new();
        for tensor in step.inputs() {
            let written =
                self.at(tensor).ok_or_else(|| refuse(step, "it reads a part of a value"))?;
            // What works value by value may read another arrangement of them.
            let shape = if one_by_one(&step.op) && tensor.len() == step.output().len() {
                &step.output().shape
            } else {
                &tensor.shape
            };
            let dims: Vec<usize> = shape.dims().iter().map(|&dim| usize::from(dim)).collect();
            if self.zero_points[written] != tensor.zero_point {
                return Err(refuse(
                    step,
                    "it reads bytes in another meaning than they were written with",
                ));
            }
            let mut read = written;
            if self.values[written].dims != dims {
                read = self.value("", &Tensor { shape: shape.clone(), ..tensor.clone() });
                self.scales.relate(read, written, 1.0);
            }
            operands.push([written, read]);
        }
        Ok(operands)
    }

    /// The nodes, in order; scales that are still open are chosen where they are met.
    fn layers(&mut self, model: &Model<'_>, steps: &[Step]) -> Result<FloatModel, ExportError> {
        let mut recovered = FloatModel::default();
        let mut selected: HashMap<ValueId, (ValueId, Vec<usize>)> = HashMap::new();
        for (step, (operands, output)) in steps.iter().zip(std::mem::take(&mut self.ends)) {
            let name = model.op_name(usize::from(step.index));
            let name = name.map_or_else(|| step.kind().name().to_owned(), str::to_owned);
            let mut inputs = Vec::with_capacity(operands.len());
            for [written, read] in operands {
                let chosen = selected.contains_key(&written);
                if read != written && !chosen {
                    let reshape = Node::new(&name, ops::Reshape {}, vec![written], read);
                    recovered.graph.nodes.push(reshape);
                }
                inputs.push(if chosen { written } else { read });
            }
            if let Op::Select(op) = &step.op {
                let mask = model.section().get(op.mask as usize..).unwrap_or_default();
                selected.insert(output, (inputs[0], ones(mask, self.values[inputs[0]].len())));
                continue;
            }
            if matches!(step.op, Op::Argmax(_)) {
                continue;
            }
            let dense = matches!(step.op, Op::Dense(_) | Op::CodedDense(_));
            let selection = inputs.iter().find_map(|input| selected.get(input));
            if selection.is_some() && !dense {
                return Err(refuse(step, "a selection can be exported only before a dense layer"));
            }
            let written = self.convolved.get(&output).copied().unwrap_or(output);
            let (computes, clamp) = match Parameters::read(step, model.section()) {
                Some(parameters) => {
                    let (affine, scales) = self.affine(&parameters, inputs[0], written);
                    recovered.weights.insert(written, scales);
                    let before = selection
                        .map(|(from, places)| (self.values[*from].len(), places.as_slice()));
                    (weighted(step, affine, before), parameters.clamp)
                }
                None => self
                    .simple(step, &inputs, output)
                    .ok_or_else(|| refuse(step, "it is unknown"))?,
            };
            if let Some((from, _)) = selection {
                inputs = vec![*from];
            }
            self.push(&mut recovered, name.clone(), computes, inputs, written, clamp);
            if let Op::Conv2dMaxPool2d(op) = &step.op {
                let pool = ops::MaxPool2d { window: Window::of(op.pool, [1, 1]) }.into();
                self.push(&mut recovered, name, pool, vec![written], output, Clamp::NONE);
            }
        }
        recovered.graph.values = std::mem::take(&mut self.values);
        for (id, &zero_point) in self.zero_points.iter().enumerate() {
            if let Some(scale) = self.scales.get(id) {
                let scale = scale as f32;
                recovered.activations.insert(id, Quantization { scale, zero_point });
            }
        }
        Ok(recovered)
    }

    /// Real weights and biases, and the weights' scales; the output's scale is chosen if it is open.
    fn affine(&mut self, p: &Parameters, input: ValueId, output: ValueId) -> (Affine, Vec<f32>) {
        let from = self.scales.get(input).unwrap_or(1.0);
        let rows = p.weights.chunks_exact(p.columns.max(1)).zip(&p.factors);
        let largest = rows
            .map(|(row, factor)| {
                let most = row.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
                f64::from(most) * factor
            })
            .fold(0.0, f64::max);
        // weight scale = factor · output scale / input scale.
        let chosen = if largest > 0.0 { LARGEST_WEIGHT * from / largest } else { from };
        self.scales.fix(output, chosen);
        let to = self.scales.get(output).unwrap_or(chosen);
        // A factor of 0 makes every product 0; any scale will do for its integers.
        let scale = |factor: &f64| if *factor > 0.0 { (factor * to / from) as f32 } else { 1.0 };
        let scales: Vec<f32> = p.factors.iter().map(scale).collect();
        let rows = p.weights.chunks_exact(p.columns.max(1)).zip(&scales);
        let weight =
            rows.flat_map(|(row, &s)| row.iter().map(move |&w| f32::from(w) * s)).collect();
        let biases = p.bias.iter().zip(&scales);
        let bias = biases.map(|(&b, &s)| (b as f64 * f64::from(s) * from) as f32).collect();
        (Affine { weight, bias }, scales)
    }

    /// Operators without weights.
    fn simple(
        &mut self,
        step: &Step,
        inputs: &[ValueId],
        output: ValueId,
    ) -> Option<(Computation, Clamp)> {
        let scale = |scales: &Scales, id: ValueId| scales.get(id).unwrap_or(1.0);
        Some(match &step.op {
            Op::MaxPool2d(op) => {
                (ops::MaxPool2d { window: Window::of(op.window, [1, 1]) }.into(), op.clamp)
            }
            Op::AvgPool2d(op) => {
                (ops::AvgPool2d { window: Window::of(op.window, [1, 1]) }.into(), op.clamp)
            }
            Op::Add(op) => (ops::Add {}.into(), op.clamp),
            Op::Mul(op) => {
                let product = scale(&self.scales, inputs[0]) * scale(&self.scales, inputs[1]);
                self.scales.fix(output, product / factor(op.multiplier).max(f64::MIN_POSITIVE));
                (ops::Mul {}.into(), op.clamp)
            }
            Op::Concat(op) => (ops::Concat { axis: op.axis.into() }.into(), Clamp::NONE),
            Op::Pad(op) => {
                let before = op.before.iter().map(|&border| usize::from(border)).collect();
                let steps = f64::from(op.value) - f64::from(step.output().zero_point);
                let fill = (steps * scale(&self.scales, output)) as f32;
                (ops::Pad { before, fill }.into(), Clamp::NONE)
            }
            Op::Mean(op) => (ops::Mean {}.into(), op.clamp),
            Op::Rescale(op) => (OPEN.into(), op.clamp),
            Op::LeakyRelu(op) => {
                let alpha = factor(op.negative) / factor(op.positive).max(f64::MIN_POSITIVE);
                (ops::LeakyRelu { alpha: alpha as f32 }.into(), Clamp::NONE)
            }
            Op::Logistic(_) => (ops::Logistic {}.into(), Clamp::NONE),
            Op::HardSwish(_) => (ops::HardSwish {}.into(), Clamp::NONE),
            Op::Tanh(_) => (ops::Tanh {}.into(), Clamp::NONE),
            Op::Softmax(_) => (ops::Softmax {}.into(), Clamp::NONE),
            Op::Dense(_)
            | Op::Conv2d(_)
            | Op::DepthwiseConv2d(_)
            | Op::CodedDense(_)
            | Op::CodedConv2d(_)
            | Op::CodedDepthwiseConv2d(_)
            | Op::Select(_)
            | Op::Conv2dMaxPool2d(_)
            | Op::Argmax(_) => {
                return None;
            }
        })
    }

    /// Appends a node, and the limits of its output as one of its own.
    fn push(
        &mut self,
        recovered: &mut FloatModel,
        name: String,
        computes: Computation,
        inputs: Vec<ValueId>,
        output: ValueId,
        clamp: Clamp,
    ) {
        let (scale, zero) = (self.scales.get(output).unwrap_or(1.0), self.zero_points[output]);
        let real = |q: i8| ((f64::from(q) - f64::from(zero)) * scale) as f32;
        let clips = computes.op.limits().is_some();
        let pair = matches!(computes.op, graph::Op::Add(_) | graph::Op::Mul(_));
        let saturates = clips || pair || computes.op.is_affine();
        // int8's own limits do an activation's work where calibration ended with it, at the model's
        // end, too. Nothing tells them from those that only cut off what wasn't seen: both are what
        // the integers do.
        let low =
            if saturates || clamp.min > i8::MIN { real(clamp.min) } else { f32::NEG_INFINITY };
        let high = if saturates || clamp.max < i8::MAX { real(clamp.max) } else { f32::INFINITY };
        let limits = ops::Clip { low, high };
        if clips {
            return recovered.graph.nodes.push(Node::new(name, limits, inputs, output));
        }
        if limits == OPEN {
            return recovered.graph.nodes.push(Node::new(name, computes, inputs, output));
        }
        // The value before the limits has no scale of its own, so that they are fused again.
        let before = self.values.len();
        self.values.push(Value { name: String::new(), ..self.values[output].clone() });
        self.zero_points.push(zero);
        self.scales.push();
        if let Some(scales) = recovered.weights.remove(&output) {
            recovered.weights.insert(before, scales);
        }
        recovered.graph.nodes.push(Node::new(&name, computes, inputs, before));
        recovered.graph.nodes.push(Node::new(name, limits, vec![before], output));
    }
}

fn refuse(step: &Step, problem: &'static str) -> ExportError {
    let (index, operator) = (usize::from(step.index), step.kind().name());
    ExportError::Operator { index, operator, problem }
}

/// Places of the bits that are set, among the first `len`.
fn ones(mask: &[u8], len: usize) -> Vec<usize> {
    let bit = |at: &usize| mask.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    (0..len).filter(bit).collect()
}

/// Whether the arrangement of values doesn't matter.
fn one_by_one(op: &Op) -> bool {
    matches!(
        op,
        Op::Add(_)
            | Op::Mul(_)
            | Op::Rescale(_)
            | Op::LeakyRelu(_)
            | Op::HardSwish(_)
            | Op::Logistic(_)
            | Op::Tanh(_)
    )
}

/// The layer of an operator with weights; a selection before a dense layer becomes columns of
/// zeros.
fn weighted(step: &Step, affine: Affine, selection: Option<(usize, &[usize])>) -> Computation {
    let conv = |window, dilation| ops::Conv2d { window: Window::of(window, dilation) };
    let depthwise =
        |window, dilation| ops::DepthwiseConv2d { window: Window::of(window, dilation) };
    match &step.op {
        Op::Conv2d(op) => Computation::new(conv(op.window, op.dilation), affine),
        Op::Conv2dMaxPool2d(op) => Computation::new(conv(op.window, op.dilation), affine),
        Op::CodedConv2d(op) => Computation::new(conv(op.window, op.dilation), affine),
        Op::DepthwiseConv2d(op) => Computation::new(depthwise(op.window, op.dilation), affine),
        Op::CodedDepthwiseConv2d(op) => Computation::new(depthwise(op.window, op.dilation), affine),
        _ => match selection {
            None => Computation::new(ops::Dense {}, affine),
            Some((width, places)) => {
                let mut weight = vec![0.0; affine.bias.len() * width];
                let rows = weight.chunks_exact_mut(width.max(1));
                for (to, from) in rows.zip(affine.weight.chunks_exact(places.len().max(1))) {
                    places.iter().zip(from).for_each(|(&place, &w)| to[place] = w);
                }
                Computation::new(ops::Dense {}, Affine { weight, bias: affine.bias })
            }
        },
    }
}
