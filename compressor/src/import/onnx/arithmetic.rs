//! Arithmetic on constants: shapes that exporters compute.

use super::constant::{Constant, Numbers, Type};
use super::convert::Converter;
use super::order::strides;
use super::site::{Site, Tensor};
use crate::import::ImportError;

impl Converter<'_> {
    /// An operator on two constants, number by number.
    pub(super) fn computed_constant(
        &mut self,
        site: &Site<'_>,
        a: &Constant,
        b: &Constant,
    ) -> Result<(), ImportError> {
        let dims = broadcast_dims(&[&a.dims, &b.dims]);
        let dims =
            dims.ok_or_else(|| site.shape_error("the constants don't fit", &[&a.dims, &b.dims]))?;
        self.counted(&dims)?;
        let of = |constant: &Constant| {
            constant.rearranged(dims.clone(), &broadcast_places(&constant.dims, &dims))
        };
        let (x, y) = (of(a), of(b));
        let operator = site.node.operator.as_str();
        let result = match (&x.numbers, &y.numbers) {
            (Numbers::Int(x), Numbers::Int(y)) => {
                let each = |(&x, &y): (&i64, &i64)| integer(operator, x, y);
                let numbers: Option<Vec<i64>> = x.iter().zip(y).map(each).collect();
                let numbers = numbers.ok_or_else(|| site.missing("a finite result"))?;
                let kind = if operator == "Equal" { Type::BOOL } else { a.kind };
                Constant::of_ints(dims, kind, numbers)
            }
            _ => {
                let (x, y) = (x.floats(), y.floats());
                let each = |(&x, &y): (&f32, &f32)| real(operator, x, y);
                let numbers: Option<Vec<f32>> = x.iter().zip(&y).map(each).collect();
                let numbers = numbers.ok_or_else(|| site.missing("integers as operands"))?;
                Constant::of_floats(dims, numbers)
            }
        };
        self.define(site, Tensor::Constant(result))
    }

    /// `Equal`, `Mod` and the like, which are known of constants alone.
    pub(super) fn binary_constant(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let a = self.parameter(site, 0, "its first operand")?;
        let b = self.parameter(site, 1, "its second operand")?;
        self.computed_constant(site, &a, &b)
    }

    /// `Neg`, `Floor`, `Ceil` of constants.
    pub(super) fn unary_constant(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let constant = self.parameter(site, 0, "its operand")?;
        let numbers = match (site.node.operator.as_str(), &constant.numbers) {
            ("Neg", Numbers::Int(all)) => {
                Numbers::Int(all.iter().map(|x| x.wrapping_neg()).collect())
            }
            ("Neg", Numbers::Float(all)) => Numbers::Float(all.iter().map(|x| -x).collect()),
            ("Floor", Numbers::Float(all)) => {
                Numbers::Float(all.iter().map(|x| x.floor()).collect())
            }
            (_, Numbers::Float(all)) => Numbers::Float(all.iter().map(|x| x.ceil()).collect()),
            (_, Numbers::Int(_)) => return Err(site.missing("floats as its operand")),
        };
        self.define(site, Tensor::Constant(Constant { numbers, scales: None, ..constant }))
    }

    /// `Where` of constants.
    pub(super) fn choice(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let condition = self.parameter(site, 0, "its condition")?;
        let a = self.parameter(site, 1, "its first choice")?;
        let b = self.parameter(site, 2, "its second choice")?;
        let shapes = [condition.dims.as_slice(), &a.dims, &b.dims];
        let dims = broadcast_dims(&shapes);
        let dims = dims.ok_or_else(|| site.shape_error("the constants don't fit", &shapes))?;
        self.counted(&dims)?;
        let places = |constant: &Constant| broadcast_places(&constant.dims, &dims);
        let first: Vec<bool> = condition
            .rearranged(dims.clone(), &places(&condition))
            .floats()
            .iter()
            .map(|&number| number != 0.0)
            .collect();
        let [x, y] = [&a, &b].map(|constant| constant.rearranged(dims.clone(), &places(constant)));
        let result = match (&x.numbers, &y.numbers) {
            (Numbers::Int(x), Numbers::Int(y)) => {
                Constant::of_ints(dims, a.kind, chosen(&first, x, y))
            }
            _ => Constant::of_floats(dims, chosen(&first, &x.floats(), &y.floats())),
        };
        self.define(site, Tensor::Constant(result))
    }

    /// `ReduceProd` of integers: over all of them.
    pub(super) fn product(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let constant = self.parameter(site, 0, "its input")?;
        let axes = self.axes(site)?.unwrap_or_default();
        let all = axes.is_empty() || axes.iter().copied().eq(0..constant.dims.len());
        let (Some(numbers), true) = (constant.integers(), all) else {
            return Err(
                site.shape_error("only all sizes of a shape can be multiplied", &[&constant.dims])
            );
        };
        let product = numbers.iter().try_fold(1i64, |product, &x| product.checked_mul(x));
        let product = product.ok_or_else(|| site.missing("a finite result"))?;
        let keeps = site.int("keepdims", 1) != 0;
        let dims = if keeps { vec![1; constant.dims.len()] } else { Vec::new() };
        self.define(site, Tensor::Constant(Constant::of_ints(dims, constant.kind, vec![product])))
    }
}

