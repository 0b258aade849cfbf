//! A graph of floats as an ONNX file, with or without its quantisation.
//!
//! Images come channels first, as other tools expect; where a vector is made of an image or an image
//! of a vector, a transposition keeps the order of its numbers.

use prost::Message;
use prost::bytes::Bytes;

use super::ExportError;
use crate::graph::ops::{Clip, LeakyRelu, Pad};
use crate::graph::{Affine, Graph, Node, Op, ValueId, Window};
use crate::import::onnx::FloatModel;
use crate::import::onnx::schema::{
    Attribute, RawDim, RawGraph, RawModel, RawNode, RawOpset, RawShape, RawTensorType, RawType,
    RawValue, Tensor,
};
use crate::numbers::Quantization;
use crate::numbers::Rows;

/// Version of the format and of the operators that are written: older runtimes read these, too.
const IR_VERSION: i64 = 9;
const OPSET: i64 = 17;
/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const INT8: i32 = 3;
const INT32: i32 = 6;
const INT64: i32 = 7;

/// The bytes of an ONNX file: with pairs of `QuantizeLinear` and `DequantizeLinear` around every
/// value and layer if `quantized`, else with floats alone.
///
/// # Errors
/// A node that ONNX has no form for.
pub fn onnx(model: &FloatModel, quantized: bool) -> Result<Vec<u8>, ExportError> {
    let graph = &model.graph;
    graph.check()?;
    let mut writer =
        Writer { model, quantized, nodes: Vec::new(), parameters: Vec::new(), steps: 0 };
    writer.names_of_constants();
    writer.pair(graph.input, &format!("{}_raw", name(graph.input)));
    for node in &graph.nodes {
        writer.node(node)?;
    }
    let output = graph.values[graph.output].dims.clone();
    let raw = if quantized { format!("{}_raw", name(graph.input)) } else { name(graph.input) };
    let written = RawGraph {
        nodes: writer.nodes,
        name: "bitsback".to_owned(),
        initializers: writer.parameters,
        inputs: vec![described(&raw, &onnx_dims(&graph.values[graph.input].dims))],
        outputs: vec![described(&name(graph.output), &onnx_dims(&output))],
    };
    let opset = RawOpset { domain: String::new(), version: OPSET };
    let file = RawModel {
        ir_version: IR_VERSION,
        producer: "bitsback".to_owned(),
        graph: written.encode_to_vec().into(),
        opsets: vec![opset.encode_to_vec().into()],
    };
    Ok(file.encode_to_vec())
}

fn name(id: ValueId) -> String {
    format!("v{id}")
}

/// Dimensions with channels first.
fn onnx_dims(dims: &[usize]) -> Vec<usize> {
    match *dims {
        [height, width, channels] => vec![channels, height, width],
        _ => dims.to_vec(),
    }
}

/// Input or output with an open batch.
fn described(name: &str, dims: &[usize]) -> Bytes {
    let batch = RawDim { value: 0, name: "N".to_owned() };
    let dims = dims.iter().map(|&dim| RawDim { value: dim as i64, name: String::new() });
    let shape = RawShape { dims: std::iter::once(batch).chain(dims).collect() };
    let tensor = RawTensorType { element: FLOAT, shape: Some(shape) };
    let value = RawValue { name: name.to_owned(), kind: Some(RawType { tensor: Some(tensor) }) };
    value.encode_to_vec().into()
}

struct Writer<'m> {
    model: &'m FloatModel,
    quantized: bool,
    nodes: Vec<Bytes>,
    parameters: Vec<Bytes>,
    /// Names given out.
    steps: usize,
}

