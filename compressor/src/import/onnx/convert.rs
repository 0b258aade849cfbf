//! From the file's nodes to values and nodes of floats.

use std::collections::HashMap;

use super::FloatModel;
use super::constant::{Constant, Type};
use super::external::Folder;
use super::operators;
use super::order::Order;
use super::schema::Model;
use super::shape::{Shape, check_len};
use super::site::{Activation, MAX_NAME_LEN, Site, Tensor};
use crate::data::Layout;
use crate::graph::ops::Reshape;
use crate::graph::{Computation, Node, Value, ValueId};
use crate::import::ImportError;
use crate::import::layout::{Evidence, Lineage};
use crate::numbers::Quantization;

/// Most numbers of all constants together: what the largest file could hold, since one could be
/// named many times.
const MAX_PARAMETERS: usize = bitsback_runtime::format::MAX_FILE_LEN as usize / 4;
/// Most numbers of all values between operators together: the runtime's largest arena.
pub(super) const MAX_ACTIVATIONS: usize = bitsback_runtime::format::MAX_ARENA_LEN as usize;
/// Largest batch that a file may be exported with: nobody exports larger ones, and products with it
/// stay far from overflowing.
const MAX_BATCH: usize = 1 << 16;
/// A conversion in progress.
#[derive(Debug)]
pub(super) struct Converter<'f> {
    pub(super) model: FloatModel,
    tensors: HashMap<String, Tensor>,
    /// Size of the batch that the file was exported with.
    pub(super) batch: usize,
    /// Version of the standard's operators.
    pub(super) opset: i64,
    pub(super) folder: &'f Folder,
    /// What the operators so far say about the input's order.
    pub(super) evidence: Evidence,
    parameters: usize,
    activations: usize,
}

impl<'f> Converter<'f> {
    pub(super) fn new(model: &Model, folder: &'f Folder) -> Self {
        Self {
            model: FloatModel::default(),
            tensors: HashMap::new(),
            batch: 1,
            opset: model.opset,
            folder,
            evidence: Evidence::default(),
            parameters: 0,
            activations: 0,
        }
    }

    /// What a name stands for so far.
    pub(super) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The parameters.
    pub(super) fn initializers(&mut self, model: &Model) -> Result<(), ImportError> {
        for tensor in &model.initializers {
            let constant = Constant::read(tensor, self.folder)?;
            self.count(constant.len())?;
            self.tensors.insert(tensor.name.clone(), Tensor::Constant(constant));
        }
        Ok(())
    }

    /// The model's input, whose dimensions have that order in the file: it is kept channels last.
    pub(super) fn input(&mut self, model: &Model, layout: Layout) -> Result<(), ImportError> {
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
        // Products of the dimensions are taken from here on.
        if check_len(&dims).is_err() {
            let problem = "is the input, and has more numbers than the 67108864 values between \
                           operators that the runtime has room for; export for a smaller one";
            return Err(ImportError::Tensor { tensor: tensor(), problem });
        }
        let rank = dims.len();
        let moved = layout == Layout::ChannelsFirst && matches!(rank, 2 | 3);
        let shape = if moved { Shape::image(dims)? } else { Shape::logical(dims) };
        let shape = Shape { lineage: Lineage::of_input(rank), ..shape };
        self.evidence = Evidence::of_rank(if matches!(rank, 2 | 3) { rank } else { 0 });
        let activation = self.activation(&input.name, shape)?;
        self.model.graph.input = activation.value;
        self.tensors.insert(input.name.clone(), Tensor::Activation(activation));
        Ok(())
    }

