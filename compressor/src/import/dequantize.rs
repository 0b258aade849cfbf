//! A graph of integers as the graph of floats that it was quantised from, as far as its integers
//! tell: weights are what they stand for, values keep their scales beside the graph.

use std::collections::BTreeSet;

use bitsback_runtime::format::Clamp;

use super::ImportError;
use super::onnx::FloatModel;
use crate::graph::ops::{Clip, Op, Reshape};
use crate::graph::{
    Affine, Computation, Graph, IntegerGraph, IntegerNode, IntegerOp, Matrix, Node, Origin, Value,
    ValueId,
};
use crate::numbers::{Quantization, Range, factor};

/// Views whose scales differ by more than this part are no views of real numbers.
const SAME_SCALE: f32 = 1e-3;
/// Where a ReLU6 ends.
const SIX: f32 = 6.0;

/// The graph of floats; an argmax at the end is left out.
///
/// # Errors
/// What has no counterpart among floats, by its node.
pub(super) fn dequantize(graph: &IntegerGraph) -> Result<FloatModel, ImportError> {
    let mut writer = Writer { integers: graph, model: FloatModel::default() };
    for value in &graph.values {
        let scale = value.quantization;
        let constant = match &value.origin {
            Origin::Constant(numbers) => {
                Some(numbers.iter().map(|&q| scale.dequantize(q)).collect())
            }
            Origin::Computed | Origin::View(..) => None,
        };
        let (name, dims) = (value.name.clone(), value.dims.clone());
        writer.model.graph.values.push(Value { name, dims, constant });
    }
    let mut output = graph.storage(graph.output).0;
    for node in &graph.nodes {
        if node.op.chooses() {
            output = graph.storage(node.inputs[0]).0;
        } else {
            writer.node(node)?;
        }
    }
    let mut model = writer.model;
    (model.graph.input, model.graph.output) = (graph.input, output);
    model.rectify();
    model.graph.check()?;
    let fixed: BTreeSet<ValueId> = model.activations.keys().copied().collect();
    model.graph.fold(&fixed);
    Ok(model)
}

/// The real limits that an operator's output keeps to: those of its activation, and 0 where that is
/// the least that int8 holds. What int8 cuts off above is no activation, but for a ReLU6's 6, which
/// a converter's range ends with.
fn limits(to: Quantization, clamp: Clamp) -> (f32, f32) {
    let low = match clamp.min {
        min if min == to.zero_point => 0.0,
        i8::MIN => f32::NEG_INFINITY,
        min => to.dequantize(min),
    };
    let high = match to.dequantize(clamp.max) {
        high if low == 0.0 && (high - SIX).abs() < to.scale => SIX,
        _ if clamp.max == i8::MAX => f32::INFINITY,
        high => high,
    };
    (low, high)
}

struct Writer<'g> {
    integers: &'g IntegerGraph,
    model: FloatModel,
}

