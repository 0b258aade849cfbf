//! From a graph of floats, scales and widths to a graph of integers. Each operator's file says what it
//! becomes; what they share is here.

mod error;
mod matrix;

use std::collections::BTreeMap;

use bitsback_runtime::format::{self, Clamp};
use bitsback_runtime::requantize::Multiplier;

use super::integer::{IntegerGraph, IntegerNode, IntegerValue, Matrix, Origin};
use super::limits::Step;
use super::ops::{IntegerOp, IntegerRescale};
use super::{Affine, Graph, Node, ValueId, Window};
use crate::numbers::{Quantization, Range, Rows, factor, multiplier, not_finer_than};

pub use error::LowerError;

/// Width of weights where nothing else is asked for.
pub(crate) const DEFAULT_BITS: u8 = 8;

/// Everything that quantisation decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Quantisation of values.
    pub activations: BTreeMap<ValueId, Quantization>,
    /// Whether these are prescribed. If not, values that aren't listed follow from others, and
    /// limits are fused wherever they can be.
    pub prescribed: bool,
    /// Integers of a layer's weights, by the value that its node writes.
    pub rows: BTreeMap<ValueId, Rows>,
    /// Width of a layer's weights that become integers here; 8 for others.
    pub bits: BTreeMap<ValueId, u8>,
    /// Scales of weights that are given.
    pub scales: BTreeMap<ValueId, Vec<f32>>,
    /// A constant that every input value lacks: half a step where a byte's zero lies between two
    /// integers. It is added to the first layer's bias.
    pub residual: f32,
    /// What layers read on average, by the value; what rounding adds to that is taken off their biases.
    pub means: BTreeMap<ValueId, Vec<f32>>,
    /// How far rounding a bias may move an output, in steps of the output.
    pub bias_tolerance: f64,
}

impl Plan {
    /// Prescribed scales of values.
    pub fn of(activations: &BTreeMap<ValueId, Quantization>) -> Self {
        Self { activations: activations.clone(), prescribed: true, ..Self::default() }
    }
}

/// The graph of integers.
///
/// # Errors
/// A value without a scale, or an operator or size that the runtime doesn't have, by name.
pub fn lower(graph: &Graph<Affine>, plan: &Plan) -> Result<IntegerGraph, LowerError> {
    graph.check()?;
    let input = &graph.values[graph.input];
    let quantization = plan.activations.get(&graph.input).copied();
    let quantization = quantization.ok_or_else(|| LowerError::NoScale {
        node: "the model's input".to_owned(),
        value: input.name.clone(),
    })?;
    let has_scale = |id: ValueId| plan.prescribed && plan.activations.contains_key(&id);
    let mut integers = IntegerGraph::default();
    integers.values.push(IntegerValue {
        name: input.name.clone(),
        dims: input.dims.clone(),
        quantization,
        origin: Origin::Computed,
        real: Some(graph.input),
    });
    let (mut values, mut residuals) = (vec![None; graph.values.len()], vec![plan.residual]);
    values[graph.input] = Some(integers.input);
    for step in graph.steps(has_scale) {
        let node = &graph.nodes[step.node];
        let mut lowering =
            Lowering { graph, plan, integers, values, residuals, node, step: step.clone() };
        node.op.lower(&mut lowering)?;
        Lowering { integers, values, residuals, .. } = lowering;
    }
    integers.output = values[graph.output].unwrap_or_default();
    let (stored, _) = integers.storage(integers.output);
    let writer = integers.writer(stored).map(|writer| &integers.nodes[writer]);
    if let Some(node) = writer.filter(|node| node.op.needs_reader()) {
        let (name, inputs) = (node.name.clone(), vec![integers.output]);
        let same = IntegerRescale { multiplier: Multiplier::ONE, clamp: Clamp::NONE };
        let value =
            IntegerValue { origin: Origin::Computed, ..integers.values[integers.output].clone() };
        integers.values.push(value);
        integers.output = integers.values.len() - 1;
        let (op, output) = (same.into(), integers.output);
        integers.nodes.push(IntegerNode { name, op, inputs, output, parameters: None });
    }
    Ok(integers)
}

