//! Borders.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter, file_dims};
use super::super::integer::{Emitter, IntegerOperator, IntegerValue, Relation};
use super::super::known::{Kept, Known, Span, Ties};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::places::{Places, Reach, image_axes};
use super::{IntegerOp, Op};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Tensor, Value, columns, constant};
use crate::numbers::Quantization;

/// A border of a number around the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// What is added before each dimension; what is added behind follows from the output's size.
    pub before: Vec<usize>,
    /// The number.
    pub fill: f32,
}

impl Pad {
    /// Where the value `index` of the input is in the output.
    fn place(&self, site: &Site<'_>, index: usize) -> usize {
        let (from, to) = (&site.input().dims, &site.output.dims);
        let (mut rest, mut place, mut step) = (index, 0, 1);
        for ((&from, &to), &before) in from.iter().zip(to).zip(&self.before).rev() {
            place += (rest % from + before) * step;
            rest /= from;
            step *= to;
        }
        place
    }
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let (before, from, to) = (&self.before, &site.input().dims, &site.output.dims);
        let same = before.len() == from.len() && before.len() == to.len();
        let mut sides = before.iter().zip(from).zip(to);
        let inside = sides.all(|((before, from), to)| before.saturating_add(*from) <= *to);
        unless(same && inside, "the borders don't fit")
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let pad = |x: &[f32]| {
            let mut y = vec![self.fill; site.output.len()];
            x.iter().enumerate().for_each(|(index, &x)| y[self.place(site, index)] = x);
            y
        };
        x.examples().flat_map(pad).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        let x = x.first.flat();
        let [batch, len] = x.dims();
        let fill = constant(vec![self.fill; batch], [batch, 1], &x.device());
        // Each place takes its number from the input, or the border's behind it.
        let mut source = vec![len as i64; site.output.len()];
        (0..len).for_each(|index| source[self.place(site, index)] = index as i64);
        let y = columns(Tensor::cat(vec![x, fill], 1), source);
        Value::of_rows(y, &site.output.dims)
    }

    fn units(&self, site: &Site<'_>) -> Units {
        let same = site.input().channels() == site.output.channels();
        if same && self.fill == 0.0 { Units::Alike } else { Units::Fixed }
    }

    fn places(&self, site: &Site<'_>) -> Places {
        let Some(axes) = image_axes(site) else { return Places::Fixed };
        let begin = axes.map(|axis| axis.map_or(0, |axis| -(self.before[axis] as isize)));
        Places::Within(Reach { begin, stride: [1; 2], extent: [1; 2] })
    }

    fn on_part(&self, begin: [isize; 2], behind: [usize; 2]) -> Option<Op> {
        let mut op = self.clone();
        let rows_and_columns = op.before.split_last_mut()?.1.iter_mut().rev();
        for (at, begin) in rows_and_columns.zip(begin.into_iter().rev()) {
            *at = usize::try_from(-begin).ok()?;
        }
        (behind == [0; 2]).then(|| op.into())
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied().filter(|&number| number == self.fill)
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        if lowering.operand_dims(0) == lowering.output_dims() {
            return lowering.pass();
        }
        let first = lowering.operand(0)?;
        let mut to = lowering.quantization(first);
        let reader = lowering.reader().map(|reader| &reader.op);
        // A number below all others never is the largest, however far below it is.
        let is_least =
            matches!(reader, Some(Op::MaxPool2d(_))) && to.quantize(self.fill) == i8::MIN;
        let mut input = first;
        if !to.holds(self.fill) && !is_least {
            to = lowering.wanted()?;
            input = lowering.rescaled(first, to);
        }
        let before = self.before.iter().map(|&border| lowering.small("a border", border));
        let before = before.collect::<Result<Vec<u16>, _>>()?;
        let op = IntegerPad { before, value: to.quantize(self.fill) };
        let dims = lowering.output_dims().to_vec();
        lowering.write(op, vec![input], dims, to, None);
        Ok(())
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        let sides = site.output.dims.iter().zip(&site.input().dims).zip(&self.before);
        let after: Vec<usize> = sides.map(|((to, from), before)| to - from - before).collect();
        let mut pads = Vec::new();
        for borders in [&self.before, &after] {
            // None before and behind the batch.
            pads.push(0);
            pads.extend(file_dims(borders).iter().map(|&border| border as i64));
        }
        let (pads, fill) = (file.longs(&pads), file.floats(&[], &[self.fill]));
        let (x, output) = (file.operand(0), file.output());
        file.emit("Pad", &[&x, &pads, &fill], &output, Vec::new());
        Ok(())
    }
}

/// A border of a byte around the input, whose bytes are copied.
#[derive(Clone, Debug, PartialEq)]
pub struct IntegerPad {
    /// What is added before each dimension.
    pub before: Vec<u16>,
    /// The byte.
    pub value: i8,
}

impl IntegerPad {
    /// What is added before the last dimension's first unit.
    fn units_before(&self) -> usize {
        self.before.last().map_or(0, |&border| usize::from(border))
    }
}

impl IntegerOperator for IntegerPad {
    fn label(&self) -> &'static str {
        "pad"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Pad(op) = &step.op else { return None };
        Some(Self { before: op.before.iter().copied().collect(), value: op.value })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.bytes(0)?, emitter.output()?);
        let before = self.before.iter().copied().collect();
        Ok(runtime::Op::Pad(ops::Pad { input, output, before, value: self.value }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        let Some(x) = known.inputs.first() else { return known.nothing() };
        let (fill, before) = (Span::of(self.value), self.units_before());
        let pixels = |value: &IntegerValue| value.len() / value.units();
        let framed = pixels(x.value) < pixels(known.output);
        let span = |unit: usize| match unit.checked_sub(before) {
            Some(unit) if unit < x.value.units() && framed => x.at(unit).or(fill),
            Some(unit) if unit < x.value.units() => x.at(unit),
            _ => fill,
        };
        (0..known.units()).map(span).collect()
    }

    /// What is added among the units is tied to nothing.
    fn ties(&self, known: &Known<'_>) -> Ties {
        let before = self.units_before();
        let units = known.inputs.first().map_or(0, |x| x.value.units());
        let of = |unit: usize| unit.checked_sub(before).filter(|&unit| unit < units);
        Ties::Taken((0..known.units()).map(|unit| of(unit).map(|unit| (0, unit))).collect())
    }

    fn on_kept(&self, kept: Kept<'_>) -> Option<IntegerOp> {
        let mut op = self.clone();
        *op.before.last_mut()? = kept.outputs_within(0..self.units_before()) as u16;
        Some(op.into())
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, to: Quantization) -> Option<(Op, Clamp)> {
        let before = self.before.iter().map(|&border| usize::from(border)).collect();
        Some((Pad { before, fill: to.dequantize(self.value) }.into(), Clamp::NONE))
    }
}
