//! Pooling by the largest value.

use bitsback_runtime::format::{Clamp, Window as RuntimeWindow};
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::kernels::{self, Ends};
use super::super::known::{Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Operator, Prepared, Site, Units, unless};
use super::super::{Affine, Window};
use super::Op;
#[cfg(feature = "training")]
use crate::graph::tensor::integer::{IntegerLayer, IntegerSite, centred};
#[cfg(feature = "training")]
use crate::graph::tensor::{Inputs, Pass, Value, max_pool, rows_and_columns};
use crate::numbers::Quantization;

/// Largest value of each window; padding never wins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaxPool2d {
    /// Size, stride and padding.
    pub window: Window,
}

impl Operator for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        let same = site.input().channels() == site.output.channels();
        kernels::check_window(self.window, site).or_else(|| unless(same, "channels must be equal"))
    }

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        let ends = Ends::new(self.window, site);
        let pool = |x: &[f32]| kernels::pool(x, &ends, f32::NEG_INFINITY, f32::max, |most, _| most);
        x.examples().flat_map(pool).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        Value::Image(max_pool(x.first.image(), self.window, rows_and_columns(site)))
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Alike
    }

    fn on_part(&self, begin: [isize; 2], behind: [usize; 2]) -> Option<Op> {
        Some(Self { window: self.window.on_part(begin, behind)? }.into())
    }

    fn constant(&self, operands: &[f32]) -> Option<f32> {
        operands.first().copied()
    }

    fn has_clamp(&self) -> bool {
        true
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
        let first = lowering.operand(0)?;
        let clamp = lowering.clamp(lowering.quantization(first));
        let (window, _) = lowering.window(self.window)?;
        lowering.pooled(IntegerMaxPool2d { window, clamp })
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.pool("MaxPool", self.window, site)
    }
}

/// The largest byte of each window, whatever the quantisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerMaxPool2d {
    /// Size, stride and padding.
    pub window: RuntimeWindow,
    /// Fused activation.
    pub clamp: Clamp,
}

impl IntegerOperator for IntegerMaxPool2d {
    fn label(&self) -> &'static str {
        "max_pool2d"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::MaxPool2d(op) = &step.op else { return None };
        Some(Self { window: op.window, clamp: op.clamp })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { window, clamp } = *self;
        let (input, output) = (emitter.bytes(0)?, emitter.output()?);
        Ok(runtime::Op::MaxPool2d(ops::MaxPool2d { input, output, window, clamp }))
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        known.alike(0, |span| span.clamped(self.clamp))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        vec![Relation::Same]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((MaxPool2d { window: Window::of(self.window, [1, 1]) }.into(), self.clamp))
    }

    #[cfg(feature = "training")]
    fn train(
        &self,
        site: &IntegerSite<'_>,
        x: Inputs,
        _: Option<&IntegerLayer<'_>>,
    ) -> Option<Value> {
        let window = Window::of(self.window, [1, 1]);
        let [low, high] = centred(self.clamp, site.to());
        let largest = max_pool(x.first.image(), window, site.rows_and_columns());
        Some(Value::Image(largest.clamp(low, high)))
    }

    #[cfg(feature = "training")]
    fn trains(&self) -> bool {
        true
    }
}
