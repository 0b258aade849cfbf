//! A graph of floats as an ONNX file, with or without its quantisation.
//!
//! What an operator becomes is in its own file; how the file is laid out, and where its values are
//! quantised, is here.

use prost::Message;
use prost::bytes::Bytes;

use super::ExportError;
use crate::graph::exporter::{channels_first, file_dims};
use crate::graph::{Affine, Attribute, Attributes, Exporter, Node, ValueId};
use crate::import::onnx::FloatModel;
use crate::import::onnx::schema::{
    Attribute as RawAttribute, RawDim, RawGraph, RawModel, RawNode, RawOpset, RawShape,
    RawTensorType, RawType, RawValue, Tensor,
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
        inputs: vec![described(&raw, &file_dims(&graph.values[graph.input].dims))],
        outputs: vec![described(&name(graph.output), &file_dims(&output))],
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

impl<'m> Writer<'m> {
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

    /// Constants by the names of their values; as they are kept, with a batch of one.
    fn names_of_constants(&mut self) {
        for (id, value) in self.model.graph.values.iter().enumerate() {
            let Some(numbers) = &value.constant else { continue };
            let mut dims = vec![1];
            dims.extend(file_dims(&value.dims));
            let numbers = match *value.dims.as_slice() {
                [height, width, channels] => channels_first(numbers, height * width, channels),
                _ => numbers.clone(),
            };
            let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.named_tensor(&name(id), &dims, FLOAT, raw);
        }
    }

    fn emit(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Attributes) {
        let attributes = attributes.into_iter();
        let attributes =
            attributes.map(|(name, value)| attribute(name, value).encode_to_vec().into()).collect();
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

    /// Names of a layer's weights and biases; `numbers` are the weights in ONNX's order. Quantised
    /// ones are integers behind a `DequantizeLinear`.
    fn layer(
        &mut self,
        node: &Node<Affine>,
        dims: &[usize],
        numbers: &[f32],
        biases: &[f32],
    ) -> [String; 2] {
        let outputs = biases.len();
        let input = self.model.activations.get(&node.inputs[0]).copied();
        let scales = self.model.weights.get(&node.output).filter(|_| self.quantized).cloned();
        let (Some(scales), Some(input)) = (scales, input) else {
            return [self.floats(dims, numbers), self.floats(&[outputs], biases)];
        };
        let rows = Rows::given(numbers, &scales, outputs);
        if rows.bits > 8 {
            return [self.floats(dims, numbers), self.floats(&[outputs], biases)];
        }
        let raw = rows.values.iter().map(|&w| w as u8).collect();
        let units = rows.scales.iter().map(|&s| f64::from(s) * f64::from(input.scale));
        let biases = biases.iter().zip(units.clone());
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
            self.emit(
                "DequantizeLinear",
                &[&integers, &scales],
                &real,
                vec![("axis", Attribute::Int(0))],
            );
            real
        })
    }

    fn node(&mut self, node: &'m Node<Affine>) -> Result<(), ExportError> {
        let output = self.unquantized(node.output);
        let (site, layer) = (self.model.graph.site(node), node.parameters.as_ref());
        let mut file = At { writer: self, node, output: output.clone() };
        node.op
            .export(&site, layer, &mut file)
            .map_err(|problem| ExportError::Node { node: node.name.clone(), problem })?;
        if output != name(node.output) {
            self.pair(node.output, &output);
        }
        Ok(())
    }
}

/// A node that is being written.
struct At<'w, 'm> {
    writer: &'w mut Writer<'m>,
    node: &'m Node<Affine>,
    /// What its output is called before it is quantised.
    output: String,
}

impl Exporter for At<'_, '_> {
    fn operand(&self, at: usize) -> String {
        self.node.inputs.get(at).map_or_else(String::new, |&id| name(id))
    }

    fn output(&self) -> String {
        self.output.clone()
    }

    fn fresh(&mut self) -> String {
        self.writer.fresh()
    }

    fn emit(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Attributes) {
        self.writer.emit(operator, inputs, output, attributes);
    }

    fn floats(&mut self, dims: &[usize], numbers: &[f32]) -> String {
        self.writer.floats(dims, numbers)
    }

    fn longs(&mut self, numbers: &[i64]) -> String {
        let raw = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.writer.tensor(&[numbers.len()], INT64, raw)
    }

    fn layer(&mut self, dims: &[usize], weights: Vec<f32>, biases: &[f32]) -> [String; 2] {
        self.writer.layer(self.node, dims, &weights, biases)
    }
}

