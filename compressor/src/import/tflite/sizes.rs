//! Sizes that the file computes, and the shapes that follow from them.
//!
//! Where the batch is open, Keras computes what a `RESHAPE` needs from the input's shape, by `SHAPE`,
//! `STRIDED_SLICE`, `GATHER`, `REDUCE_PROD` and `PACK`, and the file has placeholders where shapes
//! depend on them. The batch is 1 here, so that all of it is known: it is computed once, before
//! anything is converted, and replaces the placeholders.

use std::borrow::Cow;

use super::convert::{Site, integers};
use super::schema::{Model, Tensor, Type};
use super::slice::{self, Part};
use crate::import::ImportError;

/// Most sizes that are computed at a time: shapes have a handful.
const MAX_SIZES: usize = 64;

/// What is known of an operator's output.
enum Effect {
    /// No more than the file says.
    Nothing,
    /// Its shape.
    Shape(Vec<i32>),
    /// Its values, which are sizes, and its shape.
    Sizes(Vec<i32>, Vec<i64>),
}

/// Computes what can be, in the order of the operators.
pub(super) fn resolve(model: &mut Model<'_>) -> Result<(), ImportError> {
    // Tensors whose shape isn't the file's any more.
    let mut changed = vec![false; model.tensors.len()];
    for index in 0..model.operators.len() {
        let effect = effect(model, index, &changed)?;
        let Some(&output) = model.operators[index].outputs.first() else { continue };
        let Some(tensor) = model.tensors.get_mut(output as usize) else { continue };
        match effect {
            Effect::Nothing => {}
            Effect::Shape(shape) => {
                tensor.shape = shape;
                changed[output as usize] = true;
            }
            Effect::Sizes(shape, numbers) => {
                tensor.shape = shape;
                let bytes = numbers.iter().flat_map(|&number| match tensor.kind {
                    // Sizes of tensors fit; what doesn't can be none.
                    Type::I32 => (number as i32).to_le_bytes().to_vec(),
                    _ => number.to_le_bytes().to_vec(),
                });
                tensor.data = Cow::Owned(bytes.collect());
            }
        }
    }
    Ok(())
}

fn effect(model: &Model<'_>, index: usize, changed: &[bool]) -> Result<Effect, ImportError> {
    let Some(operator) = model.operators.get(index) else { return Ok(Effect::Nothing) };
    let reading = Reading { model, site: Site::new(model, index, operator) };
    let output = operator.outputs.first().and_then(|&id| model.tensors.get(id as usize));
    match output {
        Some(tensor) if matches!(tensor.kind, Type::I32 | Type::I64) => reading.sizes(),
        Some(tensor) => Ok(match reading.shape(tensor, changed)? {
            Some(shape) if shape.iter().all(|&dim| dim > 0) => Effect::Shape(shape),
            _ => Effect::Nothing,
        }),
        None => Ok(Effect::Nothing),
    }
}

/// An operator and what it reads.
struct Reading<'m> {
    model: &'m Model<'m>,
    site: Site<'m>,
}

impl<'m> Reading<'m> {
    fn tensor(&self, place: usize) -> Option<&'m Tensor<'m>> {
        let id = usize::try_from(*self.site.operator.inputs.get(place)?).ok()?;
        self.model.tensors.get(id)
    }

