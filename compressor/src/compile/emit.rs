//! The runtime's operators of a prepared graph, and the weight section.

use std::collections::BTreeMap;

use bitsback_runtime::Op;
use bitsback_runtime::format::{
    self, CHANNEL_MULTIPLIER_LEN, Layout, Requantization, Source, Tensor, Weights, pack_row,
    row_len,
};
use bitsback_runtime::ops::CodedAffine;
use bitsback_runtime::requantize::Multiplier;

use super::biases::Stored;
use super::pairs::{self, Candidate};
use super::section::Section;
use super::streams::{CodedStream, Streams};
use super::{Compiled, InputQuantization, OpNote, RawInput, place};
use crate::graph::integer::Takes;
use crate::graph::lower::small;
use crate::graph::{
    Emitter, IntegerGraph, IntegerNode, LeftOut, LowerError, Matrix, Storage, StoredLayer, ValueId,
};

/// All operators, placed in the arena.
pub(super) fn emit(
    graph: &IntegerGraph,
    layout: Layout,
    streams: &Streams,
) -> Result<Compiled, LowerError> {
    let mut input = tensor(graph, graph.input)?;
    let mut section = Section::default();
    let (mut ops, mut notes): (Vec<Op>, Vec<OpNote>) = (Vec::new(), Vec::new());
    let (mut reads, mut counts) = (Vec::new(), BTreeMap::new());
    // Positions of values for placing: 0 is the input, `i + 1` the output of operator `i`.
    let mut places = BTreeMap::from([(graph.input, 0)]);
    let mut previous = (graph.input, input.clone());
    for (index, node) in graph.nodes.iter().enumerate() {
        let mut emission =
            Emission { graph, layout, streams, node, previous: &previous, section: &mut section };
        let op = node.op.emit(&mut emission)?;
        let storages = node.inputs.iter().map(|&id| graph.storage(id).0);
        reads.push(storages.filter_map(|id| places.get(&id).copied()).collect::<Vec<usize>>());
        places.insert(node.output, index + 1);
        previous = (node.output, op.output().clone());
        let output = &graph.values[node.output];
        let count = counts.entry(node.op.label()).or_insert(0);
        *count += 1;
        notes.push(OpNote {
            name: format!("{}_{count}", node.op.label()),
            node: node.name.clone(),
            value: output.real,
            scale: output.quantization.scale,
        });
        ops.push(op);
    }
    place::place(&mut input, &mut ops, &reads);
    Ok(Compiled {
        input,
        ops,
        notes,
        section: section.finish(),
        input_quantization: InputQuantization {
            quantization: graph.values[graph.input].quantization,
            residual: 0.0,
            raw: RawInput::Nothing,
        },
        output_scale: graph.values[graph.output].quantization.scale,
        left_out: LeftOut::default(),
    })
}

/// A value's tensor, from the beginning of what it is a view of.
fn tensor(graph: &IntegerGraph, id: ValueId) -> Result<Tensor, LowerError> {
    let value = &graph.values[id];
    let dim = |&dim: &usize| small(&value.name, "a dimension", dim);
    let dims: Result<Vec<u16>, LowerError> = value.dims.iter().map(dim).collect();
    Ok(Tensor {
        offset: graph.storage(id).1 as u32,
        shape: format::Shape::new(&dims?),
        zero_point: value.quantization.zero_point,
    })
}

/// One operator in the making.
struct Emission<'g> {
    graph: &'g IntegerGraph,
    layout: Layout,
    streams: &'g Streams,
    node: &'g IntegerNode,
    /// What [`Source::Previous`] means.
    previous: &'g (ValueId, Tensor),
    section: &'g mut Section,
}

impl Emission<'_> {
    fn id(&self, operand: usize) -> ValueId {
        self.node.inputs.get(operand).copied().unwrap_or(self.graph.input)
    }

    /// An operand; the offset of a tensor is that within its value, to which placing adds.
    fn source(&self, operand: usize, tensor: Tensor) -> Source {
        let (previous, last) = self.previous;
        let same = self.graph.storage(self.id(operand)) == (*previous, 0);
        let alike = tensor.shape == last.shape && tensor.zero_point == last.zero_point;
        if same && alike { Source::Previous } else { Source::At(tensor) }
    }

    /// Puts weights into the section row after row.
    fn packed(&self, matrix: &Matrix, bits: u8) -> Result<Vec<u8>, LowerError> {
        let mut row_bytes = vec![0; row_len(bits, matrix.columns)];
        let mut packed = Vec::with_capacity(matrix.rows.saturating_mul(row_bytes.len()));
        for row in matrix.values.chunks_exact(matrix.columns.max(1)) {
            pack_row(row, bits, &mut row_bytes)
                .map_err(|source| LowerError::Weights { layer: self.node.name.clone(), source })?;
            packed.extend_from_slice(&row_bytes);
        }
        Ok(packed)
    }

    /// One multiplier where one serves all rows.
    fn requantization(&mut self, multipliers: &[Multiplier]) -> Result<Requantization, LowerError> {
        let first = multipliers.first().copied().unwrap_or_default();
        if multipliers.iter().all(|&multiplier| multiplier == first) {
            return Ok(Requantization::PerTensor(first));
        }
        let mut bytes = Vec::with_capacity(multipliers.len() * CHANNEL_MULTIPLIER_LEN);
        for Multiplier { value, shift } in multipliers {
            bytes.extend(value.to_le_bytes());
            bytes.push(*shift as u8);
        }
        Ok(Requantization::PerChannel { offset: self.section.push(&bytes)? })
    }
}