impl Writer<'_> {
    fn node(&mut self, node: &IntegerNode) -> Result<(), ImportError> {
        let output = node.output;
        let to = self.integers.values[output].quantization;
        let inputs = self.operands(node)?;
        let (op, clamp) = node
            .op
            .real(to)
            .ok_or_else(|| refuse(node, "it has no counterpart among floats here"))?;
        let parameters = node.parameters.as_ref();
        let clamp = parameters.map_or(clamp, |matrix| matrix.clamp);
        let parameters = parameters.map(|matrix| self.affine(matrix, inputs[0], output));
        let computes = Computation { op, parameters };
        self.model.activations.insert(output, to);
        self.model.graph.nodes.push(Node::new(&node.name, computes, inputs, output));
        if clamp != Clamp::NONE {
            let at = self.model.graph.nodes.len() - 1;
            self.model.limit(at, limits(to, clamp));
        }
        Ok(())
    }

    /// What a node reads, arranged as it reads it.
    fn operands(&mut self, node: &IntegerNode) -> Result<Vec<ValueId>, ImportError> {
        let one_by_one = node.op.one_by_one();
        let mut operands = Vec::with_capacity(node.inputs.len());
        let output = &self.integers.values[node.output];
        for &id in &node.inputs {
            let value = &self.integers.values[id];
            let dims = match &node.op {
                // All values in their order, however they are arranged.
                IntegerOp::Dense(_) => None,
                _ if one_by_one && value.len() == output.len() => Some(output.dims.clone()),
                _ => Some(value.dims.clone()),
            };
            operands.push(self.operand(node, id, dims)?);
        }
        // Constants come second, and so does what is repeated.
        if let [first, second] = operands.as_mut_slice() {
            let values = &self.model.graph.values;
            let repeated = values[*first].len() < values[*second].len();
            if one_by_one && (values[*first].constant.is_some() || repeated) {
                std::mem::swap(first, second);
            }
        }
        Ok(operands)
    }

    /// The value `id` in the given arrangement.
    fn operand(
        &mut self,
        node: &IntegerNode,
        id: ValueId,
        dims: Option<Vec<usize>>,
    ) -> Result<ValueId, ImportError> {
        let (stored, _) = self.integers.storage(id);
        let [read, written] = [id, stored].map(|id| self.integers.values[id].quantization);
        let same = (read.scale / written.scale - 1.0).abs() < SAME_SCALE;
        if !same || read.zero_point != written.zero_point {
            return Err(refuse(
                node,
                "it reads bytes in another meaning than they were written with",
            ));
        }
        self.model.activations.insert(stored, written);
        let values = &mut self.model.graph.values;
        let Some(dims) = dims.filter(|dims| *dims != values[stored].dims) else {
            return Ok(stored);
        };
        let constant = values[stored].constant.clone();
        let known = constant.is_some();
        values.push(Value { name: values[stored].name.clone(), dims, constant });
        let arranged = values.len() - 1;
        if !known {
            self.model.activations.insert(arranged, written);
            let reshape = Node::new(&node.name, Reshape {}, vec![stored], arranged);
            self.model.graph.nodes.push(reshape);
        }
        Ok(arranged)
    }

    /// Real weights and biases; the weights' scales are kept beside the graph.
    fn affine(&mut self, matrix: &Matrix, input: ValueId, output: ValueId) -> Affine {
        let scale = |id: ValueId| self.model.activations.get(&id).map_or(1.0, |q| q.scale);
        let from = f64::from(scale(input));
        let to = f64::from(self.integers.values[output].quantization.scale);
        // multiplier = input scale · weight scale / output scale.
        let scales: Vec<f64> = matrix.multipliers.iter().map(|&m| factor(m) * to / from).collect();
        let of_rows = || scales.iter().cycle();
        let rows = matrix.values.chunks_exact(matrix.columns.max(1)).zip(of_rows());
        let weight =
            rows.flat_map(|(row, scale)| row.iter().map(move |&w| (f64::from(w) * scale) as f32));
        let bias = match matrix.bias.as_slice() {
            [] => vec![0.0; matrix.rows],
            bias => {
                let real =
                    bias.iter().zip(of_rows()).map(|(&b, s)| (f64::from(b) * s * from) as f32);
                real.collect()
            }
        };
        let affine = Affine { weight: weight.collect(), bias };
        // A factor of 0 makes every product 0; any scale will do for its integers.
        let positive = scales.iter().map(|&s| if s > 0.0 { s as f32 } else { 1.0 });
        self.model.weights.insert(output, positive.collect());
        affine
    }
}

impl FloatModel {
    /// Real numbers that the input of a quantised model can have.
    pub fn input_range(&self) -> Option<Range> {
        let input = self.activations.get(&self.graph.input)?;
        Some(Range { low: input.dequantize(i8::MIN), high: input.dequantize(i8::MAX) })
    }

    /// Without its quantisation, to be trained or quantised anew. A rectifier that int8 alone stood
    /// for becomes a node.
    #[must_use]
    pub fn freed(mut self) -> Self {
        self.rectify();
        self.graph.fold(&BTreeSet::new());
        Self { graph: self.graph, output_order: self.output_order, ..Self::default() }
    }

    /// Gives every value whose least integer is its 0 the limit that this is.
    fn rectify(&mut self) {
        let mut at = 0;
        while at < self.graph.nodes.len() {
            if self.saturates_at_zero(at)
                && let Some(&to) = self.activations.get(&self.graph.nodes[at].output)
            {
                self.limit(at, limits(to, Clamp::NONE));
            }
            at += 1;
        }
    }

