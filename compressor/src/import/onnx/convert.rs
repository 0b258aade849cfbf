//! From the file's nodes to values and nodes of floats.

use std::collections::HashMap;

use super::FloatModel;
use super::constant::{Constant, Type};
use super::external::Folder;
use super::operators::{self, Import};
use super::order::Order;
use super::schema::{Attribute, Model, Node};
use super::shape::{Shape, kept_dims};
use crate::calibrate::Quantization;
use crate::float_graph::{FloatGraph, Kind, Node as FloatNode, Value, ValueId};
use crate::import::{At, ImportError};

/// Most numbers of all constants together: what the largest file could hold, since one could be
/// named many times.
const MAX_PARAMETERS: usize = bitsback_runtime::format::MAX_FILE_LEN as usize / 4;
/// Most numbers of all values between operators together: the runtime's largest arena.
pub(super) const MAX_ACTIVATIONS: usize = bitsback_runtime::format::MAX_ARENA_LEN as usize;
/// Largest batch that a file may be exported with: nobody exports larger ones, and products with it
/// stay far from overflowing.
const MAX_BATCH: usize = 1 << 16;
/// Longest name that is kept: names are for messages.
const MAX_NAME_LEN: usize = 80;

/// What a tensor of the file has become.
#[derive(Clone, Debug)]
pub(super) enum Tensor {
    Constant(Constant),
    Activation(Activation),
}

/// A tensor that depends on the input.
#[derive(Clone, Debug)]
pub(super) struct Activation {
    pub(super) value: ValueId,
    /// Its ONNX shape without the batch.
    pub(super) dims: Vec<usize>,
    pub(super) order: Order,
}

impl Activation {
    pub(super) fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether its numbers lie as an image's do.
    pub(super) fn is_image(&self) -> bool {
        self.order == Order::channels_last(&self.dims)
    }
}

/// A conversion in progress.
#[derive(Debug)]
pub(super) struct Converter {
    pub(super) model: FloatModel,
    tensors: HashMap<String, Tensor>,
    /// Size of the batch that the file was exported with.
    pub(super) batch: usize,
    /// Version of the standard's operators.
    pub(super) opset: i64,
    pub(super) folder: Folder,
    parameters: usize,
    activations: usize,
}

/// A node and its place, while it is converted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    pub(super) node: &'a Node,
    index: usize,
}

impl<'a> Site<'a> {
    pub(super) fn at(&self) -> At {
        let output = self.node.outputs.first().map_or("", String::as_str);
        let short = |text: &str| -> String { text.chars().take(MAX_NAME_LEN).collect() };
        let operator = match self.node.name.as_str() {
            "" => short(&self.node.operator),
            name => format!("{} `{}`", short(&self.node.operator), short(name)),
        };
        At { index: self.index, operator, output: short(output) }
    }

    pub(super) fn missing(&self, what: &'static str) -> ImportError {
        ImportError::Missing { at: self.at(), what }
    }

    pub(super) fn shape_error(&self, problem: &'static str, shapes: &[&[usize]]) -> ImportError {
        ImportError::Shape { at: self.at(), problem, shapes: format!("{shapes:?}") }
    }

    pub(super) fn unsupported(
        &self,
        what: &'static str,
        found: impl ToString,
        supported: &'static str,
    ) -> ImportError {
        ImportError::Attribute { at: self.at(), what, found: found.to_string(), supported }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.node.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.int)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.float)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.attribute(name).map(|attribute| String::from_utf8_lossy(&attribute.text).into_owned())
    }
}

/// All nodes in turn.
pub(super) fn convert(model: &Model, folder: Folder) -> Result<FloatModel, ImportError> {
    let mut converter = Converter {
        model: FloatModel::default(),
        tensors: HashMap::new(),
        batch: 1,
        opset: model.opset,
        folder,
        parameters: 0,
        activations: 0,
    };
    for tensor in &model.initializers {
        let constant = Constant::read(tensor, &converter.folder)?;
        converter.count(constant.len())?;
        converter.tensors.insert(tensor.name.clone(), Tensor::Constant(constant));
    }
    converter.input(model)?;
    for (index, node) in model.nodes.iter().enumerate() {
        converter.node(&Site { node, index })?;
    }
    match converter.tensors.get(&model.output) {
        Some(Tensor::Activation(output)) => converter.model.graph.output = output.value,
        _ => return Err(ImportError::NotComputed { output: model.output.clone() }),
    }
    let output = converter.tensors.remove(&model.output);
    if let Some(Tensor::Activation(output)) = output
        && !output.order.is_logical()
    {
        converter.model.output_order = (0..output.len()).map(|at| output.order.place(at)).collect();
    }
    Ok(converter.model)
}

