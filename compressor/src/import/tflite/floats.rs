//! Models of floats: written down as ONNX nodes, whose reader folds transpositions, constants and
//! shapes, and from there on like any ONNX model.
//!
//! TensorFlow Lite has channels last, ONNX first: images are transposed before a window and back
//! behind it, which costs nothing, as that reader only remembers it.

mod layers;

use std::collections::{HashMap, HashSet};

use prost::bytes::Bytes;

use super::convert::{Site, integers};
use super::operators;
use super::schema::{Model, Tensor, Type};
use crate::import::flatbuffer::Table;
use crate::import::onnx::{self, FloatModel, schema};
use crate::import::{At, ImportError};

/// Version of ONNX's operators that is written.
const OPSET: i64 = 17;
/// `TensorProto.DataType`.
const FLOAT: i32 = 1;
const HALF: i32 = 10;
const INT64: i32 = 7;
/// Most weights that are taken out of a file, in all: one buffer could be named many times.
const MAX_WEIGHTS: usize = bitsback_runtime::format::MAX_FILE_LEN as usize / 4;
/// Operators that int8 models can't have here: DIV, LOG_SOFTMAX, MAXIMUM, MINIMUM, RELU_N1_TO_1.
const DIV: i32 = 42;
const LOG_SOFTMAX: i32 = 50;
const MAXIMUM: i32 = 55;
const MINIMUM: i32 = 57;
const RELU_N1_TO_1: i32 = 20;
/// Channels before rows and columns, and behind them.
pub(super) const FIRST: [i64; 4] = [0, 3, 1, 2];
pub(super) const LAST: [i64; 4] = [0, 2, 3, 1];

/// The graph of a model of floats.
pub(super) fn convert(model: &Model<'_>) -> Result<FloatModel, ImportError> {
    let mut writer = Writer {
        model,
        names: names(&model.tensors),
        nodes: Vec::new(),
        initializers: Vec::new(),
        known: HashSet::new(),
        steps: 0,
        weights: 0,
    };
    for (index, operator) in model.operators.iter().enumerate() {
        let site = Site::new(model, index, operator);
        if !site.is_of_sizes(model) {
            writer.operator(&site)?;
        }
    }
    let input = &model.tensors[model.input];
    let dims = input.shape.iter().map(|&dim| usize::try_from(dim).ok().filter(|&dim| dim > 0));
    let graph = schema::Model {
        input: schema::Input {
            name: writer.names[model.input].clone(),
            kind: if input.kind == Type::F32 { FLOAT } else { 0 },
            dims: dims.collect(),
        },
        output: writer.names[model.output].clone(),
        nodes: writer.nodes,
        initializers: writer.initializers,
        opset: OPSET,
    };
    onnx::channels_last(&graph)
}

/// A name for each tensor that no other has.
fn names(tensors: &[Tensor<'_>]) -> Vec<String> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let unique = |(at, tensor): (usize, &'_ Tensor<'_>), taken: &mut usize| {
        *taken += 1;
        if *taken == 1 && !tensor.name.is_empty() {
            tensor.name.clone()
        } else {
            format!("{} ({at})", tensor.name)
        }
    };
    let mut names = Vec::with_capacity(tensors.len());
    for (at, tensor) in tensors.iter().enumerate() {
        names.push(unique((at, tensor), taken.entry(tensor.name.as_str()).or_default()));
    }
    names
}

pub(super) struct Writer<'m> {
    model: &'m Model<'m>,
    names: Vec<String>,
    nodes: Vec<schema::Node>,
    initializers: Vec<schema::Tensor>,
    /// Tensors that are initializers already.
    known: HashSet<usize>,
    /// Values so far that have no name in the file.
    steps: usize,
    weights: usize,
}

pub(super) fn ints(name: &str, ints: &[i64]) -> schema::Attribute {
    schema::Attribute { name: name.to_owned(), ints: ints.to_vec(), ..Default::default() }
}

/// A word.
pub(super) fn text(name: &str, text: &'static str) -> schema::Attribute {
    schema::Attribute { name: name.to_owned(), text: text.as_bytes().into(), ..Default::default() }
}

pub(super) fn int(name: &str, int: i64) -> schema::Attribute {
    schema::Attribute { name: name.to_owned(), int, ..Default::default() }
}

