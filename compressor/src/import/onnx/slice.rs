//! Parts of tensors: `Slice`, `Gather`, and joins of constants.

use super::constant::{Constant, Numbers};
use super::convert::Converter;
use super::order::{Cut, strides};
use super::shape::Shape;
use super::site::{Activation, Site, Tensor};
use crate::graph::Node;
use crate::graph::ops::{Op, Slice};
use crate::import::ImportError;

/// Bounds along a dimension as the file states them.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    start: i64,
    end: i64,
    step: i64,
}

impl Bounds {
    /// The first step, the distance to the next, and how many there are, of a dimension that long.
    fn resolve(self, len: usize) -> Option<(i64, i64, usize)> {
        let Self { start, end, step } = self;
        let len = i64::try_from(len).ok()?;
        let from_start = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
        let (start, end) = if step > 0 {
            (from_start(start).clamp(0, len), from_start(end).clamp(0, len))
        } else {
            (from_start(start).clamp(-1, len - 1), from_start(end).clamp(-1, len - 1))
        };
        let distance = (i128::from(end) - i128::from(start)) * i128::from(step.signum());
        let count = distance.max(0).checked_add(i128::from(step).abs() - 1)?;
        let count = usize::try_from(count.checked_div(i128::from(step).abs())?).ok()?;
        // Of a single one it says nothing.
        Some((start, if count == 1 { 1 } else { step }, count))
    }
}