impl Converter {
    /// The model's input: images come with their channels last, unless the graph itself begins by
    /// transposing them.
    fn input(&mut self, model: &Model) -> Result<(), ImportError> {
        let input = &model.input;
        let tensor = || input.name.chars().take(MAX_NAME_LEN).collect::<String>();
        let kind = Type::of(input.kind);
        if !matches!(kind, Type::F32 | Type::F16 | Type::F64) {
            let (tensor, found, supported) = (tensor(), kind.name(), "FLOAT");
            return Err(ImportError::Number { tensor, found, supported });
        }
        let [batch, dims @ ..] = input.dims.as_slice() else {
            let problem = "is the input, but has no shape; export with an example input";
            return Err(ImportError::Tensor { tensor: tensor(), problem });
        };
        let dims: Option<Vec<usize>> = dims.iter().copied().collect();
        let dims = dims.filter(|dims| !dims.is_empty()).ok_or_else(|| {
            let problem = "is the input, and a size besides the batch's is open; export with fixed \
                           sizes";
            ImportError::Tensor { tensor: tensor(), problem }
        })?;
        self.batch = batch.unwrap_or(1);
        if self.batch > MAX_BATCH {
            let (what, found) = ("examples in a batch", self.batch);
            return Err(ImportError::TooMany { what, found, limit: MAX_BATCH });
        }
        let mut readers = model.nodes.iter().filter(|node| node.inputs.contains(&input.name));
        let transposed = readers.any(|node| node.operator == "Transpose");
        let has_sequences = dims.len() == 2 && model.nodes.iter().any(reads_sequences(model));
        let image = !transposed && (dims.len() == 3 || has_sequences);
        let shape = if image {
            Shape::image(dims)?
        } else {
            Shape { kept: dims.clone(), dims, order: Order::LOGICAL }
        };
        let activation = self.activation(&input.name, shape.dims, shape.order, shape.kept)?;
        self.model.graph.input = activation.value;
        self.tensors.insert(input.name.clone(), Tensor::Activation(activation));
        Ok(())
    }

    fn node(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let Some(supported) = operators::find(&site.node.operator) else {
            return Err(ImportError::Operator { at: site.at(), supported: operators::names() });
        };
        match supported.import {
            Import::Gemm => self.gemm(site),
            Import::MatMul => self.mat_mul(site),
            Import::Conv => self.conv(site),
            Import::BatchNormalization => self.batch_normalization(site),
            Import::MaxPool => self.pool(site, true),
            Import::AveragePool => self.pool(site, false),
            Import::GlobalAveragePool => self.global_average_pool(site),
            Import::GlobalMaxPool => self.global_max_pool(site),
            Import::ReduceMean => self.reduce_mean(site),
            Import::Add => self.add(site),
            Import::Sub => self.sub(site),
            Import::Mul => self.mul(site),
            Import::Div => self.div(site),
            Import::Relu => self.unary(site, Kind::Clip(0.0, f32::INFINITY)),
            Import::Clip => self.clip(site),
            Import::LeakyRelu => self.unary(site, Kind::LeakyRelu(site.float("alpha", 0.01))),
            Import::Sigmoid => self.unary(site, Kind::Sigmoid),
            Import::Tanh => self.unary(site, Kind::Tanh),
            Import::Softmax => self.softmax(site, Kind::Softmax),
            Import::LogSoftmax => self.softmax(site, Kind::LogSoftmax),
            Import::Concat => self.concat(site),
            Import::Pad => self.pad(site),
            Import::Flatten => self.flatten(site),
            Import::Reshape => self.reshape(site),
            Import::Squeeze => self.squeeze(site),
            Import::Unsqueeze => self.unsqueeze(site),
            Import::Transpose => self.transpose(site),
            Import::Same => self.same(site),
            Import::Constant => self.constant(site),
            Import::Shape => self.shape(site),
            Import::Gather => self.gather(site),
            Import::Slice => self.slice(site),
            Import::Cast => self.cast(site),
            Import::QuantizeLinear => self.quantize_linear(site),
            Import::DequantizeLinear => self.dequantize_linear(site),
        }
    }