impl Emitter for Emission<'_> {
    fn output(&self) -> Result<Tensor, LowerError> {
        tensor(self.graph, self.node.output)
    }

    fn shaped(&mut self, operand: usize) -> Result<Source, LowerError> {
        Ok(self.source(operand, tensor(self.graph, self.id(operand))?))
    }

    /// In the arrangement that it was written in, which is shorter to write down.
    fn flat(&mut self, operand: usize) -> Result<Source, LowerError> {
        let id = self.id(operand);
        let (storage, offset) = self.graph.storage(id);
        let written = if offset == 0 { storage } else { id };
        let zero_point = self.graph.values[id].quantization.zero_point;
        let tensor = Tensor { zero_point, ..tensor(self.graph, written)? };
        Ok(self.source(operand, tensor))
    }

    fn bytes(&mut self, operand: usize) -> Result<Source, LowerError> {
        let zero_point = self.graph.values[self.node.output].quantization.zero_point;
        let tensor = Tensor { zero_point, ..tensor(self.graph, self.id(operand))? };
        Ok(self.source(operand, tensor))
    }

    fn operands(&self) -> usize {
        self.node.inputs.len()
    }

    fn dims(&self, operand: usize) -> &[usize] {
        &self.graph.values[self.id(operand)].dims
    }

    fn layer(&mut self, takes: Takes) -> Result<StoredLayer, LowerError> {
        let Some(matrix) = &self.node.parameters else { return Err(LowerError::Coded) };
        let plain: Vec<i64> = match matrix.bias.as_slice() {
            [] => vec![0; matrix.rows],
            bias => bias.iter().map(|&b| i64::from(b)).collect(),
        };
        let rows = matrix.values.chunks_exact(matrix.columns.max(1));
        let sums = rows.map(|row| row.iter().map(|&w| i64::from(w)).sum::<i64>());
        let zero_point = i64::from(self.graph.values[self.id(0)].quantization.zero_point);
        let folded: Vec<i64> =
            plain.iter().zip(sums).map(|(b, sum)| b - zero_point * sum).collect();
        let fast = matrix.storage == Storage::Fastest;
        let bits = if fast { matrix.bits.max(8) } else { matrix.bits };
        let packed = self.packed(matrix, bits)?;
        let bias = Stored::choose(&plain, &folded);
        let plain_len = packed.len() + bias.len();
        let clamp = matrix.clamp;
        if matrix.storage == Storage::Shortest
            && matrix.columns <= takes.coded
            && let Some(CodedStream { bits, bias, bytes }) =
                self.streams.of(matrix, takes.lag, &plain)
            && bytes.len() < plain_len
        {
            let (offset, len) = (self.section.push(&bytes)?, bytes.len() as u32);
            let requantization = self.requantization(&matrix.multipliers)?;
            let affine = CodedAffine { offset, len, bits, bias, requantization, clamp };
            return Ok(StoredLayer::Coded(affine));
        }
        let candidate = Candidate {
            values: &matrix.values,
            columns: matrix.columns,
            folded: matches!(bias, Stored::Folded(_)),
            longest: takes.paired,
        };
        let pairs = match self.layout {
            Layout::Pairs if fast && bits == 8 => pairs::store(self.section, &candidate)?,
            Layout::Pairs | Layout::RowMajor => None,
        };
        let weights = match pairs {
            Some(weights) => weights,
            None => {
                let offset = self.section.push(&packed)?;
                Weights { offset, bits, layout: Layout::RowMajor }
            }
        };
        let bias = bias.store(self.section)?;
        let requantization = self.requantization(&matrix.multipliers)?;
        Ok(StoredLayer::Rows(format::Affine { weights, bias, requantization, clamp }))
    }

    fn store(&mut self, bytes: &[u8]) -> Result<u32, LowerError> {
        self.section.push(bytes)
    }
}
