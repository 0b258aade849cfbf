//! Two-dimensional convolutions.

use bitsback_runtime::coding::MEMORY;
use bitsback_runtime::format::{Clamp, Window as RuntimeWindow};
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation, StoredLayer, Takes};
use super::super::kernels::{self, Ends};
use super::super::known::{Known, Span};
use super::super::lower::{LowerError, Lowering};
use super::super::operator::{Groups, Operator, Prepared, Site, Units, Weights};
use super::super::{Affine, Window};
use super::Op;
#[cfg(feature = "training")]
use crate::graph::tensor::integer::{IntegerLayer, IntegerSite};
#[cfg(feature = "training")]
use crate::graph::tensor::{Convolution, Inputs, Pass, Value};
use crate::numbers::Quantization;

/// Cross-correlation over all channels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv2d {
    /// Kernel, stride, dilation and padding.
    pub window: Window,
}

impl Operator for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        kernels::check_window(self.window, site)
    }

    fn weights(&self, site: &Site<'_>) -> Option<Weights> {
        let (outputs, inputs) = (site.output.channels(), site.input().channels());
        Some(Weights { outputs, taps: self.window.taps(), inputs, groups: Groups::Filters })
    }

    fn is_matrix(&self) -> bool {
        true
    }

    fn window(&self) -> Option<Window> {
        Some(self.window)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, layer: Option<&Prepared<'_>>) -> Vec<f32> {
        let Some(layer) = layer else { return Vec::new() };
        let ends = Ends::new(self.window, site);
        x.examples().flat_map(|x| layer.multiply(&kernels::patches(x, &ends))).collect()
    }

    #[cfg(feature = "training")]
    fn train(&self, site: &Site<'_>, x: Inputs, pass: &mut Pass<'_>) -> Value {
        let convolution = Convolution::new(self.window, site, false);
        Value::Image(pass.convolution(&convolution, x.first.image()))
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Mixed
    }

    fn on_part(&self, begin: [isize; 2], behind: [usize; 2]) -> Option<Op> {
        Some(Self { window: self.window.on_part(begin, behind)? }.into())
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn reads_padding(&self, site: &Site<'_>) -> bool {
        kernels::reads_padding(self.window, site)
    }

    fn mean_columns(&self, site: &Site<'_>, mean: &[f32]) -> Option<Vec<f32>> {
        Some(kernels::mean_patch(mean, &Ends::new(self.window, site)))
    }

    fn has_clamp(&self) -> bool {
        true
    }

    fn saturates(&self) -> bool {
        true
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let Some(affine) = &lowering.node().parameters else { return lowering.pass() };
        let (matrix, to) = lowering.matrix(affine)?;
        let (dims, first) = (lowering.output_image()?, lowering.operand(0)?);
        let input = lowering.as_image(first);
        let (window, dilation) = lowering.window(self.window)?;
        lowering.write(IntegerConv2d { window, dilation }, vec![input], dims, to, Some(matrix));
        Ok(())
    }

    fn export(&self, site: &Site<'_>, layer: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.convolution(self.window, None, site, layer)
    }
}

/// A convolution of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerConv2d {
    /// Kernel, stride and padding.
    pub window: RuntimeWindow,
    /// Distance between taps.
    pub dilation: [u16; 2],
}

impl IntegerOperator for IntegerConv2d {
    fn label(&self) -> &'static str {
        "conv2d"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let (window, dilation) = match &step.op {
            runtime::Op::Conv2d(op) => (op.window, op.dilation),
            runtime::Op::CodedConv2d(op) => (op.window, op.dilation),
            _ => return None,
        };
        Some(Self { window, dilation })
    }

    fn layer(step: &Step) -> Option<(StoredLayer, usize)> {
        let layer = match &step.op {
            runtime::Op::Conv2d(op) => StoredLayer::Rows(op.affine),
            runtime::Op::CodedConv2d(op) => StoredLayer::Coded(op.affine),
            _ => return None,
        };
        Some((layer, step.inputs().next()?.shape.channels()))
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let Self { window, dilation } = *self;
        let takes = {
            let lag = emitter.dims(0).last().copied().unwrap_or(1);
            Takes { coded: MEMORY, paired: ops::FILTER_MAX, lag }
        };
        let (output, input) = (emitter.output()?, emitter.shaped(0)?);
        Ok(match emitter.layer(takes)? {
            StoredLayer::Rows(affine) => {
                runtime::Op::Conv2d(ops::Conv2d { input, output, window, dilation, affine })
            }
            StoredLayer::Coded(affine) => {
                let coded = ops::CodedConv2d { input, output, window, dilation, affine };
                runtime::Op::CodedConv2d(coded)
            }
        })
    }

    fn spans(&self, known: &Known<'_>) -> Vec<Span> {
        known.rows(Some(Window::of(self.window, self.dilation)), |_, column| column)
    }

    fn reads_padding(&self, known: &Known<'_>) -> bool {
        known.is_left_by(Window::of(self.window, self.dilation))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        Vec::new()
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Conv2d { window: Window::of(self.window, self.dilation) }.into(), Clamp::NONE))
    }

    #[cfg(feature = "training")]
    fn train(
        &self,
        site: &IntegerSite<'_>,
        x: Inputs,
        layer: Option<&IntegerLayer<'_>>,
    ) -> Option<Value> {
        let layer = layer?;
        let window = Window::of(self.window, self.dilation);
        let convolution = site.convolution(window, false);
        let tensors = layer.tensors;
        let sums = convolution.apply(x.first.image(), &tensors.weight, &tensors.bias);
        Some(Value::Image(layer.requantized(sums, site.to())))
    }

    #[cfg(feature = "training")]
    fn trains(&self) -> bool {
        true
    }
}
