//! Operators that make constants, which are computed when the model is read: numbers, shapes, types.

use super::arithmetic::{broadcast_dims, broadcast_places};
use super::constant::{Constant, Numbers, Type};
use super::convert::Converter;
use super::schema::MAX_DIMS;
use super::site::{Site, Tensor};
use crate::import::ImportError;

impl Converter<'_> {
    /// `Constant`.
    pub(super) fn constant(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let constant = if let Some(attribute) = site.attribute("value") {
            let tensor = attribute.tensor.as_ref().ok_or_else(|| site.missing("its value"))?;
            Constant::read(tensor, self.folder)?
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
            Tensor::Activation(input) => input.whole(self.batch),
        };
        let rank = dims.len() as i64;
        let end = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank);
        let (start, end) = (end(site.int("start", 0)), end(site.int("end", rank)));
        let range = start as usize..end.max(start) as usize;
        let sizes: Vec<i64> = dims[range].iter().map(|&dim| dim as i64).collect();
        self.define(site, Tensor::Constant(Constant::of_ints(vec![sizes.len()], Type::I64, sizes)))
    }

    /// `ConstantOfShape`: one number, as often as the shape says.
    pub(super) fn constant_of_shape(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let dims = self.sizes(site, 0)?;
        let one = match site.attribute("value").and_then(|attribute| attribute.tensor.as_ref()) {
            Some(tensor) => Constant::read(tensor, self.folder)?,
            None => Constant::of_floats(Vec::new(), vec![0.0]),
        };
        if one.len() != 1 {
            return Err(site.missing("the only number of its value"));
        }
        let len = self.counted(&dims)?;
        self.define(site, Tensor::Constant(one.rearranged(dims, &vec![0; len])))
    }

    /// `Expand` of a constant.
    pub(super) fn expand(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let constant = self.parameter(site, 0, "its input")?;
        let wanted = self.sizes(site, 1)?;
        let dims = broadcast_dims(&[&constant.dims, &wanted]);
        let dims = dims
            .ok_or_else(|| site.shape_error("the sizes don't fit", &[&constant.dims, &wanted]))?;
        self.counted(&dims)?;
        let places = broadcast_places(&constant.dims, &dims);
        self.define(site, Tensor::Constant(constant.rearranged(dims, &places)))
    }

    /// `Range` of integers.
    pub(super) fn range(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let mut bounds = [0i64; 3];
        let mut kind = Type::I64;
        for (place, bound) in bounds.iter_mut().enumerate() {
            let constant = self.parameter(site, place, "a bound")?;
            kind = constant.kind;
            *bound = match constant.integers() {
                Some(&[number]) => number,
                _ => return Err(site.missing("an integer as a bound")),
            };
        }
        let [start, limit, step] = bounds.map(i128::from);
        if step == 0 {
            return Err(site.unsupported("the step", 0, "any number but 0"));
        }
        let count = ((limit - start + step - step.signum()) / step).max(0);
        let count = self.counted(&[usize::try_from(count).unwrap_or(usize::MAX)])?;
        let numbers = (0..count as i128).map(|at| (start + at * step) as i64).collect();
        self.define(site, Tensor::Constant(Constant::of_ints(vec![count], kind, numbers)))
    }

    /// The sizes that an operand holds.
    fn sizes(&self, site: &Site<'_>, place: usize) -> Result<Vec<usize>, ImportError> {
        let sizes = self.parameter(site, place, "its shape")?;
        let numbers = sizes.integers().filter(|numbers| numbers.len() <= MAX_DIMS);
        let size = |&number: &i64| usize::try_from(number).ok();
        let sizes = numbers.and_then(|numbers| numbers.iter().map(size).collect());
        sizes.ok_or_else(|| site.missing("a few sizes from 0 on"))
    }

    /// The length of a constant of these dimensions, which is within what may be made.
    pub(super) fn counted(&mut self, dims: &[usize]) -> Result<usize, ImportError> {
        let len = dims.iter().fold(1usize, |product, &dim| product.saturating_mul(dim));
        self.count(len)?;
        Ok(len)
    }

    /// `Cast`: numbers of the input stay floats.
    pub(super) fn cast(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let to = Type::of(i32::try_from(site.int("to", 0)).unwrap_or_default());
        let float = matches!(to, Type::F32 | Type::F16 | Type::F64);
        let integer = matches!(to, Type::I32 | Type::I64 | Type::BOOL);
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
