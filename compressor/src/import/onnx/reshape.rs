//! Operators that give the same numbers another shape.

use super::constant::Constant;
use super::convert::Converter;
use super::schema::MAX_DIMS;
use super::shape::Shape;
use super::site::{Activation, Site, Tensor};
use crate::import::ImportError;

impl Converter<'_> {
    /// A dimension counted from 0 without the batch.
    pub(super) fn axis(
        &self,
        site: &Site<'_>,
        axis: i64,
        of: &Activation,
    ) -> Result<usize, ImportError> {
        let (rank, batch) = (of.dims.len() as i64, i64::from(!of.rows));
        let from_start = if axis < 0 { axis.saturating_add(rank + batch) } else { axis };
        let least = i64::from(of.rows);
        let place = from_start.checked_sub(batch).filter(|axis| (least..rank).contains(axis));
        let supported = "a dimension behind the batch";
        place
            .map(|axis| axis as usize)
            .ok_or_else(|| site.unsupported("the dimension", from_start, supported))
    }

    /// Dimensions with the batch as 0, from the attribute or the operand `axes`.
    pub(super) fn axes(&self, site: &Site<'_>) -> Result<Option<Vec<usize>>, ImportError> {
        let given = match site.ints("axes") {
            Some(axes) => Some(axes.to_vec()),
            None => match self.optional_parameter(site, 1)? {
                None => None,
                Some(axes) => {
                    Some(axes.integers().ok_or_else(|| site.missing("integers as axes"))?.to_vec())
                }
            },
        };
        let Some(given) = given else { return Ok(None) };
        if given.len() > MAX_DIMS {
            return Err(site.unsupported("the number of axes", given.len(), "a few"));
        }
        // Counted from the end they depend on the rank, which Unsqueeze increases.
        let rank = match self.operand(site, 0, "its input")? {
            Tensor::Activation(input) => input.whole(self.batch).len(),
            Tensor::Constant(input) => input.dims.len(),
        };
        let grown = site.node.operator == "Unsqueeze";
        let rank = if grown { rank.saturating_add(given.len()) } else { rank } as i64;
        let axis = |&axis: &i64| {
            let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
            usize::try_from(axis).ok().filter(|&axis| (axis as i64) < rank)
        };
        let axes: Option<Vec<usize>> = given.iter().map(axis).collect();
        let supported = "dimensions that there are";
        axes.map(Some).ok_or_else(|| site.unsupported("axes", format!("{given:?}"), supported))
    }

    /// `Flatten`: a matrix whose rows are what is before the axis.
    pub(super) fn flatten(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let axis = site.int("axis", 1);
        self.reshaped(site, |dims, _| {
            let rank = dims.len() as i64;
            let from_start = if axis < 0 { axis.saturating_add(rank) } else { axis };
            let place = usize::try_from(from_start).ok().filter(|&place| place <= dims.len());
            let supported = "a dimension that there is";
            let axis = place.ok_or_else(|| site.unsupported("axis", axis, supported))?;
            Ok([&dims[..axis], &dims[axis..]].map(|part| part.iter().product()).to_vec())
        })
    }

    /// `Reshape`.
    pub(super) fn reshape(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let target = match site.ints("shape") {
            Some(shape) => shape.to_vec(),
            None => {
                let shape = self.parameter(site, 1, "its shape")?;
                shape.integers().ok_or_else(|| site.missing("integers as its shape"))?.to_vec()
            }
        };
        let zeros = site.int("allowzero", 0) != 0;
        self.reshaped(site, |dims, _| resolve(site, &target, dims, zeros))
    }

    /// `Squeeze`: dimensions of 1 vanish. Whatever its size, the batch isn't one of them, unless it is
    /// named.
    pub(super) fn squeeze(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let axes = self.axes(site)?;
        self.reshaped(site, |dims, batch| {
            let keep = |at: usize, dim: usize| match &axes {
                None => dim != 1 || batch && at == 0,
                Some(axes) => !axes.contains(&at),
            };
            let all = dims.iter().copied().enumerate();
            Ok(all.filter(|&(at, dim)| keep(at, dim)).map(|(_, dim)| dim).collect())
        })
    }

    /// `Unsqueeze`: dimensions of 1 come in.
    pub(super) fn unsqueeze(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let mut axes = self.axes(site)?.ok_or_else(|| site.missing("its axes"))?;
        axes.sort_unstable();
        self.reshaped(site, |dims, _| {
            let mut dims = dims.to_vec();
            for &axis in &axes {
                dims.insert(axis.min(dims.len()), 1);
            }
            Ok(dims)
        })
    }

    /// Other dimensions for the same numbers. `change` is given those of the file, and whether the
    /// first is the batch.
    fn reshaped(
        &mut self,
        site: &Site<'_>,
        change: impl Fn(&[usize], bool) -> Result<Vec<usize>, ImportError>,
    ) -> Result<(), ImportError> {
        match self.operand(site, 0, "its input")? {
            Tensor::Constant(constant) => {
                let dims = change(&constant.dims, false)?;
                let len = dims.iter().product::<usize>();
                if len != constant.len() {
                    return Err(site.shape_error("sizes must be equal", &[&constant.dims, &dims]));
                }
                self.define(site, Tensor::Constant(Constant { dims, scales: None, ..constant }))
            }
            Tensor::Activation(input) => {
                let whole = input.whole(self.batch);
                let dims = change(&whole, !input.rows)?;
                let shape = self.reshaped_activation(&input, &dims).ok_or_else(|| {
                    site.shape_error("the batch must stay first", &[&whole, &dims])
                })?;
                self.view(site, input.value, shape)
            }
        }
    }

    /// The shape without the batch of what has `dims` with it; `None` if it isn't the first of these,
    /// or a part of the first.
    fn reshaped_activation(&self, input: &Activation, dims: &[usize]) -> Option<Shape> {
        let (&first, rest) = dims.split_first()?;
        let of_rest = rest.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))?;
        let alone = first == self.batch && !rest.is_empty() && of_rest == input.len();
        let dims = if alone {
            rest.to_vec()
        } else {
            let count = first.checked_div(self.batch)?;
            let whole = first.is_multiple_of(self.batch) && count > 0;
            if !whole || count.checked_mul(of_rest) != Some(input.len()) {
                return None;
            }
            std::iter::once(count).chain(rest.iter().copied()).collect()
        };
        let lineage = input.lineage.reshaped(&input.dims, &dims);
        let shape = Shape::new(dims, input.order.clone());
        Some(Shape { rows: !alone, lineage, ..shape })
    }
}

