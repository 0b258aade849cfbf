//! Parts of values, among them crops of the input image.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter, file_dims};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Kept, Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::places::{Places, Reach, image_axes};
use super::{IntegerOp, Op};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value, columns};
use crate::numbers::Quantization;

/// Values at equal distances along each dimension; how many follows from the output's size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// First position, of each dimension.
    pub begin: Vec<usize>,
    /// From a position to the next, of each dimension.
    pub stride: Vec<usize>,
}

impl Slice {
    /// The part of an image that begins at a row and column.
    pub fn crop([row, column]: [usize; 2]) -> Self {
        Self { begin: vec![row, column, 0], stride: vec![1; 3] }
    }

    /// Where in the input each value of the output is.
    fn places(&self, site: &Site<'_>) -> Vec<usize> {
        let (from, to) = (&site.input().dims, &site.output.dims);
        let place = |index: usize| {
            let (mut rest, mut place, mut step) = (index, 0, 1);
            let axes = from.iter().zip(to).zip(self.begin.iter().zip(&self.stride));
            for ((&from, &to), (&begin, &stride)) in axes.rev() {
                place += (begin + rest % to * stride) * step;
                rest /= to;
                step *= from;
            }
            place
        };
        (0..site.output.len()).map(place).collect()
    }

    /// The place of the first value behind which the rest of an image lies as in the image itself, where
    /// only rows and columns at the sides are left out, and as much is left behind it as before it.
    fn offset(&self, from: &[usize], to: &[usize]) -> Option<usize> {
        let (&[height, width, channels], &[rows, _, same]) = (from, to) else { return None };
        let (&[top, left, 0], [1, 1, 1]) = (&self.begin[..], &self.stride[..]) else { return None };
        let fits = channels == same && (top + rows) * width + left <= height * width;
        fits.then_some((top * width + left) * channels)
    }
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let (from, to) = (&site.input().dims, &site.output.dims);
        let ranks = [from.len(), self.begin.len(), self.stride.len()];
        let mut axes = from.iter().zip(to).zip(self.begin.iter().zip(&self.stride));
        let inside = axes.all(|((&from, &to), (&begin, &stride))| {
            let last = to.checked_sub(1).and_then(|steps| steps.checked_mul(stride));
            let last = last.and_then(|steps| steps.checked_add(begin));
            stride > 0 && last.is_some_and(|last| last < from)
        });
        unless(ranks == [to.len(); 3] && inside, "it must lie within what it reads")
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let places = self.places(site);
        x.examples().flat_map(|x| places.iter().map(|&place| x[place])).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        let places = self.places(site).into_iter().map(|place| place as i64);
        Value::of_rows(columns(x.first.flat(), places.collect()), &site.output.dims)
    }

    /// Channels side by side stay so when some of them leave; others have to stay.
    fn units(&self, site: &Site<'_>) -> Units {
        let (units, kept) = (site.input().channels(), site.output.channels());
        match (self.begin.last(), self.stride.last()) {
            _ if units == kept => Units::Alike,
            (Some(&begin), Some(1)) => {
                Units::Taken((begin..begin + kept).map(|u| (0, u)).collect())
            }
            _ => Units::Fixed,
        }
    }

    fn on_kept(&self, kept: &[bool]) -> Option<Op> {
        let mut op = self.clone();
        let begin = op.begin.last_mut()?;
        *begin = kept.iter().take(*begin).filter(|&&kept| kept).count();
        Some(op.into())
    }

    fn places(&self, site: &Site<'_>) -> Places {
        let Some(axes) = image_axes(site) else { return Places::Fixed };
        let begin = axes.map(|axis| axis.map_or(0, |axis| self.begin[axis] as isize));
        let stride = axes.map(|axis| axis.map_or(1, |axis| self.stride[axis]));
        Places::Within(Reach { begin, stride, extent: [1; 2] })
    }

    /// It reads whatever part, as it takes a part itself.
    fn on_part(&self, begin: [isize; 2], _behind: [usize; 2]) -> Option<Op> {
        let mut op = self.clone();
        let rows_and_columns = op.begin.split_last_mut()?.1.iter_mut().rev();
        for (at, begin) in rows_and_columns.zip(begin.into_iter().rev()) {
            *at = usize::try_from(begin).ok()?;
        }
        Some(op.into())
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn commutes_with_limits(&self) -> bool {
        true
    }

    fn keeps_range(&self) -> bool {
        true
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let (from, to) = (lowering.operand_dims(0), lowering.output_dims());
        if from == to {
            return lowering.pass();
        }
        let offset = self.offset(from, to).filter(|_| lowering.is_read_by_inner_windows());
        if let (Some(offset), &[_, width, channels], &[rows, ..]) = (offset, from, to) {
            // The same rows, from another place on: what is beyond the part is in the arena, and no
            // window reads it.
            return lowering.view(vec![rows, width, channels], offset);
        }
        let small = |what, numbers: &[usize]| -> Result<Vec<u16>, LowerError> {
            numbers.iter().map(|&number| lowering.small(what, number)).collect()
        };
        let begin = small("the beginning of a slice", &self.begin)?;
        let stride = small("the stride of a slice", &self.stride)?;
        let (first, residual) = (lowering.operand(0)?, lowering.residual(0)?);
        lowering.unary(IntegerSlice { begin, stride }, lowering.quantization(first))?;
        lowering.lacks(residual);
        Ok(())
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let counts = file_dims(&site.output.dims);
        let [starts, steps] = [&self.begin, &self.stride].map(|of| file_dims(of));
        let ends = starts.iter().zip(&steps).zip(&counts);
        let ends: Vec<usize> = ends.map(|((begin, step), n)| begin + (n - 1) * step + 1).collect();
        let axes: Vec<usize> = (1..=counts.len()).collect();
        let bounds = [starts, ends, axes, steps].map(|of| {
            let numbers: Vec<i64> = of.into_iter().map(|number| number as i64).collect();
            file.longs(&numbers)
        });
        let [starts, ends, axes, steps] = bounds;
        let (x, output) = (file.operand(0), file.output());
        file.emit("Slice", &[&x, &starts, &ends, &axes, &steps], &output, Vec::new());
        Ok(())
    }
}