/// The lowering of one node.
#[derive(Debug)]
pub struct Lowering<'g> {
    graph: &'g Graph<Affine>,
    plan: &'g Plan,
    integers: IntegerGraph,
    /// The integer value that each float value became.
    values: Vec<Option<ValueId>>,
    /// A constant that each integer value lacks.
    residuals: Vec<f32>,
    node: &'g Node<Affine>,
    step: Step,
}

impl<'g> Lowering<'g> {
    /// The node.
    pub fn node(&self) -> &'g Node<Affine> {
        self.node
    }

    /// Dimensions of what is written.
    pub fn output_dims(&self) -> &'g [usize] {
        &self.graph.values[self.step.output].dims
    }

    /// Dimensions of an operand.
    pub fn operand_dims(&self, place: usize) -> &'g [usize] {
        self.node.inputs.get(place).map_or(&[], |&id| &self.graph.values[id].dims)
    }

    /// The only node that reads the output, which isn't the graph's either.
    pub fn reader(&self) -> Option<&'g Node<Affine>> {
        self.graph.only_reader(self.step.output).map(|reader| &self.graph.nodes[reader])
    }

    /// Whether the output is read by windows alone, and these stay within it.
    pub fn is_read_by_inner_windows(&self) -> bool {
        let graph = self.graph;
        let output = self.step.output;
        let inner = |node: &Node<Affine>| {
            let ends = (graph.values[output].image(), graph.values[node.output].image());
            let (Some([height, width, _]), Some([rows, columns, _])) = ends else { return false };
            node.op.window().is_some_and(|w| w.stays_inside([height, width], [rows, columns]))
        };
        let mut readers =
            graph.nodes.iter().filter(|node| node.inputs.contains(&output)).peekable();
        output != graph.output && readers.peek().is_some() && readers.all(inner)
    }

    /// Number of values of an operand.
    pub fn operand_len(&self, place: usize) -> usize {
        self.node.inputs.get(place).map_or(0, |&id| self.graph.values[id].len())
    }

    /// Whether the network's output is written.
    pub fn is_last(&self) -> bool {
        self.step.output == self.graph.output
    }

    /// The integer value of an operand; a constant is quantised when it is met first.
    ///
    /// # Errors
    /// [`LowerError::NoScale`].
    pub fn operand(&mut self, place: usize) -> Result<ValueId, LowerError> {
        let id = self.node.inputs.get(place).copied().unwrap_or(self.graph.input);
        if let Some(value) = self.values[id] {
            return Ok(value);
        }
        let value = &self.graph.values[id];
        let Some(numbers) = &value.constant else {
            let (node, value) = (self.node.name.clone(), value.name.clone());
            return Err(LowerError::NoScale { node, value });
        };
        let nothing = Range { low: 0.0, high: 0.0 };
        let range = numbers
            .iter()
            .fold(nothing, |range, &x| Range { low: range.low.min(x), high: range.high.max(x) });
        let given = self.plan.activations.get(&id).copied();
        let quantization = given.unwrap_or_else(|| Quantization::of_range(range));
        let integers = numbers.iter().map(|&x| quantization.quantize(x)).collect();
        let origin = Origin::Constant(integers);
        let made = self.value(&value.name, value.dims.clone(), quantization, origin, Some(id));
        self.values[id] = Some(made);
        Ok(made)
    }

    /// The quantisation of an integer value.
    pub fn quantization(&self, id: ValueId) -> Quantization {
        self.integers.values[id].quantization
    }

    /// The quantisation that the output is to have.
    ///
    /// # Errors
    /// [`LowerError::NoScale`] and [`LowerError::Scale`].
    pub fn wanted(&self) -> Result<Quantization, LowerError> {
        let value = &self.graph.values[self.step.output];
        let wanted = self.plan.activations.get(&self.step.output).copied();
        let wanted = wanted.ok_or_else(|| LowerError::NoScale {
            node: self.node.name.clone(),
            value: value.name.clone(),
        })?;
        self.sound(wanted.scale).map(|()| wanted)
    }

    /// As [`Lowering::wanted`], but with steps of at least `unit` unless a file prescribes them.
    ///
    /// # Errors
    /// As [`Lowering::wanted`].
    pub fn wanted_at_least(&self, unit: f64) -> Result<Quantization, LowerError> {
        let wanted = self.wanted()?;
        Ok(if self.plan.prescribed { wanted } else { not_finer_than(wanted, unit) })
    }

    fn sound(&self, scale: f32) -> Result<(), LowerError> {
        if scale.is_finite() && scale > 0.0 {
            return Ok(());
        }
        Err(LowerError::Scale { layer: self.node.name.clone(), scale })
    }

    /// The limits that are fused into the node, in the integers of `to`.
    pub fn clamp(&self, to: Quantization) -> Clamp {
        clamp(self.step.limits, to)
    }

    /// A number that the format holds in 16 bits.
    ///
    /// # Errors
    /// [`LowerError::TooLarge`].
    pub fn small(&self, what: &'static str, value: usize) -> Result<u16, LowerError> {
        small(&self.node.name, what, value)
    }

    /// The runtime's window and dilation.
    ///
    /// # Errors
    /// [`LowerError::TooLarge`].
    pub fn window(&self, window: Window) -> Result<(format::Window, [u16; 2]), LowerError> {
        let pair = |what, [a, b]: [usize; 2]| {
            Ok::<_, LowerError>([self.small(what, a)?, self.small(what, b)?])
        };
        let Window { size, stride, dilation, padding } = window;
        let place = format::Window {
            size: pair("the window's size", size)?,
            stride: pair("the stride", stride)?,
            padding: pair("the padding", padding)?,
        };
        Ok((place, pair("the dilation", dilation)?))
    }

    /// Writes the output by `op`: in the dimensions `dims`, which may be another arrangement of its own.
    pub fn write(
        &mut self,
        op: impl Into<IntegerOp>,
        inputs: Vec<ValueId>,
        dims: Vec<usize>,
        to: Quantization,
        layer: Option<Matrix>,
    ) {
        let (name, real) = (self.graph.values[self.step.output].name.clone(), self.step.output);
        let output = self.value(&name, dims, to, Origin::Computed, Some(real));
        self.push(op.into(), inputs, output, layer);
        self.finish(output);
    }

    /// As [`Lowering::write`], for operators of one operand whose output has its own dimensions.
    ///
    /// # Errors
    /// As [`Lowering::operand`].
    pub fn unary(&mut self, op: impl Into<IntegerOp>, to: Quantization) -> Result<(), LowerError> {
        let input = self.operand(0)?;
        self.write(op, vec![input], self.output_dims().to_vec(), to, None);
        Ok(())
    }

    /// As [`Lowering::write`], for windows over an image whose output has the input's quantisation.
    ///
    /// # Errors
    /// As [`Lowering::operand`], and when the values are no images.
    pub fn pooled(&mut self, op: impl Into<IntegerOp>) -> Result<(), LowerError> {
        let (dims, first) = (self.output_image()?, self.operand(0)?);
        let (input, residual) = (self.as_image(first), self.residuals[first]);
        self.write(op, vec![input], dims, self.quantization(first), None);
        self.lacks(residual);
        Ok(())
    }

    /// The output lacks what its operands lack.
    pub fn lacks(&mut self, residual: f32) {
        if let Some(output) = self.values[self.step.output] {
            self.residuals[output] = residual;
        }
    }

    /// What an operand lacks.
    ///
    /// # Errors
    /// As [`Lowering::operand`].
    pub fn residual(&mut self, place: usize) -> Result<f32, LowerError> {
        let operand = self.operand(place)?;
        Ok(self.residuals[operand])
    }

    /// The output is the first operand's bytes, from `offset` on, in the dimensions `dims`.
    ///
    /// # Errors
    /// As [`Lowering::operand`].
    pub fn view(&mut self, dims: Vec<usize>, offset: usize) -> Result<(), LowerError> {
        let first = self.operand(0)?;
        let name = self.graph.values[self.step.output].name.clone();
        let (origin, to) = (Origin::View(first, offset), self.quantization(first));
        let view = self.value(&name, dims, to, origin, Some(self.step.output));
        self.residuals[view] = self.residuals[first];
        self.finish(view);
        Ok(())
    }

    /// The output is the first operand.
    ///
    /// # Errors
    /// As [`Lowering::operand`].
    pub fn pass(&mut self) -> Result<(), LowerError> {
        self.values[self.step.output] = Some(self.operand(0)?);
        Ok(())
    }

    /// A value in another scale.
    pub fn rescaled(&mut self, id: ValueId, to: Quantization) -> ValueId {
        let from = self.quantization(id);
        if from == to {
            return id;
        }
        let IntegerValue { name, dims, real, .. } = self.integers.values[id].clone();
        let output = self.value(&name, dims, to, Origin::Computed, real);
        let op = IntegerRescale { multiplier: ratio(from, to), clamp: Clamp::NONE };
        self.push(op.into(), vec![id], output, None);
        output
    }

    /// Refuses what can't be done.
    pub fn unsupported(&self, supported: &'static str) -> LowerError {
        let (node, kind) = (self.node.name.clone(), self.node.op.name());
        LowerError::Unsupported { node, kind, supported }
    }

    /// Height, width and channels of the output.
    ///
    /// # Errors
    /// When it is no image.
    pub fn output_image(&self) -> Result<Vec<usize>, LowerError> {
        let image = self.graph.values[self.step.output].image();
        image.map(Vec::from).ok_or_else(|| self.unsupported("an operator on images"))
    }

    /// A value as an image.
    pub fn as_image(&mut self, id: ValueId) -> ValueId {
        let value = self.integers.values[id].clone();
        let dims = match *value.dims.as_slice() {
            [channels] => vec![1, 1, channels],
            [width, channels] => vec![1, width, channels],
            _ => return id,
        };
        let origin = Origin::View(id, 0);
        self.value(&value.name, dims, value.quantization, origin, value.real)
    }

    /// Makes `output` what the node writes: in its own dimensions, and in the scale that is
    /// prescribed for it.
    fn finish(&mut self, output: ValueId) {
        let (graph, mut output) = (self.graph, output);
        let value = &graph.values[self.step.output];
        let part = matches!(self.integers.values[output].origin, Origin::View(..));
        if self.integers.values[output].dims != value.dims && !part {
            let (origin, real) = (Origin::View(output, 0), Some(self.step.output));
            let to = self.quantization(output);
            output = self.value(&value.name, value.dims.clone(), to, origin, real);
        }
        let prescribed = self.plan.activations.get(&self.step.output);
        if let (true, Some(&to)) = (self.plan.prescribed, prescribed) {
            output = self.rescaled(output, to);
        }
        self.values[self.step.output] = Some(output);
    }

    fn value(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        quantization: Quantization,
        origin: Origin,
        real: Option<ValueId>,
    ) -> ValueId {
        let name = name.to_owned();
        self.integers.values.push(IntegerValue { name, dims, quantization, origin, real });
        self.residuals.push(0.0);
        self.integers.values.len() - 1
    }

    fn push(
        &mut self,
        op: IntegerOp,
        inputs: Vec<ValueId>,
        output: ValueId,
        layer: Option<Matrix>,
    ) {
        let name = self.node.name.clone();
        self.integers.nodes.push(IntegerNode { name, op, inputs, output, parameters: layer });
    }
}

