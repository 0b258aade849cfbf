//! The bytes that every unit of every value can be, whatever the model is given.

use bitsback_runtime::{Interpreter, Model};

use super::super::{CompileOptions, InputQuantization, ModelInfo, RawInput, compile, serialize};
use crate::graph::{
    IntegerGraph, IntegerNode, IntegerValue, Known, Operand, Origin, Span, ValueId,
};

/// Spans of all values that hold bytes.
#[derive(Debug)]
pub(super) struct Facts {
    /// By value: one span a unit; none of views, and of what no node reads or writes.
    spans: Vec<Vec<Span>>,
}

impl Facts {
    /// Of a graph in order.
    pub(super) fn new(graph: &IntegerGraph) -> Self {
        let mut facts = Self { spans: vec![Vec::new(); graph.values.len()] };
        let read = graph.nodes.iter().flat_map(|node| &node.inputs).map(|&id| graph.storage(id).0);
        for id in read.chain(graph.nodes.iter().map(|node| node.output)).chain([graph.input]) {
            let value = &graph.values[id];
            facts.spans[id] = match &value.origin {
                Origin::Constant(bytes) => of_constant(value, bytes),
                Origin::Computed | Origin::View(..) => vec![Span::ALL; value.units()],
            };
        }
        for node in &graph.nodes {
            let written = facts.written(graph, node);
            if written.len() == graph.values[node.output].units() {
                facts.spans[node.output] = written;
            }
        }
        facts
    }

    /// Spans of what a node writes: of a function of single values, by the runtime itself.
    fn written(&self, graph: &IntegerGraph, node: &IntegerNode) -> Vec<Span> {
        let known = self.known(graph, node);
        if !node.op.one_by_one() || node.inputs.len() != 1 {
            return node.op.spans(&known);
        }
        let from = &graph.values[node.inputs[0]];
        let Some(table) = table(node, from, known.output) else { return known.nothing() };
        let index = |byte: i8| (i16::from(byte) - i16::from(i8::MIN)) as usize;
        known.alike(0, |span| {
            let bytes = table[index(span.low)..=index(span.high)].iter().map(|&y| Span::of(y));
            bytes.reduce(Span::or).unwrap_or(Span::ALL)
        })
    }

    /// A node with what is known of its operands.
    pub(super) fn known<'g>(&self, graph: &'g IntegerGraph, node: &'g IntegerNode) -> Known<'g> {
        let operand = |&id: &ValueId| {
            let (storage, _) = graph.storage(id);
            let spans = self.spans[storage].clone();
            let spans = if is_aligned(graph, id) {
                spans
            } else {
                spans.into_iter().reduce(Span::or).into_iter().collect()
            };
            Operand::new(&graph.values[id], spans)
        };
        Known {
            inputs: node.inputs.iter().map(operand).collect(),
            output: &graph.values[node.output],
            matrix: node.parameters.as_ref(),
        }
    }

    /// The span of a unit of a value that holds bytes.
    pub(super) fn of(&self, value: ValueId, unit: usize) -> Span {
        self.spans[value].get(unit).copied().unwrap_or(Span::ALL)
    }

    /// Units of a value that holds bytes which are read or written; 0 of others.
    pub(super) fn units(&self, value: ValueId) -> usize {
        self.spans.get(value).map_or(0, Vec::len)
    }
}

/// Whether the units of what a value is a view of repeat in each of its rows, from its beginning on.
pub(super) fn is_aligned(graph: &IntegerGraph, id: ValueId) -> bool {
    let (storage, offset) = graph.storage(id);
    let units = graph.values[storage].units();
    offset.is_multiple_of(units) && graph.values[id].units().is_multiple_of(units)
}

/// Spans of known bytes.
fn of_constant(value: &IntegerValue, bytes: &[i8]) -> Vec<Span> {
    let units = value.units();
    let of = |unit: usize| {
        let bytes =
            bytes.get(unit..).unwrap_or_default().iter().step_by(units).map(|&byte| Span::of(byte));
        bytes.reduce(Span::or).unwrap_or(Span::ALL)
    };
    (0..units).map(of).collect()
}

/// What a node makes of every byte, from the least on, as the runtime computes it; none of a node that
/// it doesn't take, which compiling the graph then says.
fn table(node: &IntegerNode, from: &IntegerValue, to: &IntegerValue) -> Option<Vec<i8>> {
    let bytes: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let value = |like: &IntegerValue| IntegerValue {
        dims: vec![bytes.len()],
        origin: Origin::Computed,
        ..like.clone()
    };
    let alone = IntegerGraph {
        values: vec![value(from), value(to)],
        nodes: vec![IntegerNode { inputs: vec![0], output: 1, ..node.clone() }],
        input: 0,
        output: 1,
    };
    let quantization = from.quantization;
    let input = InputQuantization { quantization, residual: 0.0, raw: RawInput::Nothing };
    let compiled = compile(alone, &input, &CompileOptions::default()).ok()?;
    let file = serialize(&compiled, &ModelInfo::default()).ok()?;
    let model = Model::parse(&file).ok()?;
    let mut arena = vec![0; model.arena_len()];
    let mut interpreter = Interpreter::new(&model, &mut arena).ok()?;
    interpreter.input_mut().copy_from_slice(&bytes);
    interpreter.invoke();
    let outputs = interpreter.output().to_vec();
    (outputs.len() == bytes.len()).then_some(outputs)
}
