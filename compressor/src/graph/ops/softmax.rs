//! Softmax over channels or features.

use bitsback_runtime::format::Clamp;
use bitsback_runtime::requantize::Multiplier;
use bitsback_runtime::{self as runtime, Step, ops};
use serde::{Deserialize, Serialize};

use super::super::Affine;
use super::super::execute::Operands;
use super::super::exporter::{Exported, Exporter};
use super::super::integer::{Emitter, IntegerOperator, Relation};
use super::super::lower::{LowerError, Lowering, fixed, unfixed};
use super::super::operator::{Operator, Prepared, Site, Units};
use super::super::places::Places;
use super::Op;
use super::unary;
#[cfg(feature = "training")]
use crate::graph::tensor::{Elementwise, Inputs, Pass, Tensor, Value, activation};
use crate::numbers::Quantization;

/// Softmax over the last dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Softmax {}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn check(&self, site: &Site<'_>) -> Option<&'static str> {
        unary::check(site)
    }

    fn forward(&self, site: &Site<'_>, x: &Operands<'_>, _: Option<&Prepared<'_>>) -> Vec<f32> {
        rows(x, site.output.channels(), |below, sum| below.exp() / sum)
    }

    #[cfg(feature = "training")]
    fn train(&self, _: &Site<'_>, x: Inputs, _: &mut Pass<'_>) -> Value {
        x.first.map(self)
    }

    fn units(&self, _site: &Site<'_>) -> Units {
        Units::Fixed
    }

    fn places(&self, _site: &Site<'_>) -> Places {
        Places::Alike
    }

    fn constant(&self, _operands: &[f32]) -> Option<f32> {
        None
    }

    fn lower(&self, lowering: &mut Lowering<'_>) -> Result<(), LowerError> {
        let first = lowering.operand(0)?;
        let multiplier = fixed(lowering.quantization(first), INTEGER_BITS);
        lowering.unary(IntegerSoftmax { multiplier }, UNIT)
    }

    fn export(&self, site: &Site<'_>, _: Option<&Affine>, file: &mut dyn Exporter) -> Exported {
        file.over_channels("Softmax", site)
    }
}

#[cfg(feature = "training")]
impl Elementwise for Softmax {
    fn on<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        activation::softmax(x, D - 1)
    }
}

/// Every row of `len` values: `f` of how far a value is below the row's largest, and of the sum of the
/// exponentials of these.
pub(super) fn rows(x: &Operands<'_>, len: usize, f: impl Fn(f64, f64) -> f64) -> Vec<f32> {
    let mut y = Vec::with_capacity(x.all().len());
    for row in x.all().chunks_exact(len.max(1)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - most).exp()).sum();
        y.extend(row.iter().map(|&x| f(f64::from(x - most), sum) as f32));
    }
    y
}

/// Bits before the point of what it computes with.
const INTEGER_BITS: i32 = 5;
/// The output: 0 to 1 in 256ths.
const UNIT: Quantization = Quantization { scale: 1.0 / 256.0, zero_point: i8::MIN };

/// Softmax of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerSoftmax {
    /// The input's scale in fixed point.
    pub multiplier: Multiplier,
}

impl IntegerSoftmax {
    /// What it gives.
    pub const OUTPUT: Quantization = UNIT;

    /// Over values of a quantisation.
    pub fn of(from: Quantization) -> Self {
        Self { multiplier: fixed(from, INTEGER_BITS) }
    }
}

impl IntegerOperator for IntegerSoftmax {
    fn label(&self) -> &'static str {
        "softmax"
    }

    fn of(step: &Step, _: &[u8]) -> Option<Self> {
        let runtime::Op::Softmax(op) = &step.op else { return None };
        Some(Self { multiplier: op.multiplier })
    }

    fn emit(&self, emitter: &mut dyn Emitter) -> Result<runtime::Op, LowerError> {
        let (input, output) = (emitter.shaped(0)?, emitter.output()?);
        let multiplier = self.multiplier;
        Ok(runtime::Op::Softmax(ops::Softmax { input, output, multiplier }))
    }

    fn scales(&self, _: &Step) -> Vec<Relation> {
        let input = unfixed(self.multiplier, INTEGER_BITS);
        vec![Relation::Operand(0, input), Relation::Output(f64::from(UNIT.scale))]
    }

    fn real(&self, _to: Quantization) -> Option<(Op, Clamp)> {
        Some((Softmax {}.into(), Clamp::NONE))
    }
}
