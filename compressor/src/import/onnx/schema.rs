//! The parts of an ONNX file that are needed, checked for counts.
//!
//! Field numbers are those of `onnx.proto`. [`crate::export`] writes the same messages. Lists of messages are read as bytes first: an empty
//! message takes two bytes of the file but hundreds in memory, so they are counted before they are
//! taken apart.

use prost::Message;
use prost::bytes::Bytes;

use crate::import::{At, ImportError};

/// Most nodes: several times the runtime's 1024 operators, since many take no time.
const MAX_NODES: usize = 16_384;
/// Most tensors with parameters: a node has a handful.
const MAX_INITIALIZERS: usize = 65_536;
/// Most operands of one node: joins have the most, and few have more than a dozen.
const MAX_OPERANDS: usize = 64;
/// Most attributes of one node: no operator of the standard has half as many.
const MAX_ATTRIBUTES: usize = 32;
/// Most dimensions of a tensor: two more than the runtime's, for the batch and a split axis.
pub(super) const MAX_DIMS: usize = 6;
/// Most operator sets: the standard's, and one for each domain of extensions.
const MAX_OPSETS: usize = 64;
/// Most graph inputs: old files list every tensor with parameters there.
const MAX_INPUTS: usize = MAX_INITIALIZERS;
/// The oldest operator set that is read: before it, sums were not broadcast as they are now.
const OLDEST_OPSET: i64 = 7;
/// The newest operator set whose definitions this was written against.
const NEWEST_OPSET: i64 = 28;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawModel {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(crate) producer: String,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) graph: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub(crate) opsets: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawOpset {
    #[prost(string, tag = "1")]
    pub(crate) domain: String,
    #[prost(int64, tag = "2")]
    pub(crate) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawGraph {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) nodes: Vec<Bytes>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(crate) initializers: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(crate) inputs: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub(crate) outputs: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawNode {
    #[prost(string, repeated, tag = "1")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) operator: String,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(crate) attributes: Vec<Bytes>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

/// A named constant of a node. Which field counts follows from the operator.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, tag = "2")]
    pub(crate) float: f32,
    #[prost(int64, tag = "3")]
    pub(crate) int: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) text: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(crate) tensor: Option<Tensor>,
    #[prost(float, repeated, tag = "7")]
    pub(crate) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) ints: Vec<i64>,
    /// The number of its type; readers here go by the operator.
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

/// A tensor whose numbers are in the file, in one of several fields, or in a file beside it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) kind: i32,
    #[prost(float, repeated, tag = "4")]
    pub(crate) floats: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(crate) ints: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(crate) longs: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) raw: Bytes,
    #[prost(message, repeated, tag = "13")]
    pub(crate) external: Vec<Entry>,
    #[prost(int32, tag = "14")]
    pub(crate) location: i32,
}

/// A key and its value.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawValue {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) kind: Option<RawType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawType {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<RawTensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawTensorType {
    #[prost(int32, tag = "1")]
    pub(crate) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<RawShape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawShape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dims: Vec<RawDim>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawDim {
    /// Absent or 0 where the size has a name instead.
    #[prost(int64, tag = "1")]
    pub(crate) value: i64,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

/// An operation of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// What the exporter called it; often nothing.
    pub(crate) name: String,
    /// With its domain, unless that is the standard's.
    pub(crate) operator: String,
    /// Names of tensors; an empty one was left out.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) attributes: Vec<Attribute>,
    /// Its place in the file that it was translated from, if that is of another format.
    pub(crate) origin: Option<At>,
}

/// The model's input.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) name: String,
    /// The number of its type.
    pub(crate) kind: i32,
    /// Dimensions with the batch; `None` where a size is open.
    pub(crate) dims: Vec<Option<usize>>,
}

/// The file's graph.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    pub(crate) initializers: Vec<Tensor>,
    pub(crate) input: Input,
    pub(crate) output: String,
    /// Version of the standard's operators.
    pub(crate) opset: i64,
}

/// Whether the bytes look like an ONNX file, which has no mark of its own: its version, up to
/// 127, comes first, and then one of the fields that follow in every known writer.
pub(super) fn is_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=0x7f, 0x12 | 0x1a | 0x22 | 0x2a | 0x32 | 0x3a | 0x42, ..])
}