    /// Limits what node `at` writes by a node of its own behind it. The value between has no scale,
    /// so that lowering fuses the two again.
    fn limit(&mut self, at: usize, limits: (f32, f32)) {
        let Graph { values, nodes, .. } = &mut self.graph;
        let (name, output) = (nodes[at].name.clone(), nodes[at].output);
        values.push(Value { name: String::new(), ..values[output].clone() });
        let before = values.len() - 1;
        nodes[at].output = before;
        let (low, high) = limits;
        nodes.insert(at + 1, Node::new(name, Clip { low, high }, vec![before], output));
        if let Some(scales) = self.weights.remove(&output) {
            self.weights.insert(before, scales);
        }
    }

    /// Whether int8 cuts a node's output off below 0, and nothing else does. Of the model's output
    /// it cuts off what it may still become.
    fn saturates_at_zero(&self, at: usize) -> bool {
        let node = &self.graph.nodes[at];
        let scale = |id: &ValueId| self.activations.get(id);
        let computes = match &node.op {
            Op::Reshape(_) => scale(&node.inputs[0]) != scale(&node.output),
            op => op.saturates(),
        };
        let reader = self.graph.only_reader(node.output).map(|reader| &self.graph.nodes[reader]);
        let limits = reader.and_then(|reader| reader.op.limits());
        let limited = limits.is_some_and(|(low, _)| low >= 0.0);
        let least = scale(&node.output).is_some_and(|to| to.zero_point == i8::MIN);
        computes && least && !limited && node.output != self.graph.output
    }
}

fn refuse(node: &IntegerNode, problem: &'static str) -> ImportError {
    ImportError::NoFloats { node: node.name.clone(), problem }
}

#[cfg(test)]
mod tests {
    use bitsback_runtime::requantize::Multiplier;

    use super::*;
    use crate::graph::Executor;
    use crate::graph::IntegerValue;
    use crate::graph::ops::{
        Dense, IntegerAdd, IntegerArgmax, IntegerDense, IntegerLimit, IntegerRescale,
        IntegerSoftmax, Softmax,
    };
    use crate::numbers::multiplier;

    fn value(scale: f32, zero_point: i8, origin: Origin) -> IntegerValue {
        let quantization = Quantization { scale, zero_point };
        IntegerValue { name: "v".into(), dims: vec![2], quantization, origin, real: None }
    }

    fn node(op: impl Into<IntegerOp>, inputs: &[ValueId], output: ValueId) -> IntegerNode {
        let (name, inputs) = (format!("node {output}"), inputs.to_vec());
        IntegerNode { name, op: op.into(), inputs, output, parameters: None }
    }

    /// Inputs of scale ½, a dense layer with weights of ¼ and the given output, and what follows.
    fn graph(to: IntegerValue, clamp: Clamp, more: Vec<IntegerNode>) -> IntegerGraph {
        let factor = multiplier(0.5 * 0.25 / f64::from(to.quantization.scale));
        let matrix = Matrix {
            rows: 2,
            columns: 2,
            bits: 8,
            values: vec![4, 0, 0, -4],
            bias: vec![8, 0],
            multipliers: vec![factor],
            clamp,
            ..Matrix::default()
        };
        let last = more.last().map_or(1, |node| node.output);
        let mut nodes = vec![node(IntegerDense {}, &[0], 1)];
        nodes[0].parameters = Some(matrix);
        nodes.extend(more);
        let mut values = vec![value(0.5, 3, Origin::Computed), to.clone()];
        values.resize(last + 1, to);
        IntegerGraph { values, nodes, input: 0, output: last }
    }

    fn ops(model: &FloatModel) -> Vec<&Op> {
        model.graph.nodes.iter().map(|node| &node.op).collect()
    }

    fn run(model: &FloatModel, inputs: &[f32]) -> Vec<f32> {
        Executor::new(&model.graph).unwrap().run(inputs).unwrap()
    }

    const RELU: Op = Op::Clip(Clip::RELU);
    const RELU6: Op = Op::Clip(Clip::RELU6);

