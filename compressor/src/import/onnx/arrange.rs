//! Operators that arrange: joins, borders, reshapes, transpositions.

use super::constant::Constant;
use super::convert::{Activation, Converter, Site, Tensor};
use super::order::{Order, strides};
use super::schema::MAX_DIMS;
use super::weighted::TRANSPOSED;
use crate::float_graph::{Kind, ValueId};
use crate::import::ImportError;

impl Converter {
    /// A dimension counted from 0 without the batch, of a tensor with `rank` such dimensions.
    pub(super) fn axis(
        &self,
        site: &Site<'_>,
        axis: i64,
        rank: usize,
    ) -> Result<usize, ImportError> {
        let from_start = if axis < 0 { axis + rank as i64 + 1 } else { axis };
        let axis = usize::try_from(from_start - 1).ok().filter(|&axis| axis < rank);
        let supported = "a dimension behind the batch";
        axis.ok_or_else(|| site.unsupported("the dimension", from_start, supported))
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
            Tensor::Activation(input) => input.dims.len() + 1,
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

    /// `Concat` of values; of constants it is computed here.
    pub(super) fn concat(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let count = site.node.inputs.len();
        let operands = (0..count).map(|place| self.operand(site, place, "an operand"));
        let operands = operands.collect::<Result<Vec<Tensor>, _>>()?;
        let mut parts = Vec::with_capacity(count);
        for operand in &operands {
            match operand {
                Tensor::Activation(part) => parts.push(part.clone()),
                Tensor::Constant(_) => return self.concat_constants(site, &operands),
            }
        }
        let Some(first) = parts.first() else { return Err(site.missing("its operands")) };
        let axis = self.axis(site, site.int("axis", 1), first.dims.len())?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for part in &parts {
            let mut pairs = part.dims.iter().zip(&dims).enumerate();
            let equal = pairs.all(|(at, (a, b))| at == axis || a == b);
            if part.dims.len() != dims.len() || !equal {
                let problem = "all dimensions but the joined one must be equal";
                return Err(site.shape_error(problem, &[&first.dims, &part.dims]));
            }
            dims[axis] = dims[axis].saturating_add(part.dims[axis]);
        }
        let inputs: Vec<ValueId> = parts.iter().map(|part| part.value).collect();
        let kept = |part: &Activation| self.graph().values[part.value].dims.clone();
        let image = |part: &Activation| {
            let mut image = part.dims.clone();
            image.rotate_left(1);
            part.is_image() && kept(part) == image
        };
        let logical = |part: &Activation| part.order.is_logical() && kept(part) == part.dims;
        if dims.len() == 1 {
            let order = Order::joined(parts.iter().map(|part| (&part.order, part.len())));
            self.push(site, Kind::Concat(0), inputs, dims, order)?;
        } else if parts.iter().all(image) {
            let last = dims.len() - 1;
            let axis = axis.checked_sub(1).unwrap_or(last);
            self.push_images(site, Kind::Concat(axis), inputs, dims)?;
        } else if parts.iter().all(logical) {
            self.push(site, Kind::Concat(axis), inputs, dims, Order::LOGICAL)?;
        } else {
            return Err(site.shape_error(TRANSPOSED, &[&dims]));
        }
        Ok(())
    }

    fn concat_constants(
        &mut self,
        site: &Site<'_>,
        operands: &[Tensor],
    ) -> Result<(), ImportError> {
        let mut numbers = Vec::new();
        let mut kind = None;
        for operand in operands {
            let (Tensor::Constant(part), true) = (operand, site.int("axis", 0) == 0) else {
                let problem = "a join of constants and values isn't supported";
                return Err(site.shape_error(problem, &[]));
            };
            let (Some(part_numbers), true) = (part.integers(), part.dims.len() <= 1) else {
                let problem = "a join of constants must be one of shapes";
                return Err(site.shape_error(problem, &[&part.dims]));
            };
            kind = Some(part.kind);
            self.count(part_numbers.len())?;
            numbers.extend_from_slice(part_numbers);
        }
        let kind = kind.ok_or_else(|| site.missing("its operands"))?;
        let joined = Constant::of_ints(vec![numbers.len()], kind, numbers);
        self.define(site, Tensor::Constant(joined))
    }

    /// `Pad` with a constant.
    pub(super) fn pad(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let mode = site.text("mode").unwrap_or_default();
        if !["", "constant"].contains(&mode.as_str()) {
            return Err(site.unsupported("mode", mode, "constant"));
        }
        let input = self.computed(site, 0)?;
        let given = match site.ints("pads") {
            Some(pads) => pads.to_vec(),
            None => {
                let pads = self.parameter(site, 1, "its borders")?;
                pads.integers().ok_or_else(|| site.missing("integers as borders"))?.to_vec()
            }
        };
        let fill = match self.optional_parameter(site, 2)? {
            None => site.float("value", 0.0),
            Some(fill) => fill.single().ok_or_else(|| site.missing("the only fill value"))?,
        };
        let rank = input.dims.len() + 1;
        let axes = match self.optional_parameter(site, 3)? {
            None => (0..rank as i64).collect(),
            Some(axes) => axes.integers().unwrap_or_default().to_vec(),
        };
        let wrong =
            || site.unsupported("pads", format!("{given:?}"), "0 or more, none of the batch");
        if given.len() != 2 * axes.len() {
            return Err(wrong());
        }
        let (mut before, mut after) = (vec![0usize; rank], vec![0usize; rank]);
        for (at, &axis) in axes.iter().enumerate() {
            let axis = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
            let axis = usize::try_from(axis).ok().filter(|&axis| axis < rank).ok_or_else(wrong)?;
            let border = |number: i64| u16::try_from(number).map(usize::from).map_err(|_| wrong());
            before[axis] = border(given[at])?;
            after[axis] = border(given[at + axes.len()])?;
        }
        if before[0] + after[0] > 0 {
            return Err(wrong());
        }
        let (mut before, after) = (before.split_off(1), after.split_off(1));
        let sums = input.dims.iter().zip(&before).zip(&after);
        let dims: Vec<usize> = sums.map(|((dim, before), after)| dim + before + after).collect();
        let kept = &self.graph().values[input.value].dims;
        if input.order.is_logical() && *kept == input.dims {
            let kind = Kind::Pad(before, fill);
            return self.push(site, kind, vec![input.value], dims, Order::LOGICAL).map(drop);
        }
        let input = self.image(site)?;
        before.rotate_left(1);
        self.push_image(site, Kind::Pad(before, fill), input.value, dims).map(drop)
    }

    /// `Flatten`: one vector per example.
    pub(super) fn flatten(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        match self.operand(site, 0, "its input")? {
            Tensor::Activation(input) => {
                let axis = site.int("axis", 1);
                let axis = if axis < 0 { axis + input.dims.len() as i64 + 1 } else { axis };
                if axis != 1 {
                    return Err(site.unsupported("axis", axis, "1"));
                }
                self.view(site, &input, vec![input.len()], input.order.clone())
            }
            Tensor::Constant(input) => {
                let problem = "it reads a constant where the input's values are supported";
                Err(site.shape_error(problem, &[&input.dims]))
            }
        }
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
        match self.operand(site, 0, "its input")? {
            Tensor::Constant(constant) => {
                let dims = resolve(site, &target, &constant.dims, zeros)?;
                self.define(site, Tensor::Constant(Constant { dims, scales: None, ..constant }))
            }
            Tensor::Activation(input) => {
                let mut whole = vec![self.batch];
                whole.extend(&input.dims);
                let dims = resolve(site, &target, &whole, zeros)?;
                match dims.split_first() {
                    Some((batch, dims)) if *batch == self.batch && !dims.is_empty() => {
                        self.view(site, &input, dims.to_vec(), input.order.clone())
                    }
                    _ => Err(site.shape_error("the batch must stay first", &[&whole, &dims])),
                }
            }
        }
    }

    /// `Squeeze`: dimensions of 1 vanish.
    pub(super) fn squeeze(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let axes = self.axes(site)?;
        let keep = |at: usize, dim: usize| match &axes {
            None => dim != 1,
            Some(axes) => !axes.contains(&at),
        };
        self.reshaped(site, |dims| {
            let all = dims.iter().copied().enumerate();
            all.filter(|&(at, dim)| keep(at, dim)).map(|(_, dim)| dim).collect()
        })
    }

    /// `Unsqueeze`: dimensions of 1 come in.
    pub(super) fn unsqueeze(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let mut axes = self.axes(site)?.ok_or_else(|| site.missing("its axes"))?;
        axes.sort_unstable();
        self.reshaped(site, |dims| {
            let mut dims = dims.to_vec();
            for &axis in &axes {
                dims.insert(axis.min(dims.len()), 1);
            }
            dims
        })
    }

    /// Other dimensions for the same numbers; `change` is given those with the batch.
    fn reshaped(
        &mut self,
        site: &Site<'_>,
        change: impl Fn(&[usize]) -> Vec<usize>,
    ) -> Result<(), ImportError> {
        match self.operand(site, 0, "its input")? {
            Tensor::Constant(constant) => {
                let dims = change(&constant.dims);
                let len = dims.iter().product::<usize>();
                if len != constant.len() {
                    return Err(site.shape_error("sizes must be equal", &[&constant.dims, &dims]));
                }
                self.define(site, Tensor::Constant(Constant { dims, scales: None, ..constant }))
            }
            Tensor::Activation(input) => {
                // Whatever its size, the batch isn't one of those that vanish.
                let mut whole = vec![usize::MAX];
                whole.extend(&input.dims);
                let dims = change(&whole);
                match dims.split_first() {
                    Some((&usize::MAX, dims))
                        if !dims.is_empty() && dims.iter().product::<usize>() == input.len() =>
                    {
                        self.view(site, &input, dims.to_vec(), input.order.clone())
                    }
                    _ => Err(site.shape_error("the batch must stay first", &[&input.dims])),
                }
            }
        }
    }

    /// `Transpose`: only what is remembered of the order changes.
    pub(super) fn transpose(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let operand = self.operand(site, 0, "its input")?;
        let rank = match &operand {
            Tensor::Constant(constant) => constant.dims.len(),
            Tensor::Activation(input) => input.dims.len() + 1,
        };
        let permutation: Vec<usize> = match site.ints("perm") {
            None => (0..rank).rev().collect(),
            Some(perm) => perm.iter().filter_map(|&axis| usize::try_from(axis).ok()).collect(),
        };
        let mut sorted = permutation.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            let supported = "a permutation of the dimensions";
            return Err(site.unsupported("perm", format!("{permutation:?}"), supported));
        }
        match operand {
            Tensor::Constant(constant) => {
                self.define(site, Tensor::Constant(transposed(&constant, &permutation)))
            }
            Tensor::Activation(input) => {
                let (batch, rest) = permutation.split_first().unwrap_or((&1, &[]));
                if *batch != 0 {
                    let problem = "the batch must stay first";
                    return Err(site.shape_error(problem, &[&input.dims, &permutation]));
                }
                let rest: Vec<usize> = rest.iter().map(|axis| axis - 1).collect();
                let dims = rest.iter().map(|&axis| input.dims[axis]).collect();
                let order = input.order.transposed(&input.dims, &rest);
                self.view(site, &input, dims, order)
            }
        }
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

/// A constant with its numbers moved.
fn transposed(constant: &Constant, permutation: &[usize]) -> Constant {
    let dims: Vec<usize> = permutation.iter().map(|&axis| constant.dims[axis]).collect();
    let (old, new) = (strides(&constant.dims), strides(&dims));
    let place = |at: usize| {
        let axes = permutation.iter().zip(&new).zip(&dims);
        axes.map(|((&axis, step), dim)| at / step % dim * old[axis]).sum()
    };
    let places: Vec<usize> = (0..constant.len()).map(place).collect();
    let scales = constant.scales.clone().map(|(scales, axis)| {
        let axis = permutation.iter().position(|&old| old == axis).unwrap_or(axis);
        (scales, axis)
    });
    Constant { scales, ..constant.rearranged(dims, &places) }
}