fn chosen<T: Copy>(first: &[bool], x: &[T], y: &[T]) -> Vec<T> {
    let pairs = first.iter().zip(x).zip(y);
    pairs.map(|((&first, &x), &y)| if first { x } else { y }).collect()
}

fn integer(operator: &str, x: i64, y: i64) -> Option<i64> {
    match operator {
        "Add" => x.checked_add(y),
        "Sub" => x.checked_sub(y),
        "Mul" => x.checked_mul(y),
        "Div" => x.checked_div(y),
        // As in Python, with the divisor's sign.
        "Mod" => x
            .checked_rem(y)
            .map(|rest| if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }),
        "Max" => Some(x.max(y)),
        "Min" => Some(x.min(y)),
        "Equal" => Some(i64::from(x == y)),
        _ => None,
    }
}

fn real(operator: &str, x: f32, y: f32) -> Option<f32> {
    match operator {
        "Add" => Some(x + y),
        "Sub" => Some(x - y),
        "Mul" => Some(x * y),
        "Div" => Some(x / y),
        "Max" => Some(x.max(y)),
        "Min" => Some(x.min(y)),
        _ => None,
    }
}

/// The dimensions that all of these are repeated to, aligned at their ends.
pub(super) fn broadcast_dims(all: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = all.iter().map(|dims| dims.len()).max()?;
    let mut result = vec![1; rank];
    for dims in all {
        for (to, &dim) in result[rank - dims.len()..].iter_mut().zip(*dims) {
            match (*to, dim) {
                (_, 1) => {}
                (1, dim) => *to = dim,
                (same, dim) if same == dim => {}
                _ => return None,
            }
        }
    }
    Some(result)
}

/// For each number of `to`, which [`broadcast_dims`] gave, the one of `from` that is repeated there.
pub(super) fn broadcast_places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let missing = to.len() - from.len();
    let own = strides(from).into_iter().zip(from);
    let steps: Vec<usize> = std::iter::repeat_n(0, missing)
        .chain(own.map(|(stride, &dim)| if dim == 1 { 0 } else { stride }))
        .collect();
    let whole = strides(to);
    let place = |at: usize| {
        let axes = whole.iter().zip(to).zip(&steps);
        axes.map(|((stride, dim), step)| at / stride % dim * step).sum()
    };
    (0..to.iter().product()).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_repeated_where_they_have_ones() {
        assert_eq!(broadcast_dims(&[&[3, 1], &[2]]), Some(vec![3, 2]));
        assert_eq!(broadcast_dims(&[&[3], &[2]]), None);
        assert_eq!(broadcast_places(&[3, 1], &[3, 2]), [0, 0, 1, 1, 2, 2]);
        assert_eq!(broadcast_places(&[], &[3]), [0, 0, 0]);
    }

    #[test]
    fn arithmetic_is_that_of_the_standard() {
        assert_eq!(integer("Mod", -7, 3), Some(2));
        assert_eq!(integer("Mod", 7, -3), Some(-2));
        assert_eq!(integer("Div", 7, 0), None);
        assert_eq!(integer("Mul", i64::MAX, 2), None);
        assert_eq!(integer("Equal", 4, 4), Some(1));
        assert_eq!(real("Div", 1.0, 4.0), Some(0.25));
        assert_eq!(real("Mod", 1.0, 4.0), None);
    }
}
