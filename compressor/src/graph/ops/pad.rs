//! Borders.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::{self as runtime, ops};
use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::integer::{Emitter, IntegerOperator};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::Op;
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

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied().filter(|&number| number == self.fill)
    }

    fn copies_scale(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let first = lowering.operand(0)?;
        let from = lowering.quantization(first);
        let before = self.before.iter().map(|&border| lowering.small("a border", border));
        let before = before.collect::<Result<Vec<u16>, _>>()?;
        lowering.unary(IntegerPad { before, value: from.quantize(self.fill) }, from)
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

impl IntegerOperator for IntegerPad {
    fn label(&self) -> &'static str {
        "pad"
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.bytes(0)?, emitter.output()?);
        let before = self.before.iter().copied().collect();
        Ok(runtime::Op::Pad(ops::Pad { input, output, before, value: self.value }))
    }

    fn real(&self, to: Quantization) -> Option<(Op, Clamp)> {
        let before = self.before.iter().map(|&border| usize::from(border)).collect();
        Some((Pad { before, fill: to.dequantize(self.value) }.into(), Clamp::NONE))
    }
}
