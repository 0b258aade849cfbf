//! `STRIDED_SLICE` and `SLICE`: parts of a tensor, and where these are.

use super::convert::{Converter, Site, integers};
use super::operators;
use super::schema::{Model, Tensor};
use crate::graph::ops::IntegerSlice;
use crate::graph::{IntegerValue, Origin};
use crate::import::ImportError;

/// Number of `SLICE` in the schema.
pub(super) const SLICE: i32 = 65;

/// What is left of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) step: usize,
    pub(super) count: usize,
    /// Whether the dimension itself goes.
    pub(super) dropped: bool,
}

/// What an operator leaves of each of its input's dimensions.
pub(super) fn parts(site: &Site<'_>, model: &Model<'_>) -> Result<Vec<Part>, ImportError> {
    let operand = |place: usize| -> Result<&Tensor<'_>, ImportError> {
        let id = site.operator.inputs.get(place).and_then(|&id| usize::try_from(id).ok());
        let tensor = id.and_then(|id| model.tensors.get(id));
        tensor.ok_or_else(|| site.missing("a bound of its slice"))
    };
    let shape = &operand(0)?.shape;
    let bounds = |place| integers(site, operand(place)?);
    let (starts, ends) = (bounds(1)?, bounds(2)?);
    if site.operator.code == SLICE {
        let sizes = starts.iter().zip(&ends).zip(shape);
        let parts = sizes.map(|((&start, &size), &dim)| {
            let rest = i64::from(dim).checked_sub(start)?;
            let count = if size < 0 { rest } else { size.min(rest) };
            let (start, count) = (usize::try_from(start).ok()?, usize::try_from(count).ok()?);
            Some(Part { start, step: 1, count, dropped: false })
        });
        let parts: Option<Vec<Part>> = parts.collect();
        let fitting = parts.filter(|parts| parts.len() == shape.len());
        return fitting.ok_or_else(|| site.missing("a bound of its slice"));
    }
    let steps = bounds(3)?;
    let mask = |index| site.operator.options.map_or(Ok(0), |options| options.i32(index, 0));
    let [begin, end, ellipsis, new, shrunk] = [mask(0)?, mask(1)?, mask(2)?, mask(3)?, mask(4)?];
    let from_start = site.operator.options.map_or(Ok(0), |options| options.i8(5, 0))? != 0;
    if ellipsis != 0 || new != 0 {
        return Err(ImportError::Attribute {
            at: site.at(),
            what: "the ellipsis or new dimensions of its slice",
            found: format!("{ellipsis} and {new}"),
            supported: "none",
        });
    }
    let mut parts = Vec::with_capacity(shape.len());
    for (axis, &dim) in shape.iter().enumerate() {
        let has = |mask: i32| axis < 32 && mask >> axis & 1 == 1;
        // Damaged files may say less than nothing.
        let len = i64::from(dim.max(0));
        let whole = Part { start: 0, step: 1, count: len as usize, dropped: false };
        let given = starts.get(axis).zip(ends.get(axis)).zip(steps.get(axis));
        let Some(((&start, &stop), &step)) = given else {
            parts.push(whole);
            continue;
        };
        let step = usize::try_from(step).ok().filter(|&step| step > 0);
        let step = step.ok_or_else(|| ImportError::Attribute {
            at: site.at(),
            what: "the direction of its slice",
            found: "backwards".to_owned(),
            supported: "from the start to the end",
        })?;
        let place = |at: i64| (if at < 0 { at.saturating_add(len) } else { at }).clamp(0, len);
        let start = if has(begin) { 0 } else { place(start) };
        let stop = match () {
            () if has(shrunk) => start.saturating_add(1).min(len),
            () if has(end) => len,
            () if from_start => place(stop.saturating_add(start)),
            () => place(stop),
        };
        let count = usize::try_from(stop - start).unwrap_or_default().div_ceil(step);
        parts.push(Part { start: start as usize, step, count, dropped: has(shrunk) });
    }
    Ok(parts)
}

impl<'a> Converter<'a> {
    /// The bytes that a slice leaves.
    pub(super) fn slice(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let (id, _) = self.output(site);
        let input = self.operand(site, 0, "its input")?;
        let (_, original) = self.input(site, 0, "its input")?;
        let mut parts = parts(site, self.model)?;
        let output = self.result(site)?;
        let (from, to) = (self.of(input).clone(), self.of(output).clone());
        if from.quantization != to.quantization {
            let tensor = &self.model.tensors[id];
            return Err(site.quantization(tensor, "has another scale than the input"));
        }
        // The batch of 1 is no dimension here.
        let batch = original.shape.len().saturating_sub(from.dims.len()).min(parts.len());
        parts.drain(..batch);
        let small = |number: usize| u16::try_from(number).ok();
        let bounds = parts
            .iter()
            .map(|part| small(part.start).zip(small(part.step)).filter(|_| part.count > 0));
        let bounds: Option<Vec<_>> = bounds.collect();
        let (Some(bounds), dims) =
            (bounds, parts.iter().map(|part| part.count).collect::<Vec<_>>())
        else {
            return Err(site.shape_error("a bound of the slice is out of range", &[&from.dims]));
        };
        if dims.iter().product::<usize>() != to.len() {
            let problem = "the output's size doesn't follow from the slice";
            return Err(site.shape_error(problem, &[&from.dims, &to.dims]));
        }
        if dims == from.dims {
            self.make_view(input, output);
            return Ok(());
        }
        let (begin, stride) = bounds.into_iter().unzip();
        self.graph.values.push(IntegerValue { dims, origin: Origin::Computed, ..to });
        let cut = self.graph.values.len() - 1;
        self.push(site, IntegerSlice { begin, stride }, vec![input], cut);
        self.make_view(cut, output);
        Ok(())
    }
}

