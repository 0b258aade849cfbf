//! From the operators of a `.bbk` file back to a graph of floats.

use std::collections::HashMap;

use bitsback_runtime::format::{Clamp, Tensor};
use bitsback_runtime::{Model, Step};

use super::ExportError;
use super::parameters::Parameters;
use super::parts::Part;
use super::scales::{Scales, Settled};
use crate::graph::ops::{
    Clip, IntegerHardSigmoid, IntegerRescale, IntegerSelect, Op, Reshape, Slice,
};
use crate::graph::{Affine, Computation, IntegerOp, Node, Parts, Relation, Value, ValueId};
use crate::import::onnx::FloatModel;
use crate::numbers::Quantization;

/// The largest weight of a layer, or number of a constant, whose scale nothing fixes.
const LARGEST: f64 = 1.0;
/// Why an operator is refused that isn't one of those known here.
const UNKNOWN: &str = "it is unknown";
/// Why an operator is refused that reads what isn't a value, nor rows and columns of one.
const PART: &str = "it reads a part of a value other than rows and columns of an image";
/// Limits that nothing reaches.
const OPEN: Clip = Clip { low: f32::NEG_INFINITY, high: f32::INFINITY };

/// The graph of floats that a model computes, with the quantisation of every value. An argmax at
/// the end is left out: the graph then gives what it chooses from.
///
/// # Errors
/// An operator that has no counterpart, or whose factors contradict those of others, by its place.
pub fn recover(model: &Model<'_>) -> Result<FloatModel, ExportError> {
    let mut recovery = Recovery::new(model);
    let steps: Vec<Step> = model.ops().collect();
    for (at, step) in steps.iter().enumerate() {
        recovery.enter(step, model, is_hard_sigmoid(step, &steps[at + 1..]))?;
    }
    let last = recovery.at(model.output());
    if let (Some(output), Some(step)) = (last, steps.last()) {
        let scale = f64::from(model.meta().output_scale);
        recovery.scales.fix(output, scale).map_err(|problem| refuse(step, problem))?;
    }
    recovery.prefer();
    let mut recovered = recovery.layers(model, &steps)?;
    recovered.graph.output = last.or(recovery.last).unwrap_or(recovered.graph.input);
    recovered.graph.check()?;
    Ok(recovered)
}

/// Whether an operator's bytes are read as those of a hard sigmoid by one of those behind it.
fn is_hard_sigmoid(step: &Step, behind: &[Step]) -> bool {
    let written = step.output();
    for reader in behind {
        let mut reads = reader.inputs().filter(|tensor| tensor.offset == written.offset);
        if let Some(read) = reads.find(|tensor| tensor.len() == written.len()) {
            return IntegerHardSigmoid::is_read_as(written, read.zero_point);
        }
        let (start, end) = (reader.output().offset, reader.output().end());
        if (start as usize) < written.end() && (written.offset as usize) < end {
            return false;
        }
    }
    false
}

/// What is known while operators are gone through.
struct Recovery {
    values: Vec<Value>,
    zero_points: Vec<i8>,
    scales: Scales,
    /// The value that was written last at a place of the arena.
    places: HashMap<u32, ValueId>,
    entries: Vec<Entry>,
    /// Numbers of constants, in steps.
    constants: HashMap<ValueId, Vec<f64>>,
    /// What the last operator but an argmax writes.
    last: Option<ValueId>,
}

/// One of the model's operators.
struct Entry {
    name: String,
    op: IntegerOp,
    operands: Vec<Operand>,
    output: ValueId,
    /// The two that it is, if it is two, and what is between them.
    parts: Option<(Parts, ValueId)>,
}

/// What an operator reads.
struct Operand {
    /// The value as it is written.
    written: ValueId,
    /// The value as it is read.
    read: ValueId,
    /// Which part of it that is, if not the whole.
    part: Option<Slice>,
}