impl<'m> Writer<'m> {
    fn operator(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        match site.operator.code {
            DIV => return self.binary(site, "Div"),
            MAXIMUM => return self.binary(site, "Max"),
            MINIMUM => return self.binary(site, "Min"),
            LOG_SOFTMAX => {
                return self.node(site, "LogSoftmax", &[&x], &output, vec![int("axis", -1)]);
            }
            RELU_N1_TO_1 => return self.activated(site, 2, &x, &output),
            _ => {}
        }
        let Some(supported) = operators::find(site.operator.code) else {
            return Err(ImportError::Operator { at: site.at(), supported: operators::names() });
        };
        (supported.floats)(self, site)
    }

    /// An operator of one operand without attributes. The model gives what is before an `ARG_MAX`, and a
    /// tensor of halves that is made floats stays one: these do nothing.
    pub(super) fn unary(&mut self, site: &Site<'m>, operator: &str) -> Result<(), ImportError> {
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        self.node(site, operator, &[&x], &output, vec![])
    }

    /// `RELU` and `RELU6`, by the numbers of fused activations.
    pub(super) fn rectified(&mut self, site: &Site<'m>, code: i8) -> Result<(), ImportError> {
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        self.activated(site, code, &x, &output)
    }

    /// `LEAKY_RELU`.
    pub(super) fn leaky_relu(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let alpha = site.operator.options.map_or(Ok(0.0), |options| options.f32(0, 0.0))?;
        let alpha = schema::Attribute { float: alpha, ..int("alpha", 0) };
        self.node(site, "LeakyRelu", &[&x], &output, vec![alpha])
    }

    /// `TRANSPOSE`.
    pub(super) fn transpose(&mut self, site: &Site<'m>) -> Result<(), ImportError> {
        let (x, output) = (self.operand(site, 0)?, self.output(site)?);
        let order = integers(site, self.tensor(site, 1)?)?;
        self.node(site, "Transpose", &[&x], &output, vec![ints("perm", &order)])
    }

    fn id(&self, site: &Site<'m>, place: usize) -> Result<usize, ImportError> {
        let id = site.operator.inputs.get(place).and_then(|&id| usize::try_from(id).ok());
        id.ok_or_else(|| site.missing("an operand"))
    }

    pub(super) fn tensor(
        &self,
        site: &Site<'m>,
        place: usize,
    ) -> Result<&'m Tensor<'m>, ImportError> {
        Ok(&self.model.tensors[self.id(site, place)?])
    }

    fn has(&self, site: &Site<'m>, place: usize) -> bool {
        self.id(site, place).is_ok()
    }