impl Converter<'_> {
    /// `Slice`: its bounds are operands, or attributes in old files.
    pub(super) fn slice(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let data = self.operand(site, 0, "its input")?;
        let rank = match &data {
            Tensor::Constant(constant) => constant.dims.len(),
            Tensor::Activation(input) => input.whole(self.batch).len(),
        };
        let bounds = self.bounds(site, rank)?;
        match data {
            Tensor::Constant(constant) => {
                let mut constant = constant;
                for (axis, bounds) in bounds {
                    let dim = constant.dims[axis];
                    let taken = bounds.resolve(dim).ok_or_else(|| site.missing("its bounds"))?;
                    constant = taken_along(&constant, axis, taken);
                }
                self.define(site, Tensor::Constant(constant))
            }
            Tensor::Activation(input) => self.cut(site, input, &bounds),
        }
    }

    /// Each dimension that has bounds, with the batch as 0.
    fn bounds(&self, site: &Site<'_>, rank: usize) -> Result<Vec<(usize, Bounds)>, ImportError> {
        let list = |place: usize, name: &str| -> Result<Option<Vec<i64>>, ImportError> {
            match site.ints(name) {
                Some(numbers) => Ok(Some(numbers.to_vec())),
                None => {
                    let given = self.optional_parameter(site, place)?;
                    Ok(given.and_then(|given| given.integers().map(<[i64]>::to_vec)))
                }
            }
        };
        let starts = list(1, "starts")?.ok_or_else(|| site.missing("integers as its starts"))?;
        let ends = list(2, "ends")?.ok_or_else(|| site.missing("integers as its ends"))?;
        let count = starts.len();
        let axes = list(3, "axes")?.unwrap_or_else(|| (0..count as i64).collect());
        let steps = list(4, "steps")?.unwrap_or_else(|| vec![1; count]);
        if [ends.len(), axes.len(), steps.len()] != [count; 3] || steps.contains(&0) {
            return Err(site.missing("one start, end, axis and step for each dimension"));
        }
        let mut bounds = Vec::with_capacity(count);
        for (at, &axis) in axes.iter().enumerate() {
            let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
            let place = usize::try_from(from_start).ok().filter(|&axis| axis < rank);
            let place = place.ok_or_else(|| {
                site.unsupported("the dimension", axis, "a dimension that there is")
            })?;
            bounds.push((place, Bounds { start: starts[at], end: ends[at], step: steps[at] }));
        }
        Ok(bounds)
    }

    /// A part of an activation, one dimension after the other.
    fn cut(
        &mut self,
        site: &Site<'_>,
        input: Activation,
        bounds: &[(usize, Bounds)],
    ) -> Result<(), ImportError> {
        let (mut input, first) = (input, self.model.graph.nodes.len());
        for &(axis, bounds) in bounds {
            let whole = input.whole(self.batch);
            let resolved = bounds.resolve(whole[axis]);
            let (start, step, count) = resolved.ok_or_else(|| site.missing("its bounds"))?;
            if (start, step, count) == (0, 1, whole[axis]) {
                continue;
            }
            if axis == 0 {
                return Err(site.shape_error("the batch can't be cut", &[&whole]));
            }
            let (Ok(step), Ok(start)) = (usize::try_from(step), usize::try_from(start)) else {
                let supported = "from the start to the end (positive steps)";
                return Err(site.unsupported("the direction of a slice", "backwards", supported));
            };
            if count == 0 {
                return Err(site.shape_error("nothing would be left", &[&whole]));
            }
            let axis = if input.rows { axis } else { axis - 1 };
            input = self.cut_along(site, &input, &Cut { axis, start, step, count }, first)?;
        }
        let shape = self.shape_of(&input);
        self.view(site, input.value, shape)
    }

    /// The steps of one dimension that a cut leaves. Of nodes from `first` on, the last one may be a
    /// slice already, which then does both.
    fn cut_along(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        cut: &Cut,
        first: usize,
    ) -> Result<Activation, ImportError> {
        let Cut { axis, start, step, count } = *cut;
        let whole = input.dims[axis];
        let Some(inner) = run_along(input, axis) else {
            let problem = "the dimension that is cut doesn't lie together in memory";
            return Err(site.shape_error(problem, &[&input.dims]));
        };
        let mut kept = self.kept(input).to_vec();
        let is_cut =
            |at: &usize| kept[*at] == whole && kept[at + 1..].iter().product::<usize>() == inner;
        let place = (0..kept.len()).find(is_cut).unwrap_or_else(|| {
            kept = vec![input.len() / (inner * whole), whole, inner];
            1
        });
        let read = self.arranged(site, input, kept.clone())?;
        kept[place] = count;
        let (dims, order) = (with(&input.dims, axis, count), input.order.cut(&input.dims, cut));
        let natural = Shape::new(dims.clone(), order.clone()).kept;
        let image = Shape { kept, dims, order, rows: input.rows, lineage: input.lineage.clone() };
        let last = self.model.graph.nodes.get_mut(first..).and_then(<[_]>::last_mut);
        let written = match last {
            Some(Node { op: Op::Slice(slice), output, .. }) if *output == read => {
                slice.begin[place] += start * slice.stride[place];
                slice.stride[place] = slice.stride[place].saturating_mul(step);
                let Shape { dims, order, kept, rows, lineage } = image;
                self.model.graph.values[read].dims = kept;
                Activation { value: read, dims, order, rows, lineage }
            }
            _ => {
                let rank = image.kept.len();
                let (begin, stride) =
                    (with(&vec![0; rank], place, start), with(&vec![1; rank], place, step));
                self.step_shape(site, Slice { begin, stride }, read, image)?
            }
        };
        let value = self.arranged(site, &written, natural)?;
        Ok(Activation { value, ..written })
    }

    /// `Gather` of constants; of activations only what is known beforehand.
    pub(super) fn gather(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let data = match self.operand(site, 0, "its input")? {
            Tensor::Constant(data) => data,
            Tensor::Activation(input) => {
                let problem = "it picks values of the input, which isn't supported; slices are";
                return Err(site.shape_error(problem, &[&input.dims]));
            }
        };
        let indices = self.parameter(site, 1, "its indices")?;
        let rank = data.dims.len() as i64;
        let axis = site.int("axis", 0);
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&axis| (axis as i64) < rank);
        let (Some(axis), Some(chosen)) = (axis, indices.integers()) else {
            return Err(site.missing("a dimension or integers as indices"));
        };
        let len = data.dims[axis];
        let pick = |&index: &i64| {
            let index = if index < 0 { index.saturating_add(len as i64) } else { index };
            usize::try_from(index).ok().filter(|&index| index < len)
        };
        let chosen: Option<Vec<usize>> = chosen.iter().map(pick).collect();
        let chosen = chosen.ok_or_else(|| site.missing("what an index names"))?;
        let mut dims = data.dims[..axis].to_vec();
        dims.extend(&indices.dims);
        dims.extend(&data.dims[axis + 1..]);
        self.counted(&dims)?;
        let inner: usize = data.dims[axis + 1..].iter().product();
        let outer: usize = data.dims[..axis].iter().product();
        let places = (0..outer).flat_map(|row| {
            let start = move |index: usize| (row * len + index) * inner;
            chosen.iter().flat_map(move |&index| start(index)..start(index) + inner)
        });
        let places: Vec<usize> = places.collect();
        self.define(site, Tensor::Constant(data.rearranged(dims, &places)))
    }

    /// A join of constants.
    pub(super) fn concat_constants(
        &mut self,
        site: &Site<'_>,
        operands: &[Tensor],
    ) -> Result<(), ImportError> {
        let mut parts: Vec<&Constant> = Vec::with_capacity(operands.len());
        for operand in operands {
            match operand {
                Tensor::Constant(part) => parts.push(part),
                Tensor::Activation(part) => {
                    let problem = "a join of constants and values isn't supported";
                    return Err(site.shape_error(problem, &[&part.dims]));
                }
            }
        }
        let Some(first) = parts.first() else { return Err(site.missing("its operands")) };
        let rank = first.dims.len() as i64;
        let axis = site.int("axis", 0);
        let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&axis| (axis as i64) < rank);
        let axis = axis.ok_or_else(|| site.missing("the dimension that it joins along"))?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for part in &parts {
            let mut pairs = part.dims.iter().zip(&dims).enumerate();
            if part.dims.len() != dims.len() || !pairs.all(|(at, (a, b))| at == axis || a == b) {
                let problem = "all dimensions but the joined one must be equal";
                return Err(site.shape_error(problem, &[&first.dims, &part.dims]));
            }
            dims[axis] = dims[axis].saturating_add(part.dims[axis]);
        }
        self.counted(&dims)?;
        let outer: usize = dims[..axis].iter().product();
        let run = |part: &Constant| part.len() / outer.max(1);
        let whole = parts.iter().all(|part| part.integers().is_some());
        let mut joined = Constant::of_floats(dims, Vec::new());
        if whole {
            let kind = first.kind;
            let rows = (0..outer).flat_map(|row| {
                parts.iter().flat_map(move |part| {
                    let numbers = part.integers().unwrap_or_default();
                    numbers[row * run(part)..][..run(part)].iter().copied()
                })
            });
            joined = Constant { kind, numbers: Numbers::Int(rows.collect()), ..joined };
        } else {
            let floats: Vec<Vec<f32>> = parts.iter().map(|part| part.floats()).collect();
            let rows = (0..outer).flat_map(|row| {
                let parts = parts.iter().zip(&floats);
                parts.flat_map(move |(part, numbers)| {
                    numbers[row * run(part)..][..run(part)].iter().copied()
                })
            });
            joined.numbers = Numbers::Float(rows.collect());
        }
        self.define(site, Tensor::Constant(joined))
    }
}