    fn dims(&self, place: usize) -> Option<&'m [i32]> {
        self.tensor(place).map(|tensor| tensor.shape.as_slice())
    }

    /// The integers of an operand, which must be known.
    fn numbers(&self, place: usize) -> Result<Vec<i64>, ImportError> {
        let tensor = self.tensor(place).ok_or_else(|| self.site.missing("an operand"))?;
        if tensor.data.is_empty() && !tensor.shape.contains(&0) {
            let problem = "it computes sizes from values that aren't known before the model runs";
            return Err(self.site.shape_error(problem, &[]));
        }
        if tensor.data.is_empty() { Ok(Vec::new()) } else { integers(&self.site, tensor) }
    }

    /// Whether an option that is a truth value holds.
    fn flag(&self, index: usize) -> Result<bool, ImportError> {
        Ok(self.site.operator.options.map_or(Ok(0), |options| options.i8(index, 0))? != 0)
    }

    /// The sizes that the operator computes. Others with integers as outputs are left alone.
    fn sizes(&self) -> Result<Effect, ImportError> {
        let vector = |numbers: Vec<i64>| Effect::Sizes(vec![numbers.len() as i32], numbers);
        let effect = match self.site.operator.code {
            SHAPE => {
                let dims = self.dims(0).ok_or_else(|| self.site.missing("its input"))?;
                vector(dims.iter().map(|&dim| i64::from(dim)).collect())
            }
            GATHER => {
                let (all, chosen) = (self.numbers(0)?, self.numbers(1)?);
                let pick = |&at: &i64| usize::try_from(at).ok().and_then(|at| all.get(at).copied());
                let picked: Option<Vec<i64>> = chosen.iter().map(pick).collect();
                let picked = picked.ok_or_else(|| self.site.missing("a size"))?;
                let shape = self.dims(1).unwrap_or_default().to_vec();
                Effect::Sizes(shape, picked)
            }
            PACK | CONCATENATION => {
                let parts = (0..self.site.operator.inputs.len()).map(|place| self.numbers(place));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                vector(parts.concat())
            }
            REDUCE_PROD => {
                let numbers = self.numbers(0)?;
                let product = numbers.iter().try_fold(1i64, |all, &one| all.checked_mul(one));
                let product = product.ok_or_else(|| self.site.missing("a size"))?;
                let shape = if self.flag(0)? { vec![1] } else { Vec::new() };
                Effect::Sizes(shape, vec![product])
            }
            code if slice::is_slice(code) => self.part_of_sizes()?,
            ADD | SUB | MUL | FLOOR_DIV | MAXIMUM | MINIMUM => self.arithmetic()?,
            RESHAPE | SQUEEZE | EXPAND_DIMS | CAST => {
                let numbers = self.numbers(0)?;
                let output = self.site.operator.outputs.first();
                let shape = output.and_then(|&id| self.model.tensors.get(id as usize));
                Effect::Sizes(shape.map(|tensor| tensor.shape.clone()).unwrap_or_default(), numbers)
            }
            _ => Effect::Nothing,
        };
        match effect {
            Effect::Sizes(_, numbers) if numbers.len() > MAX_SIZES => Err(ImportError::TooMany {
                what: "sizes in one tensor",
                found: numbers.len(),
                limit: MAX_SIZES,
            }),
            effect => Ok(effect),
        }
    }

    fn part_of_sizes(&self) -> Result<Effect, ImportError> {
        let numbers = self.numbers(0)?;
        let parts = slice::parts(&self.site, self.model)?;
        let &[Part { start, step, count, dropped }] = parts.as_slice() else {
            return Err(self.site.shape_error("only a part of a list of sizes can be taken", &[]));
        };
        let taken: Vec<i64> =
            numbers.iter().skip(start).step_by(step).take(count).copied().collect();
        let shape = if dropped { Vec::new() } else { vec![taken.len() as i32] };
        Ok(Effect::Sizes(shape, taken))
    }

    fn arithmetic(&self) -> Result<Effect, ImportError> {
        let (a, b) = (self.numbers(0)?, self.numbers(1)?);
        let len = a.len().max(b.len());
        let shape = if a.len() >= b.len() { self.dims(0) } else { self.dims(1) };
        let code = self.site.operator.code;
        let each = |(&a, &b): (&i64, &i64)| match code {
            ADD => a.checked_add(b),
            SUB => a.checked_sub(b),
            MUL => a.checked_mul(b),
            FLOOR_DIV => a.checked_div_euclid(b),
            MAXIMUM => Some(a.max(b)),
            _ => Some(a.min(b)),
        };
        let pairs = a.iter().cycle().zip(b.iter().cycle()).take(len);
        let results: Option<Vec<i64>> = pairs.map(each).collect();
        let results = results.filter(|_| [a.len(), b.len()].iter().all(|&n| n == 1 || n == len));
        let results = results.ok_or_else(|| self.site.missing("a size"))?;
        Ok(Effect::Sizes(shape.unwrap_or_default().to_vec(), results))
    }

    /// The output's shape as it follows from what the operator reads; `None` where the file's counts:
    /// there it must fit what is read, which is checked later.
    fn shape(
        &self,
        output: &Tensor<'_>,
        changed: &[bool],
    ) -> Result<Option<Vec<i32>>, ImportError> {
        let Some(input) = self.dims(0) else { return Ok(None) };
        let operands = self.site.operator.inputs.iter();
        let depends = operands.flat_map(|&id| usize::try_from(id)).any(|id| changed[id]);
        if !depends && self.site.operator.code != RESHAPE {
            return Ok(None);
        }
        Ok(match self.site.operator.code {
            RESHAPE => self.reshaped(input)?,
            FULLY_CONNECTED => {
                let keeps = self.flag(2)?;
                self.dims(1).and_then(|weights| product_with(input, weights, keeps))
            }
            EXPAND_DIMS => {
                let rank = input.len() as i64 + 1;
                let axis = self.numbers(1)?.first().copied().unwrap_or_default();
                let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
                let at = usize::try_from(axis).ok().filter(|&at| at <= input.len());
                at.map(|at| [&input[..at], &[1], &input[at..]].concat())
            }
            ADD | SUB | MUL | DIV | MAXIMUM | MINIMUM => {
                self.dims(1).and_then(|other| broadcast(input, other))
            }
            code if slice::is_slice(code) => {
                let parts = slice::parts(&self.site, self.model)?;
                let left = parts.iter().filter(|part| !part.dropped);
                Some(left.map(|part| part.count as i32).collect())
            }
            code if KEEPS.contains(&code) => Some(input.to_vec()),
            _ => None,
        }
        .filter(|shape| *shape != output.shape))
    }

    /// What a `RESHAPE` asks for, if it fits.
    fn reshaped(&self, input: &[i32]) -> Result<Option<Vec<i32>>, ImportError> {
        let target: Vec<i64> = match self.tensor(1) {
            Some(_) => self.numbers(1)?,
            None => match self.site.operator.options {
                Some(options) => options.i32s(0)?.into_iter().map(i64::from).collect(),
                None => return Ok(None),
            },
        };
        let Some(all) = product(input.iter().map(|&dim| i64::from(dim))) else { return Ok(None) };
        let known = product(target.iter().copied().filter(|&dim| dim != -1));
        let rest = known.and_then(|known| all.checked_div(known));
        let sizes = target.iter().map(|&dim| if dim == -1 { rest } else { Some(dim) });
        let sizes: Option<Vec<i32>> =
            sizes.map(|size| size.and_then(|size| i32::try_from(size).ok())).collect();
        let fits = |sizes: &Vec<i32>| {
            product(sizes.iter().map(|&dim| i64::from(dim))) == Some(all) && !sizes.is_empty()
        };
        Ok(sizes.filter(fits))
    }
}

