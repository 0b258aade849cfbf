//! The runtime's operators of a prepared and placed graph.

use bitsback_runtime::Op;
use bitsback_runtime::format::{
    self, CHANNEL_MULTIPLIER_LEN, Layout, Requantization, Source, Tensor, Weights, pack_row,
    row_len,
};
use bitsback_runtime::ops::{
    Add, Argmax, AvgPool2d, Concat, Conv2d, Conv2dMaxPool2d, Dense, DepthwiseConv2d, FILTER_MAX,
    HardSwish, LeakyRelu, Logistic, MaxPool2d, Mean, Mul, Pad, Rescale, Softmax, Tanh,
};
use bitsback_runtime::requantize::Multiplier;

use super::place::Places;
use super::{Arrangement, IntegerGraph, IntegerGraphError, Kind, Matrix, Node, ValueId};
use crate::calibrate::{InputQuantization, Quantization, RawInput};
use crate::lower::affine::Stored;
use crate::lower::pairs::{self, Candidate};
use crate::lower::section::Section;
use crate::lower::{Graph, LowerError, OpNote, small};

/// All operators.
pub(super) fn emit(graph: &IntegerGraph, places: &Places) -> Result<Graph, IntegerGraphError> {
    let input_value = &graph.values[graph.input];
    let quantization =
        Quantization { scale: input_value.scale, zero_point: input_value.zero_point };
    let raw = match graph.bytes.as_slice() {
        [] => RawInput::Nothing,
        maps => RawInput::ByteChannels(maps.to_vec()),
    };
    let mut emission =
        Emission { graph, places, section: Section::default(), previous: Tensor::default() };
    let input = emission.tensor(graph.input, graph.input)?;
    emission.previous = input.clone();
    let mut ops: Vec<Op> = Vec::with_capacity(graph.nodes.len());
    let mut notes: Vec<OpNote> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let op = emission.op(node)?;
        emission.previous = op.output().clone();
        let same = ops.iter().filter(|other| other.kind() == op.kind()).count();
        let name = format!("{}_{}", op.kind().name(), same + 1);
        notes.push(OpNote { name, boundary: None, scale: graph.values[node.output].scale });
        ops.push(op);
    }
    Ok(Graph {
        input,
        ops,
        notes,
        section: emission.section.finish(),
        input_quantization: InputQuantization { quantization, residual: 0.0, raw },
        output_scale: graph.values[graph.output].scale,
    })
}

struct Emission<'g> {
    graph: &'g IntegerGraph,
    places: &'g Places,
    section: Section,
    /// What [`Source::Previous`] means.
    previous: Tensor,
}