    /// What the operand at a place is.
    pub(super) fn operand(
        &self,
        site: &Site<'_>,
        place: usize,
        what: &'static str,
    ) -> Result<Tensor, ImportError> {
        self.optional(site, place)?.ok_or_else(|| site.missing(what))
    }

    /// As [`Converter::operand`], of one that may be left out.
    pub(super) fn optional(
        &self,
        site: &Site<'_>,
        place: usize,
    ) -> Result<Option<Tensor>, ImportError> {
        match site.node.inputs.get(place).filter(|name| !name.is_empty()) {
            None => Ok(None),
            Some(name) => match self.tensors.get(name) {
                Some(tensor) => Ok(Some(tensor.clone())),
                None => Err(site.missing("an operand that nothing before it writes")),
            },
        }
    }

    /// An operand that depends on the input.
    pub(super) fn computed(
        &self,
        site: &Site<'_>,
        place: usize,
    ) -> Result<Activation, ImportError> {
        match self.operand(site, place, "its input")? {
            Tensor::Activation(activation) => Ok(activation),
            Tensor::Constant(constant) => {
                let problem = "it reads a constant where the input's values are supported";
                Err(site.shape_error(problem, &[&constant.dims]))
            }
        }
    }

    /// An operand that doesn't depend on the input.
    pub(super) fn parameter(
        &self,
        site: &Site<'_>,
        place: usize,
        what: &'static str,
    ) -> Result<Constant, ImportError> {
        self.optional_parameter(site, place)?.ok_or_else(|| site.missing(what))
    }

    /// As [`Converter::parameter`], of one that may be left out.
    pub(super) fn optional_parameter(
        &self,
        site: &Site<'_>,
        place: usize,
    ) -> Result<Option<Constant>, ImportError> {
        match self.optional(site, place)? {
            None => Ok(None),
            Some(Tensor::Constant(constant)) => Ok(Some(constant)),
            Some(Tensor::Activation(activation)) => {
                let problem = "it computes its parameters from the input; they must be constants";
                Err(site.shape_error(problem, &[&activation.dims]))
            }
        }
    }

    /// The name of what a node writes.
    fn output(site: &Site<'_>) -> Result<String, ImportError> {
        let name = site.node.outputs.first().filter(|name| !name.is_empty());
        name.cloned().ok_or_else(|| site.missing("its output"))
    }

    /// Makes the node's output another name of something.
    pub(super) fn define(&mut self, site: &Site<'_>, tensor: Tensor) -> Result<(), ImportError> {
        if let Tensor::Constant(constant) = &tensor {
            self.count(constant.len())?;
        }
        let name = Self::output(site)?;
        self.tensors.insert(name, tensor);
        Ok(())
    }

    /// A new value of the shape and order, kept with the given dimensions.
    fn activation(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        order: Order,
        kept: Vec<usize>,
    ) -> Result<Activation, ImportError> {
        let len = dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
        self.activations = self.activations.saturating_add(len);
        let (what, found, limit) = ("values between operators", self.activations, MAX_ACTIVATIONS);
        if found > limit {
            return Err(ImportError::TooMany { what, found, limit });
        }
        let name = name.chars().take(MAX_NAME_LEN).collect();
        self.model.graph.values.push(Value { name, dims: kept, constant: None });
        Ok(Activation { value: self.model.graph.values.len() - 1, dims, order })
    }

    /// Appends a node that writes a value of this shape and order, as the node's output.
    pub(super) fn push(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        inputs: Vec<ValueId>,
        dims: Vec<usize>,
        order: Order,
    ) -> Result<Activation, ImportError> {
        let kept = kept_dims(&dims, &order);
        self.push_kept(site, kind, inputs, Shape { dims, order, kept })
    }

    /// As [`Converter::push`], of an image or a sequence, channels last.
    pub(super) fn push_image(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        input: ValueId,
        dims: Vec<usize>,
    ) -> Result<Activation, ImportError> {
        self.push_images(site, kind, vec![input], dims)
    }

    /// As [`Converter::push_image`], from any number of operands.
    pub(super) fn push_images(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        inputs: Vec<ValueId>,
        dims: Vec<usize>,
    ) -> Result<Activation, ImportError> {
        let shape = Shape::image(dims)?;
        self.push_kept(site, kind, inputs, shape)
    }

