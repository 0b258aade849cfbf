//! From the file's tensors and operators to values and nodes.

use std::collections::HashMap;

use bitsback_runtime::format::{Clamp, MAX_FILE_LEN};
use bitsback_runtime::requantize::Multiplier;

use super::dilated::SpaceToBatch;
use super::operators;
use super::schema::{Model, Operator, Tensor, Type};
use crate::compile::ByteMap;
use crate::graph::{IntegerGraph, IntegerNode, IntegerOp, IntegerValue, Matrix, Origin, ValueId};
use crate::import::{At, ImportError};
use crate::numbers::Quantization;
use crate::numbers::multiplier;

/// Most parameters that are taken out of a file, in all: a small file could name one buffer many
/// times, and a model file can't hold more anyway.
const MAX_PARAMETERS: usize = MAX_FILE_LEN as usize;

/// A conversion in progress.
pub(super) struct Converter<'a> {
    pub(super) model: &'a Model<'a>,
    pub(super) graph: IntegerGraph,
    /// How raw bytes become inputs.
    bytes: Option<ByteMap>,
    /// The value that each tensor became.
    values: Vec<Option<ValueId>>,
    /// Tensors between `SPACE_TO_BATCH_ND` and its counterpart.
    pub(super) batched: HashMap<usize, SpaceToBatch<'a>>,
    parameters: usize,
}

/// An operator and its place, while it is converted.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) operator: &'a Operator<'a>,
    index: usize,
    output_name: &'a str,
}

impl<'a> Site<'a> {
    /// The operator of that position.
    pub(super) fn new(model: &'a Model<'a>, index: usize, operator: &'a Operator<'a>) -> Self {
        let output = operator.outputs.first().and_then(|&id| model.tensors.get(id as usize));
        let output_name = output.map_or("", |tensor| tensor.name.as_str());
        Self { operator, index, output_name }
    }

    /// Whether all that the operator writes are sizes, which were computed when the file was read.
    pub(super) fn is_of_sizes(&self, model: &Model<'_>) -> bool {
        let known = |&id: &i32| {
            let tensor = model.tensors.get(id as usize);
            tensor.is_some_and(|tensor| {
                matches!(tensor.kind, Type::I32 | Type::I64) && !tensor.data.is_empty()
            })
        };
        !self.operator.outputs.is_empty() && self.operator.outputs.iter().all(known)
    }

    pub(super) fn at(&self) -> At {
        At {
            index: self.index,
            operator: operators::name(self.operator.code, &self.operator.custom),
            output: self.output_name.to_owned(),
        }
    }

    pub(super) fn shape_error(&self, problem: &'static str, shapes: &[&[usize]]) -> ImportError {
        ImportError::Shape { at: self.at(), problem, shapes: format!("{shapes:?}") }
    }

    pub(super) fn missing(&self, what: &'static str) -> ImportError {
        ImportError::Missing { at: self.at(), what }
    }

    pub(super) fn quantization(&self, tensor: &Tensor<'_>, problem: &'static str) -> ImportError {
        ImportError::Quantization { at: self.at(), tensor: tensor.name.clone(), problem }
    }
}

/// All operators in turn.
pub(super) fn convert(model: &Model<'_>) -> Result<(IntegerGraph, Option<ByteMap>), ImportError> {
    let mut converter = Converter {
        model,
        graph: IntegerGraph::default(),
        bytes: None,
        values: vec![None; model.tensors.len()],
        batched: HashMap::new(),
        parameters: 0,
    };
    // Conversions at the model's ends are left to the caller: the model takes and gives int8.
    let mut ends = (model.input, model.output);
    for (index, operator) in model.operators.iter().enumerate() {
        converter.operator(&Site::new(model, index, operator), &mut ends)?;
    }
    let end = |converter: &mut Converter<'_>, what: &str, tensor: usize| {
        converter.value(tensor, || At {
            index: 0,
            operator: what.to_owned(),
            output: model.tensors[tensor].name.clone(),
        })
    };
    converter.graph.input = end(&mut converter, "the model's input", ends.0)?;
    converter.graph.output = end(&mut converter, "the model's output", ends.1)?;
    Ok((converter.graph, converter.bytes))
}

impl<'a> Converter<'a> {
    fn operator(&mut self, site: &Site<'a>, ends: &mut (usize, usize)) -> Result<(), ImportError> {
        if site.is_of_sizes(self.model) {
            return Ok(());
        }
        let Some(supported) = operators::find(site.operator.code) else {
            return Err(ImportError::Operator { at: site.at(), supported: operators::names() });
        };
        let (found, newest) = (site.operator.version, supported.max_version);
        if found > newest {
            let at = site.at();
            return Err(ImportError::OperatorVersion { at, found, supported: newest });
        }
        if site.operator.outputs.len() != 1 {
            return Err(site.missing("its only output"));
        }
        (supported.integers)(self, site, ends)
    }