impl Recovery {
    fn new(model: &Model<'_>) -> Self {
        let mut recovery = Self {
            values: Vec::new(),
            zero_points: Vec::new(),
            scales: Scales::default(),
            places: HashMap::new(),
            entries: Vec::new(),
            constants: HashMap::new(),
            last: None,
        };
        let input = recovery.value("input", model.input());
        recovery.places.insert(model.input().offset, input);
        // The first equation contradicts none.
        recovery.scales.choose(input, f64::from(model.meta().input_scale));
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
    fn enter(
        &mut self,
        step: &Step,
        model: &Model<'_>,
        hard_sigmoid: bool,
    ) -> Result<(), ExportError> {
        let op = IntegerOp::of(step, model.section()).ok_or_else(|| refuse(step, UNKNOWN))?;
        let op = match op {
            IntegerOp::Rescale(IntegerRescale { multiplier, .. }) if hard_sigmoid => {
                // Its slope is found when the scales are known.
                IntegerHardSigmoid { multiplier, slope: 1.0 }.into()
            }
            op => op,
        };
        let constant = constant(step, &op, model.section());
        let operands = if constant.is_some() { Vec::new() } else { self.operands(step, &op)? };
        let output = self.value(&format!("value_{}", step.index), step.output());
        if hard_sigmoid {
            self.zero_points[output] = IntegerHardSigmoid::ZERO_POINT;
        }
        let (start, end) = (step.output().offset, step.output().end());
        let values = &self.values;
        self.places.retain(|&place, &mut id| {
            place as usize >= end || place as usize + values[id].len() <= start as usize
        });
        self.places.insert(start, output);
        self.constants.extend(constant.map(|numbers| (output, numbers)));
        for relation in op.scales(step) {
            let related = self.relate(relation, &operands, output);
            related.map_err(|problem| refuse(step, problem))?;
        }
        if op.chooses() {
            self.last = operands.first().map(|operand| operand.written);
            self.places.remove(&step.output().offset);
        }
        let parts = match op.parts() {
            None => None,
            Some(parts) => {
                let between = self.value("", step.output());
                let ([height, width], filters) = (parts.between, step.output().shape.channels());
                self.values[between].dims = vec![height.into(), width.into(), filters];
                // The second copies bytes.
                let related = self.scales.relate(output, between, 1.0);
                related.map_err(|problem| refuse(step, problem))?;
                Some((parts, between))
            }
        };
        let name = model.op_name(usize::from(step.index));
        let name = name.map_or_else(|| step.kind().name().to_owned(), str::to_owned);
        self.entries.push(Entry { name, op, operands, output, parts });
        Ok(())
    }

    fn relate(&mut self, relation: Relation, operands: &[Operand], output: ValueId) -> Settled {
        let read = |at: usize| operands.get(at).map_or(output, |operand| operand.read);
        let scales = &mut self.scales;
        match relation {
            Relation::Same => {
                operands.iter().try_for_each(|operand| scales.relate(output, operand.read, 1.0))
            }
            Relation::Ratio(at, ratio) => scales.relate(read(at), output, ratio),
            Relation::Operand(at, scale) => scales.fix(read(at), scale),
            Relation::Output(scale) => scales.fix(output, scale),
            Relation::Product(factors, factor) => {
                scales.multiply(factors.map(read), output, factor)
            }
        }
    }

    /// Takes hard sigmoids for the usual ones where nothing says how steep they are, as a layer's scale
    /// may be any in front of one.
    fn prefer(&mut self) {
        for entry in &self.entries {
            if let (IntegerOp::HardSigmoid(op), [operand, ..]) = (&entry.op, &entry.operands[..]) {
                self.scales.choose(operand.read, op.usual_scale());
            }
        }
    }

    /// The value of which windows read a part as `tensor`, and which part that is.
    fn part(&self, step: &Step, op: &IntegerOp, tensor: &Tensor) -> Option<(ValueId, Part)> {
        let mut read = self.places.iter().filter_map(|(&place, &id)| {
            Some((id, Part::read(step, op, tensor, (&self.values[id], place))?))
        });
        read.next()
    }

    /// What an operator reads: each value as it is written, and as it is read.
    fn operands(&mut self, step: &Step, op: &IntegerOp) -> Result<Vec<Operand>, ExportError> {
        let mut operands = Vec::new();
        for tensor in step.inputs() {
            if let Some((written, Part { slice, dims })) = self.part(step, op, tensor) {
                let read = self.value("", tensor);
                self.values[read].dims = dims;
                operands.push(Operand { written, read, part: Some(slice) });
                continue;
            }
            let written = self.at(tensor).ok_or_else(|| refuse(step, PART))?;
            // What works value by value may read another arrangement of them.
            let shape = if op.one_by_one() && tensor.len() == step.output().len() {
                &step.output().shape
            } else {
                &tensor.shape
            };
            let dims: Vec<usize> = shape.dims().iter().map(|&dim| usize::from(dim)).collect();
            let mut read = written;
            if self.values[written].dims != dims {
                read = self.value("", &Tensor { shape: shape.clone(), ..tensor.clone() });
            }
            operands.push(Operand { written, read, part: None });
        }
        for (&Operand { written, read, .. }, tensor) in operands.iter().zip(step.inputs()) {
            if self.zero_points[written] != tensor.zero_point {
                let problem = "it reads bytes in another meaning than they were written with";
                return Err(refuse(step, problem));
            }
            let related = self.scales.relate(read, written, 1.0);
            related.map_err(|problem| refuse(step, problem))?;
        }
        Ok(operands)
    }

    /// The nodes, in order; scales that are still open are chosen where they are met.
    fn layers(&mut self, model: &Model<'_>, steps: &[Step]) -> Result<FloatModel, ExportError> {
        let mut recovered = FloatModel::default();
        let mut selected: HashMap<ValueId, (ValueId, Vec<u32>)> = HashMap::new();
        for (step, entry) in steps.iter().zip(std::mem::take(&mut self.entries)) {
            if self.constants.contains_key(&entry.output) {
                continue;
            }
            let mut inputs = Vec::with_capacity(entry.operands.len());
            for &Operand { written, read, ref part } in &entry.operands {
                let chosen = selected.contains_key(&written);
                if let Some(numbers) = self.constants.get(&written) {
                    let largest = numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                    self.scales
                        .choose(written, if largest > 0.0 { LARGEST / largest } else { 1.0 });
                    let scale = self.scale(written);
                    let real = numbers.iter().map(|steps| (steps * scale) as f32).collect();
                    self.values[read].constant = Some(real);
                } else if read != written && !chosen {
                    let op = part.clone().map_or_else(|| Reshape {}.into(), Op::from);
                    recovered.graph.nodes.push(Node::new(&entry.name, op, vec![written], read));
                }
                inputs.push(if chosen { written } else { read });
            }
            if let IntegerOp::Select(IntegerSelect { keep }) = entry.op {
                selected.insert(entry.output, (inputs[0], keep));
                continue;
            }
            if entry.op.chooses() {
                continue;
            }
            let selection = inputs.iter().find_map(|input| selected.get(input));
            if selection.is_some() && !matches!(entry.op, IntegerOp::Dense(_)) {
                return Err(refuse(step, "a selection can be exported only before a dense layer"));
            }
            self.append(&mut recovered, model, step, entry, inputs, selection)?;
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

    /// Appends the nodes of an operator, which reads `inputs`, or of a value only what is selected.
    fn append(
        &mut self,
        recovered: &mut FloatModel,
        model: &Model<'_>,
        step: &Step,
        entry: Entry,
        mut inputs: Vec<ValueId>,
        selection: Option<&(ValueId, Vec<u32>)>,
    ) -> Result<(), ExportError> {
        let unknown = || refuse(step, UNKNOWN);
        let Entry { name, op, output, parts, .. } = entry;
        let (op, written, then) = match parts {
            Some((Parts { first, second, .. }, between)) => (first, between, Some(second)),
            None => (op, output, None),
        };
        let mut parameters = None;
        if IntegerOp::layer(step).is_some() {
            let stored = Parameters::read(step, model.section()).ok_or_else(unknown)?;
            let (mut affine, scales) = self.affine(&stored, inputs[0], written);
            recovered.weights.insert(written, scales);
            if let Some((from, places)) = selection {
                affine.weight = spread(&affine, self.values[*from].len(), places);
                inputs = vec![*from];
            }
            parameters = Some((affine, stored.clamp));
        }
        let op = match op {
            IntegerOp::HardSigmoid(op) => op.reading(self.scale(inputs[0])).into(),
            op => op,
        };
        let (op, clamp) = op.real(self.quantization(written)).ok_or_else(unknown)?;
        let (computes, clamp) = match (parameters, op) {
            (Some((affine, clamp)), op) => (Computation::new(op, affine), clamp),
            // What changes the scale alone is limits, which lowering rescales with.
            (None, Op::Reshape(_)) => (OPEN.into(), clamp),
            (None, op) => (op.into(), clamp),
        };
        self.push(recovered, name.clone(), computes, inputs, written, clamp);
        if let Some(op) = then {
            let (op, clamp) = op.real(self.quantization(output)).ok_or_else(unknown)?;
            self.push(recovered, name, op.into(), vec![written], output, clamp);
        }
        Ok(())
    }

    /// A value's scale; 1 where nothing says which.
    fn scale(&self, id: ValueId) -> f64 {
        self.scales.get(id).unwrap_or(1.0)
    }

    fn quantization(&self, id: ValueId) -> Quantization {
        Quantization { scale: self.scale(id) as f32, zero_point: self.zero_points[id] }
    }

    /// Real weights and biases, and the weights' scales; the output's scale is chosen if it is open.
    fn affine(&mut self, p: &Parameters, input: ValueId, output: ValueId) -> (Affine, Vec<f32>) {
        let from = self.scale(input);
        let rows = p.weights.chunks_exact(p.columns.max(1)).zip(&p.factors);
        let largest = rows
            .map(|(row, factor)| {
                let most = row.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
                f64::from(most) * factor
            })
            .fold(0.0, f64::max);
        // weight scale = factor · output scale / input scale.
        let chosen = if largest > 0.0 { LARGEST * from / largest } else { from };
        self.scales.choose(output, chosen);
        let to = self.scales.get(output).unwrap_or(chosen);
        // A factor of 0 makes every product 0; any scale will do for zeros.
        let scale = |factor: &f64| if *factor > 0.0 { (factor * to / from) as f32 } else { 1.0 };
        let scales: Vec<f32> = p.factors.iter().map(scale).collect();
        let steps: Vec<f32> =
            scales.iter().zip(&p.factors).map(|(&s, &f)| if f > 0.0 { s } else { 0.0 }).collect();
        let rows = p.weights.chunks_exact(p.columns.max(1)).zip(&steps);
        let weight =
            rows.flat_map(|(row, &s)| row.iter().map(move |&w| f32::from(w) * s)).collect();
        let biases = p.bias.iter().zip(&steps);
        let bias = biases.map(|(&b, &s)| (b as f64 * f64::from(s) * from) as f32).collect();
        (Affine { weight, bias }, scales)
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
        let (scale, zero) = (self.scale(output), self.zero_points[output]);
        let real = |q: i8| ((f64::from(q) - f64::from(zero)) * scale) as f32;
        let clips = computes.op.limits().is_some();
        let saturates = clips || computes.op.saturates();
        // int8's own limits do an activation's work where calibration ended with it, at the model's
        // end, too. Nothing tells them from those that only cut off what wasn't seen: both are what
        // the integers do.
        let low =
            if saturates || clamp.min > i8::MIN { real(clamp.min) } else { f32::NEG_INFINITY };
        let high = if saturates || clamp.max < i8::MAX { real(clamp.max) } else { f32::INFINITY };
        let limits = Clip { low, high };
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

/// The numbers that an operator writes whatever it reads, in steps: a constant is a depthwise convolution
/// of biases alone, which reads some pixel.
fn constant(step: &Step, op: &IntegerOp, section: &[u8]) -> Option<Vec<f64>> {
    let is_pixel = step.inputs().next().is_some_and(|tensor| tensor.len() == 1);
    if !is_pixel || !matches!(op, IntegerOp::DepthwiseConv2d(_)) {
        return None;
    }
    let Parameters { weights, bias, factors, clamp, .. } = Parameters::read(step, section)?;
    let zero = f64::from(step.output().zero_point);
    let (low, high) = (f64::from(clamp.min) - zero, f64::from(clamp.max) - zero);
    let numbers = bias.iter().zip(&factors);
    let numbers = numbers.map(|(&bias, factor)| (bias as f64 * factor).round().max(low).min(high));
    weights.iter().all(|&weight| weight == 0).then(|| numbers.collect())
}

fn refuse(step: &Step, problem: &'static str) -> ExportError {
    let (index, operator) = (usize::from(step.index), step.kind().name());
    ExportError::Operator { index, operator, problem }
}

/// Weights of a dense layer with zeros for what a selection before it leaves out of `width` features.
fn spread(affine: &Affine, width: usize, places: &[u32]) -> Vec<f32> {
    let mut weight = vec![0.0; affine.bias.len() * width];
    let rows = weight.chunks_exact_mut(width.max(1));
    for (to, from) in rows.zip(affine.weight.chunks_exact(places.len().max(1))) {
        places.iter().zip(from).for_each(|(&place, &w)| to[place as usize] = w);
    }
    weight
}
