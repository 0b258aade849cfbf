//! Means and maxima over dimensions.

use bitsback_runtime::format::{Clamp, Window};

use super::convert::{Converter, Site, axis_without_batch, integers};
use crate::graph::ops::{IntegerDepthwiseConv2d, IntegerMaxPool2d, IntegerMean};
use crate::graph::{IntegerValue, Matrix, Origin, ValueId};
use crate::import::ImportError;
use crate::numbers::multiplier;

/// What a reduction reads and writes, as three dimensions of which the middle one goes.
struct Reduced {
    input: ValueId,
    output: ValueId,
    outer: usize,
    middle: usize,
    inner: usize,
}

impl<'a> Converter<'a> {
    /// The dimensions that go must be neighbours; those of 1 make no difference.
    fn reduced(&mut self, site: &Site<'a>) -> Result<Reduced, ImportError> {
        let input = self.operand(site, 0, "its input")?;
        let output = self.result(site)?;
        let (_, original) = self.input(site, 0, "its input")?;
        let (_, axes) = self.input(site, 1, "its dimensions")?;
        let axes = integers(site, axes)?;
        let (from, to) = (self.of(input), self.of(output));
        let mut goes = vec![false; from.dims.len()];
        for axis in axes {
            let axis = i32::try_from(axis).ok().and_then(|axis| axis_without_batch(original, axis));
            if let Some(flag) = axis.and_then(|axis| goes.get_mut(axis)) {
                *flag = true;
            }
        }
        let wrong = |problem| site.shape_error(problem, &[&from.dims, &to.dims]);
        let (mut outer, mut middle, mut inner) = (1usize, 1usize, 1usize);
        for (&dim, goes) in from.dims.iter().zip(goes) {
            let place = match (goes, middle > 1, inner > 1) {
                _ if dim == 1 => continue,
                (true, _, true) => {
                    return Err(wrong("it must go over dimensions that are neighbours"));
                }
                (true, _, false) => &mut middle,
                (false, true, _) => &mut inner,
                (false, false, _) => &mut outer,
            };
            *place = place.saturating_mul(dim);
        }
        if middle == 1 {
            (outer, inner) = (1, outer);
        }
        if to.len() != outer.saturating_mul(inner) {
            return Err(wrong("the output's size doesn't follow from the dimensions"));
        }
        Ok(Reduced { input, output, outer, middle, inner })
    }

    /// The three dimensions as an image, and the one without the middle.
    fn images(&mut self, reduced: &Reduced) -> [ValueId; 2] {
        let Reduced { input, output, outer, middle, inner } = *reduced;
        let [from, to] = [input, output].map(|id| self.of(id).clone());
        let mut image = |value: IntegerValue, middle: usize, origin| {
            self.graph.values.push(IntegerValue {
                dims: vec![outer, middle, inner],
                origin,
                ..value
            });
            self.graph.values.len() - 1
        };
        let read = image(from, middle, Origin::View(input, 0));
        let written = image(to, 1, Origin::Computed);
        self.make_view(written, output);
        [read, written]
    }

    /// The window over the middle.
    fn window(&self, site: &Site<'a>, reduced: &Reduced) -> Result<Window, ImportError> {
        let width = u16::try_from(reduced.middle).map_err(|_| {
            site.shape_error("it goes over too many values", &[&self.of(reduced.input).dims])
        })?;
        Ok(Window { size: [1, width], stride: [1, 1], padding: [0, 0] })
    }