    /// The tensor at a place of the operator's inputs.
    pub(super) fn input(
        &self,
        site: &Site<'a>,
        place: usize,
        what: &'static str,
    ) -> Result<(usize, &'a Tensor<'a>), ImportError> {
        self.optional(site, place).ok_or_else(|| site.missing(what))
    }

    /// As [`Converter::input`], of one that may be left out.
    pub(super) fn optional(
        &self,
        site: &Site<'a>,
        place: usize,
    ) -> Option<(usize, &'a Tensor<'a>)> {
        let id = usize::try_from(*site.operator.inputs.get(place)?).ok()?;
        Some((id, self.model.tensors.get(id)?))
    }

    /// The tensor that the operator writes.
    pub(super) fn output(&self, site: &Site<'a>) -> (usize, &'a Tensor<'a>) {
        // Checked by the schema and by `operator`.
        let id = site.operator.outputs[0] as usize;
        (id, &self.model.tensors[id])
    }

    /// The int8 value of an operand.
    pub(super) fn operand(
        &mut self,
        site: &Site<'a>,
        place: usize,
        what: &'static str,
    ) -> Result<ValueId, ImportError> {
        let (id, _) = self.input(site, place, what)?;
        if self.batched.contains_key(&id) {
            return Err(self.between(site));
        }
        self.value(id, || site.at())
    }

    /// The int8 value that the operator writes.
    pub(super) fn result(&mut self, site: &Site<'a>) -> Result<ValueId, ImportError> {
        let (id, _) = self.output(site);
        self.value(id, || site.at())
    }

    /// The int8 value of a tensor, made when it is met first.
    fn value(&mut self, id: usize, at: impl Fn() -> At) -> Result<ValueId, ImportError> {
        if let Some(value) = self.values[id] {
            return Ok(value);
        }
        let tensor = &self.model.tensors[id];
        if tensor.kind != Type::I8 {
            let (tensor, found) = (tensor.name.clone(), tensor.kind.name());
            return Err(ImportError::Type { at: at(), tensor, found, supported: "INT8" });
        }
        let quantization =
            |problem| ImportError::Quantization { at: at(), tensor: tensor.name.clone(), problem };
        let (scale, zero_point) = per_tensor(tensor).map_err(quantization)?;
        let dims = dims(tensor).map_err(|problem| ImportError::Shape {
            at: at(),
            problem,
            shapes: format!("{:?}", tensor.shape),
        })?;
        let origin = if tensor.data.is_empty() {
            Origin::Computed
        } else {
            let len = dims.iter().fold(1, |product: usize, &dim| product.saturating_mul(dim));
            if len != tensor.data.len() {
                return Err(ImportError::Missing { at: at(), what: "a part of a constant" });
            }
            self.count(len)?;
            Origin::Constant(tensor.data.iter().map(|&byte| byte as i8).collect())
        };
        let quantization = Quantization { scale, zero_point };
        let (name, real) = (tensor.name.clone(), None);
        let value = IntegerValue { name, dims, quantization, origin, real };
        self.graph.values.push(value);
        let value = self.graph.values.len() - 1;
        self.values[id] = Some(value);
        Ok(value)
    }

    /// The value of a tensor that isn't int8.
    pub(super) fn define(&mut self, id: usize, value: IntegerValue) -> ValueId {
        self.graph.values.push(value);
        let value = self.graph.values.len() - 1;
        self.values[id] = Some(value);
        value
    }

    /// Counts parameters that are taken over.
    pub(super) fn count(&mut self, parameters: usize) -> Result<(), ImportError> {
        self.parameters = self.parameters.saturating_add(parameters);
        let (found, limit) = (self.parameters, MAX_PARAMETERS);
        let what = "parameters";
        if found > limit { Err(ImportError::TooMany { what, found, limit }) } else { Ok(()) }
    }

    /// Appends the node of an operator.
    pub(super) fn push(
        &mut self,
        site: &Site<'a>,
        op: impl Into<IntegerOp>,
        inputs: Vec<ValueId>,
        output: ValueId,
    ) {
        let (name, op) = (site.at().to_string(), op.into());
        self.graph.nodes.push(IntegerNode { name, op, inputs, output, parameters: None });
    }