impl Emission<'_> {
    /// The value `id` in the arrangement of `arranged`.
    fn tensor(&self, id: ValueId, arranged: ValueId) -> Result<Tensor, LowerError> {
        let (value, arranged) = (&self.graph.values[id], &self.graph.values[arranged]);
        let dim = |&dim: &usize| small(&value.name, "a dimension", dim);
        let dims: Result<Vec<u16>, LowerError> = arranged.dims.iter().map(dim).collect();
        Ok(Tensor {
            offset: self.places.offset(self.graph.storage(id)) as u32,
            shape: format::Shape::new(&dims?),
            zero_point: value.zero_point,
        })
    }

    fn source(&self, tensor: Tensor) -> Source {
        if tensor == self.previous { Source::Previous } else { Source::At(tensor) }
    }

    /// An operand whose arrangement matters.
    fn shaped(&self, id: ValueId) -> Result<Source, LowerError> {
        Ok(self.source(self.tensor(id, id)?))
    }

    /// An operand that is read as a vector: in the arrangement that it was written in, which is
    /// shorter to write down.
    fn flat(&self, id: ValueId) -> Result<Source, LowerError> {
        Ok(self.source(self.tensor(id, self.graph.storage(id))?))
    }

    /// An operand whose bytes are taken as they are: with the output's zero point.
    fn bytes(&self, id: ValueId, output: &Tensor) -> Result<Source, LowerError> {
        let tensor = Tensor { zero_point: output.zero_point, ..self.tensor(id, id)? };
        Ok(self.source(tensor))
    }

    fn op(&mut self, node: &Node) -> Result<Op, LowerError> {
        let output = self.tensor(node.output, node.output)?;
        let first = node.inputs.first().copied().unwrap_or(self.graph.input);
        let second = node.inputs.get(1).copied().unwrap_or(first);
        // Read value by value.
        let flat = self.flat(first);
        Ok(match node.kind.clone() {
            Kind::Dense(matrix) => {
                let affine = self.affine(node, first, &matrix, usize::MAX)?;
                Op::Dense(Dense { input: self.flat(first)?, output, affine })
            }
            Kind::Conv2d(window, dilation, matrix) => {
                let affine = self.affine(node, first, &matrix, FILTER_MAX)?;
                let input = self.shaped(first)?;
                Op::Conv2d(Conv2d { input, output, window, dilation, affine })
            }
            Kind::Conv2dMaxPool2d(window, dilation, positions, matrix, pool) => {
                let affine = self.affine(node, first, &matrix, FILTER_MAX)?;
                let input = self.shaped(first)?;
                fused(Conv2d { input, output, window, dilation, affine }, positions, pool)
            }
            Kind::DepthwiseConv2d(window, dilation, matrix) => {
                let affine = self.affine(node, first, &matrix, 0)?;
                let input = self.shaped(first)?;
                Op::DepthwiseConv2d(DepthwiseConv2d { input, output, window, dilation, affine })
            }
            Kind::MaxPool2d(window, clamp) => {
                let input = self.bytes(first, &output)?;
                Op::MaxPool2d(MaxPool2d { input, output, window, clamp })
            }
            Kind::AvgPool2d(window, clamp) => {
                let input = self.bytes(first, &output)?;
                Op::AvgPool2d(AvgPool2d { input, output, window, clamp })
            }
            Kind::Add(multipliers, output_multiplier, clamp) => {
                let inputs = [self.flat(first)?, self.flat(second)?];
                Op::Add(Add { inputs, output, multipliers, output_multiplier, clamp })
            }
            Kind::Mul(multiplier, clamp) => {
                let inputs = [self.flat(first)?, self.flat(second)?];
                Op::Mul(Mul { inputs, output, multiplier, clamp })
            }
            Kind::Concat(axis) => self.concat(node, output, axis as u8)?,
            Kind::Pad(before, value) => self.pad(first, output, before, value)?,
            Kind::Mean(multiplier, clamp) => {
                Op::Mean(Mean { input: self.shaped(first)?, output, multiplier, clamp })
            }
            Kind::Rescale(multiplier, clamp) => {
                Op::Rescale(Rescale { input: self.flat(first)?, output, multiplier, clamp })
            }
            Kind::Limit(clamp) => {
                let (input, multiplier) = (self.bytes(first, &output)?, Multiplier::ONE);
                Op::Rescale(Rescale { input, output, multiplier, clamp })
            }
            Kind::LeakyRelu(positive, negative) => {
                Op::LeakyRelu(LeakyRelu { input: flat?, output, positive, negative })
            }
            Kind::HardSwish(multiplier, gate) => {
                Op::HardSwish(HardSwish { input: flat?, output, multiplier, gate })
            }
            Kind::Logistic(multiplier) => {
                Op::Logistic(Logistic { input: flat?, output, multiplier })
            }
            Kind::Tanh(multiplier) => Op::Tanh(Tanh { input: flat?, output, multiplier }),
            Kind::Softmax(multiplier) => {
                Op::Softmax(Softmax { input: self.shaped(first)?, output, multiplier })
            }
            Kind::Argmax => Op::Argmax(Argmax { input: flat?, output }),
        })
    }

    fn pad(
        &self,
        first: ValueId,
        output: Tensor,
        before: Vec<u16>,
        value: i8,
    ) -> Result<Op, LowerError> {
        let (input, before) = (self.bytes(first, &output)?, before.into_iter().collect());
        Ok(Op::Pad(Pad { input, output, before, value }))
    }

    fn concat(&self, node: &Node, output: Tensor, axis: u8) -> Result<Op, LowerError> {
        let sources = node.inputs.iter().map(|&id| self.bytes(id, &output));
        let inputs = sources.collect::<Result<_, LowerError>>()?;
        Ok(Op::Concat(Concat { inputs, output, axis }))
    }

    /// Puts the parameters of a layer into the section, biases exactly and in the fewest bytes;
    /// weights in pairs if that pays and rows aren't over `longest`.
    fn affine(
        &mut self,
        node: &Node,
        input: ValueId,
        matrix: &Matrix,
        longest: usize,
    ) -> Result<format::Affine, LowerError> {
        let Matrix { columns, values, .. } = matrix;
        let plain: Vec<i64> = match matrix.bias.as_slice() {
            [] => vec![0; matrix.rows],
            bias => bias.iter().map(|&b| i64::from(b)).collect(),
        };
        let sums = values.chunks_exact((*columns).max(1));
        let sums = sums.map(|row| row.iter().map(|&w| i64::from(w)).sum::<i64>());
        let zero_point = i64::from(self.graph.values[input].zero_point);
        let folded: Vec<i64> =
            plain.iter().zip(sums).map(|(b, sum)| b - zero_point * sum).collect();
        let bias = Stored::choose(&plain, &folded);
        let folded = matches!(bias, Stored::Folded(_));
        let candidate = Candidate { values, columns: *columns, folded, longest };
        let pairs = match self.graph.arrangement {
            Arrangement::Pairs if matrix.bits == 8 => pairs::store(&mut self.section, &candidate)?,
            _ => None,
        };
        let weights = match pairs {
            Some(weights) => weights,
            None => self.rows(node, matrix)?,
        };
        let bias = bias.store(&mut self.section)?;
        let requantization = self.requantization(&matrix.multipliers)?;
        Ok(format::Affine { weights, bias, requantization, clamp: matrix.clamp })
    }

    /// Puts weights into the section row after row.
    fn rows(&mut self, node: &Node, matrix: &Matrix) -> Result<Weights, LowerError> {
        let Matrix { columns, bits, values, .. } = matrix;
        let mut row_bytes = vec![0; row_len(*bits, *columns)];
        let mut packed = Vec::with_capacity(matrix.rows.saturating_mul(row_bytes.len()));
        for row in values.chunks_exact((*columns).max(1)) {
            pack_row(row, *bits, &mut row_bytes)
                .map_err(|source| LowerError::Weights { layer: node.name.clone(), source })?;
            packed.extend_from_slice(&row_bytes);
        }
        let offset = self.section.push(&packed)?;
        Ok(Weights { offset, bits: *bits, layout: Layout::RowMajor })
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

/// A convolution and the pooling of its image of `positions`.
fn fused(conv: Conv2d, positions: [u16; 2], pool: format::Window) -> Op {
    let Conv2d { input, output, window, dilation, affine } = conv;
    Op::Conv2dMaxPool2d(Conv2dMaxPool2d {
        input,
        output,
        window,
        dilation,
        affine,
        positions,
        pool,
    })
}
