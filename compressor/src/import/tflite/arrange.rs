//! Operators that arrange or gather values: joins, borders, means, views, sizes, the largest.

use bitsback_runtime::format::{Clamp, Window};

use super::convert::{Converter, Site, axis_without_batch, integers};
use super::schema::Type;
use crate::import::ImportError;
use crate::integer_graph::{Kind, Origin, Value, ValueId};
use crate::lower::multiplier::multiplier;

impl<'a> Converter<'a> {
    /// `RESHAPE`, `SQUEEZE`, `EXPAND_DIMS`: the same bytes.
    pub(super) fn view(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let (from, to) = (self.of(input), self.of(output));
        if from.len() != to.len() {
            return Err(site.shape_error("sizes must be equal", &[&from.dims, &to.dims]));
        }
        if from.zero_point != to.zero_point {
            let (_, tensor) = self.output(site);
            return Err(site.quantization(tensor, "has another zero point than the input"));
        }
        self.make_view(input, output);
        Ok(())
    }

    /// `CONCATENATION`: bytes are copied, whatever their scales.
    pub(super) fn concatenation(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (_, written) = self.output(site);
        if written.kind == Type::I32 {
            return self.sizes(site);
        }
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
        self.push(site, Kind::Concat(axis), inputs, output);
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
            None => to.zero_point,
            Some((_, constant)) => match constant.data {
                [byte] => *byte as i8,
                _ => return Err(site.missing("the border's value")),
            },
        };
        self.push(site, Kind::Pad(before, value), vec![input], output);
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

    /// `SHAPE`, `STRIDED_SLICE`, `PACK`, …: how Keras computes the sizes for a `RESHAPE`, whose output
    /// has them in the file, too.
    pub(super) fn sizes(&self, site: &Site<'a>) -> Result<(), ImportError> {
        let (_, tensor) = self.output(site);
        if matches!(tensor.kind, Type::I32 | Type::I64) {
            return Ok(());
        }
        let (tensor, found) = (tensor.name.clone(), tensor.kind.name());
        let supported = "INT32 or INT64 (sizes, for a RESHAPE)";
        Err(ImportError::Type { at: site.at(), tensor, found, supported })
    }

    /// What `MEAN` and `REDUCE_MAX` read and write; they must go over all dimensions but the last.
    fn reduced(&mut self, site: &Site<'a>) -> Result<(ValueId, ValueId), ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let (_, original) = self.input(site, 0, "its input")?;
        let (_, axes) = self.input(site, 1, "its dimensions")?;
        let axes = integers(site, axes)?;
        let (from, to) = (self.of(input), self.of(output));
        let rank = from.dims.len();
        let mut reduced = vec![false; rank];
        for axis in axes {
            let axis = i32::try_from(axis).ok().and_then(|axis| axis_without_batch(original, axis));
            if let Some(flag) = axis.and_then(|axis| reduced.get_mut(axis)) {
                *flag = true;
            }
        }
        let channels = from.dims.last().copied().unwrap_or(1);
        // A dimension of 1 may be left out: it makes no difference.
        let inner = reduced.iter().zip(&from.dims).take(rank.saturating_sub(1));
        let all = inner.fold(true, |all, (&reduced, &dim)| all && (reduced || dim == 1));
        if !all || reduced.last() == Some(&true) && channels > 1 || to.len() != channels {
            let problem = "it must go over all dimensions but the batch and the last";
            return Err(site.shape_error(problem, &[&from.dims, &to.dims]));
        }
        Ok((input, output))
    }

    /// `MEAN`.
    pub(super) fn mean(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (input, output) = self.reduced(site)?;
        let (from, to) = (self.of(input), self.of(output));
        let channels = from.dims.last().copied().unwrap_or(1);
        let count = u32::try_from(from.len() / channels.max(1)).unwrap_or(u32::MAX);
        let factor = multiplier(f64::from(from.scale) / f64::from(to.scale)).over(count);
        self.push(site, Kind::Mean(factor, Clamp::NONE), vec![input], output);
        Ok(())
    }

    /// `REDUCE_MAX`: one window over everything.
    pub(super) fn reduce_max(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (input, output) = self.reduced(site)?;
        let (from, to) = (self.of(input).clone(), self.of(output).clone());
        if (from.scale, from.zero_point) != (to.scale, to.zero_point) {
            let (_, tensor) = self.output(site);
            return Err(site.quantization(tensor, "has another scale than the input"));
        }
        let channels = to.len();
        let rows = from.len() / channels.max(1);
        let height = u16::try_from(rows)
            .map_err(|_| site.shape_error("the image is too large", &[&from.dims]))?;
        let mut image = |value: Value, dims: Vec<usize>, origin| {
            self.graph.values.push(Value { dims, origin, ..value });
            self.graph.values.len() - 1
        };
        let read = image(from, vec![rows, 1, channels], Origin::View(input));
        let written = image(to, vec![1, 1, channels], Origin::Computed);
        self.make_view(written, output);
        let window = Window { size: [height, 1], stride: [1, 1], padding: [0, 0] };
        self.push(site, Kind::MaxPool2d(window, Clamp::NONE), vec![read], written);
        Ok(())
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
        let value = Value {
            name: tensor.name.clone(),
            dims: vec![2],
            scale: 1.0,
            zero_point: 0,
            origin: Origin::Computed,
        };
        let output = self.define(id, value);
        self.push(site, Kind::Argmax, vec![input], output);
        Ok(())
    }
}
