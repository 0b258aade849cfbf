//! Operators that arrange: joins, borders, transpositions.

use super::constant::Constant;
use super::convert::Converter;
use super::order::{Order, strides};
use super::shape::{Shape, check_len};
use super::site::{Activation, Site, Tensor};
use super::weighted::TRANSPOSED;
use crate::graph::ValueId;
use crate::graph::ops::{Concat, Pad};
use crate::import::ImportError;
use crate::import::layout::Role;

impl Converter<'_> {
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
        let axis = self.axis(site, site.int("axis", 1), first)?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for part in &parts {
            let mut pairs = part.dims.iter().zip(&dims).enumerate();
            let equal = pairs.all(|(at, (a, b))| at == axis || a == b);
            if part.dims.len() != dims.len() || !equal || part.rows != first.rows {
                let problem = "all dimensions but the joined one must be equal";
                return Err(site.shape_error(problem, &[&first.dims, &part.dims]));
            }
            dims[axis] = dims[axis].saturating_add(part.dims[axis]);
        }
        check_len(&dims)?;
        let rank = dims.len();
        let (rows, lineage) = (first.rows, first.lineage.clone().without(axis));
        let (along, shape) = if rank == 1 {
            let order = Order::joined(parts.iter().map(|part| (&part.order, part.len())));
            (0, Shape { kept: dims.clone(), ..Shape::new(dims, order) })
        } else if rank <= 3 && parts.iter().all(Activation::is_image) {
            (axis.checked_sub(1).unwrap_or(rank - 1), Shape::image(dims)?)
        } else if parts.iter().all(|part| part.order.is_logical()) {
            (axis, Shape::logical(dims))
        } else {
            return Err(site.shape_error(TRANSPOSED, &[&dims]));
        };
        let mut inputs: Vec<ValueId> = Vec::with_capacity(count);
        for part in &parts {
            let mut kept = shape.kept.clone();
            kept[along] = part.dims[axis];
            inputs.push(self.arranged(site, part, kept)?);
        }
        let shape = Shape { rows, lineage, ..shape };
        self.push_shape(site, Concat { axis: along }, inputs, shape).map(drop)
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
            Some(axes) => axes.integers().ok_or_else(|| site.missing("integers as axes"))?.to_vec(),
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
        let lineage = input.lineage.clone();
        if input.order.is_logical() && *self.kept(&input) == input.dims {
            let shape = Shape { lineage, ..Shape::logical(dims) };
            let op = Pad { before, fill };
            return self.push_shape(site, op, vec![input.value], shape).map(drop);
        }
        let input = self.laid_as_image(site, input)?;
        before.rotate_left(1);
        let shape = Shape { lineage, ..Shape::image(dims)? };
        self.push_shape(site, Pad { before, fill }, vec![input.value], shape).map(drop)
    }

    /// `Transpose`: only what is remembered of the order changes.
    pub(super) fn transpose(&mut self, site: &Site<'_>) -> Result<(), ImportError> {
        let operand = self.operand(site, 0, "its input")?;
        let rank = match &operand {
            Tensor::Constant(constant) => constant.dims.len(),
            Tensor::Activation(input) => input.whole(self.batch).len(),
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
                if input.rows || *batch != 0 {
                    let problem = "the batch must stay first";
                    return Err(site.shape_error(problem, &[&input.dims, &permutation]));
                }
                let rest: Vec<usize> = rest.iter().map(|axis| axis - 1).collect();
                self.hint_of_transposition(&input, &rest);
                let dims = rest.iter().map(|&axis| input.dims[axis]).collect();
                let order = input.order.transposed(&input.dims, &rest);
                let lineage = input.lineage.transposed(&rest);
                self.view(site, input.value, Shape { lineage, ..Shape::new(dims, order) })
            }
        }
    }

    /// Whoever moves the first dimension behind the others, or the last before them, moves channels.
    fn hint_of_transposition(&mut self, input: &Activation, permutation: &[usize]) {
        let channels = match permutation {
            [1, 2, 0] => 0,
            [2, 0, 1] => 2,
            _ => return,
        };
        self.evidence.hint(input.lineage.get(channels), Role::Channels);
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
