//! Means over everything but channels.

use bitsback_runtime::format::{Clamp, Tensor};
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
#[cfg(feature = "training")]
use super::super::Window;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter, file_dims};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::known::{Known, Span, requantized};
use super::super::lower::{LowerError, Lowering, ratio};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::Op;
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value, avg_pool};
use crate::numbers::{Quantization, factor};

/// Mean over all dimensions but the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mean {}

impl Operator for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let same = site.input().channels() == site.output.len();
        unless(same, "the output must have one value per channel")
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let channels = site.output.len().max(1);
        let mean = |x: &[f32], channel: usize| {
            let sum: f64 = x.iter().skip(channel).step_by(channels).map(|&x| f64::from(x)).sum();
            (sum / (x.len() / channels).max(1) as f64) as f32
        };
        let all = |x| (0..channels).map(move |channel| mean(x, channel));
        x.examples().flat_map(all).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        let (pixels, channels) = (site.input().len() / site.output.len().max(1), site.output.len());
        let x = Value::of_rows(x.first.flat(), &[pixels, 1, channels]);
        let window = Window { size: [pixels, 1], ..Window::ONE };
        let mean = Value::Image(avg_pool(x.image(), window, [1; 2]));
        Value::of_rows(mean.flat(), &site.output.dims)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn has_clamp(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let first = lowering.operand(0)?;
        let to = lowering.wanted()?;
        let count =
            lowering.operand_len(0) / lowering.output_dims().iter().product::<usize>().max(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let multiplier = ratio(lowering.quantization(first), to).over(count);
        let clamp = lowering.clamp(to);
        lowering.unary(IntegerMean { multiplier, clamp }, to)
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        if site.input().dims.len() != 3 {
            return Err("a mean of something else than an image");
        }
        let (x, pooled, output) = (file.operand(0), file.fresh(), file.output());
        file.emit("GlobalAveragePool", &[&x], &pooled, Vec::new());
        file.shape(&pooled, &file_dims(&site.output.dims), &output);
        Ok(())
    }
}

/// The mean of integers over all dimensions but the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerMean {
    /// From sums to the output.
    pub multiplier: Multiplier,
    /// Fused activation.
    pub clamp: Clamp,
}

impl IntegerOperator for IntegerMean {
    fn label(&self) -> &'static str {
        "mean"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Mean(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier, clamp: op.clamp })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { multiplier, clamp } = *self;
        let (input, output) = (emitter.shaped(0)?, emitter.output()?);
        Ok(runtime::Op::Mean(ops::Mean { input, output, multiplier, clamp }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        let Some(x) = known.inputs.first() else { return known.nothing() };
        let positions = (x.value.len() / x.value.units()) as i64;
        let [from, to] = [x.value, known.output].map(|value| value.quantization.zero_point);
        known.alike(0, |span| {
            let sums = span.about(from).map(|difference| difference.saturating_mul(positions));
            requantized(sums, self.multiplier, to, self.clamp)
        })
    }

    fn scales(&self, step: &Step) -> Vec<Relation> {
        let values = step.inputs().next().map_or(0, Tensor::len);
        let count = values / step.output().len().max(1);
        vec![Relation::Ratio(0, factor(self.multiplier) * count as f64)]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Mean {}.into(), self.clamp))
    }
}