    /// As [`Converter::push`], of what has the shape and order of `like`.
    pub(super) fn push_like(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        inputs: Vec<ValueId>,
        like: &Activation,
    ) -> Result<Activation, ImportError> {
        let kept = self.model.graph.values[like.value].dims.clone();
        let shape = Shape { dims: like.dims.clone(), order: like.order.clone(), kept };
        self.push_kept(site, kind, inputs, shape)
    }

    fn push_kept(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        inputs: Vec<ValueId>,
        shape: Shape,
    ) -> Result<Activation, ImportError> {
        let name = Self::output(site)?;
        let written = self.activation(&name, shape.dims, shape.order, shape.kept)?;
        self.append(site, kind, inputs, written.value);
        self.tensors.insert(name, Tensor::Activation(written.clone()));
        Ok(written)
    }

    /// A step of a node that takes several: it gives an image that has no name in the file.
    pub(super) fn step(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        input: ValueId,
        dims: Vec<usize>,
    ) -> Result<Activation, ImportError> {
        let Shape { dims, order, kept } = Shape::image(dims)?;
        let written = self.activation("", dims, order, kept)?;
        self.append(site, kind, vec![input], written.value);
        Ok(written)
    }

    /// As [`Converter::step`], of what has the shape and order of `like`.
    pub(super) fn step_like(
        &mut self,
        site: &Site<'_>,
        kind: Kind,
        like: &Activation,
    ) -> Result<Activation, ImportError> {
        let kept = self.model.graph.values[like.value].dims.clone();
        let written = self.activation("", like.dims.clone(), like.order.clone(), kept)?;
        self.append(site, kind, vec![like.value], written.value);
        Ok(written)
    }

    /// The same numbers in another shape, as the node's output; without an operator where they are
    /// kept with these dimensions already.
    pub(super) fn view(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        dims: Vec<usize>,
        order: Order,
    ) -> Result<(), ImportError> {
        if self.model.graph.values[input.value].dims == kept_dims(&dims, &order) {
            let value = input.value;
            return self.define(site, Tensor::Activation(Activation { value, dims, order }));
        }
        self.push(site, Kind::Reshape, vec![input.value], dims, order).map(drop)
    }

    fn append(&mut self, site: &Site<'_>, kind: Kind, inputs: Vec<ValueId>, output: ValueId) {
        let name = site.at().to_string();
        self.model.graph.nodes.push(FloatNode { name, kind, inputs, output });
    }

    /// A value that doesn't depend on the input, in the order of the value that it meets.
    pub(super) fn constant_value(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        numbers: Vec<f32>,
    ) -> Result<ValueId, ImportError> {
        self.count(numbers.len())?;
        let name = name.chars().take(MAX_NAME_LEN).collect();
        self.model.graph.values.push(Value { name, dims, constant: Some(numbers) });
        Ok(self.model.graph.values.len() - 1)
    }

    /// Counts numbers that are taken out of the file or computed from it.
    pub(super) fn count(&mut self, numbers: usize) -> Result<(), ImportError> {
        self.parameters = self.parameters.saturating_add(numbers);
        let (what, found, limit) = ("parameters", self.parameters, MAX_PARAMETERS);
        if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(()) }
    }

    pub(super) fn graph(&self) -> &FloatGraph {
        &self.model.graph
    }

    /// The file's quantisation of a value.
    pub(super) fn quantization(&self, value: ValueId) -> Option<Quantization> {
        self.model.activations.get(&value).copied()
    }
}

/// Whether a node is a convolution or pooling along one dimension.
fn reads_sequences(model: &Model) -> impl Fn(&Node) -> bool {
    let weights: HashMap<&str, usize> =
        model.initializers.iter().map(|t| (t.name.as_str(), t.dims.len())).collect();
    move |node: &Node| {
        let kernel = node.attributes.iter().find(|attribute| attribute.name == "kernel_shape");
        let rank = node.inputs.get(1).and_then(|name| weights.get(name.as_str()));
        let windowed = ["Conv", "MaxPool", "AveragePool"].contains(&node.operator.as_str());
        windowed && (kernel.is_some_and(|kernel| kernel.ints.len() == 1) || rank == Some(&3))
    }
}