    #[test]
    fn weights_and_biases_are_what_the_integers_stand_for() {
        let model =
            dequantize(&graph(value(0.1, 0, Origin::Computed), Clamp::NONE, Vec::new())).unwrap();
        assert_eq!(ops(&model), [&Op::Dense(Dense {})]);
        let affine = model.graph.nodes[0].parameters.as_ref().unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&affine.weight, &[1.0, 0.0, 0.0, -1.0]), "{affine:?}");
        assert!(near(&affine.bias, &[1.0, 0.0]), "{affine:?}");
        assert!(near(&model.weights[&1], &[0.25]) && model.is_quantized());
        assert_eq!(model.input_range(), Some(Range { low: -65.5, high: 62.0 }));
        assert!(near(&run(&model, &[2.0, 3.0]), &[3.0, -3.0]));
    }

    #[test]
    fn activations_come_back_however_int8_holds_them() {
        let limit = |min, max| vec![node(IntegerLimit { clamp: Clamp { min, max } }, &[1], 2)];
        let behind = || limit(i8::MIN, i8::MAX);
        // Scale and zero point of the layer's output, its fused activation, what is found.
        let table = [
            (0.1, i8::MIN, Clamp::NONE, Some(RELU)),
            (0.1, -100, Clamp { min: -100, max: 127 }, Some(RELU)),
            (6.0 / 255.0, i8::MIN, Clamp::NONE, Some(RELU6)),
            (0.05, i8::MIN, Clamp { min: i8::MIN, max: -8 }, Some(RELU6)),
            (0.1, -50, Clamp { min: -50, max: 10 }, Some(RELU6)),
            (0.1, -100, Clamp::NONE, None),
        ];
        for (scale, zero, clamp, expected) in table {
            let integers = graph(value(scale, zero, Origin::Computed), clamp, behind());
            let freed = dequantize(&integers).unwrap().freed();
            assert!(!freed.is_quantized());
            let found: Vec<Op> = ops(&freed)[1..].iter().map(|&op| op.clone()).collect();
            let all: Vec<Op> = expected.into_iter().chain([Reshape {}.into()]).collect();
            assert_eq!(found, all, "{scale} {zero} {clamp:?}");
        }
        // The same as an operator of its own, which changes the scale, too.
        let mut integers = graph(value(0.1, 5, Origin::Computed), Clamp::NONE, Vec::new());
        integers.values.extend([0.1, 0.1].map(|s| value(s, i8::MIN, Origin::Computed)));
        let rescale = IntegerRescale { multiplier: Multiplier::ONE, clamp: Clamp::NONE };
        integers.nodes.push(node(rescale, &[1], 2));
        integers.nodes.push(node(IntegerSoftmax { multiplier: Multiplier::ONE }, &[2], 3));
        integers.output = 3;
        let freed = dequantize(&integers).unwrap().freed();
        assert_eq!(ops(&freed)[1..], [&RELU, &Reshape {}.into(), &Softmax {}.into()]);
    }

    #[test]
    fn the_output_is_not_limited_and_an_argmax_is_left_out() {
        let argmax = vec![node(IntegerArgmax {}, &[1], 2)];
        let integers = graph(value(0.1, i8::MIN, Origin::Computed), Clamp::NONE, argmax);
        let freed = dequantize(&integers).unwrap().freed();
        assert_eq!((ops(&freed).len(), freed.graph.output), (1, 1));
        assert!(run(&freed, &[0.0, 3.0])[1] < -2.0);
    }

    #[test]
    fn constants_come_second_and_bytes_keep_their_meaning() {
        let add = || IntegerAdd {
            multipliers: [Multiplier::ONE; 2],
            output_multiplier: Multiplier::ONE,
            clamp: Clamp::NONE,
        };
        let to = || value(0.1, 0, Origin::Computed);
        let mut integers = graph(to(), Clamp::NONE, vec![node(add(), &[3, 1], 2)]);
        integers.values.push(value(0.5, 1, Origin::Constant(vec![3, -1])));
        let model = dequantize(&integers).unwrap();
        assert_eq!(model.graph.nodes[1].inputs, [1, 3]);
        let outputs = run(&model, &[2.0, 3.0]);
        assert!((outputs[0] - 4.0).abs() < 1e-5 && (outputs[1] + 4.0).abs() < 1e-5, "{outputs:?}");
        integers.values[3] = value(0.2, 0, Origin::View(1, 0));
        let error = dequantize(&integers).unwrap_err();
        assert!(
            matches!(&error, ImportError::NoFloats { node, .. } if node == "node 2"),
            "{error}"
        );
    }
}