/// An attribute as the file holds it.
fn attribute(name: &str, value: Attribute) -> RawAttribute {
    let raw = RawAttribute { name: name.to_owned(), ..RawAttribute::default() };
    match value {
        Attribute::Float(float) => RawAttribute { float, kind: 1, ..raw },
        Attribute::Int(int) => RawAttribute { int, kind: 2, ..raw },
        Attribute::Text(text) => RawAttribute { text: text.into(), kind: 3, ..raw },
        Attribute::Ints(ints) => RawAttribute { ints, kind: 7, ..raw },
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::graph::ops::{BatchNorm, Dropout, Reshape, ResizeNearest, Select, Slice};
    use crate::graph::{Executor, Graph};
    use crate::import;

    /// What a network has only while it is trained and pruned: a crop, a normalisation and dropout.
    fn unfinished() -> Graph<Affine> {
        let mut graph = Graph::of_input(vec![5, 6, 2]);
        let part = graph.push("crop", Slice::crop([1, 2]), vec![0], vec![3, 3, 2], None);
        let norm = BatchNorm { mean: vec![0.5, -1.0], variance: vec![4.0, 0.25] };
        let factors = Affine { weight: vec![1.5, -2.0], bias: vec![0.25, 3.0] };
        let x = graph.push("norm", norm, vec![part], vec![3, 3, 2], Some(factors));
        let x = graph.push("dropout", Dropout { rate: 0.5 }, vec![x], vec![3, 3, 2], None);
        graph.push("flatten", Reshape {}, vec![x], vec![18], None);
        graph
    }

    #[test]
    fn a_network_that_is_still_trained_computes_the_same() {
        let model = FloatModel { graph: unfinished(), ..FloatModel::default() };
        let read = import::onnx::read(&onnx(&model, false).unwrap(), None, None).unwrap();
        assert_eq!(read.graph.nodes[0].op, Slice::crop([1, 2]).into());
        let inputs: Vec<f32> = (0..180).map(|i| (i as f32 * 0.37).sin()).collect();
        let direct = Executor::new(&model.graph).unwrap().run(&inputs).unwrap();
        let back = Executor::new(&read.graph).unwrap().run(&inputs).unwrap();
        assert_eq!(direct.len(), back.len());
        for (a, b) in direct.iter().zip(&back) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn an_image_in_another_size_is_a_resize_of_the_same_pixels() {
        for half_pixel_centers in [false, true] {
            for to in [[6, 12], [2, 3], [5, 6], [4, 5], [1, 9], [3, 2]] {
                let model = resized([3, 4], to, half_pixel_centers);
                let read = import::onnx::read(&onnx(&model, false).unwrap(), None, None).unwrap();
                let inputs: Vec<f32> = (0..24).map(|i| i as f32).collect();
                let [direct, back] = [&model, &read]
                    .map(|model| Executor::new(&model.graph).unwrap().run(&inputs).unwrap());
                assert_eq!(direct, back, "{to:?}");
            }
        }
    }

    fn resized(from: [usize; 2], to: [usize; 2], half_pixel_centers: bool) -> FloatModel {
        let mut graph: Graph<Affine> = Graph::of_input(vec![from[0], from[1], 2]);
        let op = ResizeNearest { half_pixel_centers };
        let x = graph.push("resize", op, vec![0], vec![to[0], to[1], 2], None);
        graph.push("flatten", Reshape {}, vec![x], vec![to[0] * to[1] * 2], None);
        FloatModel { graph, ..FloatModel::default() }
    }

    /// In floats, 13 / 11 times 11 is less than 13.
    #[test]
    fn an_image_of_a_size_without_a_factor_is_its_rows_and_columns() {
        let model = resized([1, 11], [2, 13], false);
        let file = RawModel::decode(onnx(&model, false).unwrap().as_slice()).unwrap();
        let file = RawGraph::decode(file.graph).unwrap();
        let places = file.initializers[..2].iter().map(|raw| Tensor::decode(raw.clone()).unwrap());
        let places: Vec<u8> = places.flat_map(|places| places.raw.to_vec()).collect();
        let expected = [0i64, 0].into_iter().chain((0..13).map(|at| at * 11 / 13));
        assert_eq!(places, expected.flat_map(i64::to_le_bytes).collect::<Vec<u8>>());
    }

    #[test]
    fn a_selection_gathers_features() {
        let mut graph = Graph::of_input(vec![6]);
        graph.push("select", Select { keep: vec![1, 4] }, vec![0], vec![2], None);
        let file = onnx(&FloatModel { graph, ..FloatModel::default() }, false).unwrap();
        let file = RawModel::decode(file.as_slice()).unwrap();
        let graph = RawGraph::decode(file.graph).unwrap();
        let node = RawNode::decode(graph.nodes[0].clone()).unwrap();
        let places = Tensor::decode(graph.initializers[0].clone()).unwrap();
        let axis = RawAttribute::decode(node.attributes[0].clone()).unwrap();
        assert_eq!((node.operator.as_str(), axis.name.as_str(), axis.int), ("Gather", "axis", 1));
        assert_eq!(node.inputs, ["v0", &places.name]);
        let bytes: Vec<u8> = [1i64, 4].iter().flat_map(|place| place.to_le_bytes()).collect();
        assert_eq!((places.kind, places.raw.to_vec()), (INT64, bytes));
    }
}