/// Whether an operator is one of these.
pub(super) fn is_slice(code: i32) -> bool {
    operators::find(code).is_some_and(|operator| matches!(operator.name, "SLICE" | "STRIDED_SLICE"))
}

#[cfg(test)]
mod tests {
    use crate::import::tflite::builder::{Field, Fields, ModelBuilder};

    const STRIDED: i32 = 45;

    /// A slice of 2 × 3 × 4 values with the batch before them.
    fn sliced(code: i32, to: &[i32], bounds: &[&[i32]], options: Fields) -> ModelBuilder {
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 2, 3, 4], 0.5, 7);
        let mut operands = vec![input];
        operands.extend(bounds.iter().map(|numbers| builder.integers(numbers)));
        let output = builder.tensor(to, 0.5, 7);
        builder.operator(code, &operands, output, options);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        builder
    }

    fn inputs() -> Vec<i8> {
        (0..24).map(|at| at * 10 - 120).collect()
    }

    /// What is left of rows, columns and channels.
    fn expected(rows: &[usize], columns: &[usize], channels: &[usize]) -> Vec<i8> {
        let places = rows.iter().flat_map(|row| {
            columns.iter().flat_map(move |column| {
                channels.iter().map(move |channel| (row * 3 + column) * 4 + channel)
            })
        });
        places.map(|at| inputs()[at]).collect()
    }

    #[test]
    fn any_dimension_can_be_cut() {
        let strided = |to: &[i32], bounds: [&[i32]; 3], options| {
            sliced(STRIDED, to, &bounds, options).run(&inputs())
        };
        let all = [0, 0, 0, 0];
        let inner = strided(&[1, 1, 2, 4], [&[0, 1, 1, 0], &[1, 2, 3, 4], &[1; 4]], vec![]);
        assert_eq!(inner, expected(&[1], &[1, 2], &[0, 1, 2, 3]));
        let steps = strided(&[1, 2, 2, 2], [&all, &[1, 2, 3, 4], &[1, 1, 2, 3]], vec![]);
        assert_eq!(steps, expected(&[0, 1], &[0, 2], &[0, 3]));
        let negative = strided(&[1, 2, 3, 2], [&[0, 0, 0, -3], &[1, 2, 3, -1], &[1; 4]], vec![]);
        assert_eq!(negative, expected(&[0, 1], &[0, 1, 2], &[1, 2]));
        // Ends that are counted from the beginnings.
        let counted = vec![(5, Field::I8(1))];
        let counted = strided(&[1, 1, 2, 2], [&[0, 1, 1, 1], &[1, 1, 2, 2], &[1; 4]], counted);
        assert_eq!(counted, expected(&[1], &[1, 2], &[1, 2]));
        // Bounds that masks leave out, and a dimension that goes.
        let masks = vec![(0, Field::I32(0b1001)), (1, Field::I32(0b1111)), (4, Field::I32(0b0100))];
        let masked = strided(&[1, 1, 4], [&[9, 1, 2, 9], &all, &[1; 4]], masks);
        assert_eq!(masked, expected(&[1], &[2], &[0, 1, 2, 3]));
        let sized = sliced(super::SLICE, &[1, 1, 2, 2], &[&[0, 1, 0, 2], &[1, -1, 2, 2]], vec![]);
        assert_eq!(sized.run(&inputs()), expected(&[1], &[0, 1], &[2, 3]));
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let backwards =
            sliced(STRIDED, &[1, 2, 3, 4], &[&[0; 4], &[1, 2, 3, 4], &[1, 1, -1, 1]], vec![]);
        let error = backwards.refused().to_string();
        assert!(error.contains("STRIDED_SLICE") && error.contains("backwards"), "{error}");
        let mut empty = sliced(STRIDED, &[1, 2, 3, 4], &[&[0; 4], &[1, 2, 3, 4], &[1; 4]], vec![]);
        empty.tensors[0][0] = (0, Field::I32s(vec![1, 2, -3, 4]));
        empty.refused();
        let size = sliced(STRIDED, &[1, 2, 3, 3], &[&[0; 4], &[1, 2, 3, 2], &[1; 4]], vec![]);
        let error = size.refused().to_string();
        assert!(error.contains("doesn't follow from the slice"), "{error}");
    }
}