    pub(super) fn node(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match operators::find(&site.node.operator) {
            Some(supported) => self.import(site, supported.import),
            None => Err(ImportError::Operator { at: site.at(), supported: operators::names() }),
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

    /// An operand that depends on the input, with the batch as a dimension of its own.
    pub(super) fn computed(
        &self,
        site: &Site<'_>,
        place: usize,
    ) -> Result<Activation, ImportError> {
        let activation = self.computed_rows(site, place)?;
        if activation.rows {
            let problem = "the batch and another dimension are one there; it must stay first";
            return Err(site.shape_error(problem, &[&activation.dims]));
        }
        Ok(activation)
    }

    /// As [`Converter::computed`], also of rows that the batch is a part of.
    pub(super) fn computed_rows(
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

    /// A new value of the shape.
    fn activation(&mut self, name: &str, shape: Shape) -> Result<Activation, ImportError> {
        let Shape { dims, order, kept, rows, lineage } = shape;
        self.count_activations(&dims)?;
        let name = name.chars().take(MAX_NAME_LEN).collect();
        self.model.graph.values.push(Value { name, dims: kept, constant: None });
        let value = self.model.graph.values.len() - 1;
        Ok(Activation { value, dims, order, rows, lineage })
    }

    fn count_activations(&mut self, dims: &[usize]) -> Result<(), ImportError> {
        let len = dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
        self.activations = self.activations.saturating_add(len);
        let (what, found, limit) = ("values between operators", self.activations, MAX_ACTIVATIONS);
        if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(()) }
    }

    /// The shape of an activation, as it is kept.
    pub(super) fn shape_of(&self, like: &Activation) -> Shape {
        Shape {
            dims: like.dims.clone(),
            order: like.order.clone(),
            kept: self.kept(like).to_vec(),
            rows: like.rows,
            lineage: like.lineage.clone(),
        }
    }

    /// The dimensions that an activation is kept with.
    pub(super) fn kept(&self, activation: &Activation) -> &[usize] {
        &self.model.graph.values[activation.value].dims
    }

    /// Appends a node that writes a value of this shape and order, as the node's output.
    pub(super) fn push(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        inputs: Vec<ValueId>,
        dims: Vec<usize>,
        order: Order,
    ) -> Result<Activation, ImportError> {
        self.push_shape(site, op, inputs, Shape::new(dims, order))
    }

    /// As [`Converter::push`], of an image or a sequence, channels last.
    pub(super) fn push_image(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        input: ValueId,
        dims: Vec<usize>,
    ) -> Result<Activation, ImportError> {
        self.push_shape(site, op, vec![input], Shape::image(dims)?)
    }

    /// As [`Converter::push`], of what has the shape and order of `like`.
    pub(super) fn push_like(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        inputs: Vec<ValueId>,
        like: &Activation,
    ) -> Result<Activation, ImportError> {
        let shape = self.shape_of(like);
        self.push_shape(site, op, inputs, shape)
    }

    /// As [`Converter::push`], of that shape.
    pub(super) fn push_shape(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        inputs: Vec<ValueId>,
        shape: Shape,
    ) -> Result<Activation, ImportError> {
        let name = Self::output(site)?;
        let written = self.activation(&name, shape)?;
        self.append(site, op, inputs, written.value);
        self.tensors.insert(name, Tensor::Activation(written.clone()));
        Ok(written)
    }

    /// A step of a node that takes several: it gives an image that has no name in the file.
    pub(super) fn step(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        input: ValueId,
        dims: Vec<usize>,
    ) -> Result<Activation, ImportError> {
        self.step_shape(site, op, input, Shape::image(dims)?)
    }

    /// As [`Converter::step`], of that shape.
    pub(super) fn step_shape(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        input: ValueId,
        shape: Shape,
    ) -> Result<Activation, ImportError> {
        self.step_of(site, op, vec![input], shape)
    }

    /// As [`Converter::step_shape`], from any number of operands.
    pub(super) fn step_of(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        inputs: Vec<ValueId>,
        shape: Shape,
    ) -> Result<Activation, ImportError> {
        let written = self.activation("", shape)?;
        self.append(site, op, inputs, written.value);
        Ok(written)
    }

    /// The numbers of an activation as they are, kept with the given dimensions.
    pub(super) fn arranged(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        kept: Vec<usize>,
    ) -> Result<ValueId, ImportError> {
        if *self.kept(input) == kept {
            return Ok(input.value);
        }
        let shape = Shape { kept, ..self.shape_of(input) };
        Ok(self.step_shape(site, Reshape {}, input.value, shape)?.value)
    }

    /// The same numbers in another shape, as the node's output; without an operator where they are
    /// kept with these dimensions already.
    pub(super) fn view(
        &mut self,
        site: &Site<'_>,
        value: ValueId,
        shape: Shape,
    ) -> Result<(), ImportError> {
        if self.model.graph.values[value].dims == shape.kept {
            // Its order takes memory, too.
            self.count_activations(&shape.dims)?;
            let Shape { dims, order, rows, lineage, .. } = shape;
            let view = Activation { value, dims, order, rows, lineage };
            return self.define(site, Tensor::Activation(view));
        }
        self.push_shape(site, Reshape {}, vec![value], shape).map(drop)
    }

    fn append(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
        inputs: Vec<ValueId>,
        output: ValueId,
    ) {
        let name = site.at().to_string();
        self.model.graph.nodes.push(Node::new(name, op, inputs, output));
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

    /// The file's quantisation of a value.
    pub(super) fn quantization(&self, value: ValueId) -> Option<Quantization> {
        self.model.activations.get(&value).copied()
    }
}