impl Model {
    /// Reads the file's messages.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, ImportError> {
        if !is_onnx(bytes) {
            return Err(ImportError::UnknownFormat);
        }
        let model = RawModel::decode(Bytes::copy_from_slice(bytes))?;
        let opset = check_opset(&limited("operator sets", model.opsets, MAX_OPSETS)?)?;
        let graph = RawGraph::decode(model.graph)?;
        let initializers = limited("initializers", graph.initializers, MAX_INITIALIZERS)?;
        let initializers = initializers.into_iter().map(Tensor::decode);
        let initializers = initializers.collect::<Result<Vec<_>, _>>()?;
        for tensor in &initializers {
            check_tensor(tensor)?;
        }
        let nodes = limited("nodes", graph.nodes, MAX_NODES)?;
        let nodes = nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let input = input(limited("inputs", graph.inputs, MAX_INPUTS)?, &initializers)?;
        let output = match graph.outputs.as_slice() {
            [output] => RawValue::decode(output.clone())?.name,
            outputs => return Err(ImportError::NotOne { what: "outputs", found: outputs.len() }),
        };
        Ok(Self { nodes, initializers, input, output, opset })
    }
}

fn limited<T>(what: &'static str, list: Vec<T>, limit: usize) -> Result<Vec<T>, ImportError> {
    let found = list.len();
    if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(list) }
}

/// The version of the standard's operators.
fn check_opset(opsets: &[Bytes]) -> Result<i64, ImportError> {
    let mut found = 1;
    for opset in opsets {
        let opset = RawOpset::decode(opset.clone())?;
        if is_standard(&opset.domain) {
            found = opset.version;
        }
    }
    if (OLDEST_OPSET..=NEWEST_OPSET).contains(&found) {
        return Ok(found);
    }
    Err(ImportError::Opset { found, oldest: OLDEST_OPSET, newest: NEWEST_OPSET })
}

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn check_tensor(tensor: &Tensor) -> Result<(), ImportError> {
    let found = tensor.dims.len();
    let (what, limit) = ("dimensions of one tensor", MAX_DIMS);
    if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(()) }
}

fn node(bytes: Bytes) -> Result<Node, ImportError> {
    let raw = RawNode::decode(bytes)?;
    let inputs = limited("operands of one node", raw.inputs, MAX_OPERANDS)?;
    let outputs = limited("outputs of one node", raw.outputs, MAX_OPERANDS)?;
    let attributes = limited("attributes of one node", raw.attributes, MAX_ATTRIBUTES)?;
    let attributes = attributes.into_iter().map(Attribute::decode);
    let attributes = attributes.collect::<Result<Vec<_>, _>>()?;
    for attribute in &attributes {
        attribute.tensor.as_ref().map_or(Ok(()), check_tensor)?;
    }
    let standard = is_standard(&raw.domain);
    let operator = if standard { raw.operator } else { format!("{}.{}", raw.domain, raw.operator) };
    Ok(Node { name: raw.name, operator, inputs, outputs, attributes, origin: None })
}

/// The only input that isn't a tensor with parameters.
fn input(inputs: Vec<Bytes>, initializers: &[Tensor]) -> Result<Input, ImportError> {
    let known: std::collections::HashSet<&str> =
        initializers.iter().map(|tensor| tensor.name.as_str()).collect();
    let values = inputs.into_iter().map(RawValue::decode).collect::<Result<Vec<_>, _>>()?;
    let mut open: Vec<RawValue> =
        values.into_iter().filter(|value| !known.contains(value.name.as_str())).collect();
    let found = open.len();
    let (Some(value), 1) = (open.pop(), found) else {
        return Err(ImportError::NotOne { what: "inputs", found });
    };
    let tensor = value.kind.and_then(|kind| kind.tensor).unwrap_or_default();
    let dims = limited("dimensions of the input", tensor.shape.unwrap_or_default().dims, MAX_DIMS)?;
    let size = |dim: &RawDim| usize::try_from(dim.value).ok().filter(|&size| size > 0);
    let dims = dims.iter().map(size).collect();
    Ok(Input { name: value.name, kind: tensor.element, dims })
}