/// From one scale to another.
pub(crate) fn ratio(from: Quantization, to: Quantization) -> Multiplier {
    multiplier(f64::from(from.scale) / f64::from(to.scale))
}

/// An input's scale in fixed point, with so many bits before the point.
pub(crate) fn fixed(from: Quantization, integer_bits: i32) -> Multiplier {
    let one = f64::from(1u32 << (31 - integer_bits));
    // Below 1 the format has no factor; above 2³¹ it could not distinguish them.
    multiplier((f64::from(from.scale) * one).clamp(1.0, f64::from(i32::MAX)))
}

/// The scale that [`fixed`] made a factor of.
pub(crate) fn unfixed(multiplier: Multiplier, integer_bits: i32) -> f64 {
    factor(multiplier) / f64::from(1u32 << (31 - integer_bits))
}

/// Limits in integers.
pub(crate) fn clamp(limits: Option<(f32, f32)>, to: Quantization) -> Clamp {
    match limits {
        None => Clamp::NONE,
        Some((low, high)) => {
            let min = to.quantize(low);
            Clamp { min, max: to.quantize(high).max(min) }
        }
    }
}

/// A number that the format holds in 16 bits.
pub(crate) fn small(layer: &str, what: &'static str, value: usize) -> Result<u16, LowerError> {
    u16::try_from(value).map_err(|_| LowerError::TooLarge { layer: layer.to_owned(), what, value })
}
