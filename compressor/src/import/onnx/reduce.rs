//! Operators over some of the dimensions: means, maxima, softmax. Dimensions of 1 make no difference.

use super::convert::Converter;
use super::order::{Around, Order, Rows};
use super::shape::Shape;
use super::site::{Activation, Site};
use crate::graph::ops::{AvgPool2d, MaxPool2d, Mean, Op};
use crate::graph::{Computation, Window};
use crate::import::ImportError;
use crate::import::layout::Role;

impl Converter<'_> {
    /// `Softmax` and its logarithm. Before version 13 all dimensions from the axis on were taken
    /// together.
    pub(super) fn softmax(
        &mut self,
        site: &Site<'_>,
        op: impl Into<Computation>,
    ) -> Result<(), ImportError> {
        let together = self.opset < 13;
        let input = self.computed_rows(site, 0)?;
        let axis = self.axis(site, site.int("axis", if together { 1 } else { -1 }), &input)?;
        let end = if together { input.dims.len() } else { axis + 1 };
        let width: usize = input.dims[axis..end].iter().product();
        let problem = "the dimensions that softmax is over must lie together in memory, as channels \
                       and features do";
        let rows = input.order.rows(&input.dims, |other| (axis..end).contains(&other));
        let Some(Rows { outer, .. }) = rows else {
            return Err(site.shape_error(problem, &[&input.dims]));
        };
        let shape = self.shape_of(&input);
        if shape.kept.last() == Some(&width) {
            return self.push_shape(site, op, vec![input.value], shape).map(drop);
        }
        let kept = if outer.len() == 1 { vec![width] } else { vec![outer.len(), width] };
        let read = self.arranged(site, &input, kept.clone())?;
        self.push_shape(site, op, vec![read], Shape { kept, ..shape }).map(drop)
    }

    /// `GlobalAveragePool` and `GlobalMaxPool`: over all dimensions but the channels.
    pub(super) fn global_pool(&mut self, site: &Site<'_>, max: bool) -> Result<(), ImportError> {
        let input = self.image(site)?;
        let axes: Vec<usize> = (1..input.dims.len()).collect();
        self.reduced(site, &input, &axes, true, max)
    }

    /// `ReduceMean` and `ReduceMax`.
    pub(super) fn reduce(&mut self, site: &Site<'_>, max: bool) -> Result<(), ImportError> {
        let given = self.axes(site)?;
        let input = self.computed_rows(site, 0)?;
        let keeps = site.int("keepdims", 1) != 0;
        let batch = usize::from(!input.rows);
        let all = || (batch..input.dims.len() + batch).collect();
        let axes = given.filter(|axes| !axes.is_empty());
        if axes.is_none() && self.batch > 1 || axes.as_ref().is_some_and(|axes| axes.contains(&0)) {
            return Err(site.unsupported("axes", format!("{axes:?}"), "any but the batch"));
        }
        let mut axes: Vec<usize> = axes.unwrap_or_else(all);
        if input.rows && axes.contains(&0) {
            return Err(site.unsupported("axes", format!("{axes:?}"), "any but the batch"));
        }
        axes.iter_mut().for_each(|axis| *axis -= batch);
        axes.sort_unstable();
        axes.dedup();
        self.hint_of_reduction(&input, &axes);
        self.reduced(site, &input, &axes, keeps, max)
    }

    /// Whoever goes over all dimensions but one of an image leaves its channels.
    fn hint_of_reduction(&mut self, input: &Activation, axes: &[usize]) {
        if axes.len() == 2 && input.dims.len() == 3 {
            let left = (0..3).find(|axis| !axes.contains(axis));
            let parent = left.and_then(|axis| input.lineage.get(axis));
            self.evidence.hint(parent, Role::Channels);
        }
    }

    fn reduced(
        &mut self,
        site: &Site<'_>,
        input: &Activation,
        axes: &[usize],
        keeps: bool,
        max: bool,
    ) -> Result<(), ImportError> {
        let goes = |axis: usize| axes.contains(&axis);
        let left = input.dims.iter().enumerate().filter(|&(axis, _)| keeps || !goes(axis));
        let mut dims: Vec<usize> =
            left.map(|(axis, &dim)| if goes(axis) { 1 } else { dim }).collect();
        if dims.is_empty() {
            dims.push(1);
        }
        let problem = "the dimensions that it goes over must lie together in memory";
        let around = input.order.around(&input.dims, goes);
        let Around { outer, middle, inner, left } =
            around.ok_or_else(|| site.shape_error(problem, &[&input.dims, axes]))?;
        let order = Order::new(left.iter().map(|&place| place as u32).collect());
        let shape = Shape { rows: input.rows, ..Shape::new(dims, order) };
        if outer == 1 && !max {
            let kept = self.kept_with_last(input, inner);
            let read = self.arranged(site, input, kept)?;
            return self.push_shape(site, Mean {}, vec![read], shape).map(drop);
        }
        if middle > usize::from(u16::MAX) {
            let what = "the number of values that it goes over";
            return Err(site.unsupported(what, middle, "1 to 65535"));
        }
        let window = Window { size: [1, middle], ..Window::ONE };
        let op: Op = if max { MaxPool2d { window }.into() } else { AvgPool2d { window }.into() };
        let read = self.arranged(site, input, vec![outer, middle, inner])?;
        let image = Shape { kept: vec![outer, 1, inner], ..Shape::logical(shape.dims.clone()) };
        let written = self.step_shape(site, op, read, image)?;
        self.view(site, written.value, shape)
    }

    /// The kept dimensions, if they end with `last`; else a matrix that does.
    fn kept_with_last(&self, input: &Activation, last: usize) -> Vec<usize> {
        let kept = self.kept(input);
        if kept.last() == Some(&last) {
            return kept.to_vec();
        }
        vec![input.len() / last.max(1), last]
    }
}