    /// `MEAN`. Where something is before the dimensions that go, a depthwise convolution with
    /// weights of 1 sums as the mean does.
    pub(super) fn mean(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let reduced = self.reduced(site)?;
        let Reduced { input, output, outer, middle, inner } = reduced;
        let (from, to) = (self.of(input), self.of(output));
        let count = u32::try_from(middle).unwrap_or(u32::MAX);
        let factor =
            multiplier(f64::from(from.quantization.scale) / f64::from(to.quantization.scale))
                .over(count);
        if outer > 1 {
            let window = self.window(site, &reduced)?;
            let len = inner.saturating_mul(middle);
            self.count(len)?;
            let matrix = Matrix {
                rows: inner,
                columns: middle,
                bits: 8,
                values: vec![1; len],
                multipliers: vec![factor],
                ..Matrix::default()
            };
            let [read, written] = self.images(&reduced);
            let op = IntegerDepthwiseConv2d { window, dilation: [1, 1] };
            self.push_layer(site, op, matrix, vec![read], written);
            return Ok(());
        }
        let mut input = input;
        if from.dims.last() != Some(&inner) {
            let value = IntegerValue {
                dims: vec![middle, inner],
                origin: Origin::View(input, 0),
                ..from.clone()
            };
            self.graph.values.push(value);
            input = self.graph.values.len() - 1;
        }
        self.push(
            site,
            IntegerMean { multiplier: factor, clamp: Clamp::NONE },
            vec![input],
            output,
        );
        Ok(())
    }

    /// `REDUCE_MAX`: a window over everything that goes.
    pub(super) fn reduce_max(&mut self, site: &Site<'a>) -> Result<(), ImportError> {
        let reduced = self.reduced(site)?;
        let (from, to) = (self.of(reduced.input), self.of(reduced.output));
        if from.quantization != to.quantization {
            let (_, tensor) = self.output(site);
            return Err(site.quantization(tensor, "has another scale than the input"));
        }
        let window = self.window(site, &reduced)?;
        let [read, written] = self.images(&reduced);
        self.push(site, IntegerMaxPool2d { window, clamp: Clamp::NONE }, vec![read], written);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::import::ImportError;
    use crate::import::tflite::builder::{Field, ModelBuilder, single};

    /// A reduction of 2 × 2 × 2 values, or whatever `dims` says, over some dimensions.
    fn reduction(code: i32, dims: &[i32], axes: &[i32], to: &[i32]) -> ModelBuilder {
        let mut builder = single(code, dims, to, vec![]);
        let axes = builder.integers(axes);
        builder.operators[0][1].1 = Field::I32s(vec![0, axes]);
        builder
    }

    /// Axes, the shape without them, means and maxima.
    type Case = (&'static [i32], &'static [i32], &'static [i8], &'static [i8]);

    #[test]
    fn any_neighbours_can_go() {
        let (mean, max, dims) = (40, 82, [1, 2, 2, 2]);
        let inputs = [1, 3, 5, 7, 9, 11, 13, 15];
        let table: [Case; 5] = [
            (&[1], &[1, 2, 2], &[5, 7, 9, 11], &[9, 11, 13, 15]),
            (&[2], &[1, 2, 1, 2], &[3, 5, 11, 13], &[5, 7, 13, 15]),
            (&[3], &[1, 2, 2], &[2, 6, 10, 14], &[3, 7, 11, 15]),
            (&[-2, -1], &[1, 2], &[4, 12], &[7, 15]),
            (&[1, 2, 3], &[1, 1], &[8], &[15]),
        ];
        for (axes, to, means, maxima) in table {
            assert_eq!(reduction(mean, &dims, axes, to).run(&inputs), means, "{axes:?}");
            assert_eq!(reduction(max, &dims, axes, to).run(&inputs), maxima, "{axes:?}");
        }
        assert_eq!(reduction(mean, &[1, 1, 3], &[1], &[1, 3]).run(&[1, 2, 3]), [1, 2, 3]);
    }

    #[test]
    fn others_are_refused() {
        let apart = reduction(40, &[1, 2, 2, 2], &[1, 3], &[1, 2]).refused();
        assert!(apart.to_string().contains("neighbours"), "{apart}");
        let size = reduction(40, &[1, 2, 2, 2], &[1], &[1, 2]).refused();
        assert!(matches!(size, ImportError::Shape { .. }), "{size}");
    }
}