/// The numbers, of which one is another.
fn with(numbers: &[usize], at: usize, number: usize) -> Vec<usize> {
    let mut numbers = numbers.to_vec();
    numbers[at] = number;
    numbers
}

/// Numbers between neighbours along a dimension as it is kept, if that is the same everywhere.
fn run_along(input: &Activation, axis: usize) -> Option<usize> {
    let (dims, len) = (&input.dims, input.len());
    let stride = strides(dims)[axis];
    let step = |at: usize| input.order.place(at) / stride % dims[axis];
    let inner = (0..len).take_while(|&at| step(at) == 0).count();
    let regular = (0..len).all(|at| step(at) == at / inner.max(1) % dims[axis]);
    (regular && inner > 0 && len.is_multiple_of(inner * dims[axis])).then_some(inner)
}

/// Some steps of a constant's dimension.
fn taken_along(
    constant: &Constant,
    axis: usize,
    (start, step, count): (i64, i64, usize),
) -> Constant {
    let mut dims = constant.dims.clone();
    let len = std::mem::replace(&mut dims[axis], count);
    let inner: usize = dims[axis + 1..].iter().product();
    let outer: usize = dims[..axis].iter().product();
    let along = |at: usize| (start + at as i64 * step) as usize;
    let places = (0..outer).flat_map(|row| {
        (0..count).flat_map(move |at| {
            let first = (row * len + along(at)) * inner;
            first..first + inner
        })
    });
    let places: Vec<usize> = places.collect();
    constant.rearranged(dims, &places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_clamped_and_counted() {
        let resolve = |start, end, step, len| Bounds { start, end, step }.resolve(len);
        assert_eq!(resolve(1, i64::MAX, 1, 5), Some((1, 1, 4)));
        assert_eq!(resolve(-3, -1, 1, 5), Some((2, 1, 2)));
        assert_eq!(resolve(0, 5, 2, 5), Some((0, 2, 3)));
        assert_eq!(resolve(-1, i64::MIN, -1, 4), Some((3, -1, 4)));
        assert_eq!(resolve(4, 2, 1, 5), Some((4, 1, 0)));
        assert_eq!(resolve(9, 12, 1, 5), Some((5, 1, 0)));
        assert_eq!(resolve(1, 5, i64::MAX, 5), Some((1, 1, 1)));
        assert_eq!(resolve(3, 0, i64::MIN, 5), Some((3, 1, 1)));
    }

    #[test]
    fn steps_of_a_constant_are_taken_along_any_dimension() {
        let numbers = (0..6).collect();
        let constant = Constant::of_ints(vec![2, 3], super::super::constant::Type::I64, numbers);
        let columns = taken_along(&constant, 1, (2, -2, 2));
        assert_eq!(
            (columns.dims.as_slice(), columns.integers()),
            (&[2, 2][..], Some(&[2, 0, 5, 3][..]))
        );
        let row = taken_along(&constant, 0, (1, 1, 1));
        assert_eq!(row.integers(), Some(&[3, 4, 5][..]));
    }
}