impl Writer<'_> {
    fn graph(&self) -> &Graph<Affine> {
        &self.model.graph
    }

    fn fresh(&mut self) -> String {
        self.steps += 1;
        format!("t{}", self.steps)
    }

    fn tensor(&mut self, dims: &[usize], kind: i32, raw: Vec<u8>) -> String {
        let name = format!("p{}", self.parameters.len());
        self.named_tensor(&name, dims, kind, raw);
        name
    }

    fn named_tensor(&mut self, name: &str, dims: &[usize], kind: i32, raw: Vec<u8>) {
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        let tensor =
            Tensor { name: name.to_owned(), dims, kind, raw: raw.into(), ..Tensor::default() };
        self.parameters.push(tensor.encode_to_vec().into());
    }

    fn floats(&mut self, dims: &[usize], numbers: &[f32]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(dims, FLOAT, raw)
    }

    fn longs(&mut self, numbers: &[i64]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(&[numbers.len()], INT64, raw)
    }

    /// Constants by the names of their values; as they are kept, with a batch of one.
    fn names_of_constants(&mut self) {
        for (id, value) in self.model.graph.values.iter().enumerate() {
            let Some(numbers) = &value.constant else { continue };
            let mut dims = vec![1];
            dims.extend(onnx_dims(&value.dims));
            let numbers = match *value.dims.as_slice() {
                [height, width, channels] => channels_first(numbers, height * width, channels),
                _ => numbers.clone(),
            };
            let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.named_tensor(&name(id), &dims, FLOAT, raw);
        }
    }

    fn emit(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Vec<Attribute>) {
        let attributes = attributes.iter().map(|a| a.encode_to_vec().into()).collect();
        let node = RawNode {
            name: format!("n{}", self.nodes.len()),
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            attributes,
            domain: String::new(),
        };
        self.nodes.push(node.encode_to_vec().into());
    }

    /// Quantises and dequantises `raw` into the value `id`, where it has a scale.
    fn pair(&mut self, id: ValueId, raw: &str) {
        let quantization = self.model.activations.get(&id).copied();
        let Some(Quantization { scale, zero_point }) = quantization.filter(|_| self.quantized)
        else {
            return;
        };
        let scale = self.floats(&[], &[scale]);
        let zero = self.tensor(&[], INT8, vec![zero_point as u8]);
        let integers = self.fresh();
        self.emit("QuantizeLinear", &[raw, &scale, &zero], &integers, Vec::new());
        self.emit("DequantizeLinear", &[&integers, &scale, &zero], &name(id), Vec::new());
    }

    /// What a node is to call its output before it is quantised.
    fn unquantized(&mut self, id: ValueId) -> String {
        if self.quantized && self.model.activations.contains_key(&id) {
            return self.fresh();
        }
        name(id)
    }

    fn node(&mut self, node: &Node<Affine>) -> Result<(), ExportError> {
        let output = self.unquantized(node.output);
        let inputs: Vec<String> = node.inputs.iter().map(|&id| name(id)).collect();
        let x = inputs[0].clone();
        let from = self.graph().values[node.inputs[0]].dims.clone();
        let to = self.graph().values[node.output].dims.clone();
        let image = from.len() == 3;
        match &node.op {
            Op::Dense(_) => self.dense(node, &from, &to, &output)?,
            Op::Conv2d(op) => self.conv(node, op.window, &output)?,
            Op::DepthwiseConv2d(op) => self.conv(node, op.window, &output)?,
            Op::MaxPool2d(op) => self.pool(node, "MaxPool", op.window, &output)?,
            Op::AvgPool2d(op) => self.pool(node, "AveragePool", op.window, &output)?,
            Op::Mean(_) if image => {
                let pooled = self.fresh();
                self.emit("GlobalAveragePool", &[&x], &pooled, Vec::new());
                let dims = onnx_dims(&to);
                self.shape(&pooled, &dims, &output);
            }
            Op::Mean(_) => return Err(refuse(node, "a mean of something else than an image")),
            Op::Add(_) | Op::Mul(_) => {
                let operator = if matches!(node.op, Op::Add(_)) { "Add" } else { "Mul" };
                let second = &self.graph().values[node.inputs[1]];
                let channels = second.len();
                let mut other = inputs[1].clone();
                if channels > 1 && second.dims != from && image {
                    let shaped = self.fresh();
                    self.shape(&other, &[channels, 1, 1], &shaped);
                    other = shaped;
                }
                self.emit(operator, &[&x, &other], &output, Vec::new());
            }
            Op::Concat(op) => {
                let axis = if image { [2, 3, 1][op.axis] } else { op.axis as i64 + 1 };
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.emit("Concat", &inputs, &output, vec![int("axis", axis)]);
            }
            Op::Pad(Pad { before, fill }) => {
                let after: Vec<usize> = to
                    .iter()
                    .zip(&from)
                    .zip(before)
                    .map(|((to, from), before)| to - from - before)
                    .collect();
                let mut pads = vec![0];
                pads.extend(onnx_dims(before).iter().map(|&border| border as i64));
                pads.push(0);
                pads.extend(onnx_dims(&after).iter().map(|&border| border as i64));
                let (pads, fill) = (self.longs(&pads), self.floats(&[], &[*fill]));
                self.emit("Pad", &[&x, &pads, &fill], &output, Vec::new());
            }
            Op::Reshape(_) => self.reshape(&x, &from, &to, &output),
            _ => self.activation(node, &x, image, &output)?,
        }
        if output != name(node.output) {
            self.pair(node.output, &output);
        }
        Ok(())
    }

    /// An activation; `image` says whether channels come first.
    fn activation(
        &mut self,
        node: &Node<Affine>,
        x: &str,
        image: bool,
        output: &str,
    ) -> Result<(), ExportError> {
        let over_channels = || vec![int("axis", if image { 1 } else { -1 })];
        match &node.op {
            Op::Clip(Clip::RELU) => self.emit("Relu", &[x], output, Vec::new()),
            Op::Clip(Clip { low, high }) => {
                let low = if low.is_finite() { self.floats(&[], &[*low]) } else { String::new() };
                let high =
                    if high.is_finite() { self.floats(&[], &[*high]) } else { String::new() };
                self.emit("Clip", &[x, &low, &high], output, Vec::new());
            }
            Op::LeakyRelu(LeakyRelu { alpha }) => {
                let alpha = Attribute { float: *alpha, kind: 1, ..attribute("alpha") };
                self.emit("LeakyRelu", &[x], output, vec![alpha]);
            }
            Op::HardSwish(_) => self.emit("HardSwish", &[x], output, Vec::new()),
            Op::Logistic(_) => self.emit("Sigmoid", &[x], output, Vec::new()),
            Op::Tanh(_) => self.emit("Tanh", &[x], output, Vec::new()),
            Op::Softmax(_) => self.emit("Softmax", &[x], output, over_channels()),
            Op::LogSoftmax(_) => self.emit("LogSoftmax", &[x], output, over_channels()),
            _ => return Err(refuse(node, "a part of a network that is still trained or pruned")),
        }
        Ok(())
    }

    fn pool(
        &mut self,
        node: &Node<Affine>,
        operator: &str,
        window: Window,
        output: &str,
    ) -> Result<(), ExportError> {
        let mut attributes = self.window(node, window)?;
        attributes.push(ints("kernel_shape", &window.size));
        self.emit(operator, &[&name(node.inputs[0])], output, attributes);
        Ok(())
    }

    fn dense(
        &mut self,
        node: &Node<Affine>,
        from: &[usize],
        to: &[usize],
        output: &str,
    ) -> Result<(), ExportError> {
        let affine = parameters(node)?;
        let inputs = from.iter().product();
        let mut x = name(node.inputs[0]);
        if from.len() > 1 {
            let flat = self.fresh();
            self.reshape(&x, from, &[inputs], &flat);
            x = flat;
        }
        let outputs = affine.bias.len();
        let [weight, bias] = self.layer(node, affine, &[outputs, inputs], affine.weight.clone());
        let written = if to.len() == 1 { output.to_owned() } else { self.fresh() };
        self.emit("Gemm", &[&x, &weight, &bias], &written, vec![int("transB", 1)]);
        if to.len() > 1 {
            self.reshape(&written, &[outputs], to, output);
        }
        Ok(())
    }

    fn conv(
        &mut self,
        node: &Node<Affine>,
        window: Window,
        output: &str,
    ) -> Result<(), ExportError> {
        let affine = parameters(node)?;
        let ends = [node.inputs[0], node.output].map(|id| self.graph().values[id].dims.len());
        if ends != [3, 3] {
            return Err(refuse(node, "a convolution of something else than an image"));
        }
        let [height, width] = window.size;
        let (outputs, taps) = (affine.bias.len(), height * width);
        let depth = affine.weight.len() / (outputs * taps).max(1);
        let rows = affine.weight.chunks_exact((taps * depth).max(1));
        let numbers = rows.flat_map(|row| channels_first(row, taps, depth)).collect();
        let dims = [outputs, depth, height, width];
        let [weight, bias] = self.layer(node, affine, &dims, numbers);
        let mut attributes = self.window(node, window)?;
        attributes.push(ints("dilations", &window.dilation));
        if matches!(node.op, Op::DepthwiseConv2d(_)) {
            let channels = self.graph().values[node.inputs[0]].dims[2];
            attributes.push(int("group", channels as i64));
        }
        let x = name(node.inputs[0]);
        self.emit("Conv", &[&x, &weight, &bias], output, attributes);
        Ok(())
    }

    /// Names of a layer's weights and biases; `numbers` are the weights in ONNX's order. Quantised
    /// ones are integers behind a `DequantizeLinear`.
    fn layer(
        &mut self,
        node: &Node<Affine>,
        affine: &Affine,
        dims: &[usize],
        numbers: Vec<f32>,
    ) -> [String; 2] {
        let outputs = affine.bias.len();
        let input = self.model.activations.get(&node.inputs[0]).copied();
        let scales = self.model.weights.get(&node.output).filter(|_| self.quantized).cloned();
        let (Some(scales), Some(input)) = (scales, input) else {
            return [self.floats(dims, &numbers), self.floats(&[outputs], &affine.bias)];
        };
        let rows = Rows::given(&numbers, &scales, outputs);
        if rows.bits > 8 {
            return [self.floats(dims, &numbers), self.floats(&[outputs], &affine.bias)];
        }
        let raw = rows.values.iter().map(|&w| w as u8).collect();
        let units = rows.scales.iter().map(|&s| f64::from(s) * f64::from(input.scale));
        let biases = affine.bias.iter().zip(units.clone());
        let biases = biases.flat_map(|(&b, unit)| {
            let steps = (f64::from(b) / unit).round();
            (steps.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32).to_le_bytes()
        });
        let biases = biases.collect();
        let unit: Vec<f32> = units.map(|unit| unit as f32).collect();
        let weight = (self.tensor(dims, INT8, raw), self.floats(&[outputs], &rows.scales));
        let bias = (self.tensor(&[outputs], INT32, biases), self.floats(&[outputs], &unit));
        [weight, bias].map(|(integers, scales)| {
            let real = self.fresh();
            self.emit("DequantizeLinear", &[&integers, &scales], &real, vec![int("axis", 0)]);
            real
        })
    }

    /// Strides and borders; those below and to the right follow from the output.
    fn window(&self, node: &Node<Affine>, window: Window) -> Result<Vec<Attribute>, ExportError> {
        let ends = [node.inputs[0], node.output].map(|id| self.graph().values[id].image());
        let [Some(from), Some(to)] = ends else {
            return Err(refuse(node, "a window over something else than an image"));
        };
        let extent = window.extent();
        let after = |axis: usize| {
            let reach = (to[axis] - 1) * window.stride[axis] + extent[axis];
            reach.saturating_sub(from[axis] + window.padding[axis])
        };
        let [top, left] = window.padding;
        let pads = ints("pads", &[top, left, after(0), after(1)]);
        Ok(vec![pads, ints("strides", &window.stride)])
    }

    /// The same numbers, as they are kept, in another shape.
    fn reshape(&mut self, x: &str, from: &[usize], to: &[usize], output: &str) {
        let moved = |dims: &[usize]| matches!(*dims, [h, w, c] if h * w > 1 && c > 1);
        let mut x = x.to_owned();
        if moved(from) {
            let kept = self.fresh();
            self.emit("Transpose", &[&x], &kept, vec![ints("perm", &[0, 2, 3, 1])]);
            x = kept;
        }
        if !moved(to) {
            return self.shape(&x, &onnx_dims(to), output);
        }
        let kept = self.fresh();
        self.shape(&x, to, &kept);
        self.emit("Transpose", &[&kept], output, vec![ints("perm", &[0, 3, 1, 2])]);
    }

    fn shape(&mut self, x: &str, dims: &[usize], output: &str) {
        let mut shape = vec![-1];
        shape.extend(dims.iter().map(|&dim| dim as i64));
        let shape = self.longs(&shape);
        self.emit("Reshape", &[x, &shape], output, Vec::new());
    }
}

/// What a layer holds; checked graphs have it.
fn parameters(node: &Node<Affine>) -> Result<&Affine, ExportError> {
    node.parameters.as_ref().ok_or_else(|| refuse(node, "a layer without its weights"))
}

fn refuse(node: &Node<Affine>, problem: &'static str) -> ExportError {
    ExportError::Node { node: node.name.clone(), problem }
}

fn attribute(name: &str) -> Attribute {
    Attribute { name: name.to_owned(), ..Attribute::default() }
}

fn int(name: &str, number: i64) -> Attribute {
    Attribute { int: number, kind: 2, ..attribute(name) }
}

fn ints(name: &str, numbers: &[usize]) -> Attribute {
    let ints = numbers.iter().map(|&number| number as i64).collect();
    Attribute { ints, kind: 7, ..attribute(name) }
}

/// Positions × channels as channels × positions.
fn channels_first(numbers: &[f32], positions: usize, channels: usize) -> Vec<f32> {
    let place = |at: usize| at % positions * channels + at / positions;
    (0..numbers.len()).map(|at| numbers[place(at)]).collect()
}