/// The dimensions that `target` means for a tensor of `dims`: 0 keeps one, −1 is what is left.
fn resolve(
    site: &Site<'_>,
    target: &[i64],
    dims: &[usize],
    zeros: bool,
) -> Result<Vec<usize>, ImportError> {
    let wrong = || {
        let supported = "sizes that fit";
        site.unsupported("its shape", format!("{target:?} for {dims:?}"), supported)
    };
    let total: usize = dims.iter().product();
    if target.len() > MAX_DIMS {
        return Err(wrong());
    }
    let mut open = None;
    let mut resolved = Vec::with_capacity(target.len());
    for (at, &size) in target.iter().enumerate() {
        resolved.push(match size {
            -1 if open.is_none() => {
                open = Some(at);
                1
            }
            0 if !zeros => *dims.get(at).ok_or_else(wrong)?,
            size => usize::try_from(size).map_err(|_| wrong())?,
        });
    }
    let product = |dims: &[usize]| {
        dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim)).ok_or_else(wrong)
    };
    if let Some(open) = open {
        let rest = product(&resolved)?;
        resolved[open] = total.checked_div(rest).ok_or_else(wrong)?;
    }
    if product(&resolved)? == total && (total > 0 || target.len() == 1) {
        Ok(resolved)
    } else {
        Err(wrong())
    }
}