/// Bytes at equal distances along each dimension, which are copied.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerSlice {
    /// First position, of each dimension.
    pub begin: Vec<u16>,
    /// From a position to the next, of each dimension.
    pub stride: Vec<u16>,
}

impl IntegerOperator for IntegerSlice {
    fn label(&self) -> &'static str {
        "slice"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Slice(op) = &step.op else { return None };
        let [begin, stride] = [&op.begin, &op.stride].map(|of| of.iter().copied().collect());
        Some(Self { begin, stride })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.bytes(0)?, emitter.output()?);
        let [begin, stride] = [&self.begin, &self.stride].map(|of| of.iter().copied().collect());
        Ok(runtime::Op::Slice(ops::Slice { input, output, begin, stride }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        let (Some(x), Some(&begin), Some(&stride)) =
            (known.inputs.first(), self.begin.last(), self.stride.last())
        else {
            return known.nothing();
        };
        let taken = |unit| usize::from(begin) + unit * usize::from(stride);
        (0..known.units()).map(|unit| x.at(taken(unit))).collect()
    }

    fn on_kept(&self, kept: Kept<'_>) -> Option<IntegerOp> {
        let mut op = self.clone();
        let begin = op.begin.last_mut()?;
        *begin = kept.inputs_within(0..usize::from(*begin)) as u16;
        Some(op.into())
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        let [begin, stride] =
            [&self.begin, &self.stride].map(|of| of.iter().map(|&number| number.into()).collect());
        Some((Slice { begin, stride }.into(), Clamp::NONE))
    }
}