    /// As [`Converter::push`], of a layer.
    pub(super) fn push_layer(
        &mut self,
        site: &Site<'a>,
        op: impl Into<IntegerOp>,
        layer: Matrix,
        inputs: Vec<ValueId>,
        output: ValueId,
    ) {
        let (name, op, parameters) = (site.at().to_string(), op.into(), Some(layer));
        self.graph.nodes.push(IntegerNode { name, op, inputs, output, parameters });
    }

    /// Makes the output of an operator a view of `of`.
    pub(super) fn make_view(&mut self, of: ValueId, output: ValueId) {
        if of != output {
            self.graph.values[output].origin = Origin::View(of, 0);
        }
    }

    /// The map of raw bytes to inputs.
    pub(super) fn set_bytes(&mut self, map: ByteMap) {
        self.bytes = Some(map);
    }

    pub(super) fn of(&self, id: ValueId) -> &IntegerValue {
        &self.graph.values[id]
    }
}

/// A tensor's only scale and zero point.
pub(super) fn per_tensor(tensor: &Tensor<'_>) -> Result<(f32, i8), &'static str> {
    let ([scale], [zero_point]) = (tensor.scales.as_slice(), tensor.zero_points.as_slice()) else {
        return Err("doesn't have exactly one scale and one zero point");
    };
    if !(scale.is_finite() && *scale > 0.0) {
        return Err("has a scale that is no positive number");
    }
    let zero_point = i8::try_from(*zero_point).map_err(|_| "has a zero point beyond int8")?;
    Ok((*scale, zero_point))
}

/// Dimensions without the batch, which must be 1 where there is one.
fn dims(tensor: &Tensor<'_>) -> Result<Vec<usize>, &'static str> {
    let positive = |&dim: &i32| usize::try_from(dim).ok().filter(|&dim| dim > 0);
    let dims: Option<Vec<usize>> = tensor.shape.iter().map(positive).collect();
    let mut dims = dims.ok_or("a dimension is not known or not positive")?;
    if dims.is_empty() {
        return Ok(vec![1]);
    }
    if dims.len() > 1 && dims[0] == 1 {
        dims.remove(0);
    }
    Ok(dims)
}

/// The place of a dimension of the file among those without the batch.
pub(super) fn axis_without_batch(tensor: &Tensor<'_>, axis: i32) -> Option<usize> {
    let rank = tensor.shape.len() as i32;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    let has_batch = rank > 1 && tensor.shape.first() == Some(&1);
    let axis = if has_batch { axis - 1 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| (axis as i32) < rank)
}

/// The constant integers of a tensor of indices.
pub(super) fn integers(site: &Site<'_>, tensor: &Tensor<'_>) -> Result<Vec<i64>, ImportError> {
    let numbers: Vec<i64> = match tensor.kind {
        Type::I32 => {
            let chunks = tensor.data.as_chunks::<4>().0;
            chunks.iter().map(|&chunk| i64::from(i32::from_le_bytes(chunk))).collect()
        }
        Type::I64 => {
            let chunks = tensor.data.as_chunks::<8>().0;
            chunks.iter().map(|&chunk| i64::from_le_bytes(chunk)).collect()
        }
        other => {
            let (tensor, found) = (tensor.name.clone(), other.name());
            let supported = "INT32 or INT64";
            return Err(ImportError::Type { at: site.at(), tensor, found, supported });
        }
    };
    if numbers.is_empty() {
        return Err(site.missing("a constant"));
    }
    Ok(numbers)
}

/// A fused activation as the range of the output. Limits are divided and rounded in single
/// precision, as TensorFlow Lite does.
pub(super) fn activation(
    site: &Site<'_>,
    code: i8,
    output: &IntegerValue,
) -> Result<Clamp, ImportError> {
    let (scale, zero_point) =
        (output.quantization.scale, f64::from(output.quantization.zero_point));
    let at = |real: f32| {
        let q = zero_point + f64::from((real / scale).round());
        q.clamp(f64::from(i8::MIN), f64::from(i8::MAX)) as i8
    };
    match code {
        0 => Ok(Clamp::NONE),
        1 => Ok(Clamp { min: at(0.0), max: i8::MAX }),
        2 => Ok(Clamp { min: at(-1.0), max: at(1.0) }),
        3 => Ok(Clamp { min: at(0.0), max: at(6.0) }),
        other => Err(ImportError::Attribute {
            at: site.at(),
            what: "the fused activation",
            found: format!("number {other}"),
            supported: "none, RELU, RELU_N1_TO_1 or RELU6",
        }),
    }
}

/// A multiplier that may be negative.
pub(super) fn signed_multiplier(factor: f64) -> Multiplier {
    let magnitude = multiplier(factor.abs());
    if factor < 0.0 { Multiplier { value: -magnitude.value, ..magnitude } } else { magnitude }
}
