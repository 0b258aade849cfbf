//! One node of a graph of integers as a model of its own, so that the runtime says what it computes;
//! the gradient is that of its operator on floats.

use crate::compile::serialize::{ModelInfo, serialize};
use crate::compile::{CompileError, CompileOptions, InputQuantization, RawInput, compile};
use crate::graph::tensor::integer::{IntegerSite, centred, numbers, with_gradient_of};
use crate::graph::tensor::{Inputs, Parameterless, Pass};
use crate::graph::tensor::{Value, constant};
use crate::graph::{self, IntegerGraph, IntegerNode, IntegerValue, Op, Origin, Site};
use crate::train::TrainError;
use crate::verify;
use bitsback_runtime::format::Clamp;

/// Values of a row of the model's input: a dimension that the format can hold.
const ROW: usize = 1024;

/// Where the first operand begins: what begins where the input does would be read in its arrangement.
const FIRST: usize = 1;

/// A node that the runtime computes.
pub(crate) struct Alone {
    /// The model, which reads all operands one after the other.
    model: Vec<u8>,
    /// Values of one input: those of the operands, filled up to whole rows.
    len: usize,
    /// The operator on floats, and the clamp behind it.
    real: (Op, Clamp),
}

impl Alone {
    /// Of a node whose operator has no forward pass of its own; `None` of others.
    ///
    /// # Errors
    /// What the compiler refuses.
    pub(crate) fn new(
        graph: &IntegerGraph,
        node: &IntegerNode,
    ) -> Result<Option<Self>, TrainError> {
        let output = &graph.values[node.output];
        let real = match node.op.real(output.quantization) {
            Some(real) if !node.op.trains() => real,
            _ => return Ok(None),
        };
        let operands: Vec<&IntegerValue> =
            node.inputs.iter().map(|&id| &graph.values[id]).collect();
        let len = operands.iter().fold(FIRST, |len, operand| len.saturating_add(operand.len()));
        let rows = len.div_ceil(ROW).max(1);
        let Some(first) = operands.first() else { return Ok(None) };
        let mut single = IntegerGraph::default();
        let input =
            IntegerValue { dims: vec![rows, ROW], origin: Origin::Computed, ..(*first).clone() };
        single.values.push(input);
        let mut offset = FIRST;
        for &operand in &operands {
            let origin = Origin::View(0, offset);
            single.values.push(IntegerValue { origin, ..operand.clone() });
            offset += operand.len();
        }
        single.values.push(IntegerValue { origin: Origin::Computed, ..output.clone() });
        single.output = operands.len() + 1;
        let inputs = (1..=operands.len()).collect();
        single.nodes.push(IntegerNode { inputs, output: single.output, ..node.clone() });
        let quantization = first.quantization;
        let input = InputQuantization { quantization, residual: 0.0, raw: RawInput::Nothing };
        let compiled = compile(single, &input, &CompileOptions::default())?;
        let model = serialize(&compiled, &ModelInfo::default()).map_err(CompileError::from)?;
        Ok(Some(Self { model, len: rows * ROW, real }))
    }

    /// The node's output; none where the runtime fails, which no compiled model does.
    pub(crate) fn run(&self, site: &IntegerSite<'_>, x: Inputs) -> Option<Value> {
        let batch = x.first.batch();
        let device = x.first.device();
        let operands: Vec<Value> = [x.first].into_iter().chain(x.rest).collect();
        let mut bytes = vec![0i8; batch * self.len];
        let mut offset = FIRST;
        for (operand, value) in operands.iter().zip(&site.inputs) {
            let zero = i16::from(value.quantization.zero_point);
            let len = value.len().max(1);
            let examples = numbers(&operand.clone().flat());
            for (into, from) in bytes.chunks_exact_mut(self.len).zip(examples.chunks_exact(len)) {
                let quantized = from.iter().map(|&x| (x.round() as i16 + zero) as i8);
                into[offset..offset + len].iter_mut().zip(quantized).for_each(|(to, q)| *to = q);
            }
            offset += len;
        }
        let to = site.to();
        let zero = f32::from(to.zero_point);
        let found = verify::run_batch(&self.model, &bytes).ok()?;
        let found = found.into_iter().map(|q| f32::from(q) - zero).collect();
        let exact = constant(found, [batch, site.output.len()], &device);
        let lines = self.lines(site, operands)?.flat();
        Some(Value::of_rows(with_gradient_of(lines, exact), &site.output.dims))
    }

    /// What floats make of the operands, in steps of the output.
    fn lines(&self, site: &IntegerSite<'_>, operands: Vec<Value>) -> Option<Value> {
        let value = |value: &IntegerValue| graph::Value {
            name: String::new(),
            dims: value.dims.clone(),
            constant: None,
        };
        let (inputs, output): (Vec<_>, _) =
            (site.inputs.iter().map(|&input| value(input)).collect(), value(site.output));
        let mut reals = operands
            .into_iter()
            .zip(&site.inputs)
            .map(|(x, input)| Value::of_rows(x.flat() * input.quantization.scale, &input.dims));
        let x = Inputs { first: reals.next()?, rest: reals.collect() };
        let (op, clamp) = &self.real;
        let float_site = Site { inputs: inputs.iter().collect(), output: &output };
        let y = op.train(&float_site, x, &mut Pass::new(0, &mut Parameterless));
        let [low, high] = centred(*clamp, site.to());
        Some(Value::Flat((y.flat() / site.to().scale).clamp(low, high)))
    }
}