    fn options(&self, site: &Site<'m>) -> Result<Table<'m>, ImportError> {
        site.operator.options.ok_or_else(|| site.missing("its options"))
    }

    /// The name of an operand; constants become initializers when they are met first.
    pub(super) fn operand(&mut self, site: &Site<'m>, place: usize) -> Result<String, ImportError> {
        let id = self.id(site, place)?;
        let tensor = &self.model.tensors[id];
        if !tensor.data.is_empty() && self.known.insert(id) {
            let written = self.constant(site, tensor, self.names[id].clone())?;
            self.initializers.push(written);
        }
        Ok(self.names[id].clone())
    }

    pub(super) fn output(&self, site: &Site<'m>) -> Result<String, ImportError> {
        match site.operator.outputs.as_slice() {
            [id] => Ok(self.names[*id as usize].clone()),
            _ => Err(site.missing("its only output")),
        }
    }

    /// A constant as floats, or as the integers that it is.
    fn constant(
        &mut self,
        site: &Site<'m>,
        tensor: &Tensor<'m>,
        name: String,
    ) -> Result<schema::Tensor, ImportError> {
        if tensor.sparse {
            return Err(ImportError::Attribute {
                at: site.at(),
                what: "the weights' storage",
                found: "sparse".to_owned(),
                supported: "dense storage",
            });
        }
        self.weights = self.weights.saturating_add(tensor.data.len());
        if self.weights > 4 * MAX_WEIGHTS {
            let (what, found, limit) = ("bytes of weights", self.weights, 4 * MAX_WEIGHTS);
            return Err(ImportError::TooMany { what, found, limit });
        }
        let dims: Vec<i64> = tensor.shape.iter().map(|&dim| i64::from(dim)).collect();
        let kind = match tensor.kind {
            Type::F32 => FLOAT,
            Type::F16 => HALF,
            Type::I64 => INT64,
            Type::I32 => 6,
            Type::I8 => {
                let floats = dequantized(site, tensor)?;
                return Ok(schema::Tensor {
                    name,
                    dims,
                    kind: FLOAT,
                    floats,
                    ..Default::default()
                });
            }
            other => {
                let (tensor, found) = (tensor.name.clone(), other.name());
                let supported = "FLOAT32, FLOAT16 or INT8";
                return Err(ImportError::Type { at: site.at(), tensor, found, supported });
            }
        };
        let raw = Bytes::copy_from_slice(&tensor.data);
        Ok(schema::Tensor { name, dims, kind, raw, ..Default::default() })
    }

    /// Integers that the file has elsewhere, as an operand.
    pub(super) fn longs(&mut self, numbers: &[i64]) -> String {
        let name = self.fresh();
        let (dims, longs) = (vec![numbers.len() as i64], numbers.to_vec());
        let tensor =
            schema::Tensor { name: name.clone(), dims, kind: INT64, longs, ..Default::default() };
        self.initializers.push(tensor);
        name
    }

    fn number(&mut self, number: f32) -> String {
        let name = self.fresh();
        let (kind, floats) = (FLOAT, vec![number]);
        let tensor = schema::Tensor { name: name.clone(), kind, floats, ..Default::default() };
        self.initializers.push(tensor);
        name
    }

    /// A name that no tensor of the file has: theirs have no control characters in front.
    fn fresh(&mut self) -> String {
        self.steps += 1;
        format!("\u{1}{}", self.steps)
    }

    pub(super) fn node(
        &mut self,
        site: &Site<'m>,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<schema::Attribute>,
    ) -> Result<(), ImportError> {
        let origin: At = site.at();
        self.nodes.push(schema::Node {
            name: String::new(),
            operator: operator.to_owned(),
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: vec![output.to_owned()],
            attributes,
            origin: Some(origin),
        });
        Ok(())
    }

    /// As [`Writer::node`], of a value without a name.
    pub(super) fn step(
        &mut self,
        site: &Site<'m>,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<schema::Attribute>,
    ) -> Result<String, ImportError> {
        let output = self.fresh();
        self.node(site, operator, inputs, &output, attributes)?;
        Ok(output)
    }

    pub(super) fn transposed(
        &mut self,
        site: &Site<'m>,
        x: &str,
        order: &[i64],
    ) -> Result<String, ImportError> {
        self.step(site, "Transpose", &[x], vec![ints("perm", order)])
    }

    /// A fused activation by its number in the schema, or the same value by another name.
    fn activated(
        &mut self,
        site: &Site<'m>,
        code: i8,
        x: &str,
        output: &str,
    ) -> Result<(), ImportError> {
        let limits = match code {
            0 => return self.node(site, "Identity", &[x], output, vec![]),
            1 => return self.node(site, "Relu", &[x], output, vec![]),
            2 => [-1.0, 1.0],
            3 => [0.0, 6.0],
            4 => return self.node(site, "Tanh", &[x], output, vec![]),
            other => {
                return Err(ImportError::Attribute {
                    at: site.at(),
                    what: "the fused activation",
                    found: format!("number {other}"),
                    supported: "none, RELU, RELU_N1_TO_1, RELU6 or TANH",
                });
            }
        };
        let [low, high] = limits.map(|limit| self.number(limit));
        self.node(site, "Clip", &[x, &low, &high], output, vec![])
    }
}

/// The real numbers of weights with one scale, or one for each step of a dimension.
fn dequantized(site: &Site<'_>, tensor: &Tensor<'_>) -> Result<Vec<f32>, ImportError> {
    let wrong = |problem| site.quantization(tensor, problem);
    if tensor.zero_points.iter().any(|&zero_point| zero_point != 0) {
        return Err(wrong("has weights whose zero point isn't 0"));
    }
    let size = |&dim: &i32| usize::try_from(dim).unwrap_or_default();
    let axis = usize::try_from(tensor.axis).unwrap_or_default();
    let along = tensor.shape.get(axis).map_or(1, size);
    let inner: usize = tensor.shape.iter().skip(axis + 1).map(size).product();
    let scales = &tensor.scales;
    if scales.len() != 1 && scales.len() != along || scales.is_empty() || inner == 0 {
        return Err(wrong("needs one scale, or one for each output channel"));
    }
    let real = |(at, &byte): (usize, &u8)| {
        f32::from(byte as i8) * scales[at / inner % along.max(1) % scales.len()]
    };
    Ok(tensor.data.iter().enumerate().map(real).collect())
}