fn product(mut numbers: impl Iterator<Item = i64>) -> Option<i64> {
    numbers.try_fold(1i64, |product, number| product.checked_mul(number))
}

/// Of a product with a matrix of rows × columns.
fn product_with(input: &[i32], weights: &[i32], keeps: bool) -> Option<Vec<i32>> {
    let &[rows, columns] = weights else { return None };
    let (last, before) = input.split_last()?;
    if keeps {
        return (*last == columns).then(|| [before, &[rows]].concat());
    }
    let all = input.iter().try_fold(1i32, |product, &dim| product.checked_mul(dim))?;
    let fits = columns > 0 && all % columns == 0;
    fits.then(|| vec![all / columns, rows])
}

fn broadcast(a: &[i32], b: &[i32]) -> Option<Vec<i32>> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let (before, rest) = long.split_at(long.len() - short.len());
    let pairs = rest.iter().zip(short).map(|(&x, &y)| match (x, y) {
        (x, 1) => Some(x),
        (1, y) => Some(y),
        (x, y) => (x == y).then_some(x),
    });
    let rest: Option<Vec<i32>> = pairs.collect();
    rest.map(|rest| [before, &rest].concat())
}

/// Numbers of operators in the schema.
const ADD: i32 = 0;
const CONCATENATION: i32 = 2;
const FULLY_CONNECTED: i32 = 9;
const MUL: i32 = 18;
const RESHAPE: i32 = 22;
const GATHER: i32 = 36;
const SUB: i32 = 41;
const DIV: i32 = 42;
const SQUEEZE: i32 = 43;
const CAST: i32 = 53;
const MAXIMUM: i32 = 55;
const MINIMUM: i32 = 57;
const EXPAND_DIMS: i32 = 70;
const SHAPE: i32 = 77;
const REDUCE_PROD: i32 = 81;
const PACK: i32 = 83;
const FLOOR_DIV: i32 = 90;
/// Of those whose output has the shape of the input: QUANTIZE, DEQUANTIZE, and activations.
const KEEPS: [i32; 12] = [6, 14, 19, 20, 21, 25, 28, 50, 98, 111, 114, 117];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::tflite::builder::{I8, I32, ModelBuilder};

    /// Dense layers on the three steps of a sequence, as a file with an open batch has them: the shape
    /// of the matrix is computed, and what depends on it is a placeholder.
    fn steps(computed: impl Fn(&mut ModelBuilder, i32) -> i32) -> ModelBuilder {
        let mut builder = ModelBuilder::new();
        let input = builder.tensor(&[1, 3, 2], 0.5, 0);
        let target = computed(&mut builder, input);
        let matrix = builder.tensor(&[1, 1], 0.5, 0);
        builder.operator(RESHAPE, &[input, target], matrix, vec![]);
        let weights = builder.typed(&[2, 2], I8, &[2, 0, 0xff, 4], 0.5, 0); // 2, 0; −1, 4
        let product = builder.tensor(&[1, 2], 0.5, 0);
        builder.operator(FULLY_CONNECTED, &[matrix, weights, -1], product, vec![]);
        let relu = builder.tensor(&[1, 2], 0.5, 0);
        builder.operator(19, &[product], relu, vec![]);
        let back = builder.integers(&[-1, 3, 2]);
        let output = builder.tensor(&[1, 3, 2], 0.5, 0);
        builder.operator(RESHAPE, &[relu, back], output, vec![]);
        (builder.inputs, builder.outputs) = (vec![input], vec![output]);
        builder
    }

    /// A tensor of sizes that an operator writes.
    fn sizes(builder: &mut ModelBuilder, code: i32, inputs: &[i32], count: &[i32]) -> i32 {
        let written = builder.typed(count, I32, &[], 1.0, 0);
        builder.operator(code, inputs, written, vec![]);
        written
    }

    #[test]
    fn sizes_are_computed_and_placeholders_replaced() {
        let builder = steps(|builder, input| {
            let shape = sizes(builder, SHAPE, &[input], &[3]);
            let [first, axis] = [&[0, 1][..], &[0]].map(|numbers| builder.integers(numbers));
            let rows = sizes(builder, GATHER, &[shape, first], &[2]);
            let product = sizes(builder, REDUCE_PROD, &[rows, axis], &[]);
            let two = builder.integers(&[2]);
            sizes(builder, PACK, &[product, two], &[2])
        });
        // Steps of ½ everywhere: half of 2x and of 4y − x, rounded, and not below 0.
        assert_eq!(builder.run(&[2, 4, -3, 1, 10, 0]), [2, 7, 0, 4, 10, 0]);
    }

    #[test]
    fn arithmetic_and_slices_of_sizes() {
        let builder = steps(|builder, input| {
            let shape = sizes(builder, SHAPE, &[input], &[3]);
            let bounds = [[1], [2], [1]].map(|bound| builder.integers(&bound));
            let inputs = [shape, bounds[0], bounds[1], bounds[2]];
            let three = sizes(builder, 45, &inputs, &[1]);
            let two = builder.integers(&[2]);
            let six = sizes(builder, MUL, &[three, two], &[1]);
            let three = sizes(builder, FLOOR_DIV, &[six, two], &[1]);
            sizes(builder, CONCATENATION, &[three, two], &[2])
        });
        assert_eq!(builder.run(&[2, 4, -3, 1, 10, 0]), [2, 7, 0, 4, 10, 0]);
    }

    #[test]
    fn sizes_that_depend_on_values_are_refused() {
        let builder = steps(|builder, input| {
            let axis = builder.integers(&[2]);
            sizes(builder, 56, &[input, axis], &[2]) // ARG_MAX
        });
        let found = builder.refused().to_string();
        assert!(found.contains("RESHAPE") && found.contains("aren't known"), "{found}");
        let many = steps(|builder, _| {
            let all = builder.integers(&[1; 40]);
            sizes(builder, CONCATENATION, &[all, all], &[80])
        });
        let found = many.refused().to_string();
        assert!(found.contains("80 sizes in one tensor"), "{found}");
    }

    #[test]
    fn shapes_follow_from_what_is_read() {
        assert_eq!(product_with(&[50, 4], &[8, 4], false), Some(vec![50, 8]));
        assert_eq!(product_with(&[1, 50, 4], &[8, 4], true), Some(vec![1, 50, 8]));
        assert_eq!(product_with(&[1, 7, 7, 2], &[3, 98], false), Some(vec![1, 3]));
        assert_eq!(product_with(&[5], &[3, 4], false), None);
        assert_eq!(broadcast(&[1, 8, 8, 6], &[1, 1, 6]), Some(vec![1, 8, 8, 6]));
        assert_eq!(broadcast(&[3], &[2]), None);
    }
}
