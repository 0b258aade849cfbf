//! Operators that are computed when the model is read: constants, shapes, types.

use super::constant::{Constant, Numbers, Type};
use super::convert::{Converter, Site, Tensor};
use crate::import::ImportError;

impl Converter {
    /// `Constant`.
    pub(super) fn constant(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let constant = if let Some(attribute) = site.attribute("value") {
            let tensor = attribute.tensor.as_ref().ok_or_else(|| site.missing("its value"))?;
            Constant::read(tensor, &self.folder)?
        } else if site.attribute("value_float").is_some() {
            Constant::of_floats(Vec::new(), vec![site.float("value_float", 0.0)])
        } else if site.attribute("value_int").is_some() {
            Constant::of_ints(Vec::new(), Type::I64, vec![site.int("value_int", 0)])
        } else if let Some(attribute) = site.attribute("value_floats") {
            Constant::of_floats(vec![attribute.floats.len()], attribute.floats.clone())
        } else if let Some(ints) = site.ints("value_ints") {
            Constant::of_ints(vec![ints.len()], Type::I64, ints.to_vec())
        } else {
            return Err(site.missing("its value"));
        };
        self.define(site, Tensor::Constant(constant))
    }

    /// `Identity` and `Dropout`: another name.
    pub(super) fn same(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let operand = self.operand(site, 0, "its input")?;
        self.define(site, operand)
    }

    /// `Shape`.
    pub(super) fn shape(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let dims = match self.operand(site, 0, "its input")? {
            Tensor::Constant(constant) => constant.dims,
            Tensor::Activation(input) => {
                std::iter::once(self.batch).chain(input.dims.iter().copied()).collect()
            }
        };
        let rank = dims.len() as i64;
        let end = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank);
        let (start, end) = (end(site.int("start", 0)), end(site.int("end", rank)));
        let range = start as usize..end.max(start) as usize;
        let sizes: Vec<i64> = dims[range].iter().map(|&dim| dim as i64).collect();
        self.define(site, Tensor::Constant(Constant::of_ints(vec![sizes.len()], Type::I64, sizes)))
    }

    /// `Slice` of a shape: its bounds are operands, or attributes in old files.
    pub(super) fn slice(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let data = self.parameter(site, 0, "its input")?;
        let bound = |place: usize, name: &str| match site.ints(name) {
            Some(&[number]) => Ok::<_, ImportError>(Some(number)),
            _ => {
                let given = self.optional_parameter(site, place)?;
                Ok(given.and_then(|given| given.integers()?.first().copied()))
            }
        };
        let (start, end) = (bound(1, "starts")?, bound(2, "ends")?);
        let (axis, step) = (bound(3, "axes")?.unwrap_or(0), bound(4, "steps")?.unwrap_or(1));
        let (Some(numbers), Some(start), Some(end), 0 | -1, 1, [_]) =
            (data.integers(), start, end, axis, step, data.dims.as_slice())
        else {
            let problem = "only sizes that are neighbours can be taken, out of a shape";
            return Err(site.shape_error(problem, &[&data.dims]));
        };
        let len = numbers.len() as i64;
        let place =
            |at: i64| (if at < 0 { at.saturating_add(len) } else { at }).clamp(0, len) as usize;
        let (start, end) = (place(start), place(end));
        let taken = numbers[start..end.max(start)].to_vec();
        let taken = Constant::of_ints(vec![taken.len()], data.kind, taken);
        self.define(site, Tensor::Constant(taken))
    }

    /// `Gather` out of a shape.
    pub(super) fn gather(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let data = self.parameter(site, 0, "its input")?;
        let indices = self.parameter(site, 1, "its indices")?;
        let (Some(numbers), Some(chosen), [_]) =
            (data.integers(), indices.integers(), data.dims.as_slice())
        else {
            let problem = "only sizes can be gathered, out of a shape";
            return Err(site.shape_error(problem, &[&data.dims, &indices.dims]));
        };
        let len = numbers.len() as i64;
        let pick = |&index: &i64| {
            let index = if index < 0 { index.saturating_add(len) } else { index };
            usize::try_from(index).ok().and_then(|index| numbers.get(index).copied())
        };
        let gathered: Option<Vec<i64>> = chosen.iter().map(pick).collect();
        let gathered = gathered.ok_or_else(|| site.missing("a size"))?;
        self.define(
            site,
            Tensor::Constant(Constant::of_ints(indices.dims.clone(), data.kind, gathered)),
        )
    }

    /// `Cast`: numbers of the input stay floats.
    pub(super) fn cast(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let to = Type::of(i32::try_from(site.int("to", 0)).unwrap_or_default());
        let float = matches!(to, Type::F32 | Type::F16 | Type::F64);
        let integer = matches!(to, Type::I32 | Type::I64);
        let operand = match self.operand(site, 0, "its input")? {
            Tensor::Activation(input) if float => Tensor::Activation(input),
            Tensor::Constant(constant) if float => {
                Tensor::Constant(Constant::of_floats(constant.dims.clone(), constant.floats()))
            }
            Tensor::Constant(constant) if integer => {
                let numbers = match constant.numbers {
                    Numbers::Int(numbers) => numbers,
                    Numbers::Float(numbers) => numbers.iter().map(|&x| x as i64).collect(),
                };
                Tensor::Constant(Constant::of_ints(constant.dims, to, numbers))
            }
            _ => {
                let supported = "FLOAT, or, of constants, INT32 or INT64";
                return Err(site.unsupported("the type", to.name(), supported));
            }
        };
        self.define(site, operand)
    }
}
