//! Operators that arrange or gather values: joins, borders, views, sizes, the largest.

use super::convert::{Converter, Site, axis_without_batch, integers};
use crate::graph::ops::{IntegerArgmax, IntegerConcat, IntegerPad};
use crate::graph::{IntegerValue, Origin, ValueId};
use crate::import::ImportError;
use crate::numbers::Quantization;

impl<'a> Converter<'a> {
    /// `RESHAPE`, `SQUEEZE`, `EXPAND_DIMS`: the same bytes.
    pub(super) fn view(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        if self.is_within_blocks(site, false)? {
            return Ok(());
        }
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let (from, to) = (self.of(input), self.of(output));
        if from.len() != to.len() {
            return Err(site.shape_error("sizes must be equal", &[&from.dims, &to.dims]));
        }
        if from.quantization.zero_point != to.quantization.zero_point {
            let (_, tensor) = self.output(site);
            return Err(site.quantization(tensor, "has another zero point than the input"));
        }
        self.make_view(input, output);
        Ok(())
    }

    /// `CONCATENATION`: bytes are copied, whatever their scales.
    pub(super) fn concatenation(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let options = site.operator.options.ok_or_else(|| site.missing("its options"))?;
        let fused = options.i8(1, 0)?;
        if fused != 0 {
            return Err(ImportError::Attribute {
                at: site.at(),
                what: "the fused activation",
                found: format!("number {fused}"),
                supported: "none",
            });
        }
        let count = site.operator.inputs.len();
        let inputs = (0..count).map(|place| self.operand(site, place, "an operand"));
        let inputs = inputs.collect::<Result<Vec<ValueId>, _>>()?;
        let output = self.result(site)?;
        let dims = self.of(output).dims.clone();
        let (_, tensor) = self.output(site);
        let axis = axis_without_batch(tensor, options.i32(0, 0)?);
        let axis = axis.filter(|&axis| axis < dims.len());
        let axis = axis.ok_or_else(|| site.shape_error("the batch can't be joined", &[&dims]))?;
        let fits = |&id: &ValueId| {
            let other = &self.of(id).dims;
            let mut pairs = other.iter().zip(&dims).enumerate();
            other.len() == dims.len() && pairs.all(|(i, (a, b))| i == axis || a == b)
        };
        let along = inputs.iter().map(|&id| self.of(id).dims.get(axis).copied().unwrap_or(0));
        if inputs.is_empty() || !inputs.iter().all(fits) || along.sum::<usize>() != dims[axis] {
            return Err(site.shape_error("operands don't fill the output", &[&dims]));
        }
        self.push(site, IntegerConcat { axis }, inputs, output);
        Ok(())
    }

    /// `PAD` and `PADV2`.
    pub(super) fn pad(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let (_, original) = self.input(site, 0, "its input")?;
        let (_, borders) = self.input(site, 1, "its borders")?;
        let borders = integers(site, borders)?;
        let (from, to) = (self.of(input).clone(), self.of(output).clone());
        let wrong = |problem| site.shape_error(problem, &[&from.dims, &to.dims]);
        let batch = original.shape.len().saturating_sub(from.dims.len());
        let pairs: Vec<&[i64]> = borders.chunks_exact(2).collect();
        let (of_batch, rest) = pairs
            .split_at_checked(batch)
            .ok_or_else(|| wrong("there must be a pair of borders for each dimension"))?;
        if rest.len() != from.dims.len() || rest.len() != to.dims.len() {
            return Err(wrong("there must be a pair of borders for each dimension"));
        }
        if of_batch.iter().any(|pair| **pair != [0, 0]) {
            return Err(wrong("the batch can't be padded"));
        }
        let mut before = Vec::with_capacity(rest.len());
        for ((pair, &inner), &outer) in rest.iter().zip(&from.dims).zip(&to.dims) {
            let sum = pair.iter().try_fold(inner as i64, |sum, &border| sum.checked_add(border));
            let start = u16::try_from(pair[0]).map_err(|_| wrong("a border is out of range"))?;
            if pair[1] < 0 || sum != Some(outer as i64) {
                return Err(wrong("the output's size doesn't follow from the borders"));
            }
            before.push(start);
        }
        let value = match self.optional(site, 2) {
            None => to.quantization.zero_point,
            Some((_, constant)) => match &*constant.data {
                [byte] => *byte as i8,
                _ => return Err(site.missing("the border's value")),
            },
        };
        self.push(site, IntegerPad { before, value }, vec![input], output);
        Ok(())
    }

    /// `TRANSPOSE` that leaves the order of the bytes alone.
    pub(super) fn transpose(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (_, tensor) = self.input(site, 0, "its input")?;
        let (_, order) = self.input(site, 1, "the order of dimensions")?;
        let order = integers(site, order)?;
        let place = |&axis: &i64| usize::try_from(axis).ok().filter(|&a| a < tensor.shape.len());
        let places: Option<Vec<usize>> = order.iter().map(place).collect();
        let places = places.filter(|places| places.len() == tensor.shape.len());
        let places = places.ok_or_else(|| site.missing("a dimension"))?;
        let moved: Vec<usize> = places.into_iter().filter(|&a| tensor.shape[a] != 1).collect();
        if !moved.is_sorted() {
            let dims: Vec<usize> =
                tensor.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default()).collect();
            let problem = "only dimensions of 1 may change their places";
            return Err(site.shape_error(problem, &[&dims]));
        }
        self.view(site)
    }

    /// `GATHER`, `PACK`, …: how Keras computes the sizes for a `RESHAPE`, which were computed when the
    /// file was read. These are others.
    pub(super) fn sizes(&self, site: &Site<'a>) -> Result<(), ImportError> {
        let (_, tensor) = self.output(site);
        let problem = "it isn't supported of the input's values, only of sizes for a RESHAPE";
        let dims = tensor.shape.iter().map(|&dim| usize::try_from(dim).unwrap_or_default());
        Err(site.shape_error(problem, &[&dims.collect::<Vec<_>>()]))
    }

    /// `ARG_MAX` over the last dimension; it gives the position in two bytes.
    pub(super) fn arg_max(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let (_, original) = self.input(site, 0, "its input")?;
        let (_, axis) = self.input(site, 1, "its dimension")?;
        let axis = integers(site, axis)?.first().copied().unwrap_or_default();
        let from = self.of(input).clone();
        let axis = i32::try_from(axis).ok().and_then(|axis| axis_without_batch(original, axis));
        let (id, tensor) = self.output(site);
        if axis != from.dims.len().checked_sub(1) || from.dims.last() != Some(&from.len()) {
            let problem = "the largest value must be sought among all, along the last dimension";
            return Err(site.shape_error(problem, &[&from.dims]));
        }
        if id != self.model.output {
            let (tensor, found) = (tensor.name.clone(), tensor.kind.name());
            let supported = "only the model's output (of INT32 or INT64)";
            return Err(ImportError::Type { at: site.at(), tensor, found, supported });
        }
        let value = IntegerValue {
            name: tensor.name.clone(),
            dims: vec![2],
            quantization: Quantization { scale: 1.0, zero_point: 0 },
            origin: Origin::Computed,
            real: None,
        };
        let output = self.define(id, value);
        self.push(site, IntegerArgmax {}, vec![input], output);
        Ok(())
    }
}
